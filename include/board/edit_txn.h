/* The transaction that every edit is; for edit*.c only. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "board/edit.h"

struct db;

/* What a decision needs to know of a task. The strings are owned. */
struct edit_row {
	char *status;
	char *claim_lock;          /* or NULL */
	char *block_kind;          /* or NULL */
	int64_t block_recurrences; /* blocks in a row for block_kind */
	int64_t run;               /* current_run_id, 0 if none */
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

#define EDIT_TEXT_MAX  ((size_t)64 << 20) /* bytes of a body, a result, a comment … */
#define EDIT_SHORT_MAX ((size_t)4096)     /* bytes of a name, a path, a key */
