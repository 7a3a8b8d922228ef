/*
 * Asks the rules of a tick one after the other about one task, and writes down for each
 * whether it holds and what releases it. Nothing is changed.
 */
#include "tick/why.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "db/db.h"
#include "tick/backoff.h"
#include "tick/caps.h"
#include "tick/guard.h"
#include "tick/pools.h"
#include "tick/profile.h"
#include "tick/running.h"
#include "tick/scheduled.h"
#include "util/json.h"
#include "util/text.h"

/* clang-format off */
static const char sql_task[] =
	"SELECT t.status, t.assignee, t.claim_lock, t.{failure_error},"
	" CASE WHEN t.status = 'scheduled' THEN " SCHEDULED_AT
	"  ELSE {tasks.scheduled_at@t} END,"
	" {tasks.priority@t}, t.created_at, t.rowid FROM tasks t" SCHEDULED_EVENT
	" WHERE t.id = ?1";

static const char sql_parents[] =
	"SELECT p.id, p.status FROM task_links l JOIN tasks p ON p.id = l.parent_id"
	" WHERE l.child_id = ?1 AND p.status NOT IN ('done', 'archived') ORDER BY p.id LIMIT 5";

static const char sql_blocked[] =
	"SELECT kind, payload FROM task_events WHERE task_id = ?1 AND kind IN ('blocked',"
	" 'gave_up', 'block_loop_detected') ORDER BY id DESC LIMIT 1";

static const char sql_running[] =
	"SELECT count(*) FROM tasks WHERE status = 'running'";

static const char sql_profile_running[] =
	"SELECT count(*) FROM tasks WHERE status = 'running' AND assignee = ?1";

static const char sql_before[] =
	"SELECT count(*) FROM tasks WHERE status = ?1 AND claim_lock IS NULL"
	" AND (coalesce({tasks.priority}, 0) > ?2 OR (coalesce({tasks.priority}, 0) = ?2"
	"  AND (created_at < ?3 OR (created_at = ?3 AND rowid < ?4))))";
/* clang-format on */

/* The task as the rules see it. */
struct why {
	const struct tick *t;
	const char *task;
	json_t *rules;
	enum why_depth depth;
	char *status, *assignee, *lock, *error;
	int64_t scheduled_at, priority, created_at, rowid;
};

void why_add(json_t *rules, const char *rule, bool holds, const char *text, const char *release,
	     int64_t at)
{
	/* out of memory: the rule is missing, and the list still true */
	(void)json_array_append_new(
		rules, json_pack("{s:s, s:b, s:o, s:o, s:o}", "rule", rule, "holds", (int)holds,
				 "text", json_utf8(text), "release", json_or_null(release),
				 "at", json_time(at)));
}

static void why_rule(const struct why *w, const char *rule, bool holds, const char *text,
		     const char *release, int64_t at)
{
	if (holds || w->depth == WHY_ALL)
		why_add(w->rules, rule, holds, text, release, at);
}

const json_t *why_holding(const json_t *rules)
{
	for (size_t i = 0; i < json_array_size(rules); i++) {
		const json_t *rule = json_array_get(rules, i);

		if (json_is_true(json_object_get(rule, "holds")))
			return rule;
	}
	return NULL;
}

const char *why_held_by(const json_t *rules)
{
	return json_string_value(json_object_get(why_holding(rules), "rule"));
}

static char *why_copy(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);

	return text ? strdup(text) : NULL;
}

static int why_load(struct why *w)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(w->t->db, w->t->e, &s, sql_task, "t", w->task);

	if (r == 0)
		r = db_step(w->t->db, s, w->t->e);
	if (r == 0)
		return error_set(w->t->e, DB_MISSING, "there is no task %s on this board",
				 w->task);
	if (r != DB_ROW)
		return r;
	w->status = why_copy(s, 0);
	w->assignee = why_copy(s, 1);
	w->lock = why_copy(s, 2);
	w->error = why_copy(s, 3);
	w->scheduled_at = running_time(sqlite3_column_int64(s, 4));
	w->priority = sqlite3_column_int64(s, 5);
	w->created_at = sqlite3_column_int64(s, 6);
	w->rowid = sqlite3_column_int64(s, 7);
	(void)sqlite3_reset(s); /* one row is all */
	return w->status ? 0 : error_set(w->t->e, -ENOMEM, "out of memory");
}

static bool why_waits(const struct why *w)
{
	return strcmp(w->status, "ready") == 0 ||
	       (strcmp(w->status, "review") == 0 && w->t->rq->set->review_dispatch);
}

