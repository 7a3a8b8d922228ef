/* What only the files of the board share: finding boards, rows of subscriptions, and the
 * transaction of edits.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "board/discover.h"
#include "board/edit.h"
#include "board/edit_request.h"
#include "board/subs.h"

struct db;
struct sqlite3_stmt;

/* ---- finding boards: board_place.c, discover_meta.c ---------------------------------- */

#define DISCOVER_DEFAULT "default"

/** board_place_init() - the paths of @slug; nothing is looked at. Return: 0 or -ENOMEM. */
MUST_CHECK int board_place_init(struct board_place *place, const char *root,
				const char *pinned_db, const char *slug);

/** discover_free_list() - free a list of notes, which is empty then */
void discover_free_list(char ***list, size_t *n);

/** discover_push() - append @text (taken, may be NULL). Out of memory drops it: a note is no
 * state. */
void discover_push(char ***list, size_t *n, char *text);

/** discover_note() - one sentence for the caller of discover_boards(); @d may be NULL */
void discover_note(struct discovery *d, const char *fmt, ...) PRINTF(2, 3);

/**
 * discover_meta() - (re-)read the board.json at @name below @dir, whose stamp is @stamp
 * @d: for notes, may be NULL
 * Return: 0, also where it cannot be used; -ENOMEM.
 */
MUST_CHECK int discover_meta(struct discovery *d, int dir, const char *name,
			     const struct fs_stamp *stamp, struct board_place *place);

/* ---- subscriptions: subs.c, subs_rows.c, subs_ops.c ---------------------------------- */

/* The row of one subscription, table alias s. */
#define SUBS_ROW                                                                               \
	"s.task_id, s.platform, s.chat_id, coalesce({kanban_notify_subs.thread_id@s}, ''),"    \
	" coalesce(s.last_event_id, 0), {kanban_notify_subs.notifier_profile@s},"              \
	" {kanban_notify_subs.delivery_mode@s}, {kanban_notify_subs.delivery_metadata@s},"     \
	" {kanban_notify_subs.chat_type@s}, {kanban_notify_subs.user_id@s},"                   \
	" {kanban_notify_subs.created_at@s}, {kanban_notify_subs.user_id_alt@s}"

enum subs_column {
	SUBS_COL_TASK,
	SUBS_COL_PLATFORM,
	SUBS_COL_CHAT,
	SUBS_COL_THREAD,
	SUBS_COL_CURSOR,
	SUBS_COL_PROFILE,
	SUBS_COL_MODE,
	SUBS_COL_METADATA,
	SUBS_COL_CHAT_TYPE,
	SUBS_COL_USER,
	SUBS_COL_CREATED,
	SUBS_COL_USER_ALT,
};

#define SUBS_IS_KEY                                                                            \
	"s.task_id = ?1 AND s.platform = ?2 AND s.chat_id = ?3"                                \
	" AND coalesce({kanban_notify_subs.thread_id@s}, '') = ?4"

/** subs_finish() - delete the subscription if its cursor is at @cursor, its task is over and
 * no event waits; inside the caller's transaction. @count: one more when it was deleted */
MUST_CHECK int subs_finish(struct db *db, const struct subs_key *key, int64_t cursor,
			   unsigned *count, struct error *e);

/** subs_purge() - those that rq->purge_before is about, in a transaction of its own */
MUST_CHECK int subs_purge(struct db *db, const struct tick_host *host,
			  const struct subs_request *rq, struct subs_result *res,
			  struct error *e);

/** subs_ops_run() - the ops of a request, in one transaction */
MUST_CHECK int subs_ops_run(struct db *db, const struct tick_host *host,
			    struct subs_request *rq, struct subs_result *res, struct error *e);

/* A subscription as a look finds it. Strings are owned. */
struct subs_row {
	char *task, *platform, *chat, *thread, *profile, *mode;
	int64_t cursor;
	uint64_t row;
	bool text; /* its key is text that a command line can carry */
};

