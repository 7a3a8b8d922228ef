/*
 * What a lost board can be restored from. Snapshots are ours and never change, so they are read
 * in place, immutably. Backups that others left beside the board may have a hot journal or a
 * WAL, or be damaged: each is copied with its sidecars into a private folder and looked at
 * there.
 */
#include "recovery/candidates.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db.h"
#include "db/db_file.h"
#include "db/db_probe.h"
#include "recovery.h"
#include "recovery/evidence.h"
#include "recovery/repair.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/list.h"

#define CANDIDATES_MAX  200   /* files looked at; of more, the newest */
#define EXTRACT_BUSY_MS 1000  /* nobody else has it open */
#define CANDIDATES_MS   60000 /* for all of them, where they are only counted */

/* clang-format off */
static const char sql_counts[] =
	"SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM task_links),"
	" (SELECT count(*) FROM task_runs), (SELECT count(*) FROM task_events),"
	" (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'task_events'),"
	" (SELECT coalesce(max(created_at), 0) FROM task_events)";
/* clang-format on */

/* ---- looking at one ------------------------------------------------------------------ */

static int candidate_count(struct db *db, struct candidate *c, struct error *e)
{
	int64_t n[6] = { 0 };
	int r = db_row_ints(db, e, n, 6, sql_counts, "");

	c->tasks = n[0];
	c->links = n[1];
	c->runs = n[2];
	c->events = n[3];
	c->event_seq = n[4];
	c->newest_event_at = n[5];
	return r;
}

/* A copy of which only the indexes are damaged is as good as a sound one, once they are made
 * anew. */
static void candidate_reindex(struct candidate *c, const char *file)
{
	struct error e = ERROR_NULL;
	enum reindex_verdict found;

	if (repair_reindex(file, false, &found, &e) == 0 && found == REINDEX_INDEXES) {
		c->sound = true;
		(void)snprintf(c->why, sizeof(c->why), "its indexes have to be made anew");
	}
}

static bool candidates_cancelled(const atomic_bool *cancel)
{
	return cancel && atomic_load(cancel);
}

/* @file is ours alone, or never changes (@immutable). */
static void candidate_look(struct candidate *c, const char *file, bool immutable, bool deep,
			   const atomic_bool *cancel)
{
	const struct db_options opt = { .path = file,
					.immutable = immutable,
					.cancel = cancel };
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	int r = db_open(&db, &opt, &e);

	if (r == 0)
		r = candidate_count(db, c, &e);
	if (r == 0 && deep)
		r = db_integrity_check(db, &e);
	c->sound = r == 0;
	if (r != 0)
		(void)snprintf(c->why, sizeof(c->why), "%.120s", e.text);
	db = db_free(db);
	if (r == DB_CORRUPT && deep && !immutable && c->tasks > 0)
		candidate_reindex(c, file);
}

/* Whatever lies beside a board: looked at where it is if it is complete in itself, and there is
 * no need to change anything of it; else on a copy. */
static void candidate_backup(struct candidate *c, const char *copy, bool deep, int64_t max,
			     const atomic_bool *cancel)
{
	struct error e = ERROR_NULL;
	struct db_probe look;
	int r = db_probe(c->path, &look, &e);

	if (r != 0) {
		(void)snprintf(c->why, sizeof(c->why), "%.120s", e.text);
		return;
	}
	if (!deep && !look.hot) {
		candidate_look(c, c->path, true, deep, cancel);
		return;
	}
	r = evidence_copy(c->path, copy, max);
	if (r == 0)
		candidate_look(c, copy, false, deep, cancel);
	else
		(void)snprintf(c->why, sizeof(c->why), "cannot be copied: %s", strerror(-r));
	db_file_remove(copy);
}

/* ---- the list ------------------------------------------------------------------------ */

struct candidate_list {
	const atomic_bool *cancel; /* or NULL */
	uint64_t until_ms;         /* then no more are looked at; 0 = never */
	int64_t max;               /* of a copy */
	struct candidate *v;
	size_t n;
	bool oom;
};

