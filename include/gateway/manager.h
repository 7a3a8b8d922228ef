/*
 * A service manager, asked over D-Bus what it knows of units. Where none answers, where it is
 * somebody else's, and for a unit whose files changed since it read them, the files are read.
 */
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

/** manager_load() - as unit_load(), by the manager of @path where one answers */
MUST_CHECK int manager_load(const struct unit_path *path, const char *name, struct unit *unit);

/** manager_find() - as unit_find(), by the manager of @path where one answers: then also those
 * that are no files, and instances of templates that run */
MUST_CHECK int manager_find(const struct unit_path *path, const char *prefix,
			    struct unit_list *list);
