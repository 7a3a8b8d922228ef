/* The built kanbanctl, run in a folder and an environment of the test's own. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* One run. */
struct ctl_result {
	int exit;  /* exit code, or -signal */
	char *out; /* standard output, NUL-terminated */
	size_t out_len;
	char *err; /* standard error */
};

extern char world_root[256]; /* the kanban root, HERMES_KANBAN_HOME of every run */

/** world_setup(), world_teardown() - checked fixture: an empty folder, a clean environment */
void world_setup(void);
void world_teardown(void);

/** world_env() - one more "NAME=value" for the runs to come; the text must outlive them */
void world_env(const char *assignment);

/** world_input() - standard input of the next run */
void world_input(const void *data, size_t len);

/** world_user() - whose the runs to come are; 0: this process's */
void world_user(uid_t uid);

/** world_program() - what is run instead of kanbanctl, with its arguments */
void world_program(const char *path);

/** world_binary() - path of kanbanctl */
const char *world_binary(void);

/** world_start() - start kanbanctl with @args (NULL-terminated, without argv[0]);
 * world_wait() must follow. */
struct world_child {
	pid_t pid;
	int out, err; /* files that collect the output */
};
struct world_child world_start(const char *const *args);
const struct ctl_result *world_wait(struct world_child child);

/** world_run() - start and wait; the result is valid until the next run */
const struct ctl_result *world_run(const char *const *args);

#define kanbanctl(...) world_run((const char *const[]){ __VA_ARGS__, NULL })

/** world_ok() - run, exit 0 is a must; returns standard output without its last newline */
const char *world_ok(const char *const *args);
#define ok(...) world_ok((const char *const[]){ __VA_ARGS__, NULL })

/** world_json() - run with --json and parse the output; the caller json_decref()s it */
json_t *world_json(int exit, const char *const *args);
#define parsed(exit, ...) world_json(exit, (const char *const[]){ __VA_ARGS__, "--json", NULL })

/** fails() - run; the exit code and a word of the message are a must, no output may come */
void world_fails(int exit, const char *word, const char *const *args);
#define fails(exit, word, ...)                                                                 \
	world_fails(exit, word, (const char *const[]){ __VA_ARGS__, NULL })

/** world_path() - a path below world_root; one of four static buffers */
const char *world_path(const char *name);

/** world_put() - write a file below world_root, with its folders */
void world_put(const char *name, const void *data, size_t len);

/** world_killed() - run SQL on the database @name below world_root in a process that is then
 * killed, so that it closes nothing */
void world_killed(const char *name, const char *sql);

/** world_sql() - run SQL on the database @name below world_root; first column of the first row
 * as text ("" for none, "-" for NULL), static */
const char *world_sql(const char *name, const char *sql);

/** world_sum() - a checksum over names and contents of everything below world_root but
 * -shm files */
unsigned long long world_sum(void);
