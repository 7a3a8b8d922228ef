/*
 * The log: journald with fields when stderr is the journal, one line of text on stderr
 * otherwise. Jobs do not log; the loop thread does. A healthy idle daemon is silent.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

#include "util/error.h"

/* What a line is about. NULL and 0 leave a field out. All borrowed for the call. */
struct log_about {
	const char *root;  /* KANBAN_ROOT= */
	const char *board; /* KANBAN_BOARD= */
	const char *task;  /* KANBAN_TASK= */
	int64_t run;       /* KANBAN_RUN= */
	int64_t epoch;     /* KANBAN_EPOCH= */
	const char *id;    /* MESSAGE_ID=, one of LOG_ID_* below, or NULL */
	int errnum;        /* ERRNO=, positive */
};

/*
 * One MESSAGE_ID per kind of event that an operator would look for (128-bit, lower-case hex;
 * see sd_journal_send(3)); systemd/kanband.catalog has a text for each.
 */
#define LOG_ID_LEASE_OWNER   "5f1c7b1d0c2e4f0d9a61f5f0a3c3d101"
#define LOG_ID_LEASE_STANDBY "5f1c7b1d0c2e4f0d9a61f5f0a3c3d102"
#define LOG_ID_LEASE_LOST    "5f1c7b1d0c2e4f0d9a61f5f0a3c3d103"
#define LOG_ID_BOARD_BAD     "5f1c7b1d0c2e4f0d9a61f5f0a3c3d104"
#define LOG_ID_BOARD_WELL    "5f1c7b1d0c2e4f0d9a61f5f0a3c3d105"
#define LOG_ID_SPAWNED       "5f1c7b1d0c2e4f0d9a61f5f0a3c3d106"
#define LOG_ID_SPAWN_FAILED  "5f1c7b1d0c2e4f0d9a61f5f0a3c3d107"
#define LOG_ID_WORKER_ENDED  "5f1c7b1d0c2e4f0d9a61f5f0a3c3d108"
#define LOG_ID_GAVE_UP       "5f1c7b1d0c2e4f0d9a61f5f0a3c3d109"
#define LOG_ID_RECLAIMED     "5f1c7b1d0c2e4f0d9a61f5f0a3c3d10a"
#define LOG_ID_STUCK_READY   "5f1c7b1d0c2e4f0d9a61f5f0a3c3d10b"
#define LOG_ID_CONFIG        "5f1c7b1d0c2e4f0d9a61f5f0a3c3d10c"
#define LOG_ID_ADOPTED       "5f1c7b1d0c2e4f0d9a61f5f0a3c3d10f"
#define LOG_ID_REPAIRED      "5f1c7b1d0c2e4f0d9a61f5f0a3c3d10e"
#define LOG_ID_OVERDUE       "5f1c7b1d0c2e4f0d9a61f5f0a3c3d10d"
#define LOG_ID_PARKED        "5f1c7b1d0c2e4f0d9a61f5f0a3c3d120"
#define LOG_ID_UNSERVED      "5f1c7b1d0c2e4f0d9a61f5f0a3c3d121"
#define LOG_ID_OUTBOX        "5f1c7b1d0c2e4f0d9a61f5f0a3c3d122"

/**
 * log_open() - choose the sink and the level; before any thread starts
 * @level: highest syslog(3) priority that is written, LOG_ERR … LOG_DEBUG
 * Source: systemd.exec(5), JOURNAL_STREAM.
 */
void log_open(int level);

/** log_set_level() - change the level at a reload; loop thread */
void log_set_level(int level);

/* One line that has a MESSAGE_ID, whether its level is written or not. All borrowed. */
typedef void (*log_hook_fn)(void *arg, int priority, const struct log_about *about,
			    const char *text);

/* Who reads along. */
struct log_hook {
	struct log_hook *next; /* of log.c */
	log_hook_fn fn;
	void *arg;
};

/** log_join(), log_leave() - read along, and no more; @hook is lent meanwhile; loop thread */
void log_join(struct log_hook *hook);
void log_leave(struct log_hook *hook);

/** log_level_from_text() - "error", "warning", "notice", "info", "debug" → LOG_*, or -1 */
int log_level_from_text(const char *text);

/**
 * log_about() - write one line
 * @priority: LOG_CRIT … LOG_DEBUG
 * @about:    borrowed, or NULL
 */
void log_about(int priority, const struct log_about *about, const char *fmt, ...) PRINTF(3, 4);

#define log_error(...)   log_about(LOG_ERR, NULL, __VA_ARGS__)
#define log_warning(...) log_about(LOG_WARNING, NULL, __VA_ARGS__)
#define log_notice(...)  log_about(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_info(...)    log_about(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...)   log_about(LOG_DEBUG, NULL, __VA_ARGS__)
