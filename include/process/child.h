/*
 * A program that is run beside the loop: it reads a text, says something, ends in time or is
 * ended. For what this process starts and is no worker: messages, hooks, copies of snapshots.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "process/environ.h"
#include "util/error.h"
#include "util/job.h"

#define CHILD_WORDS_MAX 160 /* bytes of a last line that is told */

struct child;

/* What to start. Copied, but for @environment, which is borrowed until the end. */
struct child_how {
	const char *const
		*argv; /* NULL-terminated; its first word is a path, or found on PATH */
	const struct environment *environment;
	const char *profile;            /* whose secrets it gets; NULL: none */
	const struct environ_var *vars; /* more variables */
	size_t n_vars;
	const char *input; /* what it reads on standard input; NULL: nothing */
	uint64_t limit_ms; /* SIGTERM to its process group then, SIGKILL 3 s later; 0: no limit
			    */
	bool whole;        /* what it leaves behind, in whatever session, is ended with it */
};

struct child_end {
	int result;                  /* 0: it ran; -errno: it did not, see @error */
	struct error error;          /* a sentence */
	int status;                  /* as of waitpid(2) */
	bool timed_out;              /* ended for its limit */
	bool killed;                 /* … or by child_kill() */
	char words[CHILD_WORDS_MAX]; /* the last line that it said, harmless; "" for none */
};

typedef void (*child_done_fn)(void *arg, const struct child_end *end);

/**
 * child_start() - start it by a job
 * @done: once, from the loop, with what came of it; then the child is gone
 * Return: 0; -ENOMEM or another -errno, then @done is not called.
 */
MUST_CHECK int child_start(struct child **out, uv_loop_t *loop, struct jobs *jobs,
			   const struct child_how *how, child_done_fn done, void *arg);

/** child_kill() - SIGKILL to its process group, also if it has not begun yet; it is reported */
void child_kill(struct child *c);

/** child_term() - SIGTERM, and SIGKILL 3 s later */
void child_term(struct child *c);

/** child_sentence() - what went wrong: "exit status 3: no space left"; "" if nothing did */
void child_sentence(const struct child_end *end, char *out, size_t size);
