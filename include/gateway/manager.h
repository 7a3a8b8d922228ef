/* A service manager, asked over D-Bus what it knows of a unit. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gateway/unit_file.h"
#include "util/error.h"

struct manager_unit {
	bool active;          /* it runs, or is being reloaded */
	char state[32];       /* "active", "failed", … */
	char enabled[32];     /* "enabled", "disabled", "transient" … */
	uint64_t watchdog_us; /* 0: none */
	bool stale;           /* its files changed since they were read */
};

/**
 * manager_ask() - what the manager of @scope says about @name
 * Blocks: at most two seconds.
 * Return: 0; -ENOENT no such unit; other -errno: no manager answers.
 */
MUST_CHECK int manager_ask(enum unit_scope scope, const char *name, struct manager_unit *unit);
