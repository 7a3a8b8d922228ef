/* From text to lines, from lines to an environment. */
#pragma once

#include "gateway/unit_file.h"

/** unit_parse() - append what a file says to unit->lines; 0 or -ENOMEM */
MUST_CHECK int unit_parse(struct unit *unit, const char *text, size_t len);

/** unit_environment() - fill unit->env from the lines and the files they name; 0 or -ENOMEM */
MUST_CHECK int unit_environment(struct unit *unit);

/**
 * unit_env_file() - the variables of an environment file, as systemd reads one
 * @fn: called for each; stops at a negative result
 */
MUST_CHECK int unit_env_file(const char *text,
			     int (*fn)(void *arg, const char *name, const char *value),
			     void *arg);
