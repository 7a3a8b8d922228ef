/* Because of what tasks wait, as people read it: "3 have no assignee, until kanbanctl …". */
#pragma once

#include <jansson.h>
#include <stddef.h>

struct ctl;

/**
 * waiting_text() - how many wait because of what: "1 has no assignee", "2 wait because 4 of 4
 * run over all boards"
 * @group: {count, text} of waiting_count()
 */
void waiting_text(const json_t *group, char *out, size_t size);

/**
 * waiting_put_until() - ", until kanbanctl assign t_1 PROFILE (2026-12-01 18:30)" to ctl->out;
 * nothing where nothing is known
 * @rule: {release, at} of why_task() or waiting_count()
 * @task: what TASK stands for in a command, or NULL: it is left as it is
 */
void waiting_put_until(const struct ctl *ctl, const json_t *rule, const char *task);

/** waiting_until() - the same as text, without a time */
void waiting_until(const json_t *rule, const char *task, char *out, size_t size);
