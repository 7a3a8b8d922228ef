/*
 * Between the files of src/launch only: the pieces that launch_worker() is made of.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "launch/launch.h"
#include "util/error.h"

/* argv.c: a NULL-terminated list of strings that grows */
struct strv {
	char **items; /* malloc'd strings, NULL-terminated once something was added */
	size_t count;
	size_t room;
	bool failed; /* out of memory somewhere on the way: one check at the end is enough */
};

/** strv_add() - append a copy of @text; a failure is remembered in @list */
void strv_add(struct strv *list, const char *text);

/** argv_build() - the whole command line of a worker, prefix included; NULL out of memory */
MUST_CHECK char **argv_build(const struct launcher *launcher, const struct launch_spec *spec);

/* environ.c */

/** environ_prepare() - filter @from (see launcher_init()); environ_free() frees it */
MUST_CHECK int environ_prepare(struct launch_env **out, char *const *from);
struct launch_env *environ_free(struct launch_env *env);
DEFINE_FREEP(struct launch_env, environ_free)

/**
 * environ_build() - the environment of one worker
 * @branch: or NULL
 * Return: one malloc'd block, valid as long as @env; the caller frees it; NULL out of memory.
 */
MUST_CHECK char **environ_build(const struct launch_env *env, const struct launch_spec *spec,
				const char *workspace, const char *branch);

/**
 * environ_keep_more() - look up once what each launch needs besides: where @program is, and
 * which boot this is. Return: 0 or -ENOMEM.
 */
MUST_CHECK int environ_keep_more(struct launch_env *env, const char *program);

/** environ_find() - spawn_find() on the PATH of @env, with what environ_keep_more() found */
MUST_CHECK int environ_find(const struct launch_env *env, const char *program, char **file);

/** environ_boot() - the kept identity_boot(), or NULL */
const char *environ_boot(const struct launch_env *env);

/** environ_plain() - @env without per-task variables, for git; NULL-terminated, borrowed */
char *const *environ_plain(const struct launch_env *env);
const char *environ_path(const struct launch_env *env); /* PATH, or a default */
const char *environ_home(const struct launch_env *env); /* HOME, or NULL */

/* spawn.c */
struct spawn {
	const char *file;  /* absolute path of the program */
	char *const *argv; /* of the new process */
	char *const *envp; /* of the new process */
	const char *cwd;   /* or NULL for ours */
	int out;           /* standard output, 3 or higher */
	int err;           /* standard error, 3 or higher */
};

/**
 * spawn_process() - posix_spawn() into a session of its own with default signals, stdin
 * /dev/null and no other descriptor than the two given
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

/* workspace.c */

/**
 * workspace_prepare() - the folder a worker runs in, made where that is due
 * @path:   out, malloc'd; where it is
 * @branch: out, malloc'd or NULL; worktree only
 * Return: 0; LAUNCH_WORKSPACE_FAILED (@e begins with "workspace: ").
 */
MUST_CHECK int workspace_prepare(const struct launch_env *env, const struct launch_spec *spec,
				 char **path, char **branch, struct error *e);

/**
 * workspace_path() - an absolute path, `~` expanded, `//`, `/./` and a trailing slash gone
 * @home: what `~` stands for, or NULL
 * @out:  malloc'd
 * Return: 0; -EINVAL not absolute; -ENOMEM.
 */
MUST_CHECK int workspace_path(const char *text, const char *home, char **out);

/** workspace_mkdir() - make @path if missing. Return: 0 or LAUNCH_WORKSPACE_FAILED. */
MUST_CHECK int workspace_mkdir(const char *path, struct error *e);

/* worktree.c: as workspace_prepare() for the kind "worktree" */
MUST_CHECK int worktree_prepare(const struct launch_env *env, const struct launch_spec *spec,
				char **path, char **branch, struct error *e);

/* git.c */
#define GIT_TIMEOUT_MS 120000

struct git {
	const char *file;  /* absolute path of git */
	char *const *envp; /* its environment, see git_init() */
	char **own;        /* what git_init() allocated */
	int timeout_ms;    /* bound of one call */
};

/* What a git call said, cut at the size of the buffers. */
struct git_output {
	int status;     /* exit status, -1 if killed by a signal or by the time-out */
	bool timed_out; /* ended by us */
	char out[8192]; /* standard output */
	char err[2048]; /* standard error */
	size_t out_len; /* before the NUL; a NUL from git itself counts as text */
	bool out_cut;   /* there was more */
};

/** git_init() - find git and make its environment. Return: 0 or -errno as spawn_find(). */
MUST_CHECK int git_init(struct git *git, const struct launch_env *env);
void git_deinit(struct git *git);

/**
 * git_run() - run `git ARGS…` and wait for it, its process group killed after the time-out
 * @args: NULL-terminated, without "git"
 * Return: 0 if it ran (see @output->status), else -errno.
 */
MUST_CHECK int git_run(const struct git *git, const char *const *args,
		       struct git_output *output);

/** git_reason() - the line of git's that tells why it failed, for an error sentence */
const char *git_reason(struct git_output *output, char *buf, size_t size);

/* logfile.c */

/**
 * logfile_open() - the worker log, rotated first where it is due
 * Return: a descriptor of 3 or higher, or -errno (@e filled).
 */
MUST_CHECK int logfile_open(const struct launcher *launcher, const struct launch_spec *spec,
			    struct error *e);
