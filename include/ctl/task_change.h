/*
 * One change of one task, by a worker or by an operator in its place.
 *
 * A worker is whoever has HERMES_KANBAN_TASK in its environment. It need not name its task, and
 * for its own task it has to be the current run: HERMES_KANBAN_RUN_ID and
 * HERMES_KANBAN_CLAIM_LOCK are checked. For another task they say nothing and are not looked
 * at.
 */
#pragma once

#include <stdint.h>

#include "board/discover.h"
#include "board/edit.h"
#include "util/error.h"

struct ctl;
struct db;

struct task_change {
	const char *task; /* borrowed */
	struct edit_by by;
	struct board_place place;
	struct db *db;
	struct edit_done done;
	struct error e;
};

/**
 * task_change_open() - which task, who speaks, the open board
 * @task: from the command line, or NULL; @run: --run, or 0
 * Return: 0, or an exit code after telling why.
 */
MUST_CHECK int task_change_open(struct ctl *ctl, struct task_change *w, const char *task,
				int64_t run);
void task_change_close(struct task_change *w);

/** task_change_told() - what came of it: @r of the edit; @done: said of the task, NULL: its
 * status. Return: exit code */
int task_change_told(const struct ctl *ctl, const struct task_change *w, const char *done,
		     int r);
