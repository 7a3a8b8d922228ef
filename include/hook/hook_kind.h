/* What a hook can be told of: one word each. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum hook_source {
	HOOK_TASK,   /* an event of that kind in a board's task_events, whoever wrote it */
	HOOK_BOARD,  /* the board is in that state now */
	HOOK_DAEMON, /* a message of the daemon that has an id */
};

struct hook_kind {
	const char *name;
	enum hook_source source;
	const char *id; /* HOOK_DAEMON: LOG_ID_* */
};

/* The kinds of task_events that hooks can ask for, as a list for SQL's IN. What comes by the
 * minute (heartbeat, claim_extended) is not among them. */
/* clang-format off */
#define HOOK_TASK_KINDS(X)                                                                     \
	X("created")                                                                           \
	X("promoted")                                                                          \
	X("claimed")                                                                           \
	X("spawned") X("spawn_failed") X("completed") X("blocked") X("unblocked") X("crashed") \
		X("timed_out") X("gave_up") X("reclaimed") X("stale") X("rate_limited")        \
			X("review_requested") X("changes_requested") X("block_loop_detected")  \
				X("status") X("scheduled") X("recurred") X("assigned")         \
					X("commented") X("archived")
/* clang-format on */

#define HOOK_SQL_NAME(name) ", '" name "'"
#define HOOK_SQL_KINDS      "NULL" HOOK_TASK_KINDS(HOOK_SQL_NAME)

/** hook_kind_at() - the @i-th of all, NULL behind the last */
const struct hook_kind *hook_kind_at(size_t i);

/** hook_kind_find() - the one of that name, or NULL */
const struct hook_kind *hook_kind_find(const char *name);

/** hook_kind_of_log() - the name for a message with that id, or NULL */
const char *hook_kind_of_log(const char *id);