static int why_parents(struct why *w)
{
	sqlite3_stmt *s = NULL;
	char text[512] = "";
	size_t n = 0;
	int r = db_query(w->t->db, w->t->e, &s, sql_parents, "t", w->task);

	while (r == 0 && (r = db_step(w->t->db, s, w->t->e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);
		const char *status = (const char *)sqlite3_column_text(s, 1);

		r = 0;
		if (n < sizeof(text) - 1)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.80s (%.20s)",
					      n ? ", " : "it waits for ", id ? id : "?",
					      status ? status : "?");
	}
	if (r == 0)
		why_rule(w, "parents", n > 0, n ? text : "every parent is done",
			 n ? "each is done or archived" : NULL, 0);
	return r;
}

/* A blocked task: what was said when it was blocked. */
static int why_blocked(struct why *w, char *text, size_t size)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(w->t->db, w->t->e, &s, sql_blocked, "t", w->task);

	if (r == 0)
		r = db_step(w->t->db, s, w->t->e);
	if (r == DB_ROW) {
		const char *kind = (const char *)sqlite3_column_text(s, 0);
		const char *payload = (const char *)sqlite3_column_text(s, 1);
		json_t *p = payload ? json_loads(payload, 0, NULL) : NULL;
		bool gave_up = kind && strcmp(kind, "gave_up") == 0;
		const char *why =
			json_string_value(json_object_get(p, gave_up ? "error" : "reason"));

		if (!why && gave_up)
			why = w->error;
		(void)snprintf(text, size, "%s: %.300s",
			       gave_up ? "it failed too often" : "it is blocked",
			       why ? why : "no reason was given");
		json_decref(p);
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}

const char *why_status_text(const char *status, const char **release)
{
	static const struct {
		const char *status, *text, *release;
	} words[] = {
		{ "triage", "it is in triage",
		  "it is decomposed, or its status is set to ready" },
		{ "todo", "it waits for parents", "each is done or archived" },
		{ "scheduled", "it is scheduled", "its time" },
		{ "running", "it runs already", "its worker ends (kanbanctl workers)" },
		{ "review", "it waits for a review, and review_dispatch is off",
		  "a reviewer takes it, or review_dispatch is set" },
		{ "blocked", "it is blocked", "kanbanctl unblock TASK" },
		{ "done", "it is done", NULL },
		{ "archived", "it is archived", NULL },
	};

	for (size_t i = 0; status && i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(status, words[i].status) == 0) {
			*release = words[i].release;
			return words[i].text;
		}
	*release = NULL;
	return "it has a status that nothing is started from";
}

static int why_status(struct why *w)
{
	const char *release = NULL;
	char text[512];
	int r = 0;

	if (why_waits(w))
		(void)snprintf(text, sizeof(text), "it is %.40s", w->status);
	else
		(void)snprintf(text, sizeof(text), "%s", why_status_text(w->status, &release));
	if (strcmp(w->status, "blocked") == 0)
		r = why_blocked(w, text, sizeof(text));
	if (strcmp(w->status, "scheduled") == 0 && w->scheduled_at == 0)
		release = "kanbanctl unblock TASK (it has no time)";
	if (r == 0)
		why_rule(w, "status", !why_waits(w), text, release,
			 strcmp(w->status, "scheduled") == 0 ? w->scheduled_at : 0);
	return r;
}

static void why_assignee(struct why *w)
{
	bool review = strcmp(w->status, "review") == 0; /* a reviewer is chosen */
	const char *fallback = review ? NULL : w->t->rq->set->default_assignee;
	const char *who = w->assignee;
	char text[512];
	bool blank = text_is_blank(who), left_out;

	if (blank)
		who = fallback;
	if (!who || !*who) {
		why_rule(w, "assignee", true, "it has no assignee",
			 review ? "kanbanctl assign TASK PROFILE"
				: "kanbanctl assign TASK PROFILE, or default_assignee is set",
			 0);
		return;
	}
	if (blank) {
		free(w->assignee);
		w->assignee = strdup(who);
	}
	(void)snprintf(text, sizeof(text), "%.80s%s", who, blank ? " (default_assignee)" : "");
	why_rule(w, "assignee", false, text, NULL, 0);
	if (profile_spawnable(w->t, who)) {
		why_rule(w, "profile", false, "there is such a profile", NULL, 0);
		return;
	}
	left_out = profile_left_out(w->t, who);
	(void)snprintf(text, sizeof(text), "it is for %.80s, which %s", who,
		       left_out ? "dispatch_profiles leaves out" : "has no profile here");
	why_rule(w, "profile", true, text,
		 left_out ? "dispatch_profiles names it, or kanbanctl assign TASK PROFILE"
			  : "there is one, or kanbanctl assign TASK PROFILE",
		 0);
}

