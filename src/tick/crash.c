/*
 * Step 6 of a tick: workers that are gone while their task still says `running`.
 *
 * The rows are let go first, with their events; the failures are counted after that, because
 * three or more equal error texts in one tick are one fault of the host or the configuration
 * and not of the tasks: each then trips at once instead of burning through its retries.
 *
 * An end that nobody saw is told apart: a kanband that just took over books it as `reclaimed`
 * with the reason dispatcher_restart and counts nothing, unless it is the third such end in a
 * row;
 * `--once`, which never watches, books it as a crash, as Hermes does.
 */
#include <ctype.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "db/db.h"
#include "tick/failure.h"
#include "tick/history.h"
#include "tick/running.h"
#include "util/log.h"

#define CRASH_EXIT_RATE_LIMITED 75
#define CRASH_VIOLATION_LIMIT   3
#define CRASH_RESTART_LIMIT     3
#define CRASH_WAVE              3
#define CRASH_LOOK_BACK         50

/* clang-format off */
static const char sql_closed_runs[] =
	"SELECT outcome, metadata FROM task_runs WHERE task_id = ?1 AND ended_at IS NOT NULL"
	" ORDER BY ended_at DESC, id DESC LIMIT ?2";

static const char sql_set_error[] =
	"UPDATE tasks SET {failure_error} = ?2 WHERE id = ?1";
/* clang-format on */

enum crash_kind { CRASH_VIOLATION, CRASH_RATE_LIMITED, CRASH_COUNTED, CRASH_RESTART };

/* One worker that is gone, between letting its row go and counting. */
struct crash {
	const struct running *row;
	enum crash_kind kind;
	char *error;    /* "pid 7 exited with code 1" */
	char *normal;   /* the same with its numbers replaced: what a wave has in common */
	int64_t streak; /* protocol violations in a row, this one included */
	unsigned wave;  /* how many share the text */
};

bool crash_due(const struct tick_request *rq, const struct running *row, struct plan *plan)
{
	if (row->gone || row->busy || !row->pid || !row->host_local || row->alive)
		return false;
	if (row->watched) /* its end is on the way to us with its exit status */
		return false;
	if (row->started_at > 0 && rq->now - row->started_at <= rq->set->crash_grace_s &&
	    rq->set->crash_grace_s > 0) {
		if (plan)
			plan_deadline(plan, row->started_at + rq->set->crash_grace_s + 1);
		return false;
	}
	return true;
}

static const struct tick_exit *crash_exit(const struct tick_request *rq,
					  const struct running *row)
{
	for (size_t i = 0; i < rq->n_exits; i++)
		if (rq->exits[i].pid == row->pid && rq->exits[i].run == row->run)
			return &rq->exits[i];
	return NULL;
}

/* pids and long numbers, so that equal faults of different workers compare equal */
static char *crash_normalise(const char *error)
{
	char *out = strdup(error);
	size_t o = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; error[i];) {
		size_t digits = 0;

		while (isdigit((unsigned char)error[i + digits]))
			digits++;
		bool pid = i >= 4 && strncmp(error + i - 4, "pid ", 4) == 0;

		if (digits > 0 && (pid || digits >= 4)) {
			out[o++] = '#';
			i += digits;
		} else if (digits > 0) {
			memcpy(out + o, error + i, digits);
			o += digits;
			i += digits;
		} else {
			out[o++] = error[i++];
		}
	}
	out[o] = '\0';
	return out;
}

/* Newest closed runs of the task that are violations in a row; rate limits in between do not
 * count. */
static int crash_violations(struct db *db, const char *task, int64_t *streak, struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_closed_runs, "ti", task, (int64_t)CRASH_LOOK_BACK);

	*streak = 0;
	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		const char *outcome = (const char *)sqlite3_column_text(s, 0);
		const char *metadata = (const char *)sqlite3_column_text(s, 1);
		json_t *m = metadata ? json_loads(metadata, 0, NULL) : NULL;
		bool violation = json_is_true(json_object_get(m, "protocol_violation"));

		json_decref(m);
		r = 0;
		if (outcome && strcmp(outcome, "rate_limited") == 0)
			continue;
		if (!violation) {
			(void)sqlite3_reset(s); /* the row of violations ends here */
			break;
		}
		(*streak)++;
	}
	return r;
}

