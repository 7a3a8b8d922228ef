/*
 * The resources: what the roots know, by the shapes of conf/openapi.yaml. Files are looked at
 * by a job first (survey.h); what it brought is put together with what memory says by then.
 *
 * The shapes that kanbanctl also makes, without a daemon, are those of wire/.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "control/holds.h"
#include "control/self.h"
#include "control/survey.h"
#include "notify/notify.h"
#include "root/hostfault.h"
#include "root/notices.h"
#include "tick/caps.h"
#include "tick/waiting.h"
#include "util/clock.h"
#include "util/json.h"
#include "wire/wire_board.h"
#include "wire/wire_leader.h"

json_t *resource_held(const char *by, int64_t since)
{
	return json_pack("{s:s, s:o, s:s}", "by", by, "since", json_time(since), "until",
			 strcmp(by, "operator") == 0 ? "resume or restart"
						     : "changed in kanband.conf");
}

/* ---- boards ---- */

static json_t *resource_waits(unsigned waits)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = { { WAIT_CAPACITY, "capacity" }, { WAIT_PROFILE, "profile" },
		      { WAIT_ASSIGNEE, "assignee" }, { WAIT_BOARD, "board" },
		      { WAIT_WORKER, "worker" },     { WAIT_POOL, "pool" },
		      { WAIT_HOST, "host" } };
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (waits & words[i].bit)
			list = json_push(list, json_string(words[i].word));
	return list;
}

static size_t resource_count_workers(const struct dispatch *d)
{
	size_t n = 0;

	for (const struct worker *w = d->workers.list; w; w = w->next)
		n++;
	return n;
}

static json_t *resource_paused(const struct dispatch *d)
{
	if (d->held)
		return resource_held("operator", d->held_at);
	return d->set.paused ? resource_held("config", 0) : json_null();
}

/* What a board is, as `kanbanctl boards` says it too. */
static json_t *resource_board_file(const struct dispatch *d, json_t *tasks, json_t *waiting,
				   const char *mode)
{
	return wire_board(&(const struct wire_board){
		.root = d->root->path,
		.place = &d->board.place,
		.state = dispatch_state(d),
		.error = d->board.reason,
		.journal_mode = mode,
		.tasks = tasks,
		.waiting = waiting,
	});
}

static json_t *resource_board_live(const struct dispatch *d)
{
	const struct board *b = &d->board;
	bool mine = !b->busy; /* what a job owns is not read meanwhile */

	return json_pack(
		"{s:s, s:b, s:o, s:b, s:b, s:I, s:I, s:i, s:i, s:o, s:{s:i, s:i, s:i, s:i}, "
		"s:o, s:o, s:o, s:i, s:o, s:o}",
		"health", board_state_name(b->state), "dispatched", d->dispatched, "paused",
		resource_paused(d), "busy", b->busy, "open", b->busy || b->db, "running",
		(json_int_t)d->last.running, "ready", (json_int_t)d->last.ready, "workers",
		(int)resource_count_workers(d), "launching", (int)launches_in_flight(d),
		"waits", resource_waits(d->last.waits), "left", "unassigned",
		(int)d->last.left.unassigned, "nonspawnable", (int)d->last.left.nonspawnable,
		"scheduled", (int)d->last.left.scheduled, "guarded", (int)d->last.left.guarded,
		"memory", json_or_null(d->last.memory), "visited_at",
		json_time(d->visit.ended_at), "next_at", json_time(d->wake.deadline_s),
		"failures", (int)d->visit.failures, "checked_at",
		mine ? json_time(b->checked_at) : json_null(), "snapshot_at",
		mine ? json_time(b->snapshot_at) : json_null());
}

/* Because of what its tasks wait: the rules of the board, then what the loop knows. */
static json_t *resource_waiting(const struct dispatch *d, const struct survey *survey)
{
	CLEANUP(json_freep) json_t *rules = json_array();
	json_t *list = survey ? survey_waiting(survey, d) : NULL;

	if (rules)
		holds_add(d, NULL, rules);
	return list ? waiting_held(list, rules) : NULL;
}

