/*
 * Starting workers: what a tick claimed becomes batches of launches on the pool; a finished
 * batch waits for the board's next visit, which records it. Scratch and dir workspaces are a
 * mkdir, so a batch takes many of them; a git worktree may take seconds and goes alone.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "root/dispatch.h"
#include "root/hostfault.h"
#include "root/root.h"
#include "root/visit_load.h"
#include "tick/profile.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

#define SLOW_MAX       2 /* of the pool's threads may be with git at a time */
#define BATCH_MAX      32
#define BATCH_LIMIT_MS (30 * 60 * 1000) /* git calls are bounded one by one */
/* So long a start may wait to be recorded, unless something else has the board visited: the
 * worker begins in peace, those started with it are recorded in one commit, and what ends at
 * once is recorded with its end. */
#define RECORD_MS 3

/* One worker of a batch, before and after. */
struct launch_one {
	struct plan_launch claim; /* owned */
	struct launch_spec spec;
	struct launch_result result;
	struct error error;
	int outcome;          /* of launch_begin() or launch_finish() */
	const char *put_back; /* why it was not to be started any more; NULL: it was */
	const struct dispatch *dispatch;
};

struct launch_batch {
	struct job job;
	struct launch_batch *next;      /* in a list of the dispatch */
	struct launch_batch *next_slow; /* in root_env.slow_waiting */
	struct dispatch *dispatch;
	bool slow;
	uint64_t wake_us; /* clock_mono_us() of what led to it */
	const struct launcher *launcher;
	bool dry_run;
	size_t n;
	struct launch_one v[];
};

static void batch_free(struct launch_batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		plan_launch_deinit(&b->v[i].claim);
		launch_spec_deinit(&b->v[i].spec);
		launch_result_deinit(&b->v[i].result);
	}
	free(b);
}

static char *copy(const char *text, bool *oom)
{
	char *s = text ? strdup(text) : NULL;

	if (text && !s)
		*oom = true;
	return s;
}

/* What a worker of @profile may use. */
static struct launch_limits launch_limits(const struct dispatch *d, const char *profile)
{
	const struct root_env *env = d->root->env;
	struct settings set = d->set;

	if (env->worker_settings)
		env->worker_settings(env->arg, d->root->path, d->board.place.slug, profile,
				     &set);
	return (struct launch_limits){
		.memory_max = set.memory_max,
		.memory_high = set.memory_high,
		.memory_swap_max = set.memory_swap_max,
		.tasks_max = set.tasks_max,
		.cpu_weight = set.cpu_weight,
		.io_weight = set.io_weight,
		.cpu_quota = set.cpu_quota,
		.runtime_max_s = set.runtime_max_s,
		.nice = set.nice,
		.oom_score_adjust = set.oom_score_adjust,
		.slice = set.slice,
		.protect = set.protect,
		.private_tmp = set.private_tmp,
		.devices = set.devices,
		.network = set.network,
	};
}

/*
 * Between the claim and the start work may be stopped by hand, or the lease be another's, who
 * may start the task as well. Asked before git is, and again when it is through.
 */
static bool launch_wanted(void *arg, struct error *e)
{
	struct launch_one *one = arg;
	const struct tick_host *host = &one->dispatch->root->host;
	int64_t until;

	if (host->stopped(host->arg, clock_wall_s(), &until, e))
		one->put_back = "estop";
	else if (!host->owner(host->arg, e))
		one->put_back = "lease_lost";
	return !one->put_back;
}

/* Everything that a launch needs, from the claim, the place and the settings. */
static int launch_fill(const struct dispatch *d, struct launch_one *one)
{
	const struct board_place *place = &d->board.place;
	const struct plan_launch *c = &one->claim;
	const char *root = d->root->path;
	char profile[256];
	bool oom = false;

	if (!c->assignee || !profile_name(c->assignee, profile, sizeof(profile)))
		(void)snprintf(profile, sizeof(profile), "%s", "?");
	one->spec = (struct launch_spec){
		.root = copy(root, &oom),
		.board = copy(place->slug, &oom),
		.db_path = copy(place->db_path, &oom),
		.task = copy(c->task, &oom),
		.run = c->run,
		.claim_lock = copy(c->claim_lock, &oom),
		.profile = copy(profile, &oom),
		.workspaces_root = copy(d->set.workspaces_root ? d->set.workspaces_root
							       : place->workspaces_dir,
					&oom),
		.default_workdir = copy(place->default_workdir, &oom),
		.logs_dir = copy(place->logs_dir, &oom),
		.extra_skill = copy(c->review ? "sdlc-review" : NULL, &oom),
		.goal_quiet = c->goal_quiet,
		.limits = launch_limits(d, profile),
		.wanted = launch_wanted,
		.wanted_arg = one,
	};
	one->spec.profile_home = strcmp(profile, "default") == 0
					 ? copy(root, &oom)
					 : fs_path("%s/profiles/%s", root, profile);
	if (task_row_copy(&one->spec.row, &c->row) < 0)
		oom = true;
	return oom || !one->spec.profile_home ? -ENOMEM : 0;
}

