/*
 * Programs that help the dispatcher and are no workers: `hermes kanban … decompose` for a
 * triage task, `gh` for the state of a pull request.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "process/environ.h"
#include "util/error.h"

/* Who helps, and where. Borrowed. */
struct helper {
	const struct environment *environment;
	const char *hermes; /* name or path of the program */
	const char *root;   /* the kanban root it works on */
};

/**
 * helper_decompose() - start `<hermes> kanban --board SLUG decompose TASK --author
 * auto-decomposer --json`, its output appended to `<logs_dir>/decompose.log`
 * A task id or slug that is no plain word is refused: nothing of a row becomes an option.
 * Thread: pool.  @pid, @pidfd: out; the caller watches and reaps it.
 * Return: 0; -EINVAL; other -errno (@e says why).
 */
MUST_CHECK int helper_decompose(const struct helper *helper, const char *board,
				const char *task, const char *logs_dir, pid_t *pid, int *pidfd,
				struct error *e);

/**
 * helper_pr_open() - is a GitHub pull request still open, by `gh pr view URL`
 * Answers are kept for five minutes. Thread: pool; blocks at most 15 s.
 * Return: 1 open; 0 closed or merged; -1 unknown (no gh, no answer).
 */
int helper_pr_open(const char *url);