/* Somebody waits for a list that is only counted. */
static bool candidates_late(const struct candidate_list *l, struct candidate *c)
{
	if (l->until_ms == 0 || clock_mono_ms() < l->until_ms)
		return false;
	(void)snprintf(c->why, sizeof(c->why), "not looked at: the others took too long");
	return true;
}

static struct candidate *candidate_add(struct candidate_list *l, const char *path,
				       const char *kind)
{
	struct candidate *more;
	struct stat st;

	if (l->n >= CANDIDATES_MAX || candidates_cancelled(l->cancel) || stat(path, &st) < 0 ||
	    !S_ISREG(st.st_mode) || st.st_size == 0)
		return NULL;
	more = reallocarray(l->v, l->n + 1, sizeof(*more));
	if (!more) {
		l->oom = true;
		return NULL;
	}
	l->v = more;
	more[l->n] = (struct candidate){ .path = strdup(path), .size = st.st_size };
	(void)snprintf(more[l->n].kind, sizeof(more[l->n].kind), "%s", kind);
	if (!more[l->n].path) {
		l->oom = true;
		return NULL;
	}
	return &more[l->n++];
}

static void candidates_snapshots(struct candidate_list *l, const char *folder, bool deep)
{
	CLEANUP(freep) char *dir_path = fs_path("%s/snapshots", folder);
	DIR *dir = dir_path ? opendir(dir_path) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		CLEANUP(freep) char *path = fs_path("%s/%s", dir_path, entry->d_name);
		size_t n = strlen(entry->d_name);
		struct candidate *c;

		if (!path || entry->d_name[0] == '.' || n < 4 ||
		    strcmp(entry->d_name + n - 3, ".db") != 0)
			continue;
		c = candidate_add(l, path, "snapshot");
		if (c && !candidates_late(l, c))
			candidate_look(c, path, true, deep, l->cancel);
	}
	if (dir)
		(void)closedir(dir);
}

/* <base>.….bak, as Hermes, operators and our evidence name them; not their sidecars */
static bool candidate_is_backup(const char *name, const char *base)
{
	size_t n = strlen(base), len = strlen(name);

	return strncmp(name, base, n) == 0 && (name[n] == '.' || name[n] == '-') &&
	       len >= n + 4 && strcmp(name + len - 4, ".bak") == 0;
}

/* Names of backups beside the board, so that of too many the newest are looked at. */
struct backup_name {
	char name[256];
	int64_t mtime_ns;
};

static int backup_newer(const void *a, const void *b)
{
	const struct backup_name *x = a, *y = b;

	return x->mtime_ns != y->mtime_ns ? (x->mtime_ns > y->mtime_ns ? -1 : 1)
					  : strcmp(y->name, x->name);
}

static size_t backups_scan(DIR *dir, const char *base, struct backup_name **list, bool *oom)
{
	struct dirent *entry;
	struct backup_name *one;
	struct stat st;
	size_t n = 0;

	while ((entry = readdir(dir))) {
		if (!candidate_is_backup(entry->d_name, base) ||
		    fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
			continue;
		one = list_grow((void **)list, &n, sizeof(*one));
		if (!one) {
			*oom = true;
			break;
		}
		(void)snprintf(one->name, sizeof(one->name), "%s", entry->d_name);
		one->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	}
	if (n > 0)
		qsort(*list, n, sizeof(**list), backup_newer);
	return n;
}

static void candidates_backups(struct candidate_list *l, const char *db_path, const char *copy,
			       bool deep)
{
	const char *slash = strrchr(db_path, '/');
	CLEANUP(freep)
	char *folder = slash ? strndup(db_path, (size_t)(slash - db_path)) : strdup(".");
	CLEANUP(freep) struct backup_name *names = NULL;
	DIR *dir = folder ? opendir(*folder ? folder : "/") : NULL;
	size_t n;

	if (!dir)
		return;
	n = backups_scan(dir, slash ? slash + 1 : db_path, &names, &l->oom);
	(void)closedir(dir);
	for (size_t i = 0; i < n && l->n < CANDIDATES_MAX; i++) {
		CLEANUP(freep) char *path = fs_path("%s/%s", folder, names[i].name);
		struct candidate *c = path ? candidate_add(l, path, "backup") : NULL;

		if (c && !candidates_late(l, c))
			candidate_backup(c, copy, deep, l->max, l->cancel);
	}
}

static int candidate_newer(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->sound != y->sound)
		return x->sound ? -1 : 1;
	if (x->newest_event_at != y->newest_event_at)
		return x->newest_event_at > y->newest_event_at ? -1 : 1;
	if (x->event_seq != y->event_seq)
		return x->event_seq > y->event_seq ? -1 : 1;
	return strcmp(y->path, x->path); /* snapshots: the later name */
}

