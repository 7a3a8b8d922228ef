/*
 * What the rules of a tick ask of this host (struct tick_host), as the daemon answers it; the
 * parts that need no daemon are also what kanbanctl answers.
 */
#pragma once

#include <stdbool.h>

#include "tick/tick.h"

struct root;

/** tick_host_init() - fill root->host; before any job */
void tick_host_init(struct root *root);

/** tick_host_alive() - is that worker alive, as far as its claim can tell */
bool tick_host_alive(const struct tick_worker *worker);

/** tick_host_profile() - has @root a profile of this canonical name */
bool tick_host_profile(const char *root, const char *canonical);
