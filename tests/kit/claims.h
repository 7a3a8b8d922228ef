/* One board with subscriptions, claimed as the dispatcher does, for the tests of board/subs.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "board/edit.h"
#include "board/subs.h"
#include "db/db.h"
#include "suite.h"
#include "tick/tick.h"

#define NOW INT64_C(1800000000)
extern char claims_dir[256], claims_path[300];
extern struct db *claims_db;
extern struct error claims_why;
extern struct subs_request claims_rq;
extern struct subs_result claims_res;

/* The seams: what they say, and what they were told. */
extern bool claims_owner_says;
extern const char *claims_foreign; /* a profile that is not ours */
extern int claims_intent_says;
extern size_t claims_intents, claims_commits;
extern int claims_committed_with;

extern const struct tick_host claims_host;

bool claims_owns(void *arg, const char *profile);
struct db *claims_open(void);
void claims_setup(void);
void claims_teardown(void);
void claims_sql(const char *fmt, ...);
int64_t claims_value(const char *fmt, ...);
void claims_task(const char *id, const char *status);
int64_t claims_event(const char *id, const char *kind, const char *payload);
void claims_sub(const char *id, const char *chat, const char *profile);
int64_t claims_cursor(const char *id);
int claims_run(void);
void claims_ok(void);
