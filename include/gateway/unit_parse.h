/* From text to lines, from lines to an environment. */
#pragma once

#include "gateway/unit_file.h"

/** unit_parse() - append what a file says to unit->lines; 0 or -ENOMEM */
MUST_CHECK int unit_parse(struct unit *unit, const char *text, size_t len);

/** unit_settle() - fill env from the lines and the files they name, exec and account from the
 * values of ExecStart= and User=, NULL: not set; 0 or -ENOMEM */
MUST_CHECK int unit_settle(struct unit *unit, const char *exec, const char *user);

/** unit_env_put() - set the variable of @owned, "NAME=value", which is taken over; 0 or -ENOMEM
 */
MUST_CHECK int unit_env_put(struct unit *unit, char *owned);

/** unit_env_put_file() - set those of an environment file; one that cannot be read sets none */
MUST_CHECK int unit_env_put_file(struct unit *unit, const char *path);

/** unit_env_unset() - take "NAME" or "NAME=value" away */
void unit_env_unset(struct unit *unit, const char *what);

/**
 * unit_env_file() - the variables of an environment file, as systemd reads one
 * @fn: called for each; stops at a negative result
 */
MUST_CHECK int unit_env_file(const char *text,
			     int (*fn)(void *arg, const char *name, const char *value),
			     void *arg);
