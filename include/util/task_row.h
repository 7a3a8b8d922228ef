/*
 * The columns of a task that its worker is told: each is named here once, as the board names
 * it. A claim reads them, the plan carries them, a launch makes an environment and a command
 * line of them, and a repeating task hands them to the next one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

/* Texts, numbers that are not below 0 (0 is none), and flags. */
/* clang-format off */
#define TASK_TOLD(TEXT, NUMBER, FLAG) \
	TEXT(tenant) \
	TEXT(skills) /* JSON */ \
	TEXT(model_override) \
	TEXT(provider_override) /* only with a model */ \
	TEXT(reasoning_effort) \
	NUMBER(max_runtime_seconds) \
	FLAG(goal_mode) \
	NUMBER(goal_max_turns)

/* Where it works; of these the next one of a repeating task has its own. */
#define TASK_PLACE(TEXT) \
	TEXT(workspace_kind) /* "scratch", "dir", "worktree"; anything else fails */ \
	TEXT(workspace_path) \
	TEXT(branch_name)
/* clang-format on */

struct task_row {
#define TASK_ROW_TEXT(name)   char *name; /* malloc'd, or NULL */
#define TASK_ROW_NUMBER(name) int64_t name;
#define TASK_ROW_FLAG(name)   bool name;
	TASK_PLACE(TASK_ROW_TEXT)
	TASK_TOLD(TASK_ROW_TEXT, TASK_ROW_NUMBER, TASK_ROW_FLAG)
#undef TASK_ROW_TEXT
#undef TASK_ROW_NUMBER
#undef TASK_ROW_FLAG
};

/** task_row_copy() - of texts and all. Return: 0 or -ENOMEM; task_row_deinit() in any case. */
MUST_CHECK int task_row_copy(struct task_row *to, const struct task_row *from);

void task_row_deinit(struct task_row *row);
