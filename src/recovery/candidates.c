/*
 * What a lost board can be restored from. Snapshots are ours and never change, so they are read
 * in place, immutably. Backups that others left beside the board may have a hot journal or a
 * WAL, or be damaged: each is copied with its sidecars into a private folder and looked at
 * there.
 */
#include "recovery/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db.h"
#include "recovery.h"
#include "recovery/evidence.h"
#include "recovery/repair.h"
#include "util/fs.h"

#define CANDIDATES_MAX 200 /* files looked at; of more, the newest */

/* clang-format off */
static const char sql_counts[] =
	"SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM task_links),"
	" (SELECT count(*) FROM task_runs), (SELECT count(*) FROM task_events),"
	" (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'task_events'),"
	" (SELECT coalesce(max(created_at), 0) FROM task_events)";
/* clang-format on */

static const char *const sidecars[] = { "", "-wal", "-journal" };

/* ---- looking at one ------------------------------------------------------------------------
 */

static bool candidate_check(sqlite3 *db, struct candidate *c)
{
	sqlite3_stmt *s = NULL;
	bool ok = false;

	if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(s, 0);

		ok = text && strcmp(text, "ok") == 0;
		if (!ok)
			(void)snprintf(c->why, sizeof(c->why), "%.120s",
				       text ? text : "damaged");
	} else {
		(void)snprintf(c->why, sizeof(c->why), "%.120s", sqlite3_errmsg(db));
	}
	(void)sqlite3_finalize(s); /* repeats the error of the step */
	return ok;
}

