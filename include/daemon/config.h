/*
 * Every setting, where it came from, and what it is for one root or board. Precedence: command
 * line, environment (CONTRACT), kanband.conf and its drop-ins, the root's config.yaml `kanban:`
 * block, default. Within kanband.conf, [board SLUG] beats [root PATH] beats [kanband].
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "hook/hook.h"
#include "launch/launchers.h"
#include "util/error.h"
#include "util/settings.h"

struct config;

/* The command line's part; NULL and 0 where an option was not given. Borrowed. */
struct config_cli {
	const char *file;         /* --config */
	const char *const *roots; /* --root, NULL-terminated, or NULL */
	const char *socket;       /* --socket */
	const char *launcher;     /* --launcher */
	const char *log_level;    /* --log-level */
};

/**
 * config_load() - read everything and check it
 * @env: environment, as in environ(7); borrowed for the call
 * @e:   first error: file, line, key, what is wrong, what is allowed. A bad value or unknown
 * key in kanband.conf or on the command line is an error; in config.yaml it is a warning and
 *       the default holds (CONTRACT §10), see config_warnings().
 * Return: 0; -EINVAL (exit 78); other -errno.
 */
MUST_CHECK int config_load(struct config **config, const struct config_cli *cli,
			   char *const *env, struct error *e);
struct config *config_free(struct config *config);
DEFINE_FREEP(struct config, config_free)

/** config_warnings() - one sentence each, NULL-terminated, borrowed */
const char *const *config_warnings(const struct config *config);

/**
 * config_fault() - why a config.yaml cannot be taken as it stands (it cannot be read, a value
 * is none), or NULL. At the start it is a warning and limits more than it would; a reload is
 * refused.
 */
const char *config_fault(const struct config *config);

/** config_roots() - absolute kanban roots without duplicates, NULL-terminated, never empty */
const char *const *config_roots(const struct config *config);
const char *config_socket(const struct config *config); /* or NULL: none possible */
enum launcher_kind config_launcher(const struct config *config);

/** config_launcher_word() - as the configuration writes it; static */
const char *config_launcher_word(enum launcher_kind launcher);

/** config_is_launcher() - is it one of LAUNCHERS */
bool config_is_launcher(const char *word);

/** config_launchers() - "auto, …, slurm or command" into @buf, which it returns */
const char *config_launchers(char *buf, size_t size);

const char *const *
config_command(const struct config *config); /* [worker] command split as words; NULL unless the
					      * launcher is LAUNCHER_COMMAND */
int config_log_level(const struct config *config); /* LOG_* */

/** config_hooks() - of [hook NAME], those that have a command; borrowed from @config */
const struct hook_def *config_hooks(const struct config *config, size_t *n);

/**
 * config_settings() - what holds for @slug of @root
 * @root: as config_roots() says it
 * @slug: NULL for the root's own
 * @out:  strings are borrowed from @config
 */
void config_settings(const struct config *config, const char *root, const char *slug,
		     struct settings *out);

/** config_settings_worker() - the same for a worker of @profile (canonical, or NULL for none)
 */
void config_settings_worker(const struct config *config, const char *root, const char *slug,
			    const char *profile, struct settings *out);

/**
 * config_same_process() - do two configs have the same roots, in the same order, and the same
 * socket? These are fixed while the process lives: a reload that changes them is refused.
 */
bool config_same_process(const struct config *a, const struct config *b);

/** config_print() - --check-config: every effective value with where it came from.
 * @json: one object instead of lines: {"process":{KEY:…},"roots":{PATH:{KEY:…}},
 * "boards":{SLUG:{KEY:…}},"files":[…],"warnings":[…]} with {"value":…,"unit":…,"source":…} for
 * each key.  Return: 0 or -errno (a failed write). */
MUST_CHECK int config_print(const struct config *config, FILE *out, bool json);

/**
 * config_root_from_env() - the kanban root by CONTRACT §1 (HERMES_KANBAN_HOME, HERMES_HOME,
 * HOME) Return: 0 and a malloc'd absolute path in @root; -ENOENT with @e when there is no HOME
 * either.
 */
MUST_CHECK int config_root_from_env(char *const *env, char **root, struct error *e);

/**
 * config_hermes_home() - HERMES_HOME, where an ESTOP may lie beside that of the root
 * Without it, it is ~/.hermes for whoever is told his root by HERMES_KANBAN_HOME, as Hermes has
 * it; who is told by --root or kanband.conf has none.
 * Return: 0 and a malloc'd absolute path in @path, or NULL for none; -ENOMEM.
 */
MUST_CHECK int config_hermes_home(char *const *env, char **path);