/* How many of the newest closed runs in a row ended unseen, with a worker that had started. */
static int crash_restarts(struct db *db, const char *task, int64_t *count, struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_closed_runs, "ti", task, (int64_t)CRASH_LOOK_BACK);

	*count = 0;
	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		const char *metadata = (const char *)sqlite3_column_text(s, 1);
		json_t *m = metadata ? json_loads(metadata, 0, NULL) : NULL;
		const char *reason = json_string_value(json_object_get(m, "reason"));
		bool restart = reason && strcmp(reason, "dispatcher_restart") == 0;
		bool worker = json_is_integer(json_object_get(m, "worker_pid"));

		json_decref(m);
		r = 0;
		if (!restart) {
			(void)sqlite3_reset(s); /* the row of restarts ends here */
			break;
		}
		*count += worker;
	}
	return r;
}

static json_t *crash_payload(const struct crash *c, const struct tick_exit *x)
{
	json_t *p = json_pack("{s:I, s:o}", "pid", (json_int_t)c->row->pid, "claimer",
			      history_text(c->row->lock));
	int bad = 0;

	if (!p || !x || x->kind == TICK_UNKNOWN)
		return p;
	if (c->kind == CRASH_COUNTED)
		bad |= json_object_set_new(
			p, "exit_kind",
			json_string(x->kind == TICK_SIGNALED ? "signaled" : "nonzero_exit"));
	bad |= json_object_set_new(p, "exit_code", json_integer(x->value));
	if (c->kind == CRASH_VIOLATION)
		bad |= json_object_set_new(p, "protocol_violation", json_true());
	if (bad) {
		json_decref(p);
		p = NULL;
	}
	return p;
}