static json_t *resource_board_with(const struct dispatch *d, const struct survey *survey)
{
	const char *mode = NULL;
	CLEANUP(json_freep) json_t *tasks = survey ? survey_tasks(survey, d, &mode) : NULL;
	CLEANUP(json_freep) json_t *waiting = resource_waiting(d, survey);

	return json_join(resource_board_file(d, tasks, waiting, mode), resource_board_live(d));
}

json_t *resource_board(const struct dispatch *d)
{
	return resource_board_with(d, NULL);
}

static json_t *resource_boards_of(const struct root *root, const struct survey *survey,
				  json_t *list)
{
	for (size_t i = 0; list && i < root->n_boards; i++)
		list = json_push(list, resource_board_with(root->boards[i], survey));
	return list;
}

static void resource_boards_looked(struct request *req, const struct survey *survey)
{
	const struct control_env *env = &req->control->env;
	json_t *list = json_array();

	for (size_t i = 0; i < *env->n_roots; i++)
		for (size_t k = 0; k < survey->n_roots; k++)
			if (survey->roots[k].root == env->roots[i])
				list = resource_boards_of(env->roots[i], survey, list);
	reply_json(req, 200, list ? json_pack("{s:o}", "boards", list) : NULL);
}

void resource_boards(struct request *req)
{
	const struct root *only;
	bool tasks = true;

	if (params_root(req, &only) && params_yes(req, "tasks", &tasks))
		survey_start(req, only, NULL, tasks ? SURVEY_TASKS | SURVEY_WAITING : 0,
			     resource_boards_looked);
}

static void resource_one_looked(struct request *req, const struct survey *survey)
{
	struct dispatch *d;
	json_t *board, *record;

	if (!params_board(req, &d)) /* it may have gone meanwhile */
		return;
	board = resource_board_with(d, survey);
	record = survey_record(survey) ? wire_record(survey_record(survey)) : json_null();
	reply_json(req, 200, json_join(board, json_pack("{s:o}", "record", record)));
}

void resource_one(struct request *req)
{
	struct dispatch *d;
	bool tasks = true;

	if (params_board(req, &d) && params_yes(req, "tasks", &tasks))
		survey_start(req, d->root, d, tasks ? SURVEY_TASKS | SURVEY_WAITING : 0,
			     resource_one_looked);
}

/* ---- roots ---- */

/* Who leads; by what the root itself knows where the files could not be seen. */
static struct leader resource_who(const struct survey *survey, const struct root *root)
{
	const struct leader *l = survey_leader(survey, root);
	bool ours = root->role == ROOT_OWNER;

	return l ? *l
		 : (struct leader){ .held = ours || root->role == ROOT_STANDBY,
				    .pid = ours ? getpid() : 0,
				    .kanband = ours };
}

static json_t *resource_leader_of(const struct survey *survey, const struct root *root)
{
	const struct leader l = resource_who(survey, root);

	return wire_leader(&l);
}

static const char *resource_role(const struct root *root)
{
	static const char *const roles[] = { [ROOT_STARTING] = "starting",
					     [ROOT_OWNER] = "owner",
					     [ROOT_STANDBY] = "standby",
					     [ROOT_FAILED] = "failed" };

	return roles[root->role];
}

static json_t *resource_numbers(const struct root *root)
{
	const struct notify *n = notices_get(root);
	struct notify_status st = { 0 };

	if (!n)
		return json_null();
	notify_get_status(n, &st);
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:o, s:o, s:b}",
			 "queued", (int)st.queued, "sending", (int)st.sending, "retrying",
			 (int)st.retrying, "parked", (int)st.parked, "unserved",
			 (int)st.unserved, "settling", (int)st.settling, "sent",
			 (json_int_t)st.sent, "failed", (json_int_t)st.failed, "digests",
			 (json_int_t)st.digests, "error", json_or_null(st.error), "error_at",
			 json_time(st.error_at), "unwritten", st.unwritten);
}

