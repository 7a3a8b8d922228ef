/*
 * Starting workers: what a tick claimed becomes batches of launches on the pool; a finished
 * batch waits for the board's next visit, which records it. Scratch and dir workspaces are a
 * mkdir, so a batch takes many of them; a git worktree may take seconds and goes alone.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "root/dispatch.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

#define SLOW_MAX       2 /* of the pool's threads may be with git at a time */
#define BATCH_MAX      32
#define BATCH_LIMIT_MS (30 * 60 * 1000) /* git calls are bounded one by one */

/* One worker of a batch, before and after. */
struct launch_one {
	struct plan_launch claim; /* owned */
	struct launch_spec spec;
	struct launch_result result;
	struct error error;
	int outcome; /* of launch_worker() */
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

/* Everything that launch_worker() needs, from the claim, the place and the settings. */
static int launch_fill(const struct dispatch *d, struct launch_one *one)
{
	const struct board_place *place = &d->board.place;
	const struct plan_launch *c = &one->claim;
	const char *root = d->root->path;
	char profile[256];
	bool oom = false;

	if (!c->assignee || !tick_profile_name(c->assignee, profile, sizeof(profile)))
		(void)snprintf(profile, sizeof(profile), "%s", "?");
	one->spec = (struct launch_spec){
		.root = copy(root, &oom),
		.board = copy(place->slug, &oom),
		.db_path = copy(place->db_path, &oom),
		.task = copy(c->task, &oom),
		.run = c->run,
		.claim_lock = copy(c->claim_lock, &oom),
		.profile = copy(profile, &oom),
		.tenant = copy(c->tenant, &oom),
		.workspace_kind = copy(c->workspace_kind, &oom),
		.workspace_path = copy(c->workspace_path, &oom),
		.branch_name = copy(c->branch_name, &oom),
		.workspaces_root = copy(d->set.workspaces_root ? d->set.workspaces_root
							       : place->workspaces_dir,
					&oom),
		.default_workdir = copy(place->default_workdir, &oom),
		.logs_dir = copy(place->logs_dir, &oom),
		.skills = copy(c->skills, &oom),
		.extra_skill = copy(c->review ? "sdlc-review" : NULL, &oom),
		.model = copy(c->model, &oom),
		.provider = copy(c->provider, &oom),
		.reasoning = copy(c->reasoning, &oom),
		.goal_mode = c->goal_mode,
		.goal_max_turns = c->goal_max_turns,
		.max_runtime_seconds = c->max_runtime_seconds,
	};
	one->spec.profile_home = strcmp(profile, "default") == 0
					 ? copy(root, &oom)
					 : fs_path("%s/profiles/%s", root, profile);
	return oom || !one->spec.profile_home ? -ENOMEM : 0;
}

static void batch_work(struct job *job)
{
	struct launch_batch *b = (struct launch_batch *)job;

	for (size_t i = 0; i < b->n; i++) {
		struct launch_one *one = &b->v[i];

		if (b->dry_run || one->outcome < 0)
			continue; /* nothing is started, or there was no memory for it */
		one->outcome =
			launch_worker(b->launcher, &one->spec, &one->result, &one->error);
	}
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
	struct tick_hold *more = reallocarray(d->holds, d->n_holds + 1, sizeof(*more));
	struct tick_hold *h;

	if (!more)
		return; /* it is then tried at the next visit, no harm but the haste */
	d->holds = more;
	h = &more[d->n_holds++];
	(void)snprintf(h->task, sizeof(h->task), "%s", task);
	h->until = clock_wall_s() + d->set.dispatch_interval_s;
	if (d->root->env->once)
		h->until = INT64_MAX; /* one sweep tries each task once */
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

	for (size_t i = 0; i < b->n; i++) {
		if (b->v[i].outcome != 0) {
			stats->spawn_failed++;
			continue;
		}
		stats->spawned++;
		stats_time(&stats->exec, clock_mono_us() - b->wake_us);
	}
}

static void batch_done(struct job *job)
{
	struct launch_batch *b = (struct launch_batch *)job;
	struct dispatch *d = b->dispatch;

	if (b->slow)
		batch_slow_next(d->root->env);

	batch_unlink(&d->launching, b);
	batch_counted(b);
	for (size_t i = 0; i < b->n; i++) {
		struct launch_one *one = &b->v[i];
		struct plan_worker w = { .task = one->claim.task,
					 .started = one->result.started,
					 .run = one->claim.run,
					 .pid = one->result.pid,
					 .run_started_at = clock_wall_s() };
		int r;

		if (one->outcome != 0) {
			launch_hold(d, one->claim.task);
			continue;
		}
		if (b->dry_run)
			continue;
		r = workers_watch(d, &w, one->result.pidfd, true);
		one->result.pidfd = -1;
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
	batch_append(&d->finished, b);
	dispatch_next(d);
	root_visit_ended(d->root);
}

static struct launch_batch *batch_new(struct dispatch *d, size_t n)
{
	struct launch_batch *b = calloc(1, sizeof(*b) + n * sizeof(b->v[0]));

	if (!b)
		return NULL;
	b->dispatch = d;
	b->wake_us = d->wake_us;
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

	batch_append(&d->launching, b);
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

static bool launch_slow(const struct plan_launch *c)
{
	return c->workspace_kind && strcmp(c->workspace_kind, "worktree") == 0;
}

void launches_start(struct dispatch *d, struct plan *plan)
{
	struct launch_batch *b = NULL;

	for (size_t i = 0; i < plan->n_launches; i++) {
		struct plan_launch *c = &plan->launches[i];
		bool slow = launch_slow(c);

		if (b && (slow || b->n == BATCH_MAX)) {
			batch_start(d, b, false);
			b = NULL;
		}
		if (!b)
			b = batch_new(d, slow ? 1 : BATCH_MAX);
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

size_t launches_count(const struct dispatch *d)
{
	size_t n = 0;

	for (const struct launch_batch *b = d->launching; b; b = b->next)
		n += b->n;
	for (const struct launch_batch *b = d->finished; b; b = b->next)
		n += b->n;
	return n;
}

size_t launches_runs(const struct dispatch *d, int64_t *list)
{
	size_t n = 0;

	for (const struct launch_batch *b = d->launching; b; b = b->next)
		for (size_t i = 0; i < b->n; i++)
			list[n++] = b->v[i].claim.run;
	for (const struct launch_batch *b = d->finished; b; b = b->next)
		for (size_t i = 0; i < b->n; i++)
			list[n++] = b->v[i].claim.run;
	return n;
}

bool launches_pending(const struct dispatch *d, int64_t run)
{
	const struct launch_batch *lists[] = { d->launching, d->finished };

	for (size_t k = 0; k < 2; k++)
		for (const struct launch_batch *b = lists[k]; b; b = b->next)
			for (size_t i = 0; i < b->n; i++)
				if (b->v[i].claim.run == run)
					return true;
	return false;
}

size_t launches_recording(const struct dispatch *d)
{
	size_t n = 0;

	for (const struct launch_batch *b = d->recording; b; b = b->next)
		n += b->n;
	return n;
}

int launches_take(struct dispatch *d)
{
	size_t n = 0;

	d->recording = d->finished;
	d->finished = NULL;
	d->bj_record = NULL;
	if (!d->recording)
		return 0;
	d->bj_record = calloc(launches_recording(d), sizeof(*d->bj_record));
	if (!d->bj_record) {
		d->finished = d->recording;
		d->recording = NULL;
		return -ENOMEM;
	}
	for (struct launch_batch *b = d->recording; b; b = b->next)
		for (size_t i = 0; i < b->n; i++) {
			struct launch_one *one = &b->v[i];

			d->bj_record[n++] = (struct tick_launched){
				.launch = &one->claim,
				.workspace_ok = one->outcome == 0 ||
						one->outcome == LAUNCH_SPAWN_FAILED,
				.spawned = one->outcome == 0,
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
	free(d->bj_record);
	d->bj_record = NULL;
	while (d->recording) {
		struct launch_batch *b = d->recording;

		d->recording = b->next;
		if (ok)
			batch_free(b);
		else
			batch_append(&d->finished, b);
	}
	if (ok && d->closing)
		while (d->finished) {
			struct launch_batch *b = d->finished;

			d->finished = b->next;
			batch_free(b);
		}
}
