/*
 * Reading a board for people and scripts: rows as JSON objects with fixed keys, whatever the
 * release of the board, and texts as valid UTF-8, whatever the rows say. Nothing is changed:
 * no file is made, no WAL is folded in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct db;
struct json_t;

/* Which tasks. NULL: any. Borrowed. */
struct view_filter {
	const char *status;
	const char *assignee;
	const char *tenant;
	bool archived; /* also the archived ones, when no status is given */
	int64_t limit; /* most rows; < 0: all */
};

/* Those that a task may have; a board of a later Hermes may know more. */
#define VIEW_STATUSES 9
extern const char *const view_statuses[VIEW_STATUSES];

/**
 * view_open() - open a board to read it
 * Return: as db_open().
 */
MUST_CHECK int view_open(struct db **db, const char *path, int busy_timeout_ms,
			 struct error *e);

/* One row, borrowed for the call. Return: 0, or -errno to stop. */
typedef int (*view_row_fn)(void *arg, struct json_t *row);

/**
 * view_tasks() - the tasks of a board, priority first, oldest first
 * @row: called for each; the board is read meanwhile, so it must not wait for anybody
 * Keys: id, title, status, assignee, priority, tenant, created_by, created_at, started_at,
 * completed_at, workspace_kind, workspace_path, claim_lock, claim_expires, worker_pid,
 * current_run_id, consecutive_failures, last_failure_error, last_heartbeat_at,
 * max_runtime_seconds, max_retries.
 * Return: 0; what @row said; as db_step() otherwise.
 */
MUST_CHECK int view_tasks(struct db *db, const struct view_filter *filter, view_row_fn row,
			  void *arg, struct error *e);

/**
 * view_task() - everything about one task
 * @events: most events, the newest; < 0: all
 * @out: {"task", "parents", "children", "runs", "comments", "attachments", "events_total",
 *       "events"}; the caller json_decref()s it
 * Return: 0; EDIT_NO_TASK; as db_step() otherwise.
 */
MUST_CHECK int view_task(struct db *db, const char *id, int64_t events, struct json_t **out,
			 struct error *e);

/**
 * view_counts() - tasks per status
 * @out: one key per status that a board knows, 0 included, any other status that is there, and
 * "total"; the caller json_decref()s it
 */
MUST_CHECK int view_counts(struct db *db, struct json_t **out, struct error *e);

/** view_ready_since() - Unix seconds since when the oldest ready task is ready, as far as its
 * events tell; 0: none is. Return: as db_step(). */
MUST_CHECK int view_ready_since(struct db *db, int64_t *since, struct error *e);

#define VIEW_HOURS 24

/**
 * view_activity() - what ended in the last 24 hours, this one included
 * @failures: most failures, the newest first
 * @out: {"from", "step_s", "done": [24], "failed": [24], "failures": [{"id", "title", "status",
 * "run", "outcome", "error", "ended_at"}]}; the caller json_decref()s it. What was taken back
 * or waits for somebody's answer is neither done nor failed. Return: as db_step().
 */
MUST_CHECK int view_activity(struct db *db, int64_t now, int64_t failures, struct json_t **out,
			     struct error *e);