/* Of the rule that was told just now, if it is @rule: for programs, what its text has too. */
static void why_more(const struct why *w, const char *rule, const char *key, const char *value)
{
	json_t *last = json_array_get(w->rules, json_array_size(w->rules) - 1);
	const char *name = json_string_value(json_object_get(last, "rule"));

	if (name && strcmp(name, rule) == 0)
		(void)json_object_set_new(last, key,
					  json_string(value)); /* no memory: the text has it */
}

static int why_guards(struct why *w)
{
	const struct guard_task gt = { .id = w->task,
				       .last_error = w->error,
				       .review = strcmp(w->status, "review") == 0 };
	const char *reason;
	char text[160];
	int64_t until;
	int r = guard_check(w->t, &gt, &reason, &until);

	if (r != 0)
		return r;
	(void)snprintf(text, sizeof(text), "%s%s",
		       reason ? "it is held by the respawn guard: " : "",
		       reason ? reason : "no guard holds it");
	why_rule(w, "guard", reason != NULL, text,
		 reason ? "kanbanctl retry TASK, or its time" : NULL, reason ? until : 0);
	if (reason)
		why_more(w, "guard", "reason", reason);
	if (reason && w->depth != WHY_ALL)
		return 0;
	r = backoff_check(w->t, w->task, &until);
	if (r == 0)
		why_rule(w, "retry_backoff", until > 0,
			 until > 0 ? "it is tried again after a pause"
				   : "it waits for no further try",
			 until > 0 ? "kanbanctl retry TASK, or its time" : NULL, until);
	return r;
}

static void why_worker(struct why *w)
{
	bool lives = false;

	for (size_t i = 0; i < w->t->rq->n_living; i++)
		lives |= strcmp(w->t->rq->living[i].task, w->task) == 0;
	why_rule(w, "worker", lives,
		 lives ? "it has a worker that still lives"
		       : "no worker of it is known to live",
		 lives ? "that one has ended" : NULL, 0);
}

/* Of a board alone: how many run on it. */
static int why_board_limit(struct why *w)
{
	const struct settings *set = w->t->rq->set;
	int64_t running = 0;
	char text[200];
	int r = db_one_int(w->t->db, w->t->e, &running, 0, sql_running, "");

	if (r != 0)
		return r;
	(void)snprintf(text, sizeof(text), "%lld run on this board, max_spawn is %lld",
		       (long long)running, (long long)set->max_spawn);
	if (set->max_spawn < 0)
		(void)snprintf(text, sizeof(text), "%lld run on this board, without a limit",
			       (long long)running);
	else if (set->max_spawn == 0)
		(void)snprintf(text, sizeof(text), "max_spawn is 0: nothing is started here");
	why_rule(w, "board_limit", set->max_spawn >= 0 && running >= set->max_spawn, text,
		 set->max_spawn == 0 ? "max_spawn is raised" : "one of them ends", 0);
	return 0;
}

static int why_profile_limit(struct why *w, const char *profile)
{
	int64_t mine = 0, limit = profile ? pools_profile_limit(w->t->rq->set, profile) : -1;
	char text[200];
	int r = 0;

	if (w->assignee)
		r = db_one_int(w->t->db, w->t->e, &mine, 0, sql_profile_running, "t",
			       w->assignee);
	if (r != 0)
		return r;
	(void)snprintf(text, sizeof(text), "%lld run for its profile, without a limit",
		       (long long)mine);
	if (limit >= 0)
		(void)snprintf(text, sizeof(text), "%lld of %lld run for its profile",
			       (long long)mine, (long long)limit);
	why_rule(w, "profile_limit", limit >= 0 && mine >= limit, text, "one of them ends", 0);
	return 0;
}

/* How full is one limit that all boards of the daemon share. */
static void why_full(struct why *w, const char *rule, const char *of, const struct caps_full *f)
{
	char text[200];

	if (f->limit == INT64_MAX)
		(void)snprintf(text, sizeof(text), "%lld run %.100s, without a limit",
			       (long long)f->running, of);
	else
		(void)snprintf(text, sizeof(text), "%lld of %lld run %.100s",
			       (long long)f->running, (long long)f->limit, of);
	why_rule(w, rule, f->running >= f->limit, text,
		 "one of them ends and it is the task's turn", 0);
}