/* The statuses that are always there. */
static const char *const resource_statuses[] = { "triage",   "todo",    "scheduled", "ready",
						 "running",  "blocked", "review",    "done",
						 "archived", "total" };

static json_t *resource_root_tasks(const struct root *root, const struct survey *survey)
{
	json_t *sum = json_object();
	const char *mode;

	for (size_t i = 0; sum && i < root->n_boards; i++) {
		const struct dispatch *d = root->boards[i];
		CLEANUP(json_freep)
		json_t *tasks = d->board.place.archived ? NULL : survey_tasks(survey, d, &mode);

		sum = wire_tasks_add(sum, tasks);
	}
	for (size_t i = 0; sum && i < sizeof(resource_statuses) / sizeof(resource_statuses[0]);
	     i++)
		if (!json_object_get(sum, resource_statuses[i]) &&
		    json_object_set_new(sum, resource_statuses[i], json_integer(0)) < 0)
			sum = json_free(sum);
	return sum;
}

static bool resource_root_well(const struct root *root, const struct survey *survey)
{
	bool well = root->role == ROOT_OWNER ||
		    (root->role == ROOT_STANDBY && resource_who(survey, root).held);

	for (size_t i = 0; i < root->n_boards; i++)
		well = well && !(root->boards[i]->dispatched &&
				 board_state_bad((root->boards[i])->board.state));
	return well;
}

static json_t *resource_fault(const struct root *root)
{
	int64_t since, next;
	const char *why = hostfault_why(root, &since, &next);

	if (!why)
		return json_null();
	return json_pack("{s:o, s:I, s:o}", "why", json_utf8(why), "since", (json_int_t)since,
			 "next_at", json_time(next));
}

static json_t *resource_root(const struct root *root, const struct survey *survey)
{
	json_t *boards = resource_boards_of(root, survey, json_array());
	bool counted = params_query(survey->req, "tasks") == NULL ||
		       strcmp(params_query(survey->req, "tasks"), "no") != 0;

	return json_pack("{s:o, s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "root",
			 json_utf8(root->path), "role", resource_role(root), "holder",
			 json_or_null(root->holder), "epoch",
			 root->role == ROOT_OWNER ? json_integer(root->epoch) : json_null(),
			 "well", resource_root_well(root, survey), "leader",
			 resource_leader_of(survey, root), "tasks",
			 counted ? resource_root_tasks(root, survey) : json_null(), "boards",
			 boards, "notify", resource_numbers(root), "fault",
			 resource_fault(root), "estop", json_or_null(root->estop));
}

/* ---- the daemon ---- */

/* How many tasks of a board wait for the pool @name, as its `waiting` says. */
static json_int_t resource_pool_waits_on(const json_t *board, const char *name)
{
	const json_t *list = json_object_get(board, "waiting");
	json_int_t n = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *group = json_array_get(list, i);
		const char *pool = json_string_value(json_object_get(group, "pool"));

		if (pool && strcmp(pool, name) == 0)
			n += json_integer_value(json_object_get(group, "count"));
	}
	return n;
}

/* … of all boards. */
static json_int_t resource_pool_waits(const json_t *roots, const char *name)
{
	json_int_t n = 0;

	for (size_t r = 0; r < json_array_size(roots); r++) {
		const json_t *boards = json_object_get(json_array_get(roots, r), "boards");

		for (size_t i = 0; i < json_array_size(boards); i++)
			n += resource_pool_waits_on(json_array_get(boards, i), name);
	}
	return n;
}

/* The pools: what is in each, and what waits for it. */
static json_t *resource_pools(const struct control *c, const json_t *roots)
{
	const struct control_env *env = &c->env;
	json_t *list = json_array();
	struct caps_full full;

	if (*env->n_roots == 0)
		return list;
	for (size_t i = 0; list && i < env->roots[0]->set.n_pools; i++) {
		const struct settings *set = &env->roots[0]->set;

		if (!caps_pool_full(env->root_env->caps, i, set->pools_generation, &full))
			continue;
		list = json_push(list,
				 json_pack("{s:s, s:I, s:I, s:I}", "name", set->pools[i].name,
					   "limit", (json_int_t)full.limit, "running",
					   (json_int_t)full.running, "waiting",
					   resource_pool_waits(roots, set->pools[i].name)));
	}
	return list;
}

