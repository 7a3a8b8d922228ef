/*
 * /metrics. Labels are few and bounded: roots, boards, states, the statuses that a board knows
 * (any other one is "other"); no text of a task.
 *
 * Files say how many tasks there are, so it is a survey (survey.h) that is answered: what could
 * not be counted in time has no sample.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "control/exposition.h"
#include "control/self.h"
#include "control/survey.h"
#include "notify/notify.h"
#include "root/hostfault.h"
#include "root/notices.h"
#include "util/clock.h"

#define L(...)                                                                                 \
	(const struct exposition_label[]){ __VA_ARGS__ },                                      \
		sizeof((const struct exposition_label[]){ __VA_ARGS__ }) /                     \
			sizeof(struct exposition_label)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void metrics_one(struct exposition *x, const char *name, const char *type,
			const char *help, uint64_t value)
{
	exposition_family(x, name, type, NULL, help);
	exposition_int(x, NULL, 0, (int64_t)value);
}

/* ---- the process ---- */

/* By the names that every client library of Prometheus gives them. */
static void metrics_self(struct exposition *x, const struct control *c)
{
	struct self self;

	self_look(&self);
	exposition_family(x, "process_cpu_seconds", "counter", "seconds",
			  "CPU time, of user and system.");
	exposition_real(x, NULL, 0, self.cpu_s);
	exposition_family(x, "process_start_time_seconds", "gauge", "seconds",
			  "When it started, in Unix seconds.");
	exposition_int(x, NULL, 0, c->started_at);
	exposition_family(x, "process_resident_memory_bytes", "gauge", "bytes",
			  "Resident memory.");
	exposition_int(x, NULL, 0, self.rss);
	exposition_family(x, "process_virtual_memory_bytes", "gauge", "bytes",
			  "Virtual memory.");
	exposition_int(x, NULL, 0, self.virtual_bytes);
	metrics_one(x, "process_open_fds", "gauge", "Open file descriptors.",
		    (uint64_t)self.open_fds);
	metrics_one(x, "process_max_fds", "gauge", "Most file descriptors it may open.",
		    (uint64_t)self.max_fds);
	metrics_one(x, "process_threads", "gauge", "Threads.", (uint64_t)self.threads);
}

static void metrics_process(struct exposition *x, const struct control *c)
{
	const struct control_env *env = &c->env;
	static const char *const hundreds[] = { "other", "1xx", "2xx", "3xx", "4xx", "5xx" };
	int64_t max = env->max_in_progress(env->arg);

	exposition_family(x, "kanband_build", "info", NULL, "What runs.");
	exposition_int(x, L({ "version", KANBAND_VERSION }), 1);
	exposition_family(x, "kanband_uptime_seconds", "gauge", "seconds", "Since its start.");
	exposition_real(x, NULL, 0,
			(double)(uv_now(env->root_env->loop) - c->started_ms) / 1e3);
	metrics_one(x, "kanband_watchdog_pings", "counter",
		    "Pings sent to the service manager.", env->pings(env->arg));
	metrics_one(x, "kanband_jobs", "gauge", "Jobs of the pool that run or wait.",
		    env->root_env->jobs->count);
	metrics_one(x, "kanband_draining", "gauge", "1: nothing is claimed, by request.",
		    c->draining);
	if (max >= 0)
		metrics_one(x, "kanband_max_in_progress", "gauge",
			    "Most tasks that may run at a time.", (uint64_t)max);
	metrics_one(x, "kanband_connections", "gauge",
		    "Open connections to the control socket.", c->n_clients);
	metrics_one(x, "kanband_event_streams", "gauge", "Readers of /v1/events.",
		    stream_count(c));
	metrics_one(x, "kanband_connections_refused", "counter",
		    "Connections that found no room.", c->n_refused);
	metrics_one(x, "kanband_events", "counter", "Events since the start.",
		    c->events.next - 1);
	exposition_family(x, "kanband_http_responses", "counter", NULL, "Answers by status.");
	for (size_t i = 0; i < COUNT(hundreds); i++)
		exposition_int(x, L({ "status", hundreds[i] }), (int64_t)c->n_requests[i]);
}

