/*
 * What a view needs from files: who leads, how many tasks, a board's health record. Looked at
 * by a job, one look at a time; tasks are counted by errands, because only who has a board may
 * open its file in this process. Counts are kept as long as the files' stamps say that nothing
 * changed; a board that is busy for too long has none.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "board/discover.h"
#include "recovery/health.h"
#include "root/leader.h"
#include "util/job.h"

struct control;
struct dispatch;
struct look_count;
struct request;
struct root;

struct look_board {
	const struct dispatch *dispatch; /* only compared, never followed */
	char slug[BOARD_SLUG_MAX + 1];
	char *db;
	size_t root;              /* which of the look's */
	json_t *tasks;            /* NULL: could not be counted */
	struct look_count *count; /* that is being counted, or NULL */
	const char *mode;         /* journal mode, static text, or NULL */
};

struct look_root {
	const struct root *root; /* only compared */
	char *path;
	struct leader leader;
	int result; /* of leader_look() */
};

struct look {
	struct job job;
	struct look *next;
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	void (*done)(struct request *req, const struct look *look);
	struct look_root *roots;
	size_t n_roots;
	struct look_board *boards;
	size_t n_boards;
	char *record_of;       /* a database whose health record is wanted, or NULL */
	struct health *record; /* … NULL: could not be read */
	size_t pending;        /* counts that are awaited */
	bool counting;         /* the job is over */
};

/**
 * look_start() - look for @req, then call @done, which answers
 * @only: this root alone, or NULL; @one: this board alone, with its record, or NULL
 * @tasks: count tasks
 */
void look_start(struct request *req, const struct root *only, const struct dispatch *one,
		bool tasks, void (*done)(struct request *req, const struct look *look));

/** look_tasks() - the count of @d: a new reference, or NULL. @mode: out, its journal mode */
json_t *look_tasks(const struct look *look, const struct dispatch *d, const char **mode);

/** look_leader() - NULL: could not be seen */
const struct leader *look_leader(const struct look *look, const struct root *root);

/** looks_deinit() - the control goes, no look runs */
void looks_deinit(struct control *c);
