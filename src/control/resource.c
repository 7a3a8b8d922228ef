/*
 * The views: what the roots know, by the shapes of conf/openapi.yaml. Files are looked at by a
 * job first (look.h); what it brought is put together with what memory says by then.
 *
 * Texts that come from outside (paths, reasons, ids) may be no UTF-8; a JSON string has to be.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "control/survey.h"
#include "notify/notify.h"
#include "root/notices.h"
#include "tick/caps.h"
#include "util/clock.h"

/* A time, or null for never. */
static json_t *view_time(int64_t at)
{
	return at > 0 ? json_integer(at) : json_null();
}

json_t *view_held(const char *by, int64_t since)
{
	return json_pack("{s:s, s:o, s:s}", "by", by, "since", view_time(since), "until",
			 strcmp(by, "operator") == 0 ? "resume or restart"
						     : "changed in kanband.conf");
}

/* ---- boards --------------------------------------------------------------------------------
 */

static json_t *view_waits(unsigned waits)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = { { WAIT_CAPACITY, "capacity" },
		      { WAIT_PROFILE, "profile" },
		      { WAIT_ASSIGNEE, "assignee" },
		      { WAIT_BOARD, "board" } };
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (waits & words[i].bit &&
		    json_array_append_new(list, json_string(words[i].word)) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static size_t view_count_workers(const struct dispatch *d)
{
	size_t n = 0;

	for (const struct worker *w = d->workers; w; w = w->next)
		n++;
	return n;
}

/* Put @more's members into @to; both are taken over. */
static json_t *view_join(json_t *to, json_t *more)
{
	if (!to || !more || json_object_update(to, more) < 0) {
		json_decref(to);
		to = NULL;
	}
	json_decref(more);
	return to;
}

/* Is it trouble, for `well`? What the operator or the configuration put aside is not. */
static bool view_board_bad(const struct dispatch *d)
{
	return d->board.state == BOARD_TROUBLED || d->board.state == BOARD_SCHEMA ||
	       d->board.state == BOARD_LOST || d->board.state == BOARD_QUARANTINED;
}

static json_t *view_paused(const struct dispatch *d)
{
	if (d->held)
		return view_held("operator", d->held_at);
	return d->set.paused ? view_held("config", 0) : json_null();
}

/* What a board is, as `kanbanctl boards` says it too. */
static json_t *view_board_file(const struct dispatch *d, json_t *tasks, const char *mode)
{
	const struct board_place *place = &d->board.place;
	const char *state = d->aside                        ? d->aside
			    : d->held && !view_board_bad(d) ? "paused"
							    : board_state_name(d->board.state);

	return json_pack("{s:o, s:s, s:o, s:s, s:o, s:b, s:o, s:s?, s:o}", "root",
			 reply_string(d->root->path, false), "slug", place->slug, "db",
			 reply_string(place->db_path, false), "state", state, "error",
			 reply_string(d->board.reason, true), "archived", place->archived,
			 "duplicate_of", reply_string(place->duplicate_of, true),
			 "journal_mode", mode, "tasks", tasks ? tasks : json_null());
}

static json_t *view_board_live(const struct dispatch *d)
{
	const struct board *b = &d->board;
	bool mine = !b->busy; /* what a job owns is not read meanwhile */

	return json_pack(
		"{s:s, s:b, s:o, s:b, s:b, s:I, s:I, s:i, s:i, s:o, s:{s:i, s:i, s:i, s:i}, "
		"s:o, s:o, s:o, s:i, s:o, s:o}",
		"health", board_state_name(b->state), "dispatched", d->dispatched, "paused",
		view_paused(d), "busy", b->busy, "open", b->busy || b->db, "running",
		(json_int_t)d->running, "ready", (json_int_t)d->ready, "workers",
		(int)view_count_workers(d), "launching", (int)launches_count(d), "waits",
		view_waits(d->waits), "left", "unassigned", (int)d->left.unassigned,
		"nonspawnable", (int)d->left.nonspawnable, "scheduled", (int)d->left.scheduled,
		"guarded", (int)d->left.guarded, "memory", reply_string(d->memory, true),
		"visited_at", view_time(d->visited_at), "next_at", view_time(d->deadline_s),
		"failures", (int)d->failures, "checked_at",
		mine ? view_time(b->checked_at) : json_null(), "snapshot_at",
		mine ? view_time(b->snapshot_at) : json_null());
}

static json_t *view_board_with(const struct dispatch *d, const struct look *look)
{
	const char *mode = NULL;
	json_t *tasks = look ? look_tasks(look, d, &mode) : NULL;

	return view_join(view_board_file(d, tasks, mode), view_board_live(d));
}

json_t *view_board(const struct dispatch *d)
{
	return view_board_with(d, NULL);
}

static json_t *view_record(const struct health *h)
{
	return json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:I, "
		"s:{s:I, s:I, s:I, s:I, s:I, s:o, s:o}}",
		"state", health_state_name(h->state), "kind", reply_string(h->kind, true),
		"reason", reply_string(h->reason, true), "evidence",
		reply_string(h->evidence, true), "first_seen", view_time(h->first_seen),
		"last_seen", view_time(h->last_seen), "attempts", (json_int_t)h->attempts,
		"retry_at", view_time(h->retry_at), "last_epoch", (json_int_t)h->last_epoch,
		"good", "event_seq", (json_int_t)h->good.event_seq, "tasks",
		(json_int_t)h->good.tasks, "links", (json_int_t)h->good.links, "runs",
		(json_int_t)h->good.runs, "events", (json_int_t)h->good.events, "at",
		view_time(h->good.at), "snapshot", reply_string(h->good.snapshot, true));
}

