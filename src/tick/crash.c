/*
 * Rule 6 of a tick: workers that are gone while their task still says `running`.
 *
 * The rows are let go first, with their events; the failures are counted after that, because
 * three or more equal error texts in one tick are one fault of the host or the configuration
 * and not of the tasks: each then trips at once instead of burning through its retries.
 *
 * An end that nobody saw is told apart: a kanband that just took over books it as `reclaimed`
 * with the reason dispatcher_restart and counts nothing, unless it is the third such end in a
 * row; `--once`, which never watches, books it as a crash, as Hermes does. The same holds for a
 * node of a cluster that failed (host_fault): a task that brings down three in a row is
 * counted.
 */
#include <ctype.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "tick/crash.h"

#include "db/db.h"
#include "tick.h"
#include "tick/failure.h"
#include "tick/history.h"
#include "tick/logtail.h"
#include "util/json.h"
#include "util/log.h"

#define CRASH_EXIT_RATE_LIMITED 75
#define CRASH_EXIT_TERMINAL     78 /* the provider refused for good */
#define CRASH_VIOLATION_LIMIT   3
#define CRASH_UNCOUNTED_LIMIT   3 /* so many of a kind in a row are */
#define CRASH_WAVE              3
#define CRASH_LOOK_BACK         50
#define CRASH_AHEAD_S           2
#define CRASH_WAVE_CHARS        80 /* of the text are what a wave has in common */

/* clang-format off */
static const char sql_closed_runs[] =
	"SELECT outcome, metadata FROM task_runs WHERE task_id = ?1 AND ended_at IS NOT NULL"
	" ORDER BY ended_at DESC, id DESC LIMIT ?2";

static const char sql_before[] =
	"SELECT count(*) FROM task_runs WHERE task_id = ?1 AND id < ?2";

static const char sql_set_error[] =
	"UPDATE tasks SET {failure_error} = ?2 WHERE id = ?1";
/* clang-format on */

enum crash_kind {
	CRASH_VIOLATION,    /* it ended well and reported nothing */
	CRASH_RATE_LIMITED, /* the provider's quota is used up */
	CRASH_TERMINAL,     /* the provider refused for good */
	CRASH_COUNTED,
	CRASH_RESTART, /* nobody saw it end */
	CRASH_HOST,    /* it could not even begin */
};

/* One worker that is gone, between letting its row go and counting. */
struct crash {
	const struct running *row;
	enum crash_kind kind;
	enum tick_exit_kind how;
	int value;         /* exit status or signal */
	const char *why;   /* what ended it, where the launcher knows, else NULL; static */
	const char *retry; /* lane that the task goes back to */
	char *error;       /* "pid 7 exited with code 1" */
	char *normal;      /* the same with its numbers replaced: what a wave has in common */
	char *output;      /* the last that its log says, "" for nothing */
	int64_t streak;    /* protocol violations in a row, this one included */
	unsigned wave;     /* how many share the text */
};

static bool crash_gone(const struct running *row)
{
	if (row->gone || row->busy || !row->pid || !row->host_local || row->alive || row->here)
		return false;
	return !row->watched; /* else its end is on the way to us with its exit status */
}

static const struct tick_exit *crash_exit(const struct tick *t, const struct running *row)
{
	for (size_t i = 0; i < t->rq->n_exits; i++)
		if (t->rq->exits[i].pid == row->pid && t->rq->exits[i].run == row->run)
			return &t->rq->exits[i];
	return NULL;
}

/* Until when a task that started a moment ago is left alone; 0: no longer. */
static int64_t crash_grace_until(const struct tick *t, const struct running *row)
{
	const struct tick_exit *x = crash_exit(t, row);
	int64_t grace = t->rq->set->crash_grace_s;

	/* a start that lies ahead is of a clock that was set back since */
	if (grace <= 0 || (x && x->host) || row->started_at <= 0 ||
	    t->rq->now - row->started_at > grace ||
	    row->started_at > t->rq->now + CRASH_AHEAD_S)
		return 0;
	return row->started_at + grace + 1;
}