/* ---- dispatch ---- */

static void metrics_times(struct exposition *x, const char *name, const char *help,
			  const struct stats_times *t)
{
	exposition_family(x, name, "histogram", "seconds", help);
	exposition_histogram(x, stats_bounds_us(), 1e-6, t->count, STATS_BUCKETS,
			     (double)t->sum_us / 1e6);
}

static void metrics_long(struct exposition *x, const char *name, const char *help,
			 const struct stats_long_times *t)
{
	exposition_family(x, name, "histogram", "seconds", help);
	exposition_histogram(x, stats_long_bounds_s(), 1, t->count, STATS_BUCKETS,
			     (double)t->sum_s);
}

static void metrics_dispatch(struct exposition *x, const struct root_env *env)
{
	static const char *const outcomes[] = { [BOARD_DONE] = "done",
						[BOARD_UNCHANGED] = "unchanged",
						[BOARD_LOCKED] = "locked",
						[BOARD_FAILED] = "failed",
						[BOARD_LEASE_LOST] = "lease-lost" };
	const struct root_stats *s = &env->stats;
	const struct {
		const char *how;
		uint64_t n;
	} ends[] = { { "success", s->ended_ok },
		     { "failure", s->ended_failed },
		     { "signal", s->ended_signaled },
		     { "unknown", s->ended_unknown } };

	metrics_one(x, "kanband_sweeps", "counter", "Scans for boards, all roots.", s->sweeps);
	exposition_family(x, "kanband_visits", "counter", NULL,
			  "Visits of boards by what they came to.");
	for (size_t i = 0; i < COUNT(outcomes); i++)
		exposition_int(x, L({ "outcome", outcomes[i] }), (int64_t)s->visits[i]);
	metrics_times(x, "kanband_visit_seconds",
		      "Visits of boards, with their wait for a thread.", &s->visit);
	metrics_one(x, "kanband_claims", "counter", "Tasks claimed.", s->claims);
	metrics_one(x, "kanband_promotions", "counter", "Tasks made ready.", s->promoted);
	metrics_one(x, "kanband_reclaims", "counter", "Tasks taken back.", s->reclaimed);
	metrics_one(x, "kanband_spawns", "counter", "Workers started.", s->spawned);
	metrics_one(x, "kanband_spawn_failures", "counter",
		    "Workers that could not be started.", s->spawn_failed);
	metrics_times(x, "kanband_wake_to_exec_seconds",
		      "From what woke a board to the start of a worker on it.", &s->exec);
	metrics_long(x, "kanband_ready_to_exec_seconds",
		     "From a task being ready to the start of its worker, in whole seconds.",
		     &s->ready);
	metrics_long(x, "kanband_run_seconds", "How long watched workers ran.", &s->run);
	metrics_one(x, "kanband_adoptions", "counter", "Workers found running.", s->adopted);
	exposition_family(x, "kanband_worker_ends", "counter", NULL,
			  "Ends of watched workers.");
	for (size_t i = 0; i < COUNT(ends); i++)
		exposition_int(x, L({ "how", ends[i].how }), (int64_t)ends[i].n);
	metrics_one(x, "kanband_open_boards", "gauge", "Databases that are kept open.",
		    env->open_boards);
}

/* ---- roots ---- */

static uint64_t metrics_owner(const struct root *root)
{
	return root->role == ROOT_OWNER;
}

static uint64_t metrics_epoch(const struct root *root)
{
	return root->role == ROOT_OWNER ? (uint64_t)root->epoch : 0;
}

static uint64_t metrics_running(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		n += (uint64_t)root->boards[i]->last.running;
	return n;
}

static uint64_t metrics_ready(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		n += root->boards[i]->last.ready > 0 ? (uint64_t)root->boards[i]->last.ready
						     : 0;
	return n;
}

static uint64_t metrics_workers(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		for (const struct worker *w = root->boards[i]->workers.list; w; w = w->next)
			n++;
	return n;
}

static uint64_t metrics_launching(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		n += launches_in_flight(root->boards[i]);
	return n;
}

static uint64_t metrics_short(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		n += root->boards[i]->last.memory[0] != '\0';
	return n;
}