struct subs_rows {
	struct subs_row *v;
	size_t n, room;
};

void subs_row_deinit(struct subs_row *r);
void subs_rows_deinit(struct subs_rows *rows);
struct subs_key subs_row_key(const struct subs_row *r);

/** subs_row_find() - the row of @key. Return: DB_ROW and @r, 0 if there is none, else as
 * db_step() */
MUST_CHECK int subs_row_find(struct db *db, const struct subs_key *key, struct subs_row *r,
			     struct error *e);

/** subs_rows_load() - those that a look considers; freed by the caller also on error */
MUST_CHECK int subs_rows_load(struct db *db, const struct subs_request *rq,
			      struct subs_rows *rows, struct error *e);

/** subs_rows_parked() - a look that is not full takes in what is parked and not what it was any
 * more */
MUST_CHECK int subs_rows_parked(struct db *db, const struct subs_request *rq,
				struct subs_rows *rows, struct error *e);

/** subs_text() - a copy of a column, NULL for NULL; @oom is set when there is no memory */
char *subs_text(struct sqlite3_stmt *s, int i, bool *oom);
/** subs_oom() - -ENOMEM, said in @e */
int subs_oom(struct error *e);

/* ---- edits: edit.c, edit_block.c, edit_add.c, edit_run.c, edit_transaction.c
 * -------------------------------------------------
 */

/* What a decision needs to know of a task. The strings are owned. */
struct edit_row {
	char *status;
	char *claim_lock;          /* or NULL */
	char *block_kind;          /* or NULL */
	int64_t block_recurrences; /* blocks in a row for block_kind */
	int64_t run;               /* current_run_id, 0 if none */
	int64_t expires;           /* claim_expires, 0 if none */
	char *contract;            /* completion_contract, or NULL */
};

void edit_row_deinit(struct edit_row *row);