static json_t *view_boards_of(const struct root *root, const struct look *look, json_t *list)
{
	for (size_t i = 0; list && i < root->n_boards; i++)
		if (json_array_append_new(list, view_board_with(root->boards[i], look)) < 0) {
			json_decref(list);
			list = NULL;
		}
	return list;
}

static void view_boards_looked(struct request *req, const struct look *look)
{
	const struct control_env *env = &req->control->env;
	json_t *list = json_array();

	for (size_t i = 0; i < *env->n_roots; i++)
		for (size_t k = 0; k < look->n_roots; k++)
			if (look->roots[k].root == env->roots[i])
				list = view_boards_of(env->roots[i], look, list);
	reply_json(req, 200, list ? json_pack("{s:o}", "boards", list) : NULL);
}

void view_boards(struct request *req)
{
	const struct root *only;
	bool tasks = true;

	if (ask_root(req, &only) && ask_yes(req, "tasks", &tasks))
		look_start(req, only, NULL, tasks, view_boards_looked);
}

static void view_one_looked(struct request *req, const struct look *look)
{
	struct dispatch *d;
	json_t *board, *record;

	if (!ask_board(req, &d)) /* it may have gone meanwhile */
		return;
	board = view_board_with(d, look);
	record = look->record ? view_record(look->record) : json_null();
	reply_json(req, 200, view_join(board, json_pack("{s:o}", "record", record)));
}

void view_one(struct request *req)
{
	struct dispatch *d;
	bool tasks = true;

	if (ask_board(req, &d) && ask_yes(req, "tasks", &tasks))
		look_start(req, d->root, d, tasks, view_one_looked);
}

/* ---- roots ---------------------------------------------------------------------------------
 */

json_t *view_leader_of(const struct look *look, const struct root *root)
{
	const struct leader none = { 0 }, *l = look_leader(look, root);
	const struct lease_owner *o;
	json_t *owner = json_null();

	l = l ? l : &none;
	o = &l->owner;
	if (l->has_file)
		owner = json_pack(
			"{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I}", "epoch",
			(json_int_t)o->epoch, "pid", (json_int_t)o->pid, "host",
			reply_string(o->host, false), "boot_id",
			reply_string(o->boot_id, false), "unit", reply_string(o->unit, false),
			"version", reply_string(o->version, false), "socket",
			reply_string(o->socket, false), "since", (json_int_t)o->since);
	return json_pack("{s:b, s:o, s:b, s:b, s:o}", "held", l->held, "pid",
			 l->pid > 0 ? json_integer(l->pid) : json_null(), "unseen", l->unseen,
			 "kanband", l->kanband, "owner", owner);
}

static const char *view_role(const struct root *root)
{
	static const char *const roles[] = { [ROOT_STARTING] = "starting",
					     [ROOT_OWNER] = "owner",
					     [ROOT_STANDBY] = "standby",
					     [ROOT_FAILED] = "failed" };

	return roles[root->role];
}

/* Tasks per status over all boards that are not archived; NULL: out of memory. */
static json_t *view_sum(const struct root *root, const struct look *look)
{
	json_t *sum = json_object(), *n;
	const char *status, *mode;

	for (size_t i = 0; sum && i < root->n_boards; i++) {
		const struct dispatch *d = root->boards[i];
		json_t *tasks = d->board.place.archived ? NULL : look_tasks(look, d, &mode);

		json_object_foreach(tasks, status, n)
		{
			json_int_t have = json_integer_value(json_object_get(sum, status));

			if (json_object_set_new_nocheck(
				    sum, status, json_integer(have + json_integer_value(n))) <
			    0) {
				json_decref(sum);
				sum = NULL;
				break;
			}
		}
		json_decref(tasks);
	}
	return sum;
}

