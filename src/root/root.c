/*
 * One root.
 *
 * Happy path: root_start() competes for the lease. Once it is ours a scan (a job) lists the
 * boards, each gets a full visit, and the sweep timer repeats the scan at every interval; in
 * between inotify, deadlines and ends of workers ask for visits. Standby does nothing at all.
 *
 * Failure modes: a lease that is lost stops every job before its next write; boards are closed
 * and the lease is competed for again. A root that cannot be scanned is told once and tried
 * again at the next sweep.
 *
 * Shutdown: nothing new is claimed; visits, launches and endings in flight are brought home;
 * each open board is checkpointed and closed; the lease goes last.
 */
#include "root/root.h"
#include "root/collect.h"
#include "root/places.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "root.h"
#include "root/barrier.h"
#include "root/decompose.h"
#include "root/dispatch.h"
#include "root/ends.h"
#include "root/hostfault.h"
#include "root/notices.h"
#include "root/once_sweep.h"
#include "root/operation.h"
#include "root/tick_host.h"
#include "root/watchdir.h"
#include "util/clock.h"
#include "util/log.h"

#define SETTLED_LIMIT_MS 60000
#define UNWATCHED_MS     5000 /* sweeps, while inotify is not to be had */

static void root_stop_step(struct root *root);

void root_counted(struct root *root)
{
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched &&
		    root->boards[i]->board.state == BOARD_HEALTHY)
			places_ask(root->boards[i], WANT_TICK);
}

void root_sweep(struct root *root)
{
	root_scan(root);
}

static void root_sweep_timer(uv_timer_t *t)
{
	root_sweep(t->data);
	collect_sweep(t->data);
}

static void root_arm(struct root *root)
{
	uint64_t ms = (uint64_t)root->set.dispatch_interval_s * 1000;

	if (watchdir_wanting(root) && ms > UNWATCHED_MS)
		ms = UNWATCHED_MS;
	if (!root->env->once)
		IGNORE(uv_timer_start(&root->sweep, root_sweep_timer, ms,
				      ms)); /* never fails with a callback */
}

/* ---- the lease ----------------------------------------------------------------------- */

static void claimants_free(struct root *root)
{
	for (size_t i = 0; root->claimants && root->claimants[i]; i++)
		free(root->claimants[i]);
	free(root->claimants);
	root->claimants = NULL;
}

static void claimants_copy(struct root *root)
{
	size_t n = 0;
	const char *const *list = lease_claimants(root->lease, &n);

	claimants_free(root);
	root->claimants = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; root->claimants && i < n; i++) {
		root->claimants[i] = strdup(list[i]);
		if (!root->claimants[i])
			break; /* a shorter list: those claims run out by themselves */
	}
	root->settled_done = false; /* without any, too: it makes the owner file durable */
}

static void root_own(struct root *root, int64_t epoch)
{
	root->role = ROOT_OWNER;
	root->epoch = epoch;
	root->owned_at = clock_wall_s();
	root->holder[0] = '\0';
	atomic_store(&root->owner, true);
	barrier_root(root, true);
	barrier_wait(root);
	root->look = true;
	for (size_t i = 0; i < root->n_boards; i++) {
		root->boards[i]->adopted = false;
		root->boards[i]->news_after = -1; /* what happened under others is theirs */
		barrier_board(root->boards[i], root->boards[i]->dispatched);
	}
	root_scan(root);
	root_arm(root);
	notices_open(root);
	root->env->changed(root->env->arg);
}

static void root_acquired(void *arg, int64_t epoch)
{
	struct root *root = arg;
	struct log_about about;

	if (root->stopping)
		return;
	claimants_copy(root);
	root->epoch = epoch;
	about = root_about(root, LOG_ID_LEASE_OWNER);
	/* before READY goes out: whoever waited for the start finds it in the journal */
	log_about(LOG_NOTICE, &about, "owner of %s, epoch %lld", root->path, (long long)epoch);
	root_own(root, epoch);
}

static void root_standby(void *arg, const char *holder)
{
	struct root *root = arg;
	struct log_about about = root_about(root, LOG_ID_LEASE_STANDBY);

	root->role = ROOT_STANDBY;
	(void)snprintf(root->holder, sizeof(root->holder), "%s", holder);
	log_about(LOG_NOTICE, &about, "standby for %s: the lease is held by %s", root->path,
		  holder);
	root->env->changed(root->env->arg);
}

