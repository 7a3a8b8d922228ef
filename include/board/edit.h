/*
 * What operators and workers write on a board: new tasks, and the moves that a worker reports.
 * Each function is one transaction with the discipline of the board contract, §5: it reads the
 * task, decides, changes it by compare-and-swap on status, claim_lock and current_run_id, and
 * appends the event, as Hermes would leave it. Promotion is the dispatcher's work: completing a
 * parent changes no child.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define EDIT_TEXT_MAX  ((size_t)64 << 20) /* bytes of a body, a result, a comment … */
#define EDIT_SHORT_MAX ((size_t)4096)     /* bytes of a name, a path, a key */

struct db;

#define EDIT_ID_SIZE 80 /* "t_" and 8 hex digits; longer ones exist elsewhere */

/* %s: its id */
#define EDIT_NO_TASK_TEXT                                                                      \
	"there is no task %s on this board; "                                                  \
	"\"kanbanctl list\" lists its tasks, --board names another"

/* Positive outcomes, beside those of db.h. */
enum edit_outcome {
	EDIT_NO_TASK = 32, /* there is no such task */
	EDIT_REFUSED,      /* the task is not in a state for that, or another run has it now */
	EDIT_INVALID,      /* an argument that a board cannot take */
};

/* Who does it and when. Borrowed. */
struct edit_by {
	int64_t now;            /* Unix seconds */
	int64_t run;            /* HERMES_KANBAN_RUN_ID: must be the task's current run; 0: no
				 * worker speaks, nothing is checked */
	const char *claim_lock; /* HERMES_KANBAN_CLAIM_LOCK: must be the task's; or NULL */
};

/* What came of it. */
struct edit_done {
	char status[16];  /* of the task now */
	int64_t run;      /* the run that it ended or belongs to, 0 if none */
	int64_t event;    /* id of the event */
	char notice[160]; /* what whoever did it should know, "" for nothing */
};

/* A task to be. NULL and 0 mean not given. All borrowed. */
struct edit_task {
	const char *title; /* needed; white space at its ends is dropped */
	const char *body;
	const char *assignee; /* a profile; stored trimmed and in lower case */
	int64_t priority;
	const char *const *parents; /* ids, NULL-terminated, or NULL */
	bool triage;                /* wait in triage, whatever the parents */
	const char *workspace_kind; /* scratch, dir, worktree; NULL is scratch */
	const char *workspace_path; /* absolute or ~/…; needed for dir */
	const char *branch_name;    /* for worktree */
	int64_t max_runtime_s;
	int64_t max_retries;
	const char *const *skills; /* NULL-terminated, or NULL */
	const char *tenant;        /* NULL: that of the first parent that has one */
	const char *created_by;
	const char *model;
	const char *provider; /* needs a model */
	int64_t at;           /* Unix seconds: not before then; 0: at once */
	const char *every; /* a calendar expression: whenever this task has ended, another like
			    * it waits for the calendar's next time; without @at the first does,
			    * too */
	const char *idempotency_key; /* a task with this key that is not archived is returned
				      * instead of a second one */
	void (*new_id)(char id[EDIT_ID_SIZE]); /* for tests; NULL: at random */
};

/**
 * edit_add() - make a task
 * @id: out
 * @made: out; false when idempotency_key found one (@done then has its status, event 0)
 * Return: 0; EDIT_NO_TASK (a parent); EDIT_INVALID; else as db_step(), disk full and I/O errors
 * as -ENOSPC, -EIO.
 */
MUST_CHECK int edit_add(struct db *db, const struct edit_task *task, int64_t now,
			char id[EDIT_ID_SIZE], bool *made, struct edit_done *done,
			struct error *e);

/**
 * edit_complete() - running, ready, blocked or review → done
 * @result, @summary: texts or NULL; without a summary the result is the run's summary
 * @metadata: a JSON object as text, or NULL
 * A task that no run has gets a closed run of no length, so that what is handed over stays in
 * its history.
 * Return: 0; EDIT_NO_TASK; EDIT_REFUSED; EDIT_INVALID (metadata); else as edit_add().
 */
MUST_CHECK int edit_complete(struct db *db, const char *id, const struct edit_by *by,
			     const char *result, const char *summary, const char *metadata,
			     struct edit_done *done, struct error *e);

/**
 * edit_block() - running or ready → blocked
 * @kind: NULL, or needs_input, capability, transient, dependency. dependency waits in todo for
 * its parents instead. The second block in a row for the same kind, with an unblock between,
 * goes to triage: a human has to decide.
 * Return: as edit_complete().
 */
MUST_CHECK int edit_block(struct db *db, const char *id, const struct edit_by *by,
			  const char *reason, const char *kind, struct edit_done *done,
			  struct error *e);

/**
 * edit_unblock() - blocked or scheduled → ready (review, if it was blocked there), or todo
 * while a parent is not done; the failure counter starts anew Return: as edit_complete().
 */
MUST_CHECK int edit_unblock(struct db *db, const char *id, const struct edit_by *by,
			    struct edit_done *done, struct error *e);

/**
 * edit_heartbeat() - a running task's worker is alive
 * @ttl_s: with a run or claim lock in @by, the claim is extended to now + @ttl_s, never cut
 * Return: as edit_complete().
 */
MUST_CHECK int edit_heartbeat(struct db *db, const char *id, const struct edit_by *by,
			      const char *note, int64_t ttl_s, struct edit_done *done,
			      struct error *e);

/** edit_comment() - add a comment; any status.  Return: as edit_complete(). */
MUST_CHECK int edit_comment(struct db *db, const char *id, int64_t now, const char *author,
			    const char *body, struct edit_done *done, struct error *e);

/**
 * edit_create_board() - make the database of a new board
 * @path: nothing, or an empty file, is there; its folder exists. Call it under
 * `<db>.init.lock`.
 * @wal: WAL mode, else DELETE mode
 * Killed at any instant it leaves nothing, an empty file, or a whole board.
 * Return: 0; as db_open() otherwise.
 */
MUST_CHECK int edit_create_board(const char *path, bool wal, struct error *e);
