/* Visits of one board on the calling thread, for the unit tests of what a visit does. */
#pragma once

#include <sys/types.h>

#include "board/board.h"

extern struct board board;  /* of visit_setup() */
extern struct board_job bj; /* the last visit */
extern bool changed;        /* what board_publish() said of it */

/** visit_setup() - a board at kit.path; visit_cleanup() closes it */
void visit_setup(void);
void visit_cleanup(void);

/** visit_as() - one visit, prepared in @how; what came of it is in bj */
enum board_outcome visit_as(struct board_job how);
enum board_outcome visit(void);                 /* with a whole tick */
enum board_outcome look(void);                  /* only if changed */
enum board_outcome bring(struct board_job how); /* without a tick */

/** said() - does a note of the last visit have @text in it */
bool said(const char *text);

/* Another process that has the board's file open. */
struct other {
	pid_t pid;
	int hold;
};

/** other_open() - it runs @sql and then waits, with its connection open, for other_close() */
struct other other_open(const char *sql);
void other_close(struct other *o);