static json_t *view_numbers(const struct root *root)
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
			 (json_int_t)st.digests, "error", reply_string(st.error, true),
			 "error_at", view_time(st.error_at), "unwritten", st.unwritten);
}

/* The statuses that are always there. */
static const char *const view_statuses[] = { "triage",   "todo",    "scheduled", "ready",
					     "running",  "blocked", "review",    "done",
					     "archived", "total" };

static json_t *view_root_tasks(const struct root *root, const struct look *look)
{
	json_t *sum = view_sum(root, look);

	for (size_t i = 0; sum && i < sizeof(view_statuses) / sizeof(view_statuses[0]); i++)
		if (!json_object_get(sum, view_statuses[i]) &&
		    json_object_set_new(sum, view_statuses[i], json_integer(0)) < 0) {
			json_decref(sum);
			sum = NULL;
		}
	return sum;
}

static bool view_root_well(const struct root *root, const struct look *look)
{
	const struct leader *l = look_leader(look, root);
	bool well = root->role == ROOT_OWNER || (root->role == ROOT_STANDBY && l && l->held);

	for (size_t i = 0; i < root->n_boards; i++)
		well = well &&
		       !(root->boards[i]->dispatched && view_board_bad(root->boards[i]));
	return well;
}

json_t *view_root(const struct root *root, const struct look *look)
{
	json_t *boards = view_boards_of(root, look, json_array());
	bool counted = ask_query(look->req, "tasks") == NULL ||
		       strcmp(ask_query(look->req, "tasks"), "no") != 0;

	return json_pack("{s:o, s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "root",
			 reply_string(root->path, false), "role", view_role(root), "holder",
			 reply_string(root->holder, true), "epoch",
			 root->role == ROOT_OWNER ? json_integer(root->epoch) : json_null(),
			 "well", view_root_well(root, look), "leader",
			 view_leader_of(look, root), "tasks",
			 counted ? view_root_tasks(root, look) : json_null(), "boards", boards,
			 "notify", view_numbers(root));
}

/* ---- the daemon ----------------------------------------------------------------------------
 */

static json_t *view_limits(const struct control *c)
{
	const struct control_env *env = &c->env;
	int64_t max = env->max_in_progress(env->arg), n = 0;

	for (size_t i = 0; i < *env->n_roots; i++)
		for (size_t k = 0; k < env->roots[i]->n_boards; k++)
			n += env->roots[i]->boards[k]->running;
	return json_pack("{s:o, s:I}", "max_in_progress",
			 max < 0 ? json_null() : json_integer(max), "in_progress",
			 (json_int_t)n);
}

static json_t *view_daemon(const struct control *c, bool well, json_t *roots)
{
	const struct control_env *env = &c->env;
	uint64_t up_ms = uv_now(env->root_env->loop) - c->started_ms;

	return json_pack(
		"{s:s, s:i, s:o, s:o, s:o, s:i, s:I, s:I, s:I, s:b, s:b, s:o, s:o, "
		"s:I, s:o, s:o}",
		"version", KANBAND_VERSION, "pid", (int)getpid(), "host",
		reply_string(env->root_env->host, false), "unit", reply_string(env->unit, true),
		"socket", reply_string(control_path(c), false), "uid", (int)geteuid(),
		"started_at", (json_int_t)c->started_at, "uptime_s", (json_int_t)(up_ms / 1000),
		"now", (json_int_t)clock_wall_s(), "well", well, "stopping", *env->stopping,
		"draining", c->draining ? view_held("operator", c->drain_at) : json_null(),
		"sentence", reply_string(env->sentence(env->arg), false), "rss_bytes",
		(json_int_t)metrics_rss(), "limits", view_limits(c), "roots", roots);
}

static void view_status_looked(struct request *req, const struct look *look)
{
	const struct control_env *env = &req->control->env;
	json_t *roots = json_array();
	bool well = true;

	for (size_t i = 0; roots && i < *env->n_roots; i++)
		for (size_t k = 0; roots && k < look->n_roots; k++) {
			if (look->roots[k].root != env->roots[i])
				continue;
			well = well && view_root_well(env->roots[i], look);
			if (json_array_append_new(roots, view_root(env->roots[i], look)) < 0) {
				json_decref(roots);
				roots = NULL;
			}
		}
	reply_json(req, 200, roots ? view_daemon(req->control, well, roots) : NULL);
}

void view_status(struct request *req)
{
	const struct root *only;
	bool tasks = true;

	if (ask_root(req, &only) && ask_yes(req, "tasks", &tasks))
		look_start(req, only, NULL, tasks, view_status_looked);
}

