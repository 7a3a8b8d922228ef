/* A board in a folder of its own, for the tests of what is written on boards. */
#pragma once

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

void edit_setup(void);

void edit_teardown(void);

void sql(const char *text);

const char *rows(const char *text);

/* the rows of a query are a must */
void same(const char *text, const char *want);

void add(const struct edit_task *t);
