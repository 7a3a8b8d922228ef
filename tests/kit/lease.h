/*
 * What the tests of the lease share: a loop and a folder with a root, what the events said, and
 * helper processes that can be killed. A helper is this test program, started again in a role
 * (so that no fork happens beside threads):
 *
 *   hold ROOT      take the lease, print the epoch, wait to be killed
 *   parent ROOT    the same, with a child that outlives it
 *   gateway FILE   flock FILE as a Hermes gateway does, under another name
 *   heir FILE      the same, but leave the descriptor to a child
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "files.h"
#include "root/lease.h"
#include "suite.h"
#include "util/fs.h"

#define WAIT_MS 20000

/* The roles */

struct helper {
	pid_t pid;
	pid_t child;   /* of the helper */
	int64_t epoch; /* what it printed first */
};

/* Its suite_role() makes the program such a helper if the arguments say so. */

/** role_host() - gethostname(), as every lease of these tests is called */
const char *role_host(void);

void helper_start(struct helper *h, const char *role, const char *path);
void helper_start_argv(struct helper *h, char *const argv[]);
void helper_kill(struct helper *h);

/* The fixture */

struct seen {
	int acquired, standby, lost, failed, closed;
	int64_t epoch;
	char holder[640];
	char why[640];
	struct error error;
	struct lease *close_me; /* close from inside the next event */
};

struct fix {
	uv_loop_t loop;
	uv_timer_t guard;
	bool expired;
	char *folder;
	char *root;
	char *lock;
	char *owner;
	int fds;
};

extern struct fix fix;

void fix_setup(void);
void fix_teardown(void);
void fix_on_guard(uv_timer_t *timer);
void fix_make_kanban(void);
void fix_on_closed(void *arg);

/* Turn the loop until @cond holds; the guard makes a hang a failure. */
#define RUN_UNTIL(cond)                                                                        \
	do {                                                                                   \
		fix.expired = false;                                                           \
		ck_assert_int_eq(uv_timer_start(&fix.guard, fix_on_guard, WAIT_MS, 0), 0);     \
		while (!(cond) && !fix.expired)                                                \
			(void)uv_run(&fix.loop, UV_RUN_ONCE);                                  \
		(void)uv_timer_stop(&fix.guard);                                               \
		ck_assert_msg(!fix.expired, "waited in vain for %s", #cond);                   \
	} while (0)

struct lease *open_root(const char *root, struct seen *s);
void close_lease(struct lease *lease, struct seen *s);
int try_root(struct lease **lease, int64_t *epoch, struct error *e);
