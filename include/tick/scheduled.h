/* Step 8 of a tick, too: a task that was put off until a time goes on when it has come. */
#pragma once

#include "tick/tick.h"

/*
 * SQL: until when a task of alias t in status `scheduled` is put off, NULL for until somebody
 * unblocks it. With SCHEDULED_EVENT joined, which is the newest event that says so (for a task
 * in any other status nothing is looked for). The column counts if it lies after that event, or
 * there is no event: it may be left over from before.
 */
#define SCHEDULED_AT                                                                           \
	"coalesce(CASE WHEN typeof({tasks.scheduled_at@t}) = 'integer'"                        \
	"  AND (se.id IS NULL OR {tasks.scheduled_at@t} > se.created_at)"                      \
	"  THEN {tasks.scheduled_at@t} END,"                                                   \
	" CASE WHEN json_valid(se.payload) THEN"                                               \
	"  CASE WHEN json_type(se.payload, '$.at') = 'integer'"                                \
	"   THEN json_extract(se.payload, '$.at') END END)"

#define SCHEDULED_EVENT                                                                        \
	" LEFT JOIN task_events se ON se.id = (SELECT e.id FROM task_events e"                 \
	"  WHERE e.task_id = CASE WHEN t.status = 'scheduled' THEN t.id END"                   \
	"  AND e.kind = 'scheduled' ORDER BY e.id DESC LIMIT 1)"

/**
 * scheduled_run() - what is due becomes ready, or todo while a parent is open: as by an unblock
 * The next time is a deadline of the plan. Return: 0, or as db_step(), db_commit().
 */
MUST_CHECK int scheduled_run(const struct tick *t);