/* A private folder for copies; SQLite must find no stranger's sidecar in it. */
static char *candidates_folder(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = fs_path("%s/kanband-examine.XXXXXX", tmp && *tmp ? tmp : "/tmp");

	if (dir && !mkdtemp(dir)) {
		free(dir);
		return NULL;
	}
	return dir;
}

int candidates_list(const char *db_path, const char *folder, bool deep, int64_t max,
		    const atomic_bool *cancel, struct candidate **list, size_t *n,
		    struct error *e)
{
	CLEANUP(freep) char *dir = candidates_folder();
	CLEANUP(freep) char *copy = dir ? fs_path("%s/copy.db", dir) : NULL;
	struct candidate_list l = { .cancel = cancel,
				    .until_ms = deep ? 0 : clock_mono_ms() + CANDIDATES_MS,
				    .max = max };

	*list = NULL;
	*n = 0;
	if (!copy)
		return error_errno(e, errno ? -errno : -ENOMEM,
				   "cannot make a folder to examine backups in (set TMPDIR)");
	candidates_snapshots(&l, folder, deep);
	candidates_backups(&l, db_path, copy, deep);
	(void)rmdir(dir); /* in /tmp at worst */
	if (l.oom || candidates_cancelled(cancel)) {
		candidates_free(l.v, l.n);
		return l.oom ? error_set(e, -ENOMEM, "out of memory")
			     : error_set(e, -ECANCELED, "cancelled");
	}
	if (l.n > 0)
		qsort(l.v, l.n, sizeof(*l.v), candidate_newer);
	*list = l.v;
	*n = l.n;
	return 0;
}

void candidates_free(struct candidate *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].path);
	free(list);
}

/* ---- restoring ----------------------------------------------------------------------- */

/* A private, sound copy of @from. */
static int restore_copy(const char *from, const char *copy, int64_t max,
			struct health_good *found, struct error *e)
{
	struct candidate c = { 0 };
	int r = evidence_copy(from, copy, max);

	if (r < 0)
		return error_errno(e, r, "cannot read %s%s", from,
				   r == -EFBIG ? " (see max_evidence_bytes)" : "");
	candidate_look(&c, copy, false, true, NULL);
	if (!c.sound)
		return error_set(e, -EBADMSG,
				 "%s is not a sound board: %s; kanbanctl restore lists "
				 "what there is",
				 from, c.why);
	*found = (struct health_good){ .event_seq = c.event_seq,
				       .tasks = c.tasks,
				       .links = c.links,
				       .runs = c.runs,
				       .events = c.events };
	return 0;
}

struct restore {
	const char *db_path;
	char *kept;  /* path of the evidence */
	int64_t max; /* its bytes */
};

/* What others have written meanwhile is replaced, too: it is kept, and they wait. */
static int restore_again(void *arg, int fd, struct error *e)
{
	const struct restore *a = arg;
	struct health_print print;
	int r = evidence_keep_locked(a->db_path, fd, a->max, &print, a->kept, e);

	return r == -EAGAIN ? error_set(e, REPAIR_BUSY, "%s", e->text) : r;
}

/* Keep what is there, then write @copy over just that. */
static int restore_over(const char *db_path, const char *copy, const char *nothing, int64_t max,
			struct error *e)
{
	CLEANUP(freep) char *kept = malloc(HEALTH_PATH_MAX);
	struct restore arg = { db_path, kept, max };
	struct repair_again again = { kept, restore_again, &arg };
	struct health_print print;
	int r;

