/*
 * Running tasks that are to be let go: which rule of the board contract, §6, holds for each,
 * and what happens then.
 *
 * A row either needs no worker to be ended (its worker is dead, a stranger has its pid, or it
 * belongs to another host): then its rule books it here. Or a live worker of ours must be ended
 * first: then it becomes a victim in the plan, the loop ends the worker with everything it
 * started, and tick_ended() books the outcome. While that goes on its run is in
 * tick_request.busy and no rule touches it. The row may have moved on by then (the worker
 * completed its task with its last breath): every change is a compare-and-swap on status, claim
 * and run, and a row that changed is left as it is.
 */
#include <errno.h>
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/history.h"
#include "tick/profile.h"
#include "util/json.h"
#include "util/log.h"

#define RECLAIM_AWAY_S 15

/* clang-format off */
static const char sql_defer_task[] =
	"UPDATE tasks SET claim_expires = ?4 WHERE id = ?1 AND status = 'running'"
	" AND claim_lock IS ?2 AND current_run_id IS nullif(?3, 0)";

static const char sql_defer_run[] =
	"UPDATE task_runs SET claim_expires = ?2 WHERE id = ?1 AND ended_at IS NULL";
/* clang-format on */

/* In the order in which they are asked; the cause where a live worker has to be ended. */
static const struct {
	const struct rule *rule;
	enum victim_cause cause;
} reclaim_rules[] = {
	{ &rule_cut_off, VICTIM_NONE },    { &rule_expired, VICTIM_EXPIRED },
	{ &rule_stale, VICTIM_STALE },     { &rule_crash, VICTIM_NONE },
	{ &rule_timeout, VICTIM_TIMEOUT }, { &rule_expired_extend, VICTIM_NONE },
};

static const struct rule *const reclaim_causes[] = {
	[VICTIM_EXPIRED] = &rule_expired,
	[VICTIM_STALE] = &rule_stale,
	[VICTIM_TIMEOUT] = &rule_timeout,
	[VICTIM_TERMINAL] = &rule_terminal,
};

/* The rule that holds for a row, or NULL. */
static const struct rule *reclaim_rule(const struct tick *t, const struct running *row,
				       enum victim_cause *cause)
{
	*cause = VICTIM_NONE;
	if (row->gone || row->busy)
		return NULL;
	if (!row->lock || row->expires < 0)
		return rule_orphan.due(t, row) ? &rule_orphan : NULL;
	for (size_t i = 0; i < sizeof(reclaim_rules) / sizeof(reclaim_rules[0]); i++)
		if (reclaim_rules[i].rule->due(t, row)) {
			*cause = reclaim_rules[i].cause;
			return reclaim_rules[i].rule;
		}
	return NULL;
}

/* ---- what is found ------------------------------------------------------------------- */

static struct plan_victim *reclaim_victim(const struct tick *t, const struct running *row,
					  enum victim_cause cause)
{
	struct plan_victim *v = plan_victim(t->plan);

	if (!v)
		return NULL;
	*v = (struct plan_victim){
		.cause = cause,
		.task = strdup(row->task),
		.claim_lock = row->lock ? strdup(row->lock) : NULL,
		.started = row->started ? strdup(row->started) : NULL,
		.run = row->run,
		.current_run = row->current_run,
		.pid = row->pid,
		.claim_expires = row->expires,
		.heartbeat = row->heartbeat,
		.run_started_at = row->run_started_at,
		.elapsed_s = t->rq->now - row->run_started_at,
		.limit_s = cause == VICTIM_TIMEOUT ? row->max_runtime
						   : t->rq->set->stale_timeout_s,
		.heartbeat_stale = running_heartbeat_stale(t, row),
		.host_local = row->host_local,
		.live = running_ours(row),
	};
	if (!v->task || (row->lock && !v->claim_lock) || (row->started && !v->started)) {
		t->plan->oom = true;
		plan_victim_deinit(v);
		t->plan->n_victims--;
		return NULL;
	}
	return v;
}

/* A time that is over changes nothing any more: waiting for it would be a tick after the other.
 */
static void reclaim_deadline(const struct tick *t, int64_t at)
{
	if (at > t->rq->now)
		plan_deadline(t->plan, at);
}

/* When time alone will change what is judged of a row that runs on. */
static void reclaim_deadlines(const struct tick *t, const struct running *row)
{
	if (row->expires >= 0)
		reclaim_deadline(t, row->expires + 1);
	if (row->away) /* nobody tells when it ends */
		reclaim_deadline(t, t->rq->now + RECLAIM_AWAY_S);
	if (row->max_runtime > 0 && row->host_local && row->pid)
		reclaim_deadline(t, row->run_started_at + timeout_after(t, row));
	if (t->rq->set->stale_timeout_s > 0) {
		int64_t at = row->run_started_at + t->rq->set->stale_timeout_s + 1;
		int64_t beat = running_heartbeat(row) + t->rq->set->heartbeat_stale_s + 1;

		reclaim_deadline(t, beat > at ? beat : at);
	}
}

