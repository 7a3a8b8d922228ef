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

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "root/decompose.h"
#include "root/dispatch.h"
#include "root/notices.h"
#include "root/operation.h"
#include "root/watchdir.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

#define SCAN_LIMIT_MS    60000
#define SETTLED_LIMIT_MS 60000

static void root_scan(struct root *root);
static void root_stop_step(struct root *root);

static struct log_about root_about(const struct root *root, const char *id)
{
	return (struct log_about){ .root = root->path, .epoch = root->epoch, .id = id };
}

/* ---- the set of boards ----------------------------------------------------------------------
 */

static int place_copy(struct board_place *to, const struct board_place *from)
{
	*to = *from;
	to->db_path = from->db_path ? strdup(from->db_path) : NULL;
	to->folder = from->folder ? strdup(from->folder) : NULL;
	to->logs_dir = from->logs_dir ? strdup(from->logs_dir) : NULL;
	to->workspaces_dir = from->workspaces_dir ? strdup(from->workspaces_dir) : NULL;
	to->default_workdir = from->default_workdir ? strdup(from->default_workdir) : NULL;
	if (to->db_path && to->folder && to->logs_dir && to->workspaces_dir &&
	    (to->default_workdir || !from->default_workdir))
		return 0;
	board_place_deinit(to);
	return -ENOMEM;
}

static struct dispatch *root_find(struct root *root, const char *slug, size_t hint)
{
	/* scans come in the same order, so the hint nearly always hits */
	if (hint < root->n_boards && strcmp(root->boards[hint]->board.place.slug, slug) == 0)
		return root->boards[hint];
	for (size_t i = 0; i < root->n_boards; i++)
		if (strcmp(root->boards[i]->board.place.slug, slug) == 0)
			return root->boards[i];
	return NULL;
}

/* Does the place differ in anything but its stamps? */
static bool place_differs(const struct board_place *a, const struct board_place *b)
{
	const char *aw = a->default_workdir ? a->default_workdir : "";
	const char *bw = b->default_workdir ? b->default_workdir : "";

	return strcmp(a->db_path, b->db_path) != 0 || a->archived != b->archived ||
	       strcmp(a->duplicate_of, b->duplicate_of) != 0 || strcmp(aw, bw) != 0;
}

/* NULL when out of memory. */
static struct dispatch *root_add(struct root *root, const struct board_place *found)
{
	struct dispatch **more =
		reallocarray(root->boards, root->n_boards + 1, sizeof(struct dispatch *));
	struct board_place place;
	struct dispatch *d;

	if (!more)
		return NULL;
	root->boards = more;
	if (place_copy(&place, found) < 0 || dispatch_new(&d, root, &place) < 0)
		return NULL;
	more[root->n_boards++] = d;
	return d;
}

static void root_drop_gone(struct root *root)
{
	size_t keep = 0;

	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];

		if (d->present || !dispatch_idle(d))
			root->boards[keep++] = d;
		else
			dispatch_close(d);
	}
	root->n_boards = keep;
}

static void root_uncounted(struct root *root, bool uncounted)
{
	struct root_env *env = root->env;

	if (root->uncounted == uncounted)
		return;
	root->uncounted = uncounted;
	env->uncounted += uncounted ? 1U : -1U;
	if (env->uncounted == 0)
		env->counted(env->arg);
}

void root_counted(struct root *root)
{
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched &&
		    root->boards[i]->board.state == BOARD_HEALTHY)
			dispatch_want(root->boards[i], WANT_TICK);
}

static void root_scanned(struct root *root)
{
	bool news = !root->scanned;

	for (size_t i = 0; i < root->n_boards; i++)
		root->boards[i]->present = false;
	for (size_t i = 0; i < root->disc.count; i++) {
		const struct board_place *found = &root->disc.boards[i];
		struct dispatch *d = root_find(root, found->slug, i);
		struct board_place place;

		if (!d) {
			d = root_add(root, found);
			if (!d) {
				log_error("out of memory: board %s is not dispatched in this "
					  "sweep",
					  found->slug);
				continue;
			}
			news = true;
			dispatch_uncounted(d, d->dispatched);
		} else if (place_differs(&d->board.place, found) &&
			   place_copy(&place, found) == 0) {
			dispatch_place(d, &place);
			news = true;
		}
		d->present = true;
	}
	root_drop_gone(root);
	root->scanned = true;
	if (news && !root->env->once)
		watchdir_update(root);
	for (size_t i = 0; i < root->disc.count; i++) {
		struct dispatch *d = root_find(root, root->disc.boards[i].slug, i);

		if (d)
			/* what a visit has seen is its own until it ends */
			dispatch_sweep(d,
				       d->board.busy ||
					       board_changed(&d->board, &root->disc.boards[i]));
	}
	root_uncounted(root, false);
	notices_scanned(root);
	root->env->changed(root->env->arg);
}

