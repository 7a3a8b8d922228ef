/*
 * The checks of doctor. Each looks at one thing and says what it found, well or not; what is
 * not well comes with a command that puts it right.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/gate.h"
#include "ctl/lead.h"
#include "util/error.h"
#include "util/settings.h"

struct client;
struct config;
struct ctl;

enum finding {
	FINDING_OK,
	FINDING_WARNING, /* it works now, and will not always */
	FINDING_ERROR,   /* it does not work, or data is in danger */
};

struct doctor {
	struct ctl *ctl;
	char *root;
	const char *config_file; /* --config, or NULL */
	char *config_dir;        /* folder of drop-ins of the configuration, or NULL */
	struct config *config;   /* NULL when it cannot be used */
	struct settings set;     /* of the root; zeroed without a config */
	struct client *client;   /* NULL: no daemon */
	struct leader lead;
	struct gate_list gates;
	json_t *checks; /* array of what was found */
	bool memory;    /* it ran out */
	enum finding worst;
};

/**
 * doctor_say() - a finding
 * @check: stable name, for scripts; @about: board, profile, unit …, or NULL
 * @remedy: a command line, given away; NULL and not FINDING_OK is out of memory
 */
void doctor_say(struct doctor *d, enum finding finding, const char *check, const char *about,
		char *remedy, const char *fmt, ...) PRINTF(6, 7);

void doctor_lease(struct doctor *d);
void doctor_daemon(struct doctor *d);
void doctor_gateways(struct doctor *d);
void doctor_config(struct doctor *d);
void doctor_sqlite(struct doctor *d);
void doctor_filesystem(struct doctor *d);
void doctor_hermes(struct doctor *d);
void doctor_unit(struct doctor *d);
void doctor_boards(struct doctor *d);
void doctor_notify(struct doctor *d);
void doctor_clock(struct doctor *d);

/* What a file system is good for. */
enum doctor_fs {
	DOCTOR_FS_LOCAL,
	DOCTOR_FS_NETWORK, /* locks and shared memory are not what SQLite and flock(2) need */
	DOCTOR_FS_MAYBE,   /* may be either: FUSE */
	DOCTOR_FS_MEMORY,  /* gone with the next boot */
};

/** doctor_fs() - by f_type of statfs(2); *@name: what it is called, "" if not known here */
enum doctor_fs doctor_fs(unsigned long type, const char **name);
