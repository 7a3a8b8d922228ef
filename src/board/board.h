/* Between subs.c and subs_ops.c only. */
#pragma once

#include "board/subs.h"

/* What is read of the events, and in this order what is sent first. */
#define SUBS_KINDS                                                                             \
	"'completed', 'blocked', 'gave_up', 'crashed', 'timed_out', 'review_requested',"       \
	" 'block_loop_detected', 'status', 'archived', 'unblocked'"

/* The row of one subscription, table alias s. */
#define SUBS_ROW                                                                               \
	"s.task_id, s.platform, s.chat_id, coalesce({kanban_notify_subs.thread_id@s}, ''),"    \
	" coalesce(s.last_event_id, 0), {kanban_notify_subs.notifier_profile@s},"              \
	" {kanban_notify_subs.delivery_mode@s}, {kanban_notify_subs.delivery_metadata@s},"     \
	" {kanban_notify_subs.chat_type@s}, {kanban_notify_subs.user_id@s},"                   \
	" {kanban_notify_subs.created_at@s}"

enum subs_column {
	SUBS_COL_TASK,
	SUBS_COL_PLATFORM,
	SUBS_COL_CHAT,
	SUBS_COL_THREAD,
	SUBS_COL_CURSOR,
	SUBS_COL_PROFILE,
	SUBS_COL_MODE,
	SUBS_COL_METADATA,
	SUBS_COL_CHAT_TYPE,
	SUBS_COL_USER,
	SUBS_COL_CREATED,
};

#define SUBS_IS_KEY                                                                            \
	"s.task_id = ?1 AND s.platform = ?2 AND s.chat_id = ?3"                                \
	" AND coalesce({kanban_notify_subs.thread_id@s}, '') = ?4"

/** subs_finish() - delete the subscription if its cursor is at @cursor, its task is over and
 * no event waits; inside the caller's transaction. @count: one more when it was deleted */
MUST_CHECK int subs_finish(struct db *db, const struct subs_key *key, int64_t cursor,
			   unsigned *count, struct error *e);

/** subs_ops_run() - the ops of a request, in one transaction */
MUST_CHECK int subs_ops_run(struct db *db, const struct tick_outside *outside,
			    struct subs_request *rq, struct subs_result *res, struct error *e);