static void batch_work(struct job *job)
{
	struct launch_batch *b = container_of(job, struct launch_batch, job);

	if (b->dry_run)
		return; /* nothing is started */
	for (size_t i = 0; i < b->n; i++) {
		struct launch_one *one = &b->v[i];

		if (one->outcome != 0)
			continue; /* there was no memory for it */
		/* asked also before a workspace is made */
		if (launch_wanted(one, &one->error))
			one->outcome = launch_begin(b->launcher, &one->spec, &one->result,
						    &one->error);
		else
			one->outcome = LAUNCH_CALLED_OFF;
	}
	for (size_t i = 0; i < b->n; i++) {
		struct launch_one *one = &b->v[i];

		if (one->outcome == 0)
			one->outcome = launch_finish(b->launcher, &one->spec, &one->result,
						     &one->error);
	}
	/* the last of them may be waiting for this very processor, and nobody waits for us */
	(void)sched_yield();
}

static void batch_unlink(struct launch_batch **list, struct launch_batch *b)
{
	for (struct launch_batch **p = list; *p; p = &(*p)->next)
		if (*p == b) {
			*p = b->next;
			return;
		}
}

static void batch_append(struct launch_batch **list, struct launch_batch *b)
{
	b->next = NULL;
	while (*list)
		list = &(*list)->next;
	*list = b;
}

/* A failed spawn is not tried again at once: that would burn the task's retries in a second. */
static void launch_hold(struct dispatch *d, const char *task)
{
	struct tick_hold *more =
		reallocarray(d->launches.holds, d->launches.n_holds + 1, sizeof(*more));
	struct tick_hold *h;

	if (!more)
		return; /* it is then tried at the next visit, no harm but the haste */
	d->launches.holds = more;
	h = &more[d->launches.n_holds++];
	(void)snprintf(h->task, sizeof(h->task), "%s", task);
	h->until = clock_wall_s() + d->set.dispatch_interval_s;
	if (d->root->env->once)
		h->until = INT64_MAX; /* one sweep tries each task once */
}

void launches_clock(struct dispatch *d)
{
	int64_t last = clock_wall_s() + d->set.dispatch_interval_s;

	for (size_t i = 0; i < d->launches.n_holds; i++)
		if (d->launches.holds[i].until > last && !d->root->env->once)
			d->launches.holds[i].until = last;
}

static void batch_submit(struct dispatch *d, struct launch_batch *b);

/* A thread is free for the next slow launch. */
static void batch_slow_next(struct root_env *env)
{
	struct launch_batch *b = env->slow_waiting;

	env->slow_running--;
	if (!b)
		return;
	env->slow_waiting = b->next_slow;
	env->slow_running++;
	batch_submit(b->dispatch, b);
}

static void batch_counted(const struct launch_batch *b)
{
	struct root_stats *stats = &b->dispatch->root->env->stats;
	int64_t now = clock_wall_s(), waited;

	for (size_t i = 0; i < b->n; i++) {
		if (b->v[i].outcome != 0) {
			stats->spawn_failed += !b->v[i].put_back;
			continue;
		}
		stats->spawned++;
		stats_time(&stats->exec, clock_mono_us() - b->wake_us);
		waited = now - b->v[i].claim.ready_at;
		stats_long_time(&stats->ready, waited > 0 ? (uint64_t)waited : 0);
	}
}

static void batch_failed(struct dispatch *d, const struct launch_one *one)
{
	if (d->root->env->once || !launch_host_fault(one->outcome, &one->error))
		launch_hold(d, one->claim.task);
	else if (one->outcome == LAUNCH_PLACE_FAILED)
		hostfault_outage(d, one->error.text);
	else
		hostfault_failed(d, one->error.text);
	/* it is ready again when that is recorded, and the tick after it shall count it */
	d->wake.want |= WANT_TICK;
}

/* Said before its end can be, which may be seen before its start is recorded. */
static void batch_said(const struct dispatch *d, const struct launch_one *one)
{
	struct log_about about = visit_about(d, LOG_ID_SPAWNED);

	about.task = one->claim.task;
	about.run = one->claim.run;
	log_about(LOG_INFO, &about, "started worker %d for %s", (int)one->result.pid,
		  one->claim.assignee ? one->claim.assignee : "?");
}