static uint64_t metrics_fault(const struct root *root)
{
	return hostfault_why(root, NULL, NULL) != NULL;
}

static uint64_t metrics_estop(const struct root *root)
{
	return root->estop != NULL;
}

static const struct {
	const char *name, *help;
	uint64_t (*value)(const struct root *root);
} metrics_roots[] = {
	{ "kanband_lease", "1: this process owns the root.", metrics_owner },
	{ "kanband_epoch", "Of the ownership; 0: not owner.", metrics_epoch },
	{ "kanband_tasks_running", "Running tasks, at the last ticks.", metrics_running },
	{ "kanband_tasks_ready", "Ready tasks that the last ticks left.", metrics_ready },
	{ "kanband_workers", "Workers that are watched.", metrics_workers },
	{ "kanband_launching", "Claimed tasks whose worker is being started.",
	  metrics_launching },
	{ "kanband_host_fault", "1: nothing can be started, and the host is to blame.",
	  metrics_fault },
	{ "kanband_estop", "1: a file ESTOP stops the starting of work.", metrics_estop },
	{ "kanband_boards_short_of_memory", "Boards whose work memory holds back.",
	  metrics_short },
};

static void metrics_each_root(struct exposition *x, const struct control *c)
{
	static const char *const roles[] = { [ROOT_STARTING] = "starting",
					     [ROOT_OWNER] = "owner",
					     [ROOT_STANDBY] = "standby",
					     [ROOT_FAILED] = "failed" };

	for (size_t i = 0; i < COUNT(metrics_roots); i++) {
		exposition_family(x, metrics_roots[i].name, "gauge", NULL,
				  metrics_roots[i].help);
		for (size_t k = 0; k < *c->env.n_roots; k++)
			exposition_int(x, L({ "root", c->env.roots[k]->path }),
				       (int64_t)metrics_roots[i].value(c->env.roots[k]));
	}
	exposition_family(x, "kanband_lease_role", "gauge", NULL,
			  "1: that is what this process is in the root.");
	for (size_t k = 0; k < *c->env.n_roots; k++)
		for (size_t i = 0; i < COUNT(roles); i++)
			exposition_int(
				x, L({ "root", c->env.roots[k]->path }, { "role", roles[i] }),
				c->env.roots[k]->role == (enum root_role)i);
}

static void metrics_boards(struct exposition *x, const struct control *c)
{
	exposition_family(x, "kanband_boards", "gauge", NULL, "Boards by state.");
	for (size_t i = 0; i < *c->env.n_roots; i++) {
		const struct root *root = c->env.roots[i];
		uint64_t by[BOARD_STATES] = { 0 }, aside = 0, paused = 0;

		for (size_t k = 0; k < root->n_boards; k++) {
			const struct dispatch *d = root->boards[k];

			aside += d->aside != NULL;
			paused += d->held;
			by[d->board.state] += d->aside == NULL;
		}
		for (int k = 0; k < BOARD_STATES; k++)
			exposition_int(x,
				       L({ "root", root->path },
					 { "state", board_state_name((enum board_state)k) }),
				       (int64_t)by[k]);
		exposition_int(x, L({ "root", root->path }, { "state", "aside" }),
			       (int64_t)aside);
		exposition_int(x, L({ "root", root->path }, { "state", "paused" }),
			       (int64_t)paused);
	}
}

/* ---- boards ---- */

/* One family over all boards that are ours. */
struct metrics_board {
	const char *name, *unit, *help;
	/* samples of one board; @b is NULL where nothing was found of it */
	void (*put)(const struct exposition *x, const struct dispatch *d,
		    const struct survey_board *b);
};

static void metrics_state(const struct exposition *x, const struct dispatch *d,
			  const struct survey_board *b)
{
	(void)b;
	exposition_int(x,
		       L({ "root", d->root->path }, { "board", d->board.place.slug },
			 { "state", dispatch_state(d) }),
		       1);
}

