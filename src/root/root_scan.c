/*
 * Which boards a root has: a scan (a job) lists them, the loop takes over what it found.
 *
 * Happy path: at every sweep, and when inotify tells of a board that came or went, scan_work()
 * looks; root_scanned() adds what is new, lets go of what is gone, and asks each board for the
 * visit that it is due.
 *
 * Failure modes: a root that cannot be listed keeps the boards that it had; it is told once and
 * tried again at the next sweep. A scan that is asked for while one runs follows it.
 */
#include <string.h>

#include "root.h"
#include "root/barrier.h"
#include "root/dispatch.h"
#include "root/ends.h"
#include "root/notices.h"
#include "root/root.h"
#include "root/watchdir.h"
#include "util/fs.h"
#include "util/log.h"

#define SCAN_LIMIT_MS 60000

static int place_copy(struct board_place *to, const struct board_place *from)
{
	*to = *from;
	to->db_path = from->db_path ? strdup(from->db_path) : NULL;
	to->folder = from->folder ? strdup(from->folder) : NULL;
	to->logs_dir = from->logs_dir ? strdup(from->logs_dir) : NULL;
	to->workspaces_dir = from->workspaces_dir ? strdup(from->workspaces_dir) : NULL;
	to->default_workdir = from->default_workdir ? strdup(from->default_workdir) : NULL;
	to->refused = from->refused ? strdup(from->refused) : NULL;
	if (to->db_path && to->folder && to->logs_dir && to->workspaces_dir &&
	    (to->default_workdir || !from->default_workdir) && (to->refused || !from->refused))
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

bool root_drop_gone(struct root *root)
{
	size_t keep = 0, was = root->n_boards;

	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];

		if (d->present || !visit_idle(d))
			root->boards[keep++] = d;
		else
			dispatch_close(d);
	}
	root->n_boards = keep;
	return keep < was;
}

/* Is there anything that the last tick that trusts nothing may not have seen? What visits
 * since then have seen is no answer: they look only where events tell them to. */
static bool root_changed(const struct board *board, const struct board_place *now)
{
	return board_changed(board, now) ||
	       (board->state == BOARD_HEALTHY && !board_swept(board, now));
}

static void root_scanned(struct root *root)
{
	bool news = !root->scanned || root->watch_anew || watchdir_wanting(root);

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
			/* one that comes later is new in all likelihood, and nobody waits */
			barrier_board(d, d->dispatched && !root->scanned);
		} else if (place_differs(&d->board.place, found) &&
			   place_copy(&place, found) == 0) {
			root->place_again |= d->board.busy; /* its job reads what it has */
			dispatch_place(d, &place);
			news = true;
		}
		if (!d->board.busy) { /* how much there is to read */
			d->board.place.db = found->db;
			d->board.place.wal = found->wal;
		}
		if (found->moved)
			watchdir_moved(root, found->slug);
		d->present = true;
	}
	news |= root_drop_gone(root) || root->watch_anew;
	root->scanned = true;
	if (news && !root->env->once)
		watchdir_update(root);
	for (size_t i = 0; i < root->disc.count; i++) {
		struct dispatch *d = root_find(root, root->disc.boards[i].slug, i);

		if (d)
			/* what a visit has seen is its own until it ends */
			dispatch_sweep(d, d->board.busy || root_changed(&d->board,
									&root->disc.boards[i]));
	}
	if (root->env->uncounted > 0)
		barrier_wait(root);
	barrier_root(root, false);
	notices_scanned(root);
	root->env->changed(root->env->arg);
}

/* ---- scanning ------------------------------------------------------------------------ */

static void scan_work(struct job *job)
{
	struct root *root = container_of(job, struct root, scan);
	CLEANUP(freep) char *profiles = fs_path("%s/profiles", root->path);
	struct fs_stamp now = profiles ? fs_stamp_of(profiles) : (struct fs_stamp){ 0 };

	if (root->scan_looks) {
		barrier_scan_work(root);
		if (!root->env->once) /* which books an end as nobody saw it */
			ends_load_work(root->ends, root->path);
	} else if (!root->env->once) {
		ends_trim_work(root->ends);
	}
	root->profiles_changed = !profiles || !fs_stamp_equal(&now, &root->profiles);
	root->profiles = now;
	root->scan_result =
		discover_boards(&root->disc, root->path, root->scan_pinned, &root->scan_error);
	for (size_t i = 0;
	     root->env->redirect && root->scan_result == 0 && i < root->disc.count; i++)
		root->scan_result =
			root->env->redirect(root->env->redirect_arg, root->path,
					    &root->disc.boards[i], &root->scan_error);
}

static void scan_done(struct job *job)
{
	struct root *root = container_of(job, struct root, scan);
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
		barrier_root(root, false); /* other roots need not wait for it */
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

void root_scan(struct root *root)
{
	int r;

	if (root->stopping || !atomic_load(&root->owner))
		return;
	if (root->scanning) {
		root->rescan = true;
		return;
	}
	root->scan_error = (struct error)ERROR_NULL;
	root->scan_looks = root->look;
	root->scan_pinned = root->set.pinned_db; /* a reload changes the settings meanwhile */
	r = job_submit(root->env->jobs, &root->scan, "scan", scan_work, scan_done,
		       SCAN_LIMIT_MS);
	if (r == 0) {
		root->scanning = true;
		root->look = false;
		root->env->stats.sweeps++;
	} else {
		log_error("cannot scan %s: %s; trying again at the next sweep", root->path,
			  strerror(-r));
	}
}
