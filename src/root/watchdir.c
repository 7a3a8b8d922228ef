/*
 * A root is seen through the folders that its boards' databases lie in, and those in which
 * boards and profiles come and go. Each folder is watched by its path; when an event, a scan or
 * a lost queue says that the path may lead elsewhere by now, it is watched anew.
 *
 * A file tells by its name what it is: NAME, NAME-wal, NAME-journal of a board's database wake
 * that board; board.json, a database where no board was, and a change of folders ask for a
 * scan.
 */
#include "root/watchdir.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "db/db_file.h"
#include "root.h"
#include "root/dispatch.h"
#include "root/inotify.h"
#include "util/fs.h"
#include "util/log.h"

#define HASH_NONFATAL_OOM 1 /* a folder without memory is one that is not watched */
#include <uthash.h>

#define WATCHDIR_MOVES (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define WATCHDIR_DEAD  (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)

/* What else than databases is of interest in a folder. */
enum watchdir_kind {
	WATCHDIR_META = 1 << 0,     /* board.json, and a database that is not there yet */
	WATCHDIR_BOARDS = 1 << 1,   /* folders of boards */
	WATCHDIR_PROFILES = 1 << 2, /* folders of profiles */
	WATCHDIR_ROOT = 1 << 3,     /* the root itself: kanban, profiles, ESTOP */
	WATCHDIR_KANBAN = 1 << 4,   /* <root>/kanban: boards */
	WATCHDIR_HOME = 1 << 5,     /* our HERMES_HOME, where another ESTOP may lie */
};

/* A database in a folder. */
struct watchdir_file {
	struct watchdir_file *next;
	struct dispatch *dispatch; /* borrowed: each set of boards makes a new list */
	char name[];
};

struct watchdir_folder {
	struct inotify_watch watch;
	struct root *root;
	unsigned kinds; /* bits of enum watchdir_kind */
	bool used;      /* by the last update */
	bool stale;     /* its path may lead elsewhere by now */
	struct watchdir_file *files;
	UT_hash_handle hh;
	char path[];
};

struct watchdir {
	struct watchdir_folder *folders; /* by path */
	bool wanting;                    /* some could not be watched */
	bool told;                       /* and that was logged */
	int why;                         /* -errno of the first */
};

/* ---- events -------------------------------------------------------------------------- */

/* Is that a file whose change can mean a commit: NAME, NAME-wal or NAME-journal?
 * @journal: out: it is the last */
static bool watchdir_matches(const char *base, const char *name, bool *journal)
{
	size_t n = strlen(base);

	if (strncmp(name, base, n) != 0)
		return false;
	*journal = db_file_is_part(name + n, DB_JOURNAL);
	return name[n] == '\0' || *journal || db_file_is_part(name + n, DB_WAL);
}

static bool watchdir_file_event(const struct watchdir_folder *f, uint32_t mask,
				const char *name)
{
	bool known = false, journal;

	for (struct watchdir_file *file = f->files; file; file = file->next) {
		if (!watchdir_matches(file->name, name, &journal))
			continue;
		known = true;
		if (file->dispatch->dispatched)
			wakeup_changed(file->dispatch, journal && (mask & WATCHDIR_MOVES));
	}
	return known;
}

static struct watchdir_folder *watchdir_find(const struct watchdir *w, const char *path)
{
	struct watchdir_folder *f = NULL;

	HASH_FIND_STR(w->folders, path, f);
	return f;
}

/* Something called @name came or went in @f: what was watched under that path is no more. */
static void watchdir_below(const struct watchdir_folder *f, const char *name)
{
	CLEANUP(freep) char *path = fs_path("%s/%s", f->path, name);
	struct watchdir_folder *below = path ? watchdir_find(f->root->watchdir, path) : NULL;

	if (below)
		below->stale = true;
}

static void watchdir_scan(struct root *root)
{
	root->watch_anew = true;
	root->hooks->scan(root);
}

static bool watchdir_names(const struct watchdir_folder *f, const char *name, uint32_t mask)
{
	bool moved = mask & WATCHDIR_MOVES;

	if ((f->kinds & (WATCHDIR_ROOT | WATCHDIR_HOME)) && strcmp(name, "ESTOP") == 0)
		root_release(f->root);
	if ((f->kinds & WATCHDIR_META) &&
	    (strcmp(name, "board.json") == 0 || (moved && strcmp(name, "kanban.db") == 0)))
		return true;
	if (!moved)
		return false;
	if (f->kinds & (WATCHDIR_BOARDS | WATCHDIR_PROFILES))
		return fs_is_slug(name);
	return ((f->kinds & WATCHDIR_ROOT) &&
		(strcmp(name, "kanban") == 0 || strcmp(name, "profiles") == 0)) ||
	       ((f->kinds & WATCHDIR_KANBAN) && strcmp(name, "boards") == 0);
}