static void metrics_tasks(const struct exposition *x, const struct dispatch *d,
			  const struct survey_board *b)
{
	static const char *const known[] = { "triage", "todo",    "scheduled",
					     "ready",  "running", "blocked",
					     "review", "done",    "archived" };
	int64_t other = b ? json_integer_value(json_object_get(b->tasks, "total")) : 0;

	for (size_t i = 0; b && b->tasks && i < COUNT(known); i++) {
		int64_t n = json_integer_value(json_object_get(b->tasks, known[i]));

		other -= n;
		exposition_int(x,
			       L({ "root", d->root->path }, { "board", d->board.place.slug },
				 { "status", known[i] }),
			       n);
	}
	if (b && b->tasks)
		exposition_int(x,
			       L({ "root", d->root->path }, { "board", d->board.place.slug },
				 { "status", "other" }),
			       other);
}

static void metrics_at(const struct exposition *x, const struct dispatch *d, int64_t value)
{
	exposition_int(x, L({ "root", d->root->path }, { "board", d->board.place.slug }),
		       value);
}

static int64_t metrics_age(int64_t since)
{
	int64_t age = clock_wall_s() - since;

	return age > 0 ? age : 0;
}

static void metrics_oldest(const struct exposition *x, const struct dispatch *d,
			   const struct survey_board *b)
{
	if (b && b->tasks)
		metrics_at(x, d, b->ready_since > 0 ? metrics_age(b->ready_since) : 0);
}

static void metrics_snapshot(const struct exposition *x, const struct dispatch *d,
			     const struct survey_board *b)
{
	if (b && b->snapshot_at > 0)
		metrics_at(x, d, metrics_age(b->snapshot_at));
}

static void metrics_evidence(const struct exposition *x, const struct dispatch *d,
			     const struct survey_board *b)
{
	if (b)
		metrics_at(x, d, b->evidence_bytes);
}

static const struct metrics_board metrics_board_families[] = {
	{ "kanband_board_state", NULL, "1: the state of the board.", metrics_state },
	{ "kanband_tasks", NULL, "Tasks of the board by status.", metrics_tasks },
	{ "kanband_oldest_ready_age_seconds", "seconds",
	  "How long the oldest ready task waits for its start; 0: none is ready.",
	  metrics_oldest },
	{ "kanband_snapshot_age_seconds", "seconds", "Age of the newest snapshot.",
	  metrics_snapshot },
	{ "kanband_evidence_bytes", "bytes", "What copies of damaged files take on the disk.",
	  metrics_evidence },
};

static void metrics_each_board(struct exposition *x, const struct control *c,
			       const struct survey *survey)
{
	for (size_t f = 0; f < COUNT(metrics_board_families); f++) {
		const struct metrics_board *family = &metrics_board_families[f];

		exposition_family(x, family->name, "gauge", family->unit, family->help);
		for (size_t i = 0; i < *c->env.n_roots; i++) {
			const struct root *root = c->env.roots[i];

			for (size_t k = 0; k < root->n_boards; k++)
				family->put(x, root->boards[k],
					    survey_board(survey, root->boards[k]));
		}
	}
}

/* ---- notifications ---- */

static struct notify_status metrics_status(const struct root *root)
{
	struct notify_status st = { 0 };

	if (notices_get(root))
		notify_get_status(notices_get(root), &st);
	return st;
}

static void metrics_notify(struct exposition *x, const struct control *c)
{
	static const char *const states[] = { "queued", "sending",  "retrying",
					      "parked", "unserved", "settling" };
	static const struct {
		const char *name, *help;
	} counters[] = { { "kanband_notifications_sent", "Messages delivered." },
			 { "kanband_notification_failures", "Tries to deliver that failed." },
			 { "kanband_notification_digests", "Of the messages, digests." } };

	exposition_family(x, "kanband_notifications", "gauge", NULL,
			  "Messages that wait or are sent, and subscriptions in trouble.");
	for (size_t i = 0; i < *c->env.n_roots; i++) {
		struct notify_status st = metrics_status(c->env.roots[i]);
		const unsigned values[] = { st.queued, st.sending,  st.retrying,
					    st.parked, st.unserved, st.settling };

		for (size_t k = 0; k < COUNT(states); k++)
			exposition_int(
				x, L({ "root", c->env.roots[i]->path }, { "state", states[k] }),
				values[k]);
	}
	for (size_t k = 0; k < COUNT(counters); k++) {
		exposition_family(x, counters[k].name, "counter", NULL, counters[k].help);
		for (size_t i = 0; i < *c->env.n_roots; i++) {
			struct notify_status st = metrics_status(c->env.roots[i]);
			const uint64_t values[] = { st.sent, st.failed, st.digests };

			exposition_int(x, L({ "root", c->env.roots[i]->path }),
				       (int64_t)values[k]);
		}
	}
}