/* ---- scanning ------------------------------------------------------------------------------
 */

static void scan_work(struct job *job)
{
	struct root *root = (struct root *)((char *)job - offsetof(struct root, scan));
	CLEANUP(freep) char *profiles = fs_path("%s/profiles", root->path);
	struct file_stamp now = profiles ? file_stamp_of(profiles) : (struct file_stamp){ 0 };

	root->profiles_changed = !profiles || !file_stamp_equal(&now, &root->profiles);
	root->profiles = now;
	root->scan_result =
		discover_boards(&root->disc, root->path, root->scan_pinned, &root->scan_error);
	for (size_t i = 0;
	     root->env->redirect && root->scan_result == 0 && i < root->disc.count; i++)
		root->scan_result = root->env->redirect(
			root->env->redirect_arg, &root->disc.boards[i], &root->scan_error);
}

static void scan_done(struct job *job)
{
	struct root *root = (struct root *)((char *)job - offsetof(struct root, scan));
	struct log_about about = root_about(root, NULL);

	root->scanning = false;
	root->scanned_once = true;
	for (size_t i = 0; i < root->disc.n_notes; i++)
		log_about(LOG_NOTICE, &about, "%s", root->disc.notes[i]);
	if (root->scan_result < 0) {
		if (!root->scan_told)
			log_about(LOG_ERR, &about,
				  "cannot list the boards: %s; trying again at every "
				  "sweep",
				  root->scan_error.text);
		root->scan_told = true;
		root_uncounted(root, false); /* other roots need not wait for it */
	} else {
		if (root->scan_told)
			log_about(LOG_NOTICE, &about, "the boards can be listed again");
		root->scan_told = false;
		if (atomic_load(&root->owner) && !root->stopping)
			root_scanned(root);
	}
	if (root->rescan) {
		root->rescan = false;
		root_scan(root);
	}
	root_visit_ended(root);
}

static void root_scan(struct root *root)
{
	int r;

	if (root->stopping || !atomic_load(&root->owner))
		return;
	if (root->scanning) {
		root->rescan = true;
		return;
	}
	root->scan_error = (struct error)ERROR_NULL;
	root->scan_pinned = root->set.pinned_db; /* a reload changes the settings meanwhile */
	r = job_submit(root->env->jobs, &root->scan, "scan", scan_work, scan_done,
		       SCAN_LIMIT_MS);
	if (r == 0) {
		root->scanning = true;
		root->env->stats.sweeps++;
	} else {
		log_error("cannot scan %s: %s; trying again at the next sweep", root->path,
			  strerror(-r));
	}
}

void root_release(struct root *root)
{
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched)
			dispatch_want(root->boards[i], WANT_FULL);
}

void root_sweep(struct root *root)
{
	root_scan(root);
}

static void root_sweep_timer(uv_timer_t *t)
{
	root_sweep(t->data);
}

static void root_arm(struct root *root)
{
	uint64_t ms = (uint64_t)root->set.dispatch_interval_s * 1000;

	if (!root->env->once)
		IGNORE(uv_timer_start(&root->sweep, root_sweep_timer, ms,
				      ms)); /* never fails with a callback */
}

/* ---- the lease -----------------------------------------------------------------------------
 */

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
	root->settled_done = n == 0;
}