static bool crash_due(const struct tick *t, const struct running *row)
{
	return crash_gone(row) && crash_grace_until(t, row) == 0;
}

const struct rule rule_crash = { .due = crash_due };

void crash_grace(const struct tick *t, const struct running *row)
{
	if (crash_gone(row))
		plan_deadline(t->plan, crash_grace_until(t, row));
}

/* Nobody watched it: then its launcher may know how it ended. */
static const struct tick_exit *crash_ask(const struct tick *t, const struct running *row,
					 struct tick_exit *told)
{
	const struct tick_host *host = t->rq->host;
	const struct tick_worker w = {
		.pid = row->pid,
		.task = row->task,
		.run = row->run,
		.db = t->rq->db,
		.board = t->rq->board,
	};

	return host->ended && row->run > 0 && host->ended(host->arg, &w, told) ? told : NULL;
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
static int crash_violations(const struct tick *t, const char *task, int64_t *streak)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_closed_runs, "ti", task,
			 (int64_t)CRASH_LOOK_BACK);

	*streak = 0;
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
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

/* How many of the newest closed runs in a row ended for @why and nothing of the task's, with a
 * worker that had started. */
static int crash_in_a_row(const struct tick *t, const char *task, const char *why,
			  int64_t *count)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_closed_runs, "ti", task,
			 (int64_t)CRASH_LOOK_BACK);

	*count = 0;
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *metadata = (const char *)sqlite3_column_text(s, 1);
		json_t *m = metadata ? json_loads(metadata, 0, NULL) : NULL;
		const char *reason = json_string_value(json_object_get(m, "reason"));
		bool same = reason && strcmp(reason, why) == 0;
		bool worker = json_is_integer(json_object_get(m, "worker_pid"));

		json_decref(m);
		r = 0;
		if (!same) {
			(void)sqlite3_reset(s); /* the row ends here */
			break;
		}
		*count += worker;
	}
	return r;
}

static const char *crash_exit_kind(const struct crash *c)
{
	return c->kind == CRASH_TERMINAL  ? "terminal_provider"
	       : c->kind != CRASH_COUNTED ? NULL
	       : c->why                   ? c->why
	       : c->how == TICK_SIGNALED  ? "signaled"
					  : "nonzero_exit";
}

static json_t *crash_payload(const struct crash *c)
{
	json_t *p = json_pack("{s:I, s:o, s:s}", "pid", (json_int_t)c->row->pid, "claimer",
			      json_utf8(c->row->lock), "retry_status", c->retry);
	const char *exit_kind = crash_exit_kind(c);
	int bad = 0;

	if (p && c->output[0] && c->kind != CRASH_RATE_LIMITED)
		bad |= json_object_set_new(p, "worker_output", json_utf8(c->output));
	if (p && c->how != TICK_UNKNOWN) {
		if (exit_kind)
			bad |= json_object_set_new(p, "exit_kind", json_string(exit_kind));
		bad |= json_object_set_new(p, "exit_code", json_integer(c->value));
		if (c->kind == CRASH_VIOLATION)
			bad |= json_object_set_new(p, "protocol_violation", json_true());
		if (c->kind == CRASH_TERMINAL)
			bad |= json_object_set_new(p, "terminal_provider", json_true());
	}
	return bad ? json_free(p) : p;
}

