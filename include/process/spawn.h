/*
 * Starting a process, and what a pidfd is opened with. One place for all that this program
 * starts: workers, senders, helpers.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

struct spawn {
	const char *file;  /* absolute path of the program */
	char *const *argv; /* of the new process */
	char *const *envp; /* of the new process */
	const char *cwd;   /* or NULL for ours */
	int in;            /* standard input, 3 or higher; 0 for /dev/null */
	int out;           /* standard output, 3 or higher */
	int err;           /* standard error, 3 or higher */
	uint64_t run;      /* proc_run_number() of what it is started for; 0 for none */
};

/**
 * spawn_process() - posix_spawn() into a session of its own with default signals and no other
 * descriptor than those given
 * Return: 0 or -errno (of the exec too).
 */
MUST_CHECK int spawn_process(const struct spawn *how, pid_t *pid);

/**
 * spawn_find() - which file would run for @name
 * @path: the PATH to search; its relative entries are skipped: they would mean the workspace
 * @file: out, malloc'd absolute path
 * Return: 0; -ENOENT; -EACCES found, but not executable; -ENOMEM.
 */
MUST_CHECK int spawn_find(const char *name, const char *path, char **file);

/** spawn_pidfd() - pidfd_open(2): a close-on-exec descriptor or -errno */
MUST_CHECK int spawn_pidfd(pid_t pid);

/** spawn_fd_steal() - STEAL() for a descriptor with CLEANUP(fs_closep) */
static inline int spawn_fd_steal(int *fd)
{
	int value = *fd;

	*fd = -1;
	return value;
}

/** spawn_fd_high() - move @fd out of 0, 1, 2 (close-on-exec); closes it on failure */
MUST_CHECK int spawn_fd_high(int fd);

/** spawn_undo() - end a child of ours that could not be kept hold of, with its group; reaps it
 */
void spawn_undo(pid_t pid);