/* It runs and is to be watched. */
static void reclaim_worker(const struct tick *t, const struct running *row)
{
	struct plan_worker *w = plan_worker(t->plan);

	if (!w)
		return;
	*w = (struct plan_worker){
		.task = strdup(row->task),
		.started = row->started ? strdup(row->started) : NULL,
		.run = row->run,
		.pid = row->pid,
		.title = row->title ? strdup(row->title) : NULL,
		.run_started_at = row->run_started_at,
		.heartbeat = running_heartbeat(row),
	};
	if (!row->assignee || !profile_name(row->assignee, w->profile, sizeof(w->profile)))
		w->profile[0] = '\0';
	if (!w->task || (row->started && !w->started))
		t->plan->oom = true;
}

bool reclaim_wanted(const struct tick *t, struct running_set *set)
{
	bool wanted = false;

	for (size_t i = 0; i < set->n; i++) {
		struct running *row = &set->v[i];
		enum victim_cause cause;
		const struct rule *rule = reclaim_rule(t, row, &cause);

		if (cause != VICTIM_NONE && running_ours(row)) {
			(void)reclaim_victim(t, row, cause); /* no memory: plan.oom */
			row->busy = true;
		} else if (rule) {
			wanted = true;
		}
		if (!rule || rule == &rule_expired_extend)
			reclaim_deadlines(t, row);
		if (!rule)
			crash_grace(t, row);
		if (rule == &rule_expired_extend)
			plan_deadline(t->plan, t->rq->now + t->rq->set->claim_ttl_s + 1);
		if (running_ours(row) && row->run)
			reclaim_worker(t, row);
	}
	return wanted;
}

/* ---- what is written ----------------------------------------------------------------- */

/* It survived SIGKILL: keep the claim, look again after the grace. */
static int reclaim_defer(const struct tick *t, const struct plan_victim *v, const char *reason)
{
	int64_t until = t->rq->now + t->rq->set->reclaim_defer_s;
	json_t *payload;
	int r;

	r = db_run(t->db, t->e, sql_defer_task, "ttii", v->task, v->claim_lock, v->current_run,
		   until);
	if (r != 0 || db_changes(t->db) == 0)
		return r;
	r = db_run(t->db, t->e, sql_defer_run, "ii", v->run, until);
	if (r != 0)
		return r;
	payload = json_pack("{s:s, s:o, s:o, s:o, s:I}", "reason", reason, "worker_pid",
			    history_int(v->pid), "claim_lock", json_utf8(v->claim_lock),
			    "claim_expires_was", history_int(v->claim_expires),
			    "claim_expires_now", (json_int_t)until);
	plan_note(t->plan, LOG_WARNING, NULL, v->task, v->run,
		  "worker %lld survived SIGKILL; the task stays claimed for %lld s",
		  (long long)v->pid, (long long)t->rq->set->reclaim_defer_s);
	plan_deadline(t->plan, until + 1);
	return history_event(t, v->task, v->run, "reclaim_deferred",
			     json_join(payload, running_termination(v)));
}

int reclaim_ended(const struct tick *t, const struct plan_victim *v)
{
	const struct rule *rule = reclaim_causes[v->cause];

	if (!v->attempted || v->terminated)
		return rule->ended(t, v);
	return rule->deferred ? reclaim_defer(t, v, rule->deferred) : 0;
}

/* No worker of ours has to be ended: as one that was, and is booked at once. */
static int reclaim_at_once(const struct tick *t, const struct running *row,
			   enum victim_cause cause)
{
	struct plan_victim *v = reclaim_victim(t, row, cause);
	int r;

	if (!v)
		return error_set(t->e, -ENOMEM, "out of memory");
	v->attempted = v->terminated = row->host_local && row->pid;
	r = reclaim_ended(t, v);
	plan_victim_deinit(v);
	t->plan->n_victims--;
	return r;
}

int reclaim_run(const struct tick *t, struct running_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		struct running *row = &set->v[i];
		enum victim_cause cause;
		const struct rule *rule = reclaim_rule(t, row, &cause);
		int r;

		if (!rule || rule == &rule_crash)
			continue;
		r = rule->book ? rule->book(t, row) : reclaim_at_once(t, row, cause);
		if (r != 0 && r != DB_CONFLICT) /* it moved on by itself: nothing to book */
			return r;
		row->gone = rule != &rule_expired_extend;
	}
	return crash_run(t, set);
}