static json_t *resource_limits(const struct control *c, const json_t *roots)
{
	const struct control_env *env = &c->env;
	int64_t max = env->max_in_progress(env->arg), n = 0;

	for (size_t i = 0; i < *env->n_roots; i++)
		for (size_t k = 0; k < env->roots[i]->n_boards; k++)
			n += env->roots[i]->boards[k]->last.running;
	return json_pack("{s:o, s:I, s:o}", "max_in_progress",
			 max < 0 ? json_null() : json_integer(max), "in_progress",
			 (json_int_t)n, "pools", resource_pools(c, roots));
}

static json_t *resource_hooks(const struct control *c)
{
	const struct control_env *env = &c->env;
	json_t *list = json_array();
	struct hook_state s;

	for (size_t i = 0; list && env->hook(env->arg, i, &s); i++)
		list = json_push(list,
				 json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "name",
					   s.name, "running", s.running, "waiting",
					   (json_int_t)s.waiting, "ok", (json_int_t)s.ok,
					   "failed", (json_int_t)s.failed, "timed_out",
					   (json_int_t)s.timed_out, "dropped",
					   (json_int_t)s.dropped, "error", json_utf8(s.error)));
	return list;
}

static json_t *resource_copies(const struct control *c)
{
	const struct control_env *env = &c->env;
	json_t *list = json_array();
	struct offsite_state s;

	for (size_t i = 0; list && env->copy(env->arg, i, &s); i++)
		list = json_push(list,
				 json_pack("{s:o, s:s, s:b, s:o, s:o, s:I, s:I, s:o}", "root",
					   json_utf8(s.root), "board", s.board, "running",
					   s.running, "at", json_time(s.at), "failing_at",
					   json_time(s.failing_at), "ok", (json_int_t)s.ok,
					   "failed", (json_int_t)s.failed, "error",
					   json_utf8(s.error)));
	return list;
}

static json_t *resource_daemon(const struct request *req, bool well, json_t *roots)
{
	const struct control *c = req->control;
	const struct control_env *env = &c->env;
	uint64_t up_ms = uv_now(env->root_env->loop) - c->started_ms;

	return json_pack(
		"{s:s, s:i, s:o, s:o, s:o, s:i, s:b, s:I, s:I, s:I, s:b, s:b, s:o, s:o, "
		"s:I, s:o, s:o, s:o, s:o, s:o}",
		"version", KANBAND_VERSION, "pid", (int)getpid(), "host",
		json_utf8(env->root_env->host), "unit", json_or_null(env->unit), "socket",
		json_utf8(c->acceptors[0].listener.path), "uid", (int)geteuid(), "may_change",
		peer_may_change(&req->client->peer), "started_at", (json_int_t)c->started_at,
		"uptime_s", (json_int_t)(up_ms / 1000), "now", (json_int_t)clock_wall_s(),
		"well", well, "stopping", *env->stopping, "draining",
		c->draining ? resource_held("operator", c->drain_at) : json_null(), "sentence",
		json_utf8(env->sentence(env->arg)), "rss_bytes", (json_int_t)self_rss(),
		"limits", resource_limits(c, roots), "hermes_home",
		json_or_null(env->root_env->hermes_home), "copies", resource_copies(c), "hooks",
		resource_hooks(c), "roots", roots);
}

static void resource_status_looked(struct request *req, const struct survey *survey)
{
	const struct control_env *env = &req->control->env;
	json_t *roots = json_array();
	bool well = true;

	for (size_t i = 0; roots && i < *env->n_roots; i++)
		for (size_t k = 0; roots && k < survey->n_roots; k++) {
			if (survey->roots[k].root != env->roots[i])
				continue;
			well = well && resource_root_well(env->roots[i], survey);
			roots = json_push(roots, resource_root(env->roots[i], survey));
		}
	reply_json(req, 200, roots ? resource_daemon(req, well, roots) : NULL);
}