static void root_own(struct root *root, int64_t epoch)
{
	root->role = ROOT_OWNER;
	root->epoch = epoch;
	root->holder[0] = '\0';
	atomic_store(&root->owner, true);
	root_uncounted(root, true);
	for (size_t i = 0; i < root->n_boards; i++) {
		root->boards[i]->adopted = false;
		dispatch_uncounted(root->boards[i], root->boards[i]->dispatched);
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
	IGNORE(uv_timer_stop(&root->sweep)); /* always 0 */
	watchdir_close(root);
	notices_lost(root);
	root->scanned = false;
	root_uncounted(root, false);
	for (size_t i = 0; i < root->n_boards; i++) {
		root->boards[i]->present = false;
		root->boards[i]->want = 0;
		root->boards[i]->held = false; /* a pause ends with the ownership */
		errands_end(root->boards[i]);
	}
	root_drop_gone(root);
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

void root_lease_lost(struct root *root, const char *why)
{
	if (root->lease && root->role == ROOT_OWNER && !root->env->once)
		lease_step_down(root->lease, why);
}

/* ---- every board was adopted ---------------------------------------------------------------
 */

static void settled_work(struct job *job)
{
	struct root *root = (struct root *)((char *)job - offsetof(struct root, settled));
	struct error e = ERROR_NULL;

	/* they stay listed then, which only costs a look at the next takeover */
	IGNORE(lease_claimants_settled(root->lease, root->settled_epoch, &e));
}

static void settled_done(struct job *job)
{
	struct root *root = (struct root *)((char *)job - offsetof(struct root, settled));

	root->settling = false;
	root_visit_ended(root);
}

static void root_settle_claimants(struct root *root)
{
	if (root->settled_done || root->settling || !root->lease || root->stopping ||
	    !root->scanned || !atomic_load(&root->owner))
		return;
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched && !root->boards[i]->adopted &&
		    root->boards[i]->board.state != BOARD_MISSING)
			return;
	root->settled_done = true;
	root->settled_epoch = root->epoch;
	if (job_submit(root->env->jobs, &root->settled, "settled", settled_work, settled_done,
		       SETTLED_LIMIT_MS) == 0)
		root->settling = true;
}

void root_visit_ended(struct root *root)
{
	root_settle_claimants(root);
	if (!atomic_load(&root->owner) && !root->env->once)
		root_drop_gone(root);
	if (root->env->once)
		once_step(root);
	if (root->stopping)
		root_stop_step(root);
	root->env->changed(root->env->arg);
}

/* ---- the rest ------------------------------------------------------------------------------
 */

bool root_idle(const struct root *root)
{
	if (root->scanning || root->settling)
		return false;
	for (size_t i = 0; i < root->n_boards; i++)
		if (!dispatch_idle(root->boards[i]))
			return false;
	return true;
}

void root_capacity(struct root *root)
{
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->waits & WAIT_CAPACITY)
			dispatch_want(root->boards[i], WANT_TICK);
}

void root_close_oldest(struct root *root)
{
	struct dispatch *oldest = NULL;

	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];

		if (!d->board.busy && d->board.db &&
		    (!oldest || d->visited_ms < oldest->visited_ms))
			oldest = d;
	}
	if (oldest)
		dispatch_want(oldest, WANT_CLOSE);
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

int root_new(struct root **out, struct root_env *env, const char *path)
{
	struct root *root = calloc(1, sizeof(*root));
	int r;

	if (!root)
		return -ENOMEM;
	root->env = env;
	root->path = strdup(path);
	r = root->path ? uv_timer_init(env->loop, &root->sweep) : -ENOMEM;
	if (r < 0) {
		free(root->path);
		free(root);
		return r;
	}
	root->sweep.data = root;
	root->handles = true;
	root_outside_init(root);
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

static void root_sweep_closed(uv_handle_t *h)
{
	struct root *root = h->data;

	root->handles = false;
	root->stopped(root->stopped_arg);
}

static void root_lease_closed(void *arg)
{
	struct root *root = arg;

	root->lease = NULL;
	uv_close((uv_handle_t *)&root->sweep, root_sweep_closed);
}

/* The lease goes last: the outbox is the owner's. */
static void root_notices_closed(void *arg)
{
	struct root *root = arg;

	if (root->lease && !root->env->once)
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
			dispatch_want(d, WANT_CLOSE);
	}
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->board.busy || root->boards[i]->launching ||
		    root->boards[i]->ending)
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
	root_uncounted(root, false);
	root->stopped = done;
	root->stopped_arg = arg;
	IGNORE(uv_timer_stop(&root->sweep)); /* always 0 */
	watchdir_close(root);
	notices_stop(root);
	for (size_t i = 0; i < root->n_boards; i++)
		errands_end(root->boards[i]);
	root_stop_step(root);
}

struct root *root_free(struct root *root)
{
	if (!root)
		return NULL;
	claimants_free(root);
	discovery_deinit(&root->disc);
	free(root->boards);
	free(root->path);
	free(root);
	return NULL;
}