/* What only the daemon counts: the places over all boards, and those of each pool. */
static void why_places(struct why *w, const char *profile)
{
	const struct settings *set = w->t->rq->set;
	uint64_t bits = pools_of(set, w->t->rq->board, profile);
	struct caps_full full;
	char of[120];

	if (!w->t->rq->caps)
		return;
	caps_full(w->t->rq->caps, &full);
	why_full(w, "places", "over all boards", &full);
	for (size_t i = 0; bits; i++, bits >>= 1) {
		if (!(bits & 1) ||
		    !caps_pool_full(w->t->rq->caps, i, set->pools_generation, &full))
			continue;
		(void)snprintf(of, sizeof(of), "in pool %.80s", set->pools[i].name);
		why_full(w, "pool", of, &full);
		why_more(w, "pool", "pool", set->pools[i].name);
	}
}

/* Its place in the order: of its own board, and of all that share the places. */
static int why_turn(struct why *w)
{
	const struct tick_request *rq = w->t->rq;
	struct caps_full full;
	int64_t before = 0;
	char text[240];
	int r, n;

	if (w->depth != WHY_ALL)
		return 0;
	r = db_one_int(w->t->db, w->t->e, &before, 0, sql_before, "tiii", w->status,
		       w->priority, w->created_at, w->rowid);
	n = snprintf(text, sizeof(text), "%lld tasks of this board come before it",
		     (long long)before);
	if (rq->caps && rq->turn) {
		caps_full(rq->caps, &full);
		(void)snprintf(text + n, sizeof(text) - (size_t)n,
			       ", %zu of other boards; %lld run over all boards",
			       caps_before(rq->caps, rq->turn, w->priority),
			       (long long)full.running);
	}
	if (r == 0)
		why_rule(w, "turn", false, text, NULL, 0);
	return r;
}

static int why_limits(struct why *w)
{
	char name[256];
	bool known = w->assignee && profile_name(w->assignee, name, sizeof(name));
	int r = why_board_limit(w);

	if (r == 0)
		r = why_profile_limit(w, known ? name : NULL);
	if (r == 0)
		why_places(w, known ? name : NULL);
	return r == 0 ? why_turn(w) : r;
}

/* Is the starting of work stopped by hand. */
static void why_stopped(struct why *w)
{
	const struct tick_host *host = w->t->rq->host;
	struct error why = ERROR_NULL;
	int64_t until = 0;
	bool stopped = host->stopped && host->stopped(host->arg, w->t->rq->now, &until, &why);

	why_rule(w, "estop", stopped, stopped ? why.text : "work is not stopped by hand",
		 stopped ? "hermes resume, or the file ESTOP is gone" : NULL,
		 stopped ? until : 0);
}

static int why_times(struct why *w)
{
	bool early = w->scheduled_at > w->t->rq->now;

	if (strcmp(w->status, "scheduled") != 0) /* whose status says it */
		why_rule(w, "scheduled_at", early,
			 early ? "its time has not come" : "it is for any time",
			 early ? "its time" : NULL, early ? w->scheduled_at : 0);
	why_worker(w);
	why_stopped(w);
	return 0;
}

static int why_claim(struct why *w)
{
	if (w->lock && why_waits(w))
		why_rule(w, "claim", true, "it is claimed by somebody", "the claim runs out",
			 0);
	why_assignee(w);
	return 0;
}

/* In the order in which a tick asks them; those that cost a look at runs and events last. */
static int why_rules(struct why *w)
{
	static int (*const steps[])(struct why * w) = { why_status, why_parents, why_claim,
							why_times,  why_guards,  why_limits };
	size_t n = w->depth == WHY_CHEAP ? 4 : sizeof(steps) / sizeof(steps[0]);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = steps[i](w);
		if (w->depth != WHY_ALL && json_array_size(w->rules) > 0)
			break;
	}
	return r;
}

static int why_ask(const struct tick *t, const char *task, enum why_depth depth, json_t **rules)
{
	struct why w = { .t = t, .task = task, .rules = json_array(), .depth = depth };
	int r = w.rules ? why_load(&w) : error_set(t->e, -ENOMEM, "out of memory");

	if (r == 0)
		r = why_rules(&w);
	free(w.status);
	free(w.assignee);
	free(w.lock);
	free(w.error);
	if (r != 0)
		json_decref(w.rules);
	else
		*rules = w.rules;
	return r;
}

int why_task(const struct tick *t, const char *task, json_t **rules)
{
	return why_ask(t, task, WHY_ALL, rules);
}

int why_first(const struct tick *t, const char *task, enum why_depth depth, json_t **rule)
{
	CLEANUP(json_freep) json_t *rules = NULL;
	int r = why_ask(t, task, depth, &rules);

	if (r == 0)
		*rule = json_incref(json_array_get(rules, 0));
	return r;
}
