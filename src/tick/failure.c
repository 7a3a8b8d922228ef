#include "tick/failure.h"

#include <errno.h>
#include <string.h>

#include "db/db.h"
#include "tick/history.h"
#include "util/log.h"

/* clang-format off */
static const char sql_count[] =
	"UPDATE tasks SET {failures} = ?2, {failure_error} = ?3 WHERE id = ?1";

static const char sql_block[] =
	"UPDATE tasks SET status = 'blocked', {failures} = ?2, {failure_error} = ?3 WHERE id = ?1";
/* clang-format on */

char *failure_cut(const char *text, size_t max)
{
	size_t n = 0, chars = 0;

	while (text[n]) {
		if (((unsigned char)text[n] & 0xC0) != 0x80 && chars++ == max)
			break;
		n++;
	}
	return strndup(text, n);
}

int64_t failure_limit(const struct tick_request *rq, int64_t max_retries, int64_t override,
		      bool *from_task)
{
	*from_task = max_retries >= 0;
	if (*from_task)
		return max_retries;
	return override > 0 ? override : rq->set->failure_limit;
}

static int failure_trip(struct db *db, const struct tick_request *rq, const struct failure *f,
			const char *error, struct plan *plan, struct error *e)
{
	json_t *payload =
		json_pack("{s:I, s:I, s:s, s:o, s:s}", "failures", (json_int_t)f->failures,
			  "effective_limit", (json_int_t)f->limit, "limit_source",
			  f->limit_from_task ? "task" : "dispatcher", "error",
			  history_text(error), "trigger_outcome", f->trigger);
	int r;

	if (payload && f->extra && json_object_update(payload, f->extra) < 0) {
		json_decref(payload);
		payload = NULL;
	}
	r = history_event(db, f->task, f->run, "gave_up", payload, rq->now, e);
	if (r == 0 && f->sticky)
		r = history_event(db, f->task, 0, "blocked",
				  json_pack("{s:o}", "reason", history_text(error)), rq->now,
				  e);
	if (r == 0) {
		plan_id(plan, &plan->auto_blocked, f->task);
		plan_note(
			plan, LOG_WARNING, LOG_ID_GAVE_UP, f->task, f->run,
			"gave up after %lld failure%s: %s; unblock the task when the cause is "
			"mended",
			(long long)f->failures, f->failures == 1 ? "" : "s", error);
	}
	return r;
}

int failure_count(struct db *db, const struct tick_request *rq, const struct failure *f,
		  struct plan *plan, bool *tripped, struct error *e)
{
	CLEANUP(freep) char *error = failure_cut(f->error, FAILURE_ERROR_MAX);
	int r;

	*tripped = f->failures >= f->limit;
	if (!error)
		r = error_set(e, -ENOMEM, "out of memory");
	else
		r = db_run(db, e, *tripped ? sql_block : sql_count, "tit", f->task, f->failures,
			   error);
	if (r == 0 && *tripped)
		r = failure_trip(db, rq, f, error, plan, e);
	json_decref(f->extra);
	return r;
}
