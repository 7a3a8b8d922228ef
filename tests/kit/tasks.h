/* Roots and tasks made by kanbanctl, and members of what it prints. */
#pragma once

#include <jansson.h>

#include "ctl.h"

/* A root with the default board. */
void world_with_root(void);
/* And with one task, t_1, ready. */
void world_with_task(void);

char *world_add(const char *title);
/* Task @id becomes running as a dispatcher leaves it: run 1, lock h:1. */
void world_run_task(const char *id);

const char *world_text(const json_t *json, const char *key);
json_int_t world_int(const json_t *json, const char *key);