static void watchdir_lost(struct root *root)
{
	const struct log_about about = root_about(root, NULL);
	struct watchdir_folder *f, *next;

	log_about(LOG_NOTICE, &about,
		  "the kernel had more news of files than it keeps (fs.inotify."
		  "max_queued_events): every board of %s is looked at",
		  root->path);
	HASH_ITER(hh, root->watchdir->folders, f, next)
	{
		f->stale = true;
	}
	watchdir_scan(root);
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched)
			wakeup_changed(root->boards[i], true);
}

static void watchdir_event(struct inotify_watch *watch, uint32_t mask, const char *name)
{
	struct watchdir_folder *f = container_of(watch, struct watchdir_folder, watch);
	struct root *root = f->root;

	if (mask & IN_Q_OVERFLOW) {
		/* told to each folder: once is enough */
		if (!f->stale || !root->watch_anew)
			watchdir_lost(root);
		return;
	}
	if (mask & WATCHDIR_DEAD) {
		f->stale = true;
		watchdir_scan(root);
		return;
	}
	if (!name)
		return;
	if (mask & WATCHDIR_MOVES)
		watchdir_below(f, name);
	if (watchdir_names(f, name, mask))
		watchdir_scan(root);
	(void)watchdir_file_event(f, mask, name);
}

/* ---- which folders ------------------------------------------------------------------- */

static void watchdir_files_free(struct watchdir_folder *f)
{
	while (f->files) {
		struct watchdir_file *file = f->files;

		f->files = file->next;
		free(file);
	}
}

static void watchdir_drop(struct root *root, struct watchdir_folder *f)
{
	if (root->env->inotify)
		inotify_unwatch(root->env->inotify, &f->watch);
	HASH_DEL(root->watchdir->folders, f);
	watchdir_files_free(f);
	free(f);
}

static struct watchdir_folder *watchdir_add(struct root *root, const char *path)
{
	size_t n = strlen(path);
	struct watchdir_folder *f = calloc(1, sizeof(*f) + n + 1);

	if (!f)
		return NULL;
	f->root = root;
	f->watch.fn = watchdir_event;
	memcpy(f->path, path, n);
	HASH_ADD_STR(root->watchdir->folders, path, f);
	if (watchdir_find(root->watchdir, path) == f)
		return f;
	free(f);
	return NULL;
}

/* @path: not watched, or NULL */
static struct watchdir_folder *watchdir_use(struct root *root, const char *path, unsigned kind)
{
	struct watchdir *w = root->watchdir;
	struct watchdir_folder *f = path ? watchdir_find(w, path) : NULL;
	int r = 0, wd;

	if (!f && path)
		f = watchdir_add(root, path);
	if (!f)
		return NULL;
	wd = f->watch.wd;
	f->used = true;
	f->kinds |= kind;
	if (!f->watch.wd || f->stale)
		r = root->env->inotify ? inotify_watch(root->env->inotify, &f->watch, path)
				       : w->why;
	f->stale = false;
	/* what came between the scan and the watch is seen by neither */
	root->rescan |= f->watch.wd && f->watch.wd != wd;
	/* one that is not there is no loss: what holds it tells when it comes */
	if (r < 0 && r != -ENOENT && r != -ENOTDIR) {
		w->wanting = true;
		w->why = w->why ? w->why : r;
	}
	return f;
}

static void watchdir_use_file(struct root *root, struct dispatch *d, const char *path)
{
	CLEANUP(freep) char *folder = strdup(path);
	const char *slash = strrchr(path, '/');
	struct watchdir_folder *f;
	struct watchdir_file *file;
	size_t n;

	if (!slash || !folder)
		return;
	f = watchdir_use(root, dirname(folder), 0);
	n = strlen(slash + 1);
	file = f ? malloc(sizeof(*file) + n + 1) : NULL;
	if (!file)
		return; /* the sweep finds what changes there */
	file->dispatch = d;
	file->next = f->files;
	memcpy(file->name, slash + 1, n + 1);
	f->files = file;
}

