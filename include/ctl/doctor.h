/*
 * The checks of doctor. Each looks at one thing and says what it found, well or not; what is
 * not well comes with a command that puts it right.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/leader_view.h"
#include "ctl/remedy.h"
#include "gateway/gateway_scan.h"
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
	struct remedy remedy;    /* how commands begin */
	const char *config_file; /* --config, or NULL */
	char *config_dir;        /* folder of drop-ins of the configuration, or NULL */
	struct config *config;   /* NULL when it cannot be used */
	struct settings set;     /* of the root; zeroed without a config */
	struct client *client;   /* NULL: no daemon */
	struct leader leader;
	struct gateway_list gates;
	json_t *checks; /* array of what was found */
	bool memory;    /* it ran out */
	enum finding worst;
};

/*
 * Everything that can be found: X(id, check, name, how bad). Check and name are the public
 * `check` and `finding` of --json, described in kanbanctl(1); the tests have a planted case for
 * each of them.
 */
#define DOCTOR_FINDINGS(X)                                                                     \
	X(LEASE_NOBODY, "lease", "nobody", FINDING_ERROR)                                      \
	X(LEASE_GATEWAY, "lease", "gateway", FINDING_ERROR)                                    \
	X(LEASE_STRANGER, "lease", "stranger", FINDING_ERROR)                                  \
	X(LEASE_UNSEEN, "lease", "unseen", FINDING_ERROR)                                      \
	X(LEASE_STOPPED, "lease", "stopped", FINDING_ERROR)                                    \
	X(DAEMON_SILENT, "daemon", "silent", FINDING_ERROR)                                    \
	X(PAUSED_ALL, "paused", "draining", FINDING_WARNING)                                   \
	X(PAUSED_BOARD, "paused", "board", FINDING_WARNING)                                    \
	X(PAUSED_ESTOP, "paused", "estop", FINDING_WARNING)                                    \
	X(GATEWAY_WILL, "gateway", "would-dispatch", FINDING_WARNING)                          \
	X(GATEWAY_DOES, "gateway", "dispatches", FINDING_ERROR)                                \
	X(CONFIG_BAD, "config", "refused", FINDING_ERROR)                                      \
	X(CONFIG_ODD, "config", "ignored", FINDING_WARNING)                                    \
	X(UNIT_NONE, "unit", "none", FINDING_WARNING)                                          \
	X(UNIT_DISABLED, "unit", "disabled", FINDING_WARNING)                                  \
	X(UNIT_STALE, "unit", "stale", FINDING_WARNING)                                        \
	X(UNIT_INACTIVE, "unit", "inactive", FINDING_ERROR)                                    \
	X(UNIT_OUTSIDE, "unit", "outside", FINDING_WARNING)                                    \
	X(WATCHDOG_NONE, "watchdog", "none", FINDING_WARNING)                                  \
	X(LINGER_OFF, "linger", "off", FINDING_WARNING)                                        \
	X(SQLITE_WAL, "sqlite", "wal-reset", FINDING_WARNING)                                  \
	X(ROOT_UNSEEN, "filesystem", "unseen", FINDING_ERROR)                                  \
	X(ROOT_NETWORK, "filesystem", "network", FINDING_ERROR)                                \
	X(ROOT_FUSE, "filesystem", "fuse", FINDING_WARNING)                                    \
	X(ROOT_MEMORY, "filesystem", "memory", FINDING_WARNING)                                \
	X(ROOT_FULL, "filesystem", "full", FINDING_WARNING)                                    \
	X(HERMES_MISSING, "hermes", "missing", FINDING_ERROR)                                  \
	X(LAUNCHER_CHILDREN, "launcher", "children", FINDING_WARNING)                          \
	X(BOARD_UNSEEN, "board", "unseen", FINDING_ERROR)                                      \
	X(BOARD_DAMAGED, "board", "damaged", FINDING_ERROR)                                    \
	X(BOARD_LOSSY, "board", "would-lose", FINDING_ERROR)                                   \
	X(BOARD_LOST, "board", "lost", FINDING_ERROR)                                          \
	X(BOARD_SCHEMA, "board", "schema", FINDING_ERROR)                                      \
	X(BOARD_BUSY, "board", "busy", FINDING_WARNING)                                        \
	X(BOARD_NO_FILE, "board", "no-file", FINDING_ERROR)                                    \
	X(BOARD_UNREADABLE, "board", "unreadable", FINDING_ERROR)                              \
	X(BOARD_OTHER, "board", "suspect", FINDING_ERROR)                                      \
	X(BOARD_MORE, "board", "more", FINDING_ERROR)                                          \
	X(TASKS_UNASSIGNED, "tasks", "unassigned", FINDING_WARNING)                            \
	X(TASKS_NO_PROFILE, "tasks", "no-profile", FINDING_WARNING)                            \
	X(TASKS_GUARDED, "tasks", "guarded", FINDING_WARNING)                                  \
	X(TASKS_NO_GIT, "tasks", "no-git", FINDING_WARNING)                                    \
	X(FOLDER_CASE, "folder", "upper-case", FINDING_WARNING)                                \
	X(NOTIFY_UNWRITTEN, "notify", "unwritten", FINDING_ERROR)                              \
	X(NOTIFY_UNSERVED, "notify", "unserved", FINDING_WARNING)                              \
	X(NOTIFY_PARKED, "notify", "parked", FINDING_WARNING)                                  \
	X(NOTIFY_MORE, "notify", "more", FINDING_WARNING)                                      \
	X(COPY_FAILS, "snapshot", "not-copied", FINDING_ERROR)                                 \
	X(HOOK_FAILS, "hook", "fails", FINDING_WARNING)                                        \
	X(OUTBOX_UNREADABLE, "outbox", "unreadable", FINDING_ERROR)                            \
	X(OUTBOX_ASIDE, "outbox", "set-aside", FINDING_WARNING)                                \
	X(CLOCK_OLD, "clock", "old", FINDING_ERROR)                                            \
	X(CLOCK_BACK, "clock", "back", FINDING_ERROR)

#define DOCTOR_ENUM(id, check, name, how) DOCTOR_##id,
enum doctor_id { DOCTOR_FINDINGS(DOCTOR_ENUM) DOCTOR_IDS };
#undef DOCTOR_ENUM

/**
 * doctor_say() - something that is not well
 * @about: board, profile, unit …, or NULL
 * @remedy: a command line, given away; NULL is out of memory
 */
void doctor_say(struct doctor *d, enum doctor_id id, const char *about, char *remedy,
		const char *fmt, ...) PRINTF(5, 6);

/** doctor_well() - @check about @about is well */
void doctor_well(struct doctor *d, const char *check, const char *about, const char *fmt, ...)
	PRINTF(4, 5);

/** doctor_print() - all that was found, on ctl->out. Return: exit code */
int doctor_print(struct doctor *d);

void doctor_lease(struct doctor *d);
void doctor_daemon(struct doctor *d);
void doctor_gateways(struct doctor *d);
void doctor_config(struct doctor *d);
void doctor_sqlite(struct doctor *d);
void doctor_filesystem(struct doctor *d);
void doctor_hermes(struct doctor *d);
void doctor_launcher(struct doctor *d);
void doctor_unit(struct doctor *d);
void doctor_boards(struct doctor *d);
void doctor_tasks(struct doctor *d);
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