	if (!kept)
		return error_set(e, -ENOMEM, "out of memory");
	r = evidence_keep(db_path, max, &print, kept, e);
	if (r == -EAGAIN)
		return error_set(e, REPAIR_BUSY, "%s", e->text);
	if (r != 0 && r != -ENOENT)
		return r;
	return repair_write_again(db_path, copy, r == 0 ? kept : nothing, &again, e);
}

int candidates_examine(const char *from, int64_t max, struct health_good *found,
		       struct error *e)
{
	CLEANUP(freep) char *dir = candidates_folder();
	CLEANUP(freep) char *copy = dir ? fs_path("%s/copy.db", dir) : NULL;
	int r;

	if (!copy)
		return error_errno(
			e, errno ? -errno : -ENOMEM,
			"cannot make a folder to examine the backup in (set TMPDIR)");
	r = restore_copy(from, copy, max, found, e);
	db_file_remove(copy);
	(void)rmdir(dir); /* in /tmp at worst */
	return r;
}

int candidates_restore(const char *db_path, const char *from, int64_t max,
		       struct health_good *found, struct error *e)
{
	CLEANUP(freep) char *dir = candidates_folder();
	CLEANUP(freep) char *copy = dir ? fs_path("%s/copy.db", dir) : NULL;
	CLEANUP(freep) char *nothing = dir ? fs_path("%s/nothing", dir) : NULL;
	int r;

	if (!copy || !nothing)
		return error_errno(
			e, errno ? -errno : -ENOMEM,
			"cannot make a folder to examine the backup in (set TMPDIR)");
	/* The copy first: @from may be evidence that the next one pushes out. */
	r = restore_copy(from, copy, max, found, e);
	if (r == 0)
		r = restore_over(db_path, copy, nothing, max, e);
	db_file_remove(copy);
	(void)rmdir(dir); /* in /tmp at worst */
	return r;
}

/* On the disk when this returns. */
static int extract_copy(const char *from, const char *to)
{
	CLEANUP(fs_closep) int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	CLEANUP(fs_closep) int out = -1;
	int r = in < 0 ? -errno : fs_copy(in, to);

	if (r < 0)
		return r;
	out = open(to, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return out < 0 || fsync(out) < 0 ? -errno : 0;
}

/* @copy, ours alone, to the new file @to: made in a folder of its own beside it, then linked,
 * which replaces nothing. */
static int extract_publish(const char *copy, const char *to, struct error *e)
{
	CLEANUP(freep) char *dir = fs_path("%s.XXXXXX", to);
	CLEANUP(freep) char *tmp = NULL;
	int r;

	if (!dir)
		return error_set(e, -ENOMEM, "out of memory");
	if (!mkdtemp(dir))
		return error_errno(e, -errno, "cannot write beside %s", to);
	tmp = fs_path("%s/copy.db", dir);
	r = tmp ? extract_copy(copy, tmp) : -ENOMEM;
	if (r == 0 && link(tmp, to) < 0)
		r = -errno;
	if (r == 0)
		r = fs_sync_parent(to);
	if (tmp)
		(void)unlink(tmp); /* it has its name, or none */
	(void)rmdir(dir);
	if (r == -EEXIST)
		return error_set(e, r, "%s is there already; nothing is overwritten", to);
	return r < 0 ? error_errno(e, r, "cannot write %s", to) : 0;
}

int candidates_extract(const char *from, const char *to, int64_t max, struct health_good *found,
		       struct error *e)
{
	CLEANUP(freep) char *dir = NULL;
	CLEANUP(freep) char *copy = NULL;
	struct stat st;
	int r;

	if (lstat(to, &st) == 0)
		return error_set(e, -EEXIST, "%s is there already; nothing is overwritten", to);
	dir = candidates_folder();
	copy = dir ? fs_path("%s/copy.db", dir) : NULL;
	if (!copy)
		return error_errno(e, errno ? -errno : -ENOMEM,
				   "cannot make a folder to examine the copy in (set TMPDIR)");
	r = restore_copy(from, copy, max, found, e);
	if (r == 0) /* a WAL that came along is folded in */
		r = db_mode_change(copy, false, EXTRACT_BUSY_MS, e);
	if (r == 0)
		r = extract_publish(copy, to, e);
	db_file_remove(copy);
	(void)rmdir(dir); /* in /tmp at worst */
	return r;
}