static void watchdir_use_board(struct root *root, struct dispatch *d)
{
	const struct board_place *place = &d->board.place;
	char target[PATH_MAX];

	if (!place->duplicate_of[0])
		watchdir_use_file(root, d, place->db_path);
	/* SQLite's other files lie beside the one that a link leads to */
	if (!place->duplicate_of[0] && readlink(place->db_path, target, sizeof(target)) > 0 &&
	    realpath(place->db_path, target))
		watchdir_use_file(root, d, target);
	(void)watchdir_use(root, place->folder, WATCHDIR_META);
}

/* Where boards and profiles come and go, and what may become a board. */
static void watchdir_use_root(struct root *root)
{
	CLEANUP(freep) char *kanban = fs_path("%s/kanban", root->path);
	CLEANUP(freep) char *boards = fs_path("%s/kanban/boards", root->path);
	CLEANUP(freep) char *profiles = fs_path("%s/profiles", root->path);

	(void)watchdir_use(root, root->path, WATCHDIR_ROOT);
	(void)watchdir_use(root, root->env->hermes_home, WATCHDIR_HOME);
	(void)watchdir_use(root, kanban, WATCHDIR_KANBAN);
	(void)watchdir_use(root, boards, WATCHDIR_BOARDS);
	(void)watchdir_use(root, profiles, WATCHDIR_PROFILES);
	for (size_t i = 0; boards && i < root->disc.n_empty; i++) {
		CLEANUP(freep) char *path = fs_path("%s/%s", boards, root->disc.empty[i]);

		(void)watchdir_use(root, path, WATCHDIR_META);
	}
}

static void watchdir_tell(struct root *root)
{
	const struct log_about about = root_about(root, NULL);
	struct watchdir *w = root->watchdir;
	const char *remedy = w->why == -EMFILE   ? "; raise fs.inotify.max_user_instances"
			     : w->why == -ENOSPC ? "; raise fs.inotify.max_user_watches"
						 : "";

	if (w->wanting == w->told)
		return;
	w->told = w->wanting;
	root->hooks->arm(root);
	if (w->wanting)
		log_about(LOG_WARNING, &about,
			  "inotify cannot watch all folders of %s: %s%s; until it can, what "
			  "other programs change there is looked for every few seconds",
			  root->path,
			  w->why == -EMFILE   ? "all instances of this user are taken"
			  : w->why == -ENOSPC ? "all watches of this user are taken"
					      : strerror(-w->why),
			  remedy);
	else
		log_about(LOG_NOTICE, &about, "inotify watches all folders of %s again",
			  root->path);
}

static bool watchdir_open(struct root *root)
{
	struct root_env *env = root->env;
	int r = 0;

	if (!root->watchdir) {
		root->watchdir = calloc(1, sizeof(*root->watchdir));
		if (!root->watchdir)
			return false;
		env->watchers++;
	}
	if (!env->inotify)
		r = inotify_open(&env->inotify, env->loop);
	root->watchdir->wanting = false;
	root->watchdir->why = r;
	return true;
}

void watchdir_update(struct root *root)
{
	struct watchdir_folder *f, *next;

	if (!watchdir_open(root))
		return;
	root->watch_anew = false;
	HASH_ITER(hh, root->watchdir->folders, f, next)
	{
		f->used = false;
		f->kinds = 0;
		watchdir_files_free(f);
	}
	watchdir_use_root(root);
	for (size_t i = 0; i < root->n_boards; i++)
		watchdir_use_board(root, root->boards[i]);
	HASH_ITER(hh, root->watchdir->folders, f, next)
	{
		if (!f->used)
			watchdir_drop(root, f);
	}
	watchdir_tell(root);
}

void watchdir_moved(struct root *root, const char *slug)
{
	struct watchdir_folder *f, *next;

	if (!root->watchdir)
		return;
	HASH_ITER(hh, root->watchdir->folders, f, next)
	{
		for (struct watchdir_file *file = f->files; file; file = file->next)
			if (strcmp(file->dispatch->board.place.slug, slug) == 0)
				f->stale = true;
	}
	root->watch_anew = true;
}

bool watchdir_wanting(const struct root *root)
{
	return root->watchdir && root->watchdir->wanting;
}

void watchdir_close(struct root *root)
{
	struct root_env *env = root->env;
	struct watchdir_folder *f, *next;

	if (!root->watchdir)
		return;
	HASH_ITER(hh, root->watchdir->folders, f, next)
	{
		watchdir_drop(root, f);
	}
	free(root->watchdir);
	root->watchdir = NULL;
	if (--env->watchers == 0)
		env->inotify = inotify_close(env->inotify);
}