static bool candidate_count(sqlite3 *db, struct candidate *c)
{
	int64_t *out[] = { &c->tasks,  &c->links,     &c->runs,
			   &c->events, &c->event_seq, &c->newest_event_at };
	sqlite3_stmt *s = NULL;
	bool ok;

	ok = sqlite3_prepare_v2(db, sql_counts, -1, &s, NULL) == SQLITE_OK &&
	     sqlite3_step(s) == SQLITE_ROW;
	for (int i = 0; ok && i < 6; i++)
		*out[i] = sqlite3_column_int64(s, i);
	if (!ok)
		(void)snprintf(c->why, sizeof(c->why), "%.120s", sqlite3_errmsg(db));
	(void)sqlite3_finalize(s); /* repeats the error of the step */
	return ok;
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

/* @file is ours alone, or never changes (@immutable). */
static void candidate_look(struct candidate *c, const char *file, bool immutable, bool deep)
{
	CLEANUP(freep) char *uri = NULL;
	sqlite3 *db = NULL;
	int rc;

	/* %3f and the like: SQLite decodes them in a URI, and '?' would end the path */
	uri = fs_uri(file, immutable ? "?mode=ro&immutable=1" : "?mode=rw");
	rc = uri ? sqlite3_open_v2(uri, &db,
				   (immutable ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
					   SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
				   NULL)
		 : SQLITE_NOMEM;
	if (rc != SQLITE_OK)
		(void)snprintf(c->why, sizeof(c->why), "%.120s", sqlite3_errstr(rc));
	else
		c->sound = candidate_count(db, c) && (!deep || candidate_check(db, c));
	(void)sqlite3_close(db); /* no statement is left */
	if (deep && !immutable && !c->sound && c->tasks > 0)
		candidate_reindex(c, file);
}

static int candidate_copy(const char *from, const char *to)
{
	for (size_t i = 0; i < 3; i++) {
		CLEANUP(freep) char *f = fs_path("%s%s", from, sidecars[i]);
		CLEANUP(freep) char *t = fs_path("%s%s", to, sidecars[i]);
		int r = f && t ? fs_copy(f, t, false) : -ENOMEM;

		if (r < 0 && (i == 0 || r != -ENOENT))
			return r;
	}
	return 0;
}

static void candidate_remove(const char *copy)
{
	static const char *const all[] = { "", "-wal", "-journal", "-shm" };

	for (size_t i = 0; i < 4; i++) {
		CLEANUP(freep) char *path = fs_path("%s%s", copy, all[i]);

		if (path)
			(void)unlink(path); /* mostly not there */
	}
}

/* ---- the list ------------------------------------------------------------------------------
 */

struct candidate_list {
	struct candidate *v;
	size_t n;
	bool oom;
};

static struct candidate *candidate_add(struct candidate_list *l, const char *path,
				       const char *kind)
{
	struct candidate *more;
	struct stat st;

	if (l->n >= CANDIDATES_MAX || stat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size == 0)
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
		if (c)
			candidate_look(c, path, true, deep);
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
	struct stat st;
	size_t n = 0;

	while ((entry = readdir(dir))) {
		if (!candidate_is_backup(entry->d_name, base) ||
		    fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
			continue;
		if ((n & (n - 1)) == 0) { /* room up to the next power of two */
			struct backup_name *more =
				reallocarray(*list, n ? n * 2 : 1, sizeof(*more));

			if (!more) {
				*oom = true;
				break;
			}
			*list = more;
		}
		(void)snprintf((*list)[n].name, sizeof((*list)[n].name), "%s", entry->d_name);
		(*list)[n++].mtime_ns =
			(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
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
		int r;

		if (!c)
			continue;
		r = candidate_copy(path, copy);
		if (r == 0)
			candidate_look(c, copy, false, deep);
		else
			(void)snprintf(c->why, sizeof(c->why), "cannot be copied: %s",
				       strerror(-r));
		candidate_remove(copy);
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

int candidates_list(const char *db_path, const char *folder, bool deep, struct candidate **list,
		    size_t *n, struct error *e)
{
	CLEANUP(freep) char *dir = candidates_folder();
	CLEANUP(freep) char *copy = dir ? fs_path("%s/copy.db", dir) : NULL;
	struct candidate_list l = { 0 };

	*list = NULL;
	*n = 0;
	if (!copy)
		return error_errno(e, errno ? -errno : -ENOMEM,
				   "cannot make a folder to examine backups in (set TMPDIR)");
	candidates_snapshots(&l, folder, deep);
	candidates_backups(&l, db_path, copy, deep);
	(void)rmdir(dir); /* in /tmp at worst */
	if (l.oom) {
		candidates_free(l.v, l.n);
		return error_set(e, -ENOMEM, "out of memory");
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

/* ---- restoring -----------------------------------------------------------------------------
 */

/* A private, sound copy of @from. */
static int restore_copy(const char *from, const char *copy, struct health_good *found,
			struct error *e)
{
	struct candidate c = { 0 };
	int r = candidate_copy(from, copy);

	if (r < 0)
		return error_errno(e, r, "cannot read %s", from);
	candidate_look(&c, copy, false, true);
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
	char *kept; /* path of the evidence */
};

/* What others have written meanwhile is replaced, too: it is kept, and they wait. */
static int restore_again(void *arg, int fd, struct error *e)
{
	const struct restore *a = arg;
	struct health_print print;
	int r = evidence_keep_locked(a->db_path, fd, &print, a->kept, e);

	return r == -EAGAIN ? error_set(e, REPAIR_BUSY, "%s", e->text) : r;
}

/* Keep what is there, then write @copy over just that. */
static int restore_over(const char *db_path, const char *copy, const char *nothing,
			struct error *e)
{
	CLEANUP(freep) char *kept = malloc(HEALTH_PATH_MAX);
	struct restore arg = { db_path, kept };
	struct repair_again again = { kept, restore_again, &arg };
	struct health_print print;
	int r;

	if (!kept)
		return error_set(e, -ENOMEM, "out of memory");
	r = evidence_keep(db_path, &print, kept, e);
	if (r == -EAGAIN)
		return error_set(e, REPAIR_BUSY, "%s", e->text);
	if (r != 0 && r != -ENOENT)
		return r;
	return repair_write_again(db_path, copy, r == 0 ? kept : nothing, &again, e);
}

int snapshot_restore(const char *db_path, const char *from, struct health_good *found,
		     struct error *e)
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
	r = restore_copy(from, copy, found, e);
	if (r == 0)
		r = restore_over(db_path, copy, nothing, e);
	candidate_remove(copy);
	(void)rmdir(dir); /* in /tmp at worst */
	return r;
}
