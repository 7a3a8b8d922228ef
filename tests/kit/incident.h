/* One board that is damaged, what must have become of it, and of what it held. */
#pragma once

#include <glob.h>
#include <jansson.h>
#include <stdint.h>

#include "rig.h"

#define B        "default"
#define N_TABLES 7
extern const char *const incident_tables[N_TABLES];

enum fate {
	HEALS,     /* healthy after one sweep, all rows that can be had */
	WAITS,     /* quarantined; repair --salvage saves what can be saved */
	HOPELESS,  /* quarantined, nothing to save */
	UNTOUCHED, /* no evidence: it was sound all the time */
	NO_SCHEMA, /* sound, but no board */
};

struct rig_out *incident_sweep(void);
const char *incident_state(const struct rig_out *out);
/* The evidence files of the board, without sidecars; the only one in @path. */
size_t incident_evidence(const char **path);

/* One set, and its bytes are those that were damaged. */
void incident_kept_once(void);

void incident_live_unchanged(void);
/* Rows older than this test: what a sweep itself adds is not counted. */
int64_t incident_rows(const char *table);

void incident_has_rows(json_t *want);
struct rig_out *incident_ctl(const char *verb, const char *a, const char *b);
/* Nothing is written back unasked, however often it is looked at. */
void incident_stays_quarantined(void);

void incident_meets(enum fate fate, json_t *want);
