/* What was written into a board's task_events since a visit looked last, whoever wrote it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct db;

#define NEWS_MAX 200 /* rows of one look; the rest comes with the next */

struct news_row {
	int64_t id, run, at; /* run 0: none; at: Unix seconds */
	char *task, *kind;   /* owned */
	char *payload;       /* JSON as it stands there, or NULL: none, or too long */
};

struct news {
	struct news_row *rows; /* owned */
	size_t n;
	int64_t after; /* the next look begins behind this */
	bool more;     /* there are */
};

void news_deinit(struct news *news);

/** news_begin() - where a first look begins: behind the newest row from before @since (Unix
 * seconds). Thread: who has the board. Return: 0, or as db_step(). */
MUST_CHECK int news_begin(struct db *db, int64_t since, int64_t *after, struct error *e);

/**
 * news_read() - the rows behind @after of the kinds that hooks can ask for (hook_kind.h),
 * oldest first; a board that went back is gone on with from where it is now Thread: who has the
 * board. Return: 0, or as db_step(), then @news is empty.
 */
MUST_CHECK int news_read(struct db *db, int64_t after, struct news *news, struct error *e);

/** news_row_told() - is it of a kind that the daemon tells by a message of its own, too */
bool news_row_told(const struct news_row *row);