/* What the next worker of the task is told. */
static char *crash_sentence(const struct crash *c)
{
	long long pid = c->row->pid;
	char *text = NULL;
	int n;

	if (c->kind == CRASH_VIOLATION)
		n = asprintf(&text,
			     "protocol violation: the worker (pid %lld) exited with code 0 and "
			     "did not report. Check first what it has done already; then "
			     "report the result with complete, or what is in the way with "
			     "block. A run that reports neither counts as failed whatever it "
			     "did",
			     pid);
	else if (c->kind == CRASH_RATE_LIMITED)
		n = asprintf(&text,
			     "pid %lld exited rate-limited: the provider's quota is used up; "
			     "tried again later, no failure is counted",
			     pid);
	else if (c->how == TICK_UNKNOWN && c->why)
		n = asprintf(
			&text,
			"pid %lld not alive: the node of its work failed or took it back (%s)",
			pid, c->why);
	else if (c->how == TICK_UNKNOWN)
		n = asprintf(&text, "pid %lld not alive", pid);
	else if (c->how == TICK_SIGNALED)
		n = asprintf(&text, "pid %lld killed by signal %d%s%s%s", pid, c->value,
			     c->why ? " (" : "", c->why ? c->why : "", c->why ? ")" : "");
	else
		n = asprintf(&text, "pid %lld exited with code %d", pid, c->value);
	return n < 0 ? NULL : text;
}

static int crash_text(struct crash *c, struct error *e)
{
	CLEANUP(freep) char *sentence = crash_sentence(c);

	if (sentence && c->output[0] && c->kind != CRASH_RATE_LIMITED) {
		if (asprintf(&c->error, "%s; last output: %s", sentence, c->output) < 0)
			c->error = NULL;
	} else {
		c->error = STEAL(sentence);
	}
	if (c->error)
		c->normal = crash_normalise(c->error);
	return c->error && c->normal ? 0 : error_set(e, -ENOMEM, "out of memory");
}

/* A trailer that something follows is of this run, if no other wrote to the log before. */
static int crash_told(const struct tick *t, const struct crash *c, struct logtail *tail)
{
	int64_t before = 1;
	int r = 0;

	if (tail->exit_status >= 0 || tail->exit_before < 0)
		return 0;
	r = db_one_int(t->db, t->e, &before, 0, sql_before, "ti", c->row->task, c->row->run);
	if (r == 0 && before == 0)
		tail->exit_status = tail->exit_before;
	return r;
}

/* How it ended: as the loop saw it, else as its log tells. */
static int crash_how(const struct tick *t, struct crash *c, bool *seen, bool *host)
{
	const struct tick_exit *x = crash_exit(t, c->row);
	struct tick_exit told = { .run = 0 };
	struct logtail tail;
	int r = 0;

	if (!x)
		x = crash_ask(t, c->row, &told);
	logtail_read(t, c->row, &tail);
	*seen = x != NULL;
	*host = x && x->host;
	c->how = x ? x->kind : TICK_UNKNOWN;
	c->value = x ? x->value : 0;
	c->why = x ? x->why : NULL;
	if (c->how == TICK_UNKNOWN)
		r = crash_told(t, c, &tail);
	if (r != 0)
		return r;
	if (c->how == TICK_UNKNOWN && tail.exit_status >= 0) {
		c->how = TICK_EXITED;
		c->value = tail.exit_status;
		*seen = true;
	}
	c->output = strdup(tail.output);
	return c->output ? 0 : error_set(t->e, -ENOMEM, "out of memory");
}

static int crash_classify(const struct tick *t, struct crash *c)
{
	int64_t before = 0;
	bool host, seen;
	int r = crash_how(t, c, &seen, &host);

	if (r == 0)
		r = history_retry_status(t, c->row->run, &c->retry);
	if (r != 0)
		return r;
	c->kind = CRASH_COUNTED;
	if (c->how == TICK_EXITED)
		c->kind = c->value == 0                         ? CRASH_VIOLATION
			  : c->value == CRASH_EXIT_RATE_LIMITED ? CRASH_RATE_LIMITED
			  : c->value == CRASH_EXIT_TERMINAL     ? CRASH_TERMINAL
								: CRASH_COUNTED;
	if (host)
		c->kind = CRASH_HOST;
	else if (!seen && !t->rq->once)
		c->kind = CRASH_RESTART;
	/* where the launcher tells so, nothing on this host keeps the next one from starting */
	if (c->kind == CRASH_RESTART || (host && c->why))
		r = crash_in_a_row(t, c->row->task, host ? "host_fault" : "dispatcher_restart",
				   &before);
	if (before + 1 >= CRASH_UNCOUNTED_LIMIT)
		c->kind = CRASH_COUNTED;
	return r == 0 ? crash_text(c, t->e) : r;
}

