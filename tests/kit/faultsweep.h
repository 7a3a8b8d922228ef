/*
 * Fault sweeps: an operation on a board is tried again and again from the same files, each time
 * with another call of the file system going wrong, until every call that it makes was hit: by
 * each kind of fault, once or from then on. After each try the files are judged, and the
 * operation must work without faults.
 *
 * A check takes some of the calls, a prime number apart; KANBAND_TORTURE=1 takes all.
 * KANBAND_TORTURE_SAY=1 says how many there were.
 */
#pragma once

#include <check.h>
#include <stdbool.h>

#include "board.h"
#include "faultvfs.h"

struct sweep_fault {
	enum fault_kind kind;
	bool persists;
};

struct sweep {
	/* what is tried. Return: 0 when it says that it was done */
	int (*act)(void);
	/* what is there afterwards; @r: of act(), or -1 when the process died */
	void (*judge)(const struct sweep_fault *f, int r);
	/* and without a fault it works, whatever came before */
	void (*again)(const struct sweep_fault *f);
};

/** sweep_setup() - checked fixture, after kit_setup() */
void sweep_setup(void);
void sweep_teardown(void); /* before kit_teardown() */

/** sweep_keep() - the files of kit.dir as they are now are what every try begins with */
void sweep_keep(void);
/** sweep_back() - put them there */
void sweep_back(void);

/** sweep_is_kept() - has @path the bytes that @name, below kit.dir, had at sweep_keep() */
bool sweep_is_kept(const char *path, const char *name);

/** sweep_run() - all kinds, all calls */
void sweep_run(const struct sweep *s);

/** sweep_where() - which try this is, for messages */
const char *sweep_where(void);

#define sweep_assert(condition, fmt, ...)                                                      \
	ck_assert_msg(condition, "%s: " fmt, sweep_where(), __VA_ARGS__)

/** sweep_rows() - all rows of all tables as text, malloc'd; NULL when the board is not sound */
char *sweep_rows(void);
/** sweep_file_rows() - the same of another database */
char *sweep_file_rows(const char *path);
/** sweep_equal() - those of a sound board, and as they should be */
void sweep_equal(const char *rows, const char *want);
/** sweep_same() - the board is sound, and has the rows @want */
void sweep_same(const char *want);
/** sweep_text() - first column of the first row of @sql, malloc'd; NULL when there is none */
char *sweep_text(const char *sql);
/** sweep_count() - files of kit.dir that match a pattern */
size_t sweep_count(const char *pattern);