/* Nothing of ours may touch a board any more; connections go as soon as their visit is over. */
static void root_disown(struct root *root)
{
	atomic_store(&root->owner, false);
	IGNORE(uv_timer_stop(&root->sweep));         /* always 0 */
	IGNORE(uv_timer_stop(&root->barrier_timer)); /* … */
	watchdir_close(root);
	notices_lost(root);
	hostfault_close(root);
	root->scanned = false;
	barrier_root(root, false);
	for (size_t i = 0; i < root->n_boards; i++) {
		root->boards[i]->present = false;
		root->boards[i]->wake.want = 0;
		root->boards[i]->held = false; /* a pause ends with the ownership */
		operations_end(root->boards[i]);
	}
	(void)root_drop_gone(root); /* nothing is watched */
}

static void root_lost(void *arg, const char *why)
{
	struct root *root = arg;
	struct log_about about = root_about(root, LOG_ID_LEASE_LOST);

	log_about(LOG_CRIT, &about,
		  "lost the lease of %s: %s; nothing is dispatched until it is "
		  "owned again",
		  root->path, why);
	root->role = ROOT_STARTING;
	root_disown(root);
	root->env->changed(root->env->arg);
}

static void root_failed(void *arg, const struct error *e)
{
	struct root *root = arg;
	struct log_about about = root_about(root, LOG_ID_LEASE_LOST);

	root->role = ROOT_FAILED;
	(void)snprintf(root->holder, sizeof(root->holder), "%s", e->text);
	log_about(LOG_ERR, &about, "%s; trying again every 5 s", e->text);
	root->env->changed(root->env->arg);
}

static void root_step_down(struct root *root, const char *why)
{
	if (root->lease && root->role == ROOT_OWNER && !root->env->once)
		lease_step_down(root->lease, why);
}

/* ---- every board was adopted --------------------------------------------------------- */

static void settled_work(struct job *job)
{
	struct root *root = container_of(job, struct root, settled);
	struct error e = ERROR_NULL;

	/* they stay listed then, which only costs a look at the next takeover */
	IGNORE(lease_claimants_settled(root->lease, root->settled_epoch, &e));
}

static void settled_done(struct job *job)
{
	struct root *root = container_of(job, struct root, settled);

	root->settling = false;
	root_visit_ended(root);
}

static void root_settle_claimants(struct root *root)
{
	if (root->settled_done || root->settling || !root->lease || root->stopping ||
	    !root->scanned || !atomic_load(&root->owner))
		return;
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched &&
		    (!root->boards[i]->adopted || root->boards[i]->cut_off_left) &&
		    root->boards[i]->board.state != BOARD_MISSING)
			return;
	if (!root->env->once) /* it may claim again, for those that could not be started */
		barrier_forget(root);
	root->settled_done = true;
	root->settled_epoch = root->epoch;
	if (job_submit(root->env->jobs, &root->settled, "settled", settled_work, settled_done,
		       SETTLED_LIMIT_MS) == 0)
		root->settling = true;
}

static void root_settled(struct root *root)
{
	root_settle_claimants(root);
	if (root->place_again && !root->scanning) {
		root->place_again = false;
		root_scan(root);
	}
	if (!atomic_load(&root->owner) && !root->env->once)
		(void)root_drop_gone(root); /* nothing is watched */
	if (root->env->once)
		once_step(root);
	if (root->stopping)
		root_stop_step(root);
	root->env->changed(root->env->arg);
}

/* ---- the rest ------------------------------------------------------------------------ */

bool root_idle(const struct root *root)
{
	if (root->scanning || root->settling)
		return false;
	for (size_t i = 0; i < root->n_boards; i++)
		if (!visit_idle(root->boards[i]))
			return false;
	return true;
}

void root_clock(struct root *root)
{
	for (size_t i = 0; i < root->n_boards; i++)
		dispatch_clock(root->boards[i]);
}

static void root_displace(struct root *root)
{
	struct dispatch *oldest = NULL;

	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];

		if (!d->board.busy && d->board.db &&
		    (!oldest || d->visit.ended_ms < oldest->visit.ended_ms))
			oldest = d;
	}
	if (oldest)
		wakeup_want(oldest, WANT_CLOSE);
}

void root_reload(struct root *root)
{
	root->env->settings(root->env->arg, root->path, NULL, &root->set);
	for (size_t i = 0; i < root->n_boards; i++)
		dispatch_reload(root->boards[i]);
	notices_reload(root);
	if (root->role == ROOT_OWNER) {
		root_arm(root);
		root_scan(root);
	}
}

static const struct root_hooks root_hooks = { .visit_ended = root_settled,
					      .lease_lost = root_step_down,
					      .close_oldest = root_displace,
					      .scan = root_scan,
					      .arm = root_arm };