static int crash_restarted(const struct tick *t, const struct crash *c)
{
	struct release release = { .to = c->retry, .status = "reclaimed", .error = c->error };
	int r;

	release.metadata = json_pack("{s:s, s:I}", "reason", "dispatcher_restart", "worker_pid",
				     (json_int_t)c->row->pid);
	r = running_release(t, c->row, &release);
	if (r != 0)
		return r;
	t->plan->reclaimed++;
	plan_note(t->plan, LOG_NOTICE, LOG_ID_RECLAIMED, c->row->task, c->row->run,
		  "worker %lld ended while no dispatcher watched; the task is ready again",
		  (long long)c->row->pid);
	return history_event(t, c->row->task, c->row->run, "reclaimed",
			     json_pack("{s:s, s:o, s:I, s:I, s:s}", "reason",
				       "dispatcher_restart", "stale_lock",
				       json_utf8(c->row->lock), "worker_pid",
				       (json_int_t)c->row->pid, "now", (json_int_t)t->rq->now,
				       "retry_status", c->retry));
}

static int crash_set_error(const struct tick *t, const struct crash *c)
{
	CLEANUP(freep) char *cut = failure_cut(c->error, FAILURE_ERROR_MAX);

	if (!cut)
		return error_set(t->e, -ENOMEM, "out of memory");
	return db_run(t->db, t->e, sql_set_error, "tt", c->row->task, cut);
}

/* It could not even begin, which no other task would fare better with: nothing is counted. */
static int crash_host(const struct tick *t, const struct crash *c)
{
	struct release release = { .to = c->retry, .status = "reclaimed", .error = c->error };
	int r;

	release.metadata = json_pack("{s:s, s:I}", "reason", "host_fault", "worker_pid",
				     (json_int_t)c->row->pid);
	r = running_release(t, c->row, &release);
	if (r != 0)
		return r;
	t->plan->reclaimed++;
	return history_event(t, c->row->task, c->row->run, "reclaimed",
			     json_pack("{s:s, s:o, s:I, s:s, s:I, s:s}", "reason", "host_fault",
				       "stale_lock", json_utf8(c->row->lock), "worker_pid",
				       (json_int_t)c->row->pid, "error", c->error, "now",
				       (json_int_t)t->rq->now, "retry_status", c->retry));
}

/* What its end means. How it ended the loop has told, where it saw that. */
static void crash_note(const struct tick *t, const struct crash *c)
{
	if (c->kind == CRASH_VIOLATION)
		plan_note(t->plan, LOG_NOTICE, LOG_ID_WORKER_ENDED, c->row->task, c->row->run,
			  "worker %lld exited with code 0 and did not report: this counts as a "
			  "failure",
			  (long long)c->row->pid);
	else if (c->kind == CRASH_RATE_LIMITED || t->rq->once || !crash_exit(t, c->row))
		plan_note(t->plan, LOG_NOTICE, LOG_ID_WORKER_ENDED, c->row->task, c->row->run,
			  "%.*s", failure_headline(c->error), c->error);
}

/* First half: let the row go and say how it ended. */
static int crash_release(const struct tick *t, struct crash *c)
{
	static const char *const events[] = { [CRASH_VIOLATION] = "protocol_violation",
					      [CRASH_RATE_LIMITED] = "rate_limited",
					      [CRASH_TERMINAL] = "crashed",
					      [CRASH_COUNTED] = "crashed" };
	bool limited = c->kind == CRASH_RATE_LIMITED;
	struct release release = { .to = c->retry, .error = c->error };
	json_t *payload;
	int r;

	if (c->kind == CRASH_RESTART)
		return crash_restarted(t, c);
	if (c->kind == CRASH_HOST)
		return crash_host(t, c);
	payload = crash_payload(c);
	release.status = limited ? "rate_limited" : "crashed";
	release.metadata = json_incref(payload);
	r = running_release(t, c->row, &release);
	if (r != 0) {
		json_decref(payload);
		return r;
	}
	plan_id(t->plan, limited ? &t->plan->rate_limited : &t->plan->crashed, c->row->task);
	crash_note(t, c);
	r = history_event(t, c->row->task, c->row->run, events[c->kind], payload);
	if (r == 0 && c->kind != CRASH_COUNTED)
		r = crash_set_error(t, c);
	if (r == 0 && c->kind == CRASH_VIOLATION)
		r = crash_violations(t, c->row->task, &c->streak);
	return r;
}