static int crash_text(struct crash *c, const struct tick_exit *x, struct error *e)
{
	long long pid = c->row->pid;
	int n;

	if (!x || x->kind == TICK_UNKNOWN)
		n = asprintf(&c->error, "pid %lld not alive", pid);
	else if (x->kind == TICK_SIGNALED)
		n = asprintf(&c->error, "pid %lld killed by signal %d", pid, x->value);
	else
		n = asprintf(&c->error, "pid %lld exited with code %d", pid, x->value);
	if (n < 0)
		c->error = NULL;
	else
		c->normal = crash_normalise(c->error);
	return c->error && c->normal ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static int crash_classify(struct db *db, const struct tick_request *rq, struct crash *c,
			  const struct tick_exit *x, struct error *e)
{
	int64_t restarts;
	int r;

	c->kind = CRASH_COUNTED;
	if (x && x->kind == TICK_EXITED && x->value == 0)
		c->kind = CRASH_VIOLATION;
	else if (x && x->kind == TICK_EXITED && x->value == CRASH_EXIT_RATE_LIMITED)
		c->kind = CRASH_RATE_LIMITED;
	if (x || rq->once)
		return 0;
	r = crash_restarts(db, c->row->task, &restarts, e);
	if (r == 0 && restarts + 1 < CRASH_RESTART_LIMIT)
		c->kind = CRASH_RESTART;
	return r;
}

static int crash_restarted(struct db *db, const struct tick_request *rq, const struct crash *c,
			   struct plan *plan, struct error *e)
{
	struct release release = { .status = "reclaimed", .error = c->error };
	int r;

	release.metadata = json_pack("{s:s, s:I}", "reason", "dispatcher_restart", "worker_pid",
				     (json_int_t)c->row->pid);
	r = running_release(db, rq, c->row, &release, e);
	if (r != 0)
		return r;
	plan->reclaimed++;
	plan_note(plan, LOG_NOTICE, LOG_ID_RECLAIMED, c->row->task, c->row->run,
		  "worker %lld ended while no dispatcher watched; the task is ready again",
		  (long long)c->row->pid);
	return history_event(db, c->row->task, c->row->run, "reclaimed",
			     json_pack("{s:s, s:o, s:I, s:I}", "reason", "dispatcher_restart",
				       "stale_lock", history_text(c->row->lock), "worker_pid",
				       (json_int_t)c->row->pid, "now", (json_int_t)rq->now),
			     rq->now, e);
}

/* First half: let the row go and say how it ended. */
static int crash_release(struct db *db, const struct tick_request *rq, struct crash *c,
			 const struct tick_exit *x, struct plan *plan, struct error *e)
{
	static const char *const events[] = { [CRASH_VIOLATION] = "protocol_violation",
					      [CRASH_RATE_LIMITED] = "rate_limited",
					      [CRASH_COUNTED] = "crashed" };
	struct release release = { .error = c->error };
	json_t *payload;
	int r;

	if (c->kind == CRASH_RESTART)
		return crash_restarted(db, rq, c, plan, e);
	payload = crash_payload(c, x);
	release.status = c->kind == CRASH_RATE_LIMITED ? "rate_limited" : "crashed";
	release.metadata = json_incref(payload);
	r = running_release(db, rq, c->row, &release, e);
	if (r != 0) {
		json_decref(payload);
		return r;
	}
	plan_id(plan, c->kind == CRASH_RATE_LIMITED ? &plan->rate_limited : &plan->crashed,
		c->row->task);
	plan_note(plan, LOG_NOTICE, LOG_ID_WORKER_ENDED, c->row->task, c->row->run, "%s%s",
		  c->error,
		  c->kind == CRASH_VIOLATION      ? " without completing or blocking its task"
		  : c->kind == CRASH_RATE_LIMITED ? " (rate limited)"
						  : "");
	r = history_event(db, c->row->task, c->row->run, events[c->kind], payload, rq->now, e);
	if (r == 0 && c->kind != CRASH_COUNTED)
		r = db_run(db, e, sql_set_error, "tt", c->row->task, c->error);
	if (r == 0 && c->kind == CRASH_VIOLATION)
		r = crash_violations(db, c->row->task, &c->streak, e);
	return r;
}

/* Second half: count it, and trip the breaker where it is due. */
static int crash_count(struct db *db, const struct tick_request *rq, const struct crash *c,
		       struct plan *plan, struct error *e)
{
	bool wave = c->kind == CRASH_COUNTED && c->wave >= CRASH_WAVE;
	struct failure f = {
		.task = c->row->task,
		.run = c->row->run,
		.failures = c->row->failures + 1,
		.error = c->error,
		.trigger = "crashed",
		.sticky = wave,
	};
	bool tripped;

	if (c->kind == CRASH_RESTART || c->kind == CRASH_RATE_LIMITED)
		return 0;
	if (c->kind == CRASH_VIOLATION) {
		f.limit = failure_limit(rq, c->row->max_retries, CRASH_VIOLATION_LIMIT,
					&f.limit_from_task);
		if (c->streak < f.limit)
			return 0;
		/* the streak is the count: else the block would be lifted by the next promotion
		 */
		if (f.failures < c->streak)
			f.failures = c->streak;
		if (f.failures < rq->set->failure_limit && c->row->max_retries < 0)
			f.failures = rq->set->failure_limit;
	} else {
		f.limit = failure_limit(rq, c->row->max_retries, wave ? 1 : 0,
					&f.limit_from_task);
	}
	f.extra = json_pack("{s:I, s:o}", "pid", (json_int_t)c->row->pid, "claimer",
			    history_text(c->row->lock));
	if (!f.extra)
		return error_set(e, -ENOMEM, "out of memory");
	return failure_count(db, rq, &f, plan, &tripped, e);
}

static int crash_compare(const void *a, const void *b)
{
	const struct crash *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return strcmp(x->normal, y->normal);
}

/* How many counted ends share each text. Sorts @v. */
static void crash_waves(struct crash *v, size_t n)
{
	if (n >= CRASH_WAVE)
		qsort(v, n, sizeof(*v), crash_compare);
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && crash_compare(&v[i], &v[k]) == 0; k++)
			;
		for (size_t m = i; m < k; m++)
			v[m].wave = (unsigned)(k - i);
	}
}

int crash_run(struct db *db, const struct tick_request *rq, struct running_set *set,
	      struct plan *plan, struct error *e)
{
	struct crash *v = NULL;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < set->n; i++) {
		struct running *row = &set->v[i];
		const struct tick_exit *x = crash_exit(rq, row);

		if (!crash_due(rq, row, plan))
			continue;
		if (!v && !(v = calloc(set->n, sizeof(*v)))) {
			r = error_set(e, -ENOMEM, "out of memory");
			break;
		}
		v[n].row = row;
		r = crash_text(&v[n], x, e);
		n++;
		if (r == 0)
			r = crash_classify(db, rq, &v[n - 1], x, e);
		if (r == 0)
			r = crash_release(db, rq, &v[n - 1], x, plan, e);
		if (r == DB_CONFLICT) { /* it completed just now: nothing to count */
			v[n - 1].kind = CRASH_RESTART;
			r = 0;
		}
		row->gone = true;
	}
	if (r == 0) /* else a text may be missing */
		crash_waves(v, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = crash_count(db, rq, &v[i], plan, e);
	for (size_t i = 0; i < n; i++) {
		free(v[i].error);
		free(v[i].normal);
	}
	free(v);
	return r;
}
