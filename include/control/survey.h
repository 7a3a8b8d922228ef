/*
 * What a resource needs from files: who leads, how many tasks, a board's health record. Looked
 * at by a job, one at a time; tasks are counted by operations, because only who has a board may
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
struct survey_count;
struct request;
struct root;

/* What is looked for beside who leads. */
enum survey_for {
	SURVEY_TASKS = 1 << 0,   /* counts of tasks */
	SURVEY_WAITING = 1 << 1, /* and because of what they wait */
	SURVEY_SIZES = 1 << 2,   /* of all boards: the time of the newest snapshot, evidence */
	SURVEY_HISTORY = 1 << 3, /* who owned each root before */
};

struct survey_board {
	const struct dispatch *dispatch; /* only compared, never followed */
	char slug[BOARD_SLUG_MAX + 1];
	char *db, *folder;
	size_t root;                /* which of the survey's */
	json_t *tasks;              /* NULL: could not be counted */
	json_t *waiting;            /* as waiting_count(), or NULL */
	struct survey_count *count; /* that is being counted, or NULL */
	const char *mode;           /* journal mode, static text, or NULL */
	int64_t ready_since;        /* Unix seconds, of the oldest ready task; 0: none */
	int64_t snapshot_at;        /* Unix seconds, of the newest; 0: none */
	int64_t evidence_bytes;
	bool countable; /* its tasks may be counted */
};

struct survey_root {
	const struct root *root; /* only compared */
	char *path;
	struct leader leader;
	int result;               /* of leader_look() */
	struct lease_term *terms; /* or NULL */
	size_t n_terms;
};

struct survey {
	struct job job;
	struct survey *next;
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	void (*done)(struct request *req, const struct survey *survey);
	struct survey_root *roots;
	size_t n_roots;
	struct survey_board *boards;
	size_t n_boards;
	unsigned what;         /* bits of enum survey_for */
	char *record_of;       /* a database whose health record is wanted, or NULL */
	struct health *record; /* … NULL: could not be read */
	size_t pending;        /* counts that are awaited */
	bool counting;         /* the job is over */
	bool late;             /* … was not in time: what it found is not looked at */
};

/**
 * survey_start() - look around for @req, then call @done, which answers
 * @only: this root alone, or NULL; @one: this board alone, with its record, or NULL
 * @what: bits of enum survey_for
 */
void survey_start(struct request *req, const struct root *only, const struct dispatch *one,
		  unsigned what,
		  void (*done)(struct request *req, const struct survey *survey));

/** survey_tasks() - the count of @d: a new reference, or NULL. @mode: out, its journal mode */
json_t *survey_tasks(const struct survey *survey, const struct dispatch *d, const char **mode);

/** survey_waiting() - because of what they wait: a copy, or NULL */
json_t *survey_waiting(const struct survey *survey, const struct dispatch *d);

/** survey_may_count() - may the rows of @d be read now: nobody found it bad */
bool survey_may_count(const struct dispatch *d);

/** survey_board() - all that was found of @d; NULL: nothing */
const struct survey_board *survey_board(const struct survey *survey, const struct dispatch *d);

/** survey_leader() - NULL: could not be seen */
const struct leader *survey_leader(const struct survey *survey, const struct root *root);

/** survey_terms() - who owned @root, newest first; @n 0: could not be seen */
const struct lease_term *survey_terms(const struct survey *survey, const struct root *root,
				      size_t *n);

/** survey_record() - the health record that was asked for; NULL: could not be seen */
const struct health *survey_record(const struct survey *survey);

/** surveys_deinit() - the control goes, none runs */
void surveys_deinit(struct control *c);
