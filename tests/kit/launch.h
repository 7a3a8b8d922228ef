/*
 * For the tests of src/launch: a folder per case, and a program to start. The program is the
 * test binary itself: called as "hermes" (a symbolic link that the fixture makes) it writes
 * down what it finds and then acts as the variable PROBE_ACT says. So whole environments and
 * descriptor tables can be compared, with no shell in between that changes them.
 */
#pragma once

#include <check.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "launch/launch.h"
#include "suite.h"

/* ---- a folder per case ---- */

extern char help_dir[PATH_MAX]; /* of the running case; cases fork, so this is its own */
extern int help_news;           /* reading end of <dir>/news, where probes write */

void help_setup(void);

void help_teardown(void);

/* A path in the case's folder; the caller frees it. */
char *help_path(const char *fmt, ...) PRINTF(1, 2);

void help_write(const char *path, const char *text);

/* The content of a file, NUL-terminated; the caller frees it. */
char *help_read(const char *path, size_t *len);

/* A line for the shell of the machine that the test runs on. */
int help_shell(const char *line);

/* ---- the probe: suite_role() of such a program ---- */

/* Put the probe on a PATH of its own: <dir>/bin/hermes. */
void help_probe(void);

void help_news_open(void);

/* Read @count news "<name> <pid>" and return the pid of @want (0 if it was not there). */
void help_news_read(size_t count, pid_t *pids, const char *const *names);

/*
 * Start the probe with nothing but @vars (NULL-terminated) and the way to tell news in its
 * environment, in a session of its own or in ours.
 */
pid_t help_start(const char *const *vars, bool session);

/* Is there such a process, not counting a zombie */
bool help_alive(pid_t pid);

/* ---- a launcher and a task ---- */

struct help_launch {
	struct launcher launcher;
	struct launch_spec spec;
	char *env[24]; /* of the launcher; the caller may append */
	size_t env_count;
};

void help_env(struct help_launch *h, const char *fmt, ...) PRINTF(2, 3);

char *help_dup(const char *text);

/* A scratch task of board "b1" for profile "jimmy"; git is on the PATH behind the probe. */
void help_launch_init(struct help_launch *h);

void help_launch_deinit(struct help_launch *h);

/* Reap our child; its wait status. */
int help_reap(pid_t pid);

/* launch_begin() and, if that went well, launch_finish(). */
int help_worker(const struct launcher *launcher, const struct launch_spec *spec,
		struct launch_result *result, struct error *e);

/* Start, wait for the exit, check its status. */
void help_run(struct help_launch *h, struct launch_result *result);

void help_set(char **field, const char *text);

/* valgrind 3.19 knows neither pidfds nor how an exec fails: some cases make no sense in it */
bool help_in_valgrind(void);