static void batch_done(struct job *job)
{
	struct launch_batch *b = container_of(job, struct launch_batch, job);
	struct dispatch *d = b->dispatch;
	bool failed = false;

	if (b->slow)
		batch_slow_next(d->root->env);

	batch_unlink(&d->launches.launching, b);
	batch_counted(b);
	for (size_t i = 0; i < b->n; i++) {
		struct launch_one *one = &b->v[i];
		struct plan_worker w = { .task = one->claim.task,
					 .started = one->result.started,
					 .run = one->claim.run,
					 .pid = one->result.pid,
					 .run_started_at = one->claim.run_started_at,
					 .heartbeat = -1 };
		int r;

		(void)snprintf(w.profile, sizeof(w.profile), "%s",
			       one->spec.profile ? one->spec.profile : "");

		if (one->outcome != 0) {
			failed = true;
			if (one->put_back)
				d->wake.want |= WANT_TICK; /* it may be over already */
			else
				batch_failed(d, one);
			continue;
		}
		if (b->dry_run)
			continue;
		batch_said(d, one);
		if (one->result.pidfd < 0 && !one->result.child) {
			/* it has ended, and its launcher knows how */
			hostfault_started(d, one->claim.run);
			workers_gone(d, &w);
			continue;
		}
		r = workers_watch(d, &w, one->result.pidfd, one->result.child);
		one->result.pidfd = -1;
		hostfault_started(d, one->claim.run);
		if (r < 0) {
			struct log_about about = { .root = d->root->path,
						   .board = d->board.place.slug,
						   .task = one->claim.task,
						   .run = one->claim.run,
						   .errnum = -r };

			log_about(LOG_WARNING, &about,
				  "cannot watch worker %d: %s; its end is seen "
				  "at the next sweep",
				  (int)one->result.pid, strerror(-r));
		}
	}
	batch_append(&d->launches.finished, b);
	if (failed || d->root->env->once || d->root->stopping)
		d->wake.begin(d);
	else
		wakeup_arm(d, RECORD_MS);
	root_visit_ended(d->root);
}

static struct launch_batch *batch_new(struct dispatch *d, size_t n)
{
	struct launch_batch *b = calloc(1, sizeof(*b) + n * sizeof(b->v[0]));

	if (!b)
		return NULL;
	b->dispatch = d;
	b->wake_us = d->visit.wake_us;
	b->launcher = d->root->env->launcher(d->root->env->arg, d->root->path);
	b->dry_run = d->root->env->dry_run;
	return b;
}

static void batch_add(struct dispatch *d, struct launch_batch *b, struct plan_launch *claim)
{
	struct launch_one *one = &b->v[b->n++];

	one->claim = *claim;
	*claim = (struct plan_launch){ 0 };
	one->result.pidfd = -1;
	one->dispatch = d;
	one->outcome = launch_fill(d, one);
	if (one->outcome < 0)
		(void)error_set(&one->error, one->outcome, "out of memory");
}

static void batch_submit(struct dispatch *d, struct launch_batch *b)
{
	int r = job_submit(d->root->env->jobs, &b->job, "launch", batch_work, batch_done,
			   BATCH_LIMIT_MS);

	if (r == 0)
		return;
	for (size_t i = 0; i < b->n; i++) {
		b->v[i].outcome = r;
		(void)error_errno(&b->v[i].error, r, "cannot start a launch");
	}
	batch_done(&b->job);
}

static void batch_start(struct dispatch *d, struct launch_batch *b, bool slow)
{
	struct root_env *env = d->root->env;
	struct launch_batch **p = &env->slow_waiting;

	batch_append(&d->launches.launching, b);
	b->slow = slow;
	if (slow && env->slow_running >= SLOW_MAX) {
		while (*p)
			p = &(*p)->next_slow;
		*p = b;
		return;
	}
	env->slow_running += slow;
	batch_submit(d, b);
}

/* One sweep starts its workers one after the other, in the order of the claims. */
static bool launch_slow(const struct dispatch *d, const struct plan_launch *c)
{
	return !d->root->env->once && c->row.workspace_kind &&
	       strcmp(c->row.workspace_kind, "worktree") == 0;
}

void launches_start(struct dispatch *d, struct plan *plan)
{
	size_t room = d->root->env->once ? plan->n_launches : BATCH_MAX;
	struct launch_batch *b = NULL;

	for (size_t i = 0; i < plan->n_launches; i++) {
		struct plan_launch *c = &plan->launches[i];
		bool slow = launch_slow(d, c);

		if (b && (slow || b->n == room)) {
			batch_start(d, b, false);
			b = NULL;
		}
		if (!b)
			b = batch_new(d, slow ? 1 : room);
		if (!b) {
			/* the claim runs out by itself and the task comes back */
			log_error(
				"out of memory: the launch of a claimed task is lost until its "
				"claim expires");
			plan_launch_deinit(c);
			continue;
		}
		batch_add(d, b, c);
		if (slow) {
			batch_start(d, b, true);
			b = NULL;
		}
	}
	if (b)
		batch_start(d, b, false);
	plan->n_launches = 0;
}

