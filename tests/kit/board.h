/*
 * What the unit tests of the board share: a database of this case in a folder of its own, rows
 * by plain SQL, and a tick_request whose host is all false (no process, no folder, no
 * lease). The black-box tests have a rig of their own (rig.h); nothing here starts a program.
 */
#pragma once

#include <check.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "db/db.h"
#include "suite.h"
#include "tick/plan.h"
#include "tick/tick.h"
#include "util/error.h"
#include "util/settings.h"

#define KIT_NOW  INT64_C(1780000000) /* the tests' present */
#define KIT_HOST "h"
#define KIT_LOCK "h:77" /* our claim lock */

enum kit_flags {
	KIT_WAL = 1 << 0,
	KIT_LEGACY = 1 << 1,    /* the columns of the first release */
	KIT_SCHEDULED = 1 << 2, /* with tasks.scheduled_at */
	KIT_AUGUST = 1 << 3,    /* without what came in September */
};

struct kit {
	unsigned age; /* of the boards of this case: KIT_AUGUST, or 0 for newer ones */
	char dir[128];
	char path[160]; /* of the board's database */
	int fds;        /* open descriptors at the start */
	struct db *db;  /* of kit_open(); closed by teardown */
	struct settings set;
	struct tick_host host;
	struct caps caps;
	struct turns_board turn;
	struct tick_request rq;
	struct plan plan; /* of the last kit_tick() */
	struct error e;
	/* the false world */
	int64_t alive[16]; /* pids that live */
	size_t n_alive;
	const char *no_profile; /* the one name that has no profile */
	int owner_left;         /* how many more times we own the lease; -1 always */
	unsigned owner_asked;
	int pr_state; /* what pr_open() says */
	unsigned pr_asked;
	int64_t found; /* what find() says */
	int64_t began; /* what began() says */
	bool scratch;  /* what first_scratch() says, once */
	/* called when the lease is asked for: a place to let others act in mid-tick */
	void (*on_owner)(void);
	void *kept[4096]; /* texts that teardown frees */
	size_t n_kept;
};

extern struct kit kit;

/** kit_setup(), kit_teardown() - checked fixtures; teardown fails on an open descriptor and on
 * memory that SQLite still holds */
void kit_setup(void);
void kit_teardown(void);
TCase *kit_tcase(Suite *suite, const char *name, const TTest *const *tests, size_t n);

/** kit_tcase_august() - an empty one; every board of its cases is one of August */
TCase *kit_tcase_august(Suite *suite, const char *name);
/** kit_suite() - @both run twice: on newer boards, and on boards of August; @newer on newer
 * ones only. Both end with NULL. */
Suite *kit_suite(const char *name, const TTest *const *both, const TTest *const *newer);
/** kit_by_age() - what is expected of the boards of this case */
const char *kit_by_age(const char *newer, const char *august);
/** kit_loop_ended() - after the last use of libuv in a case: its own descriptors go, too. Not
 * where cases share a process (CK_FORK=no), because libuv does not come back from that */
void kit_loop_ended(void);
char *kit_printf(const char *fmt, ...) PRINTF(1, 2); /* kept until teardown */

/** kit_board() - make the board's database */
void kit_board(unsigned flags);
/** kit_open() - and open it as kit.db; kit_close() closes it */
struct db *kit_open(void);
void kit_close(void);

/* SQL with sqlite3_mprintf's %Q …, by a connection that lasts one call */
void kit_sql(const char *fmt, ...);

/** kit_refuse() - rows of @table that are @where can no longer be written; kit_allow() ends it.
 * Not by a trigger: those of a board do not run. There is no such row yet. */
void kit_refuse(const char *table, const char *where);
void kit_allow(void);
int64_t kit_int(const char *fmt, ...);
/** kit_count() - how many files in the case's folder match @pattern */
size_t kit_count(const char *pattern);
/** kit_list() - rows joined by ',', columns by '|', NULL as "-" */
char *kit_list(const char *fmt, ...);
/** kit_unindexed() - statements whose events the index of events by task does not know */
void kit_unindexed(const char *sql);
#define ck_list(expected, ...) ck_assert_str_eq(kit_list(__VA_ARGS__), expected)

/** kit_task() - a task, assignee "jimmy"; @set: more, as SET part, or NULL */
void kit_task(const char *id, const char *status, const char *set);
/** kit_run() - a running task with its open run, claimed by KIT_LOCK an hour's quarter ago.
 * Return: the run. @set, @set_run: more, as SET parts, or NULL */
int64_t kit_run(const char *id, int64_t pid, const char *set, const char *set_run);
/** kit_ended() - a closed run. Return: its id */
int64_t kit_ended(const char *id, const char *outcome, int64_t at, const char *metadata);
void kit_event(const char *id, const char *kind, const char *payload, int64_t at);
char *kit_kinds(const char *id); /* kinds of its events, in order, joined by ',' */
/** kit_claim_invariant() - §4.3 of the board contract holds */
void kit_claim_invariant(void);

/** kit_tick() - tick_run() of @steps into kit.plan, which is emptied first */
int kit_tick(unsigned steps);
/** kit_ctx() - the kit as a step of a tick wants it; static */
const struct tick *kit_ctx(void);
/** kit_plan() - empty kit.plan */
void kit_plan(void);
/** kit_ids() - a list as ids joined by ',' */
char *kit_ids(const struct strings *list);
void kit_lives(int64_t pid);
void kit_died(int64_t pid);

#define KIT_SUITE(name, ...)                                                                   \
	Suite *test_suite(void)                                                                \
	{                                                                                      \
		const TTest *const tests[] = { __VA_ARGS__ };                                  \
		Suite *suite = suite_create(name);                                             \
                                                                                               \
		(void)kit_tcase(suite, name, tests, sizeof(tests) / sizeof(tests[0]));         \
		return suite;                                                                  \
	}

#define KIT_TESTS(...) ((const TTest *const[]){ __VA_ARGS__, NULL })

/* What both kinds of boards share, and what is different: KIT_SUITE_AGES("tick",
 * KIT_TESTS(on_both, on_both_too), KIT_TESTS(on_newer_ones)) */
#define KIT_SUITE_AGES(name, both, newer)                                                      \
	Suite *test_suite(void)                                                                \
	{                                                                                      \
		return kit_suite(name, both, newer);                                           \
	}
