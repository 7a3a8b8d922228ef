/*
 * What a child of this process inherits of its environment. One list of what is left out, for
 * workers, senders and helpers alike: the chat session and the task of whoever started the
 * daemon, and what the service manager gave to the daemon alone.
 *
 * Secrets (keys, tokens, bot accounts) belong to one profile: that of the environment the
 * daemon itself was started with. A child that works for another profile does not get them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

struct environment;

/**
 * environ_new() - take @from apart; environ_free() frees what is made
 * @from: NULL-terminated NAME=VALUE entries, or NULL; copied
 * @pass: NULL-terminated names, a trailing * for any rest, of what is given to every profile
 *        although it looks like a secret; or NULL
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int environ_new(struct environment **out, char *const *from,
			   const char *const *pass);
struct environment *environ_free(struct environment *env);
DEFINE_FREEP(struct environment, environ_free)

/** environ_get() - a value that a child may inherit, secret or not; borrowed, or NULL
 * HERMES_TENANT, HERMES_KANBAN_HOME and the TERMINAL_*TIMEOUTs are found here only: a child has
 * them when its starter says so. */
const char *environ_get(const struct environment *env, const char *name);

const char *environ_path(const struct environment *env); /* PATH, or a default */
const char *environ_home(const struct environment *env); /* HOME, or NULL */

/** environ_plain() - the entries for a child that needs no secret; NULL-terminated, borrowed */
char *const *environ_plain(const struct environment *env);

/* One variable of a child. */
struct environ_var {
	const char *name;
	const char *value; /* borrowed; NULL leaves the variable out */
};

/**
 * environ_block() - the environment of one child: @vars first, so that a reader of
 * /proc/PID/environ finds them in the first page, then what it inherits
 * @profile: whom it works for, canonical; NULL for nobody: no secrets
 * Return: one malloc'd block, valid as long as @env; the caller frees it; NULL out of memory.
 */
MUST_CHECK char **environ_block(const struct environment *env, const char *profile,
				const struct environ_var *vars, size_t count);