static void view_leader_looked(struct request *req, const struct look *look)
{
	const struct control_env *env = &req->control->env;
	json_t *list = json_array();

	for (size_t i = 0; i < *env->n_roots; i++)
		for (size_t k = 0; list && k < look->n_roots; k++) {
			const struct root *root = env->roots[i];
			json_t *one;

			if (look->roots[k].root != root)
				continue;
			one = json_pack("{s:o, s:s}", "root", reply_string(root->path, false),
					"role", view_role(root));
			one = view_join(one, view_leader_of(look, root));
			if (json_array_append_new(list, one) < 0) {
				json_decref(list);
				list = NULL;
			}
		}
	reply_json(req, 200, list ? json_pack("{s:o}", "roots", list) : NULL);
}

void view_leader(struct request *req)
{
	const struct root *only;

	if (ask_root(req, &only))
		look_start(req, only, NULL, false, view_leader_looked);
}

/* ---- workers -------------------------------------------------------------------------------
 */

static json_t *view_worker(const struct worker *w)
{
	const struct dispatch *d = w->dispatch;

	return json_pack("{s:o, s:s, s:o, s:I, s:i, s:I, s:b, s:b, s:b}", "root",
			 reply_string(d->root->path, false), "board", d->board.place.slug,
			 "task", reply_string(w->task, false), "run", (json_int_t)w->run, "pid",
			 (int)w->pid, "started_at", (json_int_t)w->run_started_at, "child",
			 w->child, "ending", w->ending, "left", w->left_ms != 0);
}

void view_workers(struct request *req)
{
	const struct control_env *env = &req->control->env;
	const struct root *only;
	json_t *list = json_array();

	if (!ask_root(req, &only)) {
		json_decref(list);
		return;
	}
	for (size_t i = 0; list && i < *env->n_roots; i++) {
		const struct root *root = env->roots[i];

		for (size_t k = 0; list && (!only || root == only) && k < root->n_boards; k++)
			for (const struct worker *w = root->boards[k]->workers; list && w;
			     w = w->next)
				if (json_array_append_new(list, view_worker(w)) < 0) {
					json_decref(list);
					list = NULL;
				}
	}
	reply_json(req, 200, list ? json_pack("{s:o}", "workers", list) : NULL);
}

/* ---- notifications -------------------------------------------------------------------------
 */

static void view_trouble(void *arg, const struct notify_trouble *t)
{
	json_t *one = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:i, s:I, s:o}", "board",
		reply_string(t->board, false), "task", reply_string(t->key->task, false),
		"platform", reply_string(t->key->platform, false), "chat",
		reply_string(t->key->chat, false), "thread",
		reply_string(t->key->thread ? t->key->thread : "", false), "profile",
		reply_string(t->profile ? t->profile : "", false), "reason",
		reply_string(t->reason ? t->reason : "", false), "parked", t->parked,
		"failures", (int)t->failures, "since", (json_int_t)t->since, "retry_at",
		view_time(t->parked ? 0 : t->retry_at));

	(void)json_array_append_new(arg, one); /* short of memory it is not shown */
}

static void view_unserved(void *arg, const struct notify_unserved *u)
{
	json_t *one = json_pack("{s:o, s:o, s:o, s:i, s:I}", "board",
				reply_string(u->board ? u->board : "", false), "profile",
				reply_string(u->profile ? u->profile : "", false), "reason",
				reply_string(u->reason ? u->reason : "", false), "count",
				(int)u->count, "oldest", (json_int_t)u->oldest);

	(void)json_array_append_new(arg, one); /* short of memory it is not shown */
}

static json_t *view_notify_of(const struct root *root)
{
	const struct notify *n = notices_get(root);
	json_t *troubles = json_array(), *unserved = json_array();

	if (n && troubles && unserved) {
		notify_each_trouble(n, view_trouble, troubles);
		notify_each_unserved(n, view_unserved, unserved);
	}
	return json_pack("{s:o, s:b, s:o, s:o, s:o, s:o}", "root",
			 reply_string(root->path, false), "running", n != NULL, "error",
			 reply_string(notices_why(root), true), "numbers", view_numbers(root),
			 "troubles", troubles, "unserved", unserved);
}

void view_notify(struct request *req)
{
	const struct control_env *env = &req->control->env;
	const struct root *only;
	json_t *list = json_array();

	if (!ask_root(req, &only)) {
		json_decref(list);
		return;
	}
	for (size_t i = 0; list && i < *env->n_roots; i++)
		if ((!only || env->roots[i] == only) &&
		    json_array_append_new(list, view_notify_of(env->roots[i])) < 0) {
			json_decref(list);
			list = NULL;
		}
	reply_json(req, 200, list ? json_pack("{s:o}", "roots", list) : NULL);
}
