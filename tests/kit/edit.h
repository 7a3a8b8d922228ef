/* A board in a folder of its own, for the tests of what is written on boards. */
#pragma once

#include <check.h>

#include "board/edit.h"
#include "db/db.h"

#define NOW INT64_C(1800000000)

extern char edit_folder[256]; /* the folder */
extern char edit_path[300];   /* the board's file */
extern struct db *db;         /* open on it */
extern struct error refusal;  /* of the last call */
extern struct edit_done done; /* of the last edit */
extern char id[EDIT_ID_SIZE]; /* of the last task added */

/* one more connection to edit_path */
struct db *open_board(void);

/** edit_suite() - each test with a board of its own, and those of @both again with one of
 * August 2026; @newer need what a board of August has not got, or no board */
Suite *edit_suite(const char *name, const TTest *const *both, size_t n,
		  const TTest *const *newer, size_t n_newer);
#define EDIT_SUITE(name, both, newer)                                                          \
	edit_suite(name, both, sizeof(both) / sizeof((both)[0]), newer,                        \
		   sizeof(newer) / sizeof((newer)[0]))

/** edit_by_age() - what is written or expected on the board of this case */
const char *edit_by_age(const char *newer, const char *august);

void sql(const char *text);

const char *rows(const char *text);

/* the rows of a query are a must */
void same(const char *text, const char *want);

void add(const struct edit_task *t);