int root_new(struct root **out, struct root_env *env, const char *path)
{
	struct root *root = calloc(1, sizeof(*root));
	int r;

	if (!root)
		return -ENOMEM;
	root->env = env;
	root->hooks = &root_hooks;
	root->path = strdup(path);
	root->ends = ends_new();
	r = root->path && root->ends ? uv_timer_init(env->loop, &root->sweep) : -ENOMEM;
	if (r < 0) {
		ends_free(root->ends);
		free(root->estop);
		free(root->path);
		free(root);
		return r;
	}
	IGNORE(uv_timer_init(env->loop,
			     &root->barrier_timer)); /* always 0, as the one before */
	root->barrier_timer.data = root;
	root->sweep.data = root;
	root->handles = true;
	tick_host_init(root);
	env->settings(env->arg, path, NULL, &root->set);
	*out = root;
	return 0;
}

int root_start(struct root *root)
{
	static const struct lease_events events = { root_acquired, root_standby, root_lost,
						    root_failed };

	return lease_open(&root->lease, root->env->loop, root->path, &root->env->who, &events,
			  root);
}

int root_start_owned(struct root *root, struct lease *lease, int64_t epoch)
{
	root->lease = lease;
	if (lease)
		claimants_copy(root);
	root_own(root, epoch);
	return 0;
}

static void root_patience_closed(uv_handle_t *h)
{
	struct root *root = h->data;

	root->handles = false;
	root->stopped(root->stopped_arg);
}

static void root_sweep_closed(uv_handle_t *h)
{
	struct root *root = h->data;

	uv_close((uv_handle_t *)&root->barrier_timer, root_patience_closed);
}

static void root_lease_closed(void *arg)
{
	struct root *root = arg;

	root->lease = NULL;
	uv_close((uv_handle_t *)&root->sweep, root_sweep_closed);
}

static void leaving_work(struct job *job)
{
	struct root *root = container_of(job, struct root, leaving);

	/* without it the history lacks the reason, nothing worse */
	IGNORE(lease_leave(root->lease, root->leave_why ? root->leave_why : "it was stopped"));
}

static void leaving_done(struct job *job)
{
	struct root *root = container_of(job, struct root, leaving);

	lease_close(root->lease, root_lease_closed, root);
}

/* The lease goes last: the outbox is the owner's. */
static void root_notices_closed(void *arg)
{
	struct root *root = arg;
	bool ours = root->lease && !root->env->once;

	if (ours && root->role == ROOT_OWNER &&
	    job_submit(root->env->jobs, &root->leaving, "leave", leaving_work, leaving_done,
		       SETTLED_LIMIT_MS) == 0)
		return;
	if (ours)
		lease_close(root->lease, root_lease_closed, root);
	else
		root_lease_closed(root);
}

/* One step further down whenever something in flight came home. */
static void root_stop_step(struct root *root)
{
	if (root->lease_closing || !notices_over(root))
		return;
	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];

		if (!d->board.busy && d->board.db && atomic_load(&root->owner))
			wakeup_want(d, WANT_CLOSE);
	}
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->board.busy || root->boards[i]->launches.launching ||
		    root->boards[i]->workers.ending)
			return;
	if (root->scanning || root->settling || !decompose_idle(root))
		return;
	decompose_close(root);
	root->lease_closing = true;
	atomic_store(&root->owner, false);
	for (size_t i = 0; i < root->n_boards; i++)
		dispatch_close(root->boards[i]);
	root->n_boards = 0;
	notices_close(root, root_notices_closed, root);
}

void root_stop(struct root *root, void (*done)(void *arg), void *arg)
{
	root->stopping = true;
	barrier_root(root, false);
	root->stopped = done;
	root->stopped_arg = arg;
	IGNORE(uv_timer_stop(&root->sweep)); /* always 0 */
	watchdir_close(root);
	notices_stop(root);
	hostfault_close(root);
	for (size_t i = 0; i < root->n_boards; i++)
		operations_end(root->boards[i]);
	root_stop_step(root);
}

void root_yield(struct root *root, void (*done)(void *arg), void *arg)
{
	root->leave_why = "it was handed over";
	root_stop(root, done, arg);
	root->env->changed(root->env->arg);
}

struct root *root_free(struct root *root)
{
	if (!root)
		return NULL;
	claimants_free(root);
	barrier_forget(root);
	ends_free(root->ends);
	discovery_deinit(&root->disc);
	free(root->boards);
	free(root->estop);
	free(root->path);
	free(root);
	return NULL;
}