size_t launches_in_flight(const struct dispatch *d)
{
	size_t n = 0;

	for (const struct launch_batch *b = d->launches.launching; b; b = b->next)
		n += b->n;
	return n;
}

size_t launches_count(const struct dispatch *d)
{
	size_t n = launches_in_flight(d);

	for (const struct launch_batch *b = d->launches.finished; b; b = b->next)
		n += b->n;
	return n;
}

size_t launches_runs(const struct dispatch *d, int64_t *list)
{
	size_t n = 0;

	for (const struct launch_batch *b = d->launches.launching; b; b = b->next)
		for (size_t i = 0; i < b->n; i++)
			list[n++] = b->v[i].claim.run;
	for (const struct launch_batch *b = d->launches.finished; b; b = b->next)
		for (size_t i = 0; i < b->n; i++)
			list[n++] = b->v[i].claim.run;
	return n;
}

static bool batch_has(const struct launch_batch *list, int64_t run)
{
	for (const struct launch_batch *b = list; b; b = b->next)
		for (size_t i = 0; i < b->n; i++)
			if (b->v[i].claim.run == run)
				return true;
	return false;
}

bool launches_starting(const struct dispatch *d, int64_t run)
{
	return batch_has(d->launches.launching, run);
}

size_t launches_living(const struct dispatch *d, struct tick_living *list)
{
	size_t n = 0;

	for (const struct launch_batch *b = d->launches.launching; b; b = b->next)
		for (size_t i = 0; i < b->n; i++, n++) {
			const struct launch_one *one = &b->v[i];

			list[n].run = one->claim.run;
			(void)snprintf(list[n].task, sizeof(list[n].task), "%s",
				       one->claim.task);
			(void)snprintf(list[n].profile, sizeof(list[n].profile), "%s",
				       one->spec.profile ? one->spec.profile : "");
		}
	return n;
}

bool launches_pending(const struct dispatch *d, int64_t run)
{
	return batch_has(d->launches.launching, run) || batch_has(d->launches.finished, run);
}

size_t launches_recording(const struct dispatch *d)
{
	size_t n = 0;

	for (const struct launch_batch *b = d->launches.recording; b; b = b->next)
		n += b->n;
	return n;
}

int launches_take(struct dispatch *d)
{
	size_t n = 0;

	d->launches.recording = d->launches.finished;
	d->launches.finished = NULL;
	d->launches.record = NULL;
	if (!d->launches.recording)
		return 0;
	d->launches.record = calloc(launches_recording(d), sizeof(*d->launches.record));
	if (!d->launches.record) {
		d->launches.finished = d->launches.recording;
		d->launches.recording = NULL;
		return -ENOMEM;
	}
	for (struct launch_batch *b = d->launches.recording; b; b = b->next)
		for (size_t i = 0; i < b->n; i++) {
			struct launch_one *one = &b->v[i];

			d->launches.record[n++] = (struct tick_launched){
				.launch = &one->claim,
				.workspace_ok = one->outcome == 0 ||
						one->outcome == LAUNCH_SPAWN_FAILED ||
						(one->outcome == LAUNCH_PLACE_FAILED &&
						 one->result.workspace),
				.spawned = one->outcome == 0,
				.infrastructure = !d->root->env->once && one->outcome != 0 &&
						  launch_host_fault(one->outcome, &one->error),
				.put_back = one->put_back,
				.error = one->error.text,
				.pid = one->result.pid,
				.started = one->result.started,
				.workspace = one->result.workspace,
				.branch = one->result.branch,
			};
		}
	return 0;
}

void launches_recorded(struct dispatch *d, bool ok)
{
	free(d->launches.record);
	d->launches.record = NULL;
	while (d->launches.recording) {
		struct launch_batch *b = d->launches.recording;

		d->launches.recording = b->next;
		if (ok)
			batch_free(b);
		else
			batch_append(&d->launches.finished, b);
	}
}

void launches_forget(struct dispatch *d)
{
	size_t keep = 0;

	for (size_t i = 0; i < d->launches.n_holds; i++)
		if (d->launches.holds[i].until > clock_wall_s())
			d->launches.holds[keep++] = d->launches.holds[i];
	d->launches.n_holds = keep;
}

void launches_close(struct dispatch *d)
{
	launches_recorded(d, true);
	while (d->launches.finished) {
		struct launch_batch *b = d->launches.finished;

		d->launches.finished = b->next;
		batch_free(b);
	}
	free(d->launches.holds);
	d->launches = (struct launches){ 0 };
}