/* Which budget a failure is counted against. Return: false: none is used up, nothing to count.
 */
static bool crash_budget(const struct tick *t, const struct crash *c, struct failure *f)
{
	bool wave = c->kind == CRASH_COUNTED && c->wave >= CRASH_WAVE;

	switch (c->kind) {
	case CRASH_RESTART:
	case CRASH_RATE_LIMITED:
	case CRASH_HOST:
		return false;
	case CRASH_VIOLATION: /* a budget of its own, which the others neither use nor extend */
		f->limit = failure_limit(t, c->row->max_retries, CRASH_VIOLATION_LIMIT,
					 &f->limit_from_task);
		f->force = f->sticky = true;
		return c->streak >= f->limit;
	case CRASH_TERMINAL: /* no retry would heal it */
		f->limit = 1;
		f->force = f->sticky = true;
		return true;
	case CRASH_COUNTED:
		f->limit = failure_limit(t, c->row->max_retries, wave ? 1 : 0,
					 &f->limit_from_task);
		f->sticky = wave;
		return true;
	}
	return false;
}

/* Second half: count it, and trip the breaker where it is due. */
static int crash_count(const struct tick *t, const struct crash *c)
{
	struct failure f = {
		.task = c->row->task,
		.run = c->row->run,
		.failures = c->row->failures + 1,
		.error = c->error,
		.trigger = "crashed",
		.retry = c->retry,
	};
	bool tripped;

	if (!crash_budget(t, c, &f))
		return 0;
	f.extra = json_pack("{s:I, s:o}", "pid", (json_int_t)c->row->pid, "claimer",
			    json_utf8(c->row->lock));
	if (c->kind == CRASH_VIOLATION)
		f.extra = json_join(f.extra,
				    json_pack("{s:I, s:I}", "protocol_violations",
					      (json_int_t)c->streak, "protocol_violation_limit",
					      (json_int_t)f.limit));
	if (c->kind == CRASH_TERMINAL)
		f.extra = json_join(f.extra, json_pack("{s:b}", "terminal_provider", 1));
	if (!f.extra)
		return error_set(t->e, -ENOMEM, "out of memory");
	return failure_count(t, &f, &tripped);
}

static int crash_compare(const void *a, const void *b)
{
	const struct crash *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return strncmp(x->normal, y->normal, CRASH_WAVE_CHARS);
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

static void crash_deinit(struct crash *c)
{
	free(c->error);
	free(c->normal);
	free(c->output);
}

static int crash_one(const struct tick *t, struct crash *c)
{
	int r = crash_classify(t, c);

	if (r == 0)
		r = crash_release(t, c);
	if (r != DB_CONFLICT)
		return r;
	c->kind = CRASH_RESTART; /* it completed just now: nothing to count */
	return 0;
}

int crash_run(const struct tick *t, struct running_set *set)
{
	struct crash *v = NULL;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < set->n; i++) {
		struct running *row = &set->v[i];

		if (!crash_due(t, row))
			continue;
		if (!v && !(v = calloc(set->n, sizeof(*v)))) {
			r = error_set(t->e, -ENOMEM, "out of memory");
			break;
		}
		v[n].row = row;
		r = crash_one(t, &v[n++]);
		row->gone = true;
	}
	if (r == 0) /* else a text may be missing */
		crash_waves(v, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = crash_count(t, &v[i]);
	for (size_t i = 0; i < n; i++)
		crash_deinit(&v[i]);
	free(v);
	return r;
}