void resource_status(struct request *req)
{
	const struct root *only;
	bool tasks = true;

	if (params_root(req, &only) && params_yes(req, "tasks", &tasks))
		survey_start(req, only, NULL, tasks ? SURVEY_TASKS | SURVEY_WAITING : 0,
			     resource_status_looked);
}

static void resource_leader_looked(struct request *req, const struct survey *survey)
{
	const struct control_env *env = &req->control->env;
	json_t *list = json_array();

	for (size_t i = 0; i < *env->n_roots; i++)
		for (size_t k = 0; list && k < survey->n_roots; k++) {
			const struct root *root = env->roots[i];
			const struct lease_term *terms;
			json_t *one;
			size_t n;

			if (survey->roots[k].root != root)
				continue;
			one = json_pack("{s:o, s:s}", "root", json_utf8(root->path), "role",
					resource_role(root));
			one = json_join(one, resource_leader_of(survey, root));
			if (survey->what & SURVEY_HISTORY) {
				terms = survey_terms(survey, root, &n);
				one = json_join(one, json_pack("{s:o}", "history",
							       wire_leader_terms(terms, n)));
			}
			list = json_push(list, one);
		}
	reply_json(req, 200, list ? json_pack("{s:o}", "roots", list) : NULL);
}

void resource_leader(struct request *req)
{
	const struct root *only;
	bool history = false;

	if (params_root(req, &only) && params_yes(req, "history", &history))
		survey_start(req, only, NULL, history ? SURVEY_HISTORY : 0,
			     resource_leader_looked);
}

/* ---- notifications ---- */

static void resource_trouble(void *arg, const struct notify_trouble *t)
{
	json_t *one =
		json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:i, s:I, s:o}", "board",
			  json_utf8(t->board), "task", json_utf8(t->key->task), "platform",
			  json_utf8(t->key->platform), "chat", json_utf8(t->key->chat),
			  "thread", json_utf8(t->key->thread ? t->key->thread : ""), "profile",
			  json_utf8(t->profile ? t->profile : ""), "reason",
			  json_utf8(t->reason ? t->reason : ""), "parked", t->parked,
			  "failures", (int)t->failures, "since", (json_int_t)t->since,
			  "retry_at", json_time(t->parked ? 0 : t->retry_at));

	(void)json_array_append_new(arg, one); /* short of memory it is not shown */
}

static void resource_unserved(void *arg, const struct notify_unserved *u)
{
	json_t *one = json_pack("{s:o, s:o, s:o, s:i, s:I}", "board",
				json_utf8(u->board ? u->board : ""), "profile",
				json_utf8(u->profile ? u->profile : ""), "reason",
				json_utf8(u->reason ? u->reason : ""), "count", (int)u->count,
				"oldest", (json_int_t)u->oldest);

	(void)json_array_append_new(arg, one); /* short of memory it is not shown */
}

static json_t *resource_notify_of(const struct root *root)
{
	const struct notify *n = notices_get(root);
	json_t *troubles = json_array(), *unserved = json_array();

	if (n && troubles && unserved) {
		notify_each_trouble(n, resource_trouble, troubles);
		notify_each_unserved(n, resource_unserved, unserved);
	}
	return json_pack("{s:o, s:b, s:o, s:o, s:o, s:o}", "root", json_utf8(root->path),
			 "running", n != NULL, "error", json_or_null(notices_why(root)),
			 "numbers", resource_numbers(root), "troubles", troubles, "unserved",
			 unserved);
}

void resource_notify(struct request *req)
{
	const struct control_env *env = &req->control->env;
	const struct root *only;
	json_t *list = json_array();

	if (!params_root(req, &only)) {
		json_decref(list);
		return;
	}
	for (size_t i = 0; list && i < *env->n_roots; i++)
		if (!only || env->roots[i] == only)
			list = json_push(list, resource_notify_of(env->roots[i]));
	reply_json(req, 200, list ? json_pack("{s:o}", "roots", list) : NULL);
}