static inline void edit_jsonp(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

/**
 * edit_begin() - BEGIN IMMEDIATE, read the task, check that @by still has it
 * @by: NULL checks nothing
 * Return: 0, and edit_end() must follow; else the transaction is gone already.
 */
MUST_CHECK int edit_begin(struct db *db, const char *id, const struct edit_by *by,
			  struct edit_row *row, struct error *e);

/** edit_read() - the task as it is; inside a transaction. Return: 0; EDIT_NO_TASK; as db_step()
 */
MUST_CHECK int edit_read(struct db *db, const char *id, struct edit_row *row, struct error *e);

/** edit_unblock_row() - edit_unblock() of a task that was read, inside a transaction */
MUST_CHECK int edit_unblock_row(struct db *db, const char *id, const struct edit_by *by,
				const struct edit_row *row, struct edit_done *done,
				struct error *e);

/** edit_end() - COMMIT if @r is 0, else ROLLBACK.  Return: @r, more exactly, or that of COMMIT
 */
MUST_CHECK int edit_end(struct db *db, int r, struct error *e);

/** edit_exact() - what to say of a DB_TRANSIENT that SQLite's result @code led to: -ENOSPC,
 * -EIO and -ENOMEM where coming back later does not help, else DB_TRANSIENT */
MUST_CHECK int edit_exact(int code, struct error *e);

/**
 * edit_event() - append an event
 * @payload: given away; NULL for none. @want_payload: then NULL is out of memory.
 * @event: out, its id
 */
MUST_CHECK int edit_event(struct db *db, const char *id, int64_t run, const char *kind,
			  json_t *payload, bool want_payload, int64_t now, int64_t *event,
			  struct error *e);

/** edit_check_text() - EDIT_INVALID unless @text is NULL or UTF-8 of at most @max bytes */
MUST_CHECK int edit_check_text(const char *what, const char *text, size_t max, struct error *e);

/** edit_swapped() - DB_CONFLICT unless the last update found the row that was read in this very
 * transaction */
MUST_CHECK int edit_swapped(struct db *db, const char *id, struct error *e);

/** edit_in() - is @status one of @list, which NULL ends */
bool edit_in(const char *status, const char *const *list);

/** edit_set_done() - what an edit tells its caller */
void edit_set_done(struct edit_done *done, const char *status, int64_t run);

/** edit_parents_done() - @done: no parent of the task is open */
MUST_CHECK int edit_parents_done(struct db *db, const char *id, bool *done, struct error *e);

struct edit_ending {
	const char *status;  /* of an open run */
	const char *outcome; /* and status of a run made for the purpose */
	const char *summary, *metadata;
	bool make; /* make a closed run where none is open */
};

/** edit_run_end() - end the open run of a task, or make a closed one; @run: out, 0 if there is
 * none */
MUST_CHECK int edit_run_end(struct db *db, const char *id, const struct edit_row *row,
			    int64_t now, const struct edit_ending *end, int64_t *run,
			    struct error *e);

/* ---- what an operator asks for: edit_change.c, edit_leave.c, edit_link.c, edit_request.c
 * -------
 */

/* One change of one task. All borrowed but the row. */
struct edit_change {
	struct db *db;
	const char *id;
	const json_t *args;
	int64_t now;
	struct edit_row row;
	struct edit_done *done;
	struct edit_worker *worker;
	struct error *e;
};

/** edit_change_check() - every argument is one of @keys and of its kind. Return: 0 or
 * EDIT_INVALID
 */
MUST_CHECK int edit_change_check(const char *verb, const char *const *keys, const json_t *args,
				 struct error *e);

/** edit_change_has(), edit_change_text(), edit_change_number() - an argument: is it given; its
 * text, NULL for none; its number as text for SQL, which knows NULL */
bool edit_change_has(const struct edit_change *a, const char *key);
const char *edit_change_text(const struct edit_change *a, const char *key);
const char *edit_change_number(const struct edit_change *a, const char *key, char out[24]);

/** edit_change_is() - was that the task's status when it was read */
bool edit_change_is(const struct edit_change *a, const char *status);

/** edit_change_status() - that is its status now */
void edit_change_status(const struct edit_change *a, const char *status);

/** edit_change_swapped() - DB_CONFLICT unless the last statement changed exactly that task */
MUST_CHECK int edit_change_swapped(const struct edit_change *a);

/** edit_change_event() - tell what was done; @payload: given away, NULL is out of memory */
MUST_CHECK int edit_change_event(const struct edit_change *a, const char *kind, int64_t run,
				 json_t *payload);

/** edit_leave_…() - archive (and cancel), kill, schedule */
MUST_CHECK int edit_leave_archive(struct edit_change *a);
MUST_CHECK int edit_leave_kill(struct edit_change *a);
MUST_CHECK int edit_leave_schedule(struct edit_change *a);

/** edit_series_first() - the calendar's first time after @now. Return: 0, EDIT_INVALID, -ENOMEM
 */
MUST_CHECK int edit_series_first(const char *calendar, int64_t now, int64_t *at,
				 struct error *e);
/** edit_series_key() - the idempotency key of a new series, made of @key or at random; owned */
MUST_CHECK int edit_series_key(const char *key, char **out, struct error *e);
/** edit_series_time() - a task that is `scheduled` waits until @at; within a transaction */
MUST_CHECK int edit_series_time(struct db *db, const char *id, int64_t at, int64_t now,
				struct error *e);
/** edit_series_told() - the event that says how a task recurs; @how is given away */
MUST_CHECK int edit_series_told(struct db *db, const char *id, json_t *how, int64_t now,
				struct error *e);
/** edit_series_ask() - `every` of an edit: from now on by that calendar, or no more */
MUST_CHECK int edit_series_ask(struct edit_change *a);

/** edit_link(), edit_link_undo() - wait for a parent, or not any more */
MUST_CHECK int edit_link(struct edit_change *a);
MUST_CHECK int edit_link_undo(struct edit_change *a);