static void metrics_copies(struct exposition *x, const struct control *c)
{
	struct offsite_state s;

	exposition_family(x, "kanband_snapshot_copies", "counter", NULL,
			  "Runs of snapshot_command by how they ended.");
	for (size_t i = 0; c->env.copy(c->env.arg, i, &s); i++) {
		exposition_int(x, L({ "root", s.root }, { "board", s.board }, { "how", "ok" }),
			       (int64_t)s.ok);
		exposition_int(x,
			       L({ "root", s.root }, { "board", s.board }, { "how", "failed" }),
			       (int64_t)s.failed);
	}
	exposition_family(x, "kanband_snapshot_copy_failing", "gauge", NULL,
			  "1: the last copy of a snapshot failed.");
	for (size_t i = 0; c->env.copy(c->env.arg, i, &s); i++)
		exposition_int(x, L({ "root", s.root }, { "board", s.board }), s.error != NULL);
}

static void metrics_hooks(struct exposition *x, const struct control *c)
{
	static const char *const ends[] = { "ok", "failed", "timed_out" };
	struct hook_state s;

	exposition_family(x, "kanband_hook_runs", "counter", NULL,
			  "Children of hooks by how they ended.");
	for (size_t i = 0; c->env.hook(c->env.arg, i, &s); i++) {
		const uint64_t values[] = { s.ok, s.failed, s.timed_out };

		for (size_t k = 0; k < COUNT(ends); k++)
			exposition_int(x, L({ "hook", s.name }, { "how", ends[k] }),
				       (int64_t)values[k]);
	}
	metrics_copies(x, c);
	exposition_family(x, "kanband_hook_dropped", "counter", NULL,
			  "Events that hooks were not told of.");
	for (size_t i = 0; c->env.hook(c->env.arg, i, &s); i++)
		exposition_int(x, L({ "hook", s.name }), (int64_t)s.dropped);
	exposition_family(x, "kanband_hook_waiting", "gauge", NULL,
			  "Events that wait for their hook.");
	for (size_t i = 0; c->env.hook(c->env.arg, i, &s); i++)
		exposition_int(x, L({ "hook", s.name }), (int64_t)s.waiting);
}

/* ---- the answer ---- */

/* Who can take OpenMetrics names it; everybody else understands 0.0.4. */
static bool metrics_open(const struct request *req)
{
	const char *accept = req->control->mhd.MHD_lookup_connection_value(
		req->conn, MHD_HEADER_KIND, "Accept");

	return accept && strcasestr(accept, "application/openmetrics-text");
}

static void metrics_looked(struct request *req, const struct survey *survey)
{
	const struct control *c = req->control;
	struct exposition x = { .openmetrics = metrics_open(req) };
	char *text = NULL;
	size_t n = 0;
	bool bad;

	x.out = open_memstream(&text, &n);
	if (!x.out) {
		reply_response(req, 500, NULL);
		return;
	}
	metrics_self(&x, c);
	metrics_process(&x, c);
	metrics_each_root(&x, c);
	metrics_boards(&x, c);
	metrics_each_board(&x, c, survey);
	metrics_dispatch(&x, c->env.root_env);
	metrics_notify(&x, c);
	metrics_hooks(&x, c);
	exposition_end(&x);
	bad = ferror(x.out) != 0;
	if (fclose(x.out) != 0 || bad) { /* out of memory */
		free(text);
		text = NULL;
	}
	reply_text(req, 200, x.openmetrics ? EXPOSITION_OPEN : EXPOSITION_TEXT, text, n);
}

void metrics_get(struct request *req)
{
	survey_start(req, NULL, NULL, SURVEY_TASKS | SURVEY_SIZES, metrics_looked);
}
