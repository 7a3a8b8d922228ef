/*
 * Taking snapshots and keeping the right ones.
 *
 * Happy path: the online backup API copies the board into a temp file in one read transaction,
 * the copy is set to rollback mode, checked, synced and renamed to its UTC time; then what the
 * limits do not keep is removed. Failure and kill: nothing half-made has a final name, and the
 * next snapshot removes what a killed process left.
 */
#include "recovery/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db/db.h"
#include "db/db_file.h"
#include "db/db_open.h"
#include "db/db_registry.h"
#include "db/db_result.h"
#include "db/db_vfs.h"
#include "util/clock.h"
#include "util/fs.h"

#define SNAPSHOT_NAME_LEN 20    /* 2026-11-24T083000Z.db less one */
#define SNAPSHOT_STEP     256   /* pages between two looks at the cancel flag */
#define SNAPSHOT_COPY_MS  10000 /* longest copy: others may wait for it */
#define SNAPSHOT_CHECK_MS 20000 /* longest check of the copy: the board's next visit waits */
#define SNAPSHOT_LEFT_S   3600  /* nothing takes that long */
#define SNAPSHOT_TMP      ".kanband-snapshot."

/* ---- taking -------------------------------------------------------------------------- */

/*
 * All in one read transaction: what others commit meanwhile does not send the copy back to its
 * beginning. In rollback mode they wait for it, so it may not take long; in WAL mode only the
 * next visit does.
 */
static int snapshot_pages(sqlite3_backup *b, const atomic_bool *cancel, uint64_t until)
{
	int rc;

	do {
		rc = sqlite3_backup_step(b, SNAPSHOT_STEP);
		if (cancel && atomic_load(cancel))
			return SQLITE_INTERRUPT;
		if (rc == SQLITE_OK && clock_mono_ms() > until)
			return SQLITE_ABORT;
	} while (rc == SQLITE_OK);
	return rc;
}

static int snapshot_copy(sqlite3 *to, struct db *from, const atomic_bool *cancel,
			 struct error *e)
{
	uint64_t until = clock_mono_ms() + SNAPSHOT_COPY_MS;
	sqlite3_backup *b;
	int64_t n;
	int rc, r;

	r = db_run(from, e, "BEGIN", "");
	if (r == 0) /* the transaction begins with the first read */
		r = db_one_int(from, e, &n, 0, "SELECT count(*) FROM sqlite_schema", "");
	b = r == 0 ? sqlite3_backup_init(to, "main", db_handle(from), "main") : NULL;
	if (r == 0 && !b)
		r = db_result_set(e, to, sqlite3_errcode(to), "cannot begin a copy");
	rc = b ? snapshot_pages(b, cancel, until) : SQLITE_OK;
	(void)sqlite3_backup_finish(b); /* repeats the error of the step; NULL is fine */
	db_rollback(from);
	if (r != 0 || rc == SQLITE_DONE)
		return r;
	if ((rc & 0xFF) == SQLITE_CORRUPT || (rc & 0xFF) == SQLITE_NOTADB)
		return error_set(e, DB_CORRUPT, "%s", sqlite3_errstr(rc));
	if (rc == SQLITE_ABORT)
		return error_set(
			e, DB_TRANSIENT,
			"the copy took longer than %d s and was given up, so that nobody "
			"waits for it",
			SNAPSHOT_COPY_MS / 1000);
	if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED || rc == SQLITE_INTERRUPT)
		return error_set(e, DB_TRANSIENT, "the copy was interrupted");
	return db_result_set(e, to, rc, "cannot copy");
}

/* One text answer of a pragma, compared with what it should say. */
static bool snapshot_says(sqlite3 *db, const char *pragma, const char *want, struct error *e)
{
	sqlite3_stmt *s = NULL;
	bool ok = false;

	if (sqlite3_prepare_v2(db, pragma, -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(s, 0);

		ok = text && strcmp(text, want) == 0;
		if (!ok)
			(void)error_set(e, -EBADMSG, "%s says: %s", pragma,
					text ? text : "nothing");
	} else {
		(void)error_set(e, -EBADMSG, "%s: %s", pragma, sqlite3_errmsg(db));
	}
	/* what it changes is committed after it has answered */
	if (sqlite3_finalize(s) != SQLITE_OK && ok) {
		(void)error_set(e, -EBADMSG, "%s: %s", pragma, sqlite3_errmsg(db));
		ok = false;
	}
	return ok;
}

/*
 * The file that SQLite fills: new, no more readable than the board, and its owner's.
 * Return: 0 or -errno.
 */
static int snapshot_create(struct db *db, const char *tmp)
{
	const char *path = sqlite3_db_filename(db_handle(db), "main");
	CLEANUP(db_registry_closep) int fd = -1;
	struct stat st;

	if (!path || stat(path, &st) < 0)
		return path ? -errno : -ENOENT;
	fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0) ||
	    fchmod(fd, st.st_mode & 0666) < 0)
		return -errno;
	return 0;
}

/*
 * A folder of that name that somebody else's link stands for is not ours to write to. The
 * folder of a board that was just moved away is not made again: only the default board, whose
 * database lies elsewhere, may lack the one above.
 */
static int snapshot_folder(struct db *db, const char *dir, struct error *e)
{
	const char *path = sqlite3_db_filename(db_handle(db), "main");
	struct stat st;
	int r = mkdir(dir, 0755) == 0 || errno == EEXIST ? 0 : -errno;

	if (r == -ENOENT && path && lstat(path, &st) == 0)
		r = fs_mkdir_p(dir, 0755);

	if (r < 0)
		return error_errno(e, r, "cannot make %s", dir);
	if (lstat(dir, &st) < 0)
		return error_errno(e, -errno, "cannot look at %s", dir);
	if (S_ISLNK(st.st_mode) && st.st_uid != 0 && st.st_uid != geteuid())
		return error_set(e, -ELOOP, "%s is a symbolic link of another account (uid %u)",
				 dir, (unsigned)st.st_uid);
	return 0;
}

static int snapshot_make(struct db *db, const char *tmp, const atomic_bool *cancel,
			 struct error *e)
{
	struct db_budget budget = { .cancel = cancel };
	sqlite3 *to = NULL;
	int rc, r;

	r = snapshot_create(db, tmp);
	if (r < 0)
		return error_errno(e, r, "cannot make a snapshot");
	rc = db_open_plain(&to, tmp, DB_OPEN_WRITE);
	if (rc == SQLITE_OK)
		db_open_budget(to, &budget);
	if (rc != SQLITE_OK)
		r = db_result_set(e, to, rc, "cannot make a snapshot");
	else
		r = snapshot_copy(to, db, cancel, e);
	budget.until_ms = clock_mono_ms() + SNAPSHOT_CHECK_MS;
	if (r == 0 && (!snapshot_says(to, "PRAGMA journal_mode=DELETE", "delete", e) ||
		       !snapshot_says(to, "PRAGMA integrity_check(1)", "ok", e)))
		r = -EBADMSG;
	if (r == -EBADMSG && budget.overrun)
		r = error_set(e, DB_TRANSIENT, "the check of the copy took longer than %d s",
			      SNAPSHOT_CHECK_MS / 1000);
	db_open_close(&to);
	return r;
}

static int snapshot_sync(const char *path)
{
	CLEANUP(fs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static void snapshot_name(char *out, size_t size)
{
	time_t now = (time_t)clock_wall_s();
	struct tm tm;

	(void)gmtime_r(&now, &tm); /* cannot fail for a 64-bit year */
	if (strftime(out, size, "%Y-%m-%dT%H%M%SZ", &tm) == 0)
		out[0] = '\0';
}

/* ---- keeping ------------------------------------------------------------------------- */

struct snapshot_file {
	char name[SNAPSHOT_NAME_LEN + 2]; /* sorts by time */
	int64_t bytes;
	bool keep;
};

/* 2026-11-24T083000Z.db */
static bool snapshot_is_name(const char *name)
{
	static const char pattern[] = "0000-00-00T000000Z.db";

	for (size_t i = 0; i < sizeof(pattern); i++) {
		bool digit = name[i] >= '0' && name[i] <= '9';

		if (pattern[i] == '0' ? !digit : name[i] != pattern[i])
			return false;
	}
	return true;
}

static int snapshot_newer(const void *a, const void *b)
{
	return strcmp(((const struct snapshot_file *)b)->name,
		      ((const struct snapshot_file *)a)->name);
}

/* Left by a killed process; not what another one is making right now. */
static bool snapshot_is_left(int dir, const char *name)
{
	long pid = strtol(name + strlen(SNAPSHOT_TMP), NULL, 10);
	struct stat st;

	if (pid <= 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) < 0 && errno == ESRCH))
		return true;
	/* or of one whose number somebody else has by now */
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       clock_wall_s() - st.st_mtim.tv_sec > SNAPSHOT_LEFT_S;
}

static size_t snapshot_scan(DIR *dir, struct snapshot_file **files)
{
	struct dirent *entry;
	struct stat st;
	size_t n = 0;

	while ((entry = readdir(dir))) {
		struct snapshot_file *more;

		if (strncmp(entry->d_name, SNAPSHOT_TMP, strlen(SNAPSHOT_TMP)) == 0) {
			if (snapshot_is_left(dirfd(dir), entry->d_name)) /* else it is none */
				(void)unlinkat(dirfd(dir), entry->d_name, 0);
			continue;
		}
		if (!snapshot_is_name(entry->d_name) ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		more = reallocarray(*files, n + 1, sizeof(*more));
		if (!more)
			break; /* fewer are considered, none is lost */
		*files = more;
		more[n] = (struct snapshot_file){ .bytes = st.st_size };
		memcpy(more[n].name, entry->d_name, SNAPSHOT_NAME_LEN + 1); /* the rest is 0 */
		n++;
	}
	return n;
}

/* Keep the newest of each of @count different periods; @len characters of the name tell them.
 */
static void snapshot_keep(struct snapshot_file *v, size_t n, size_t len, int count)
{
	for (size_t i = 0; i < n && count > 0; i++)
		if (i == 0 || strncmp(v[i].name, v[i - 1].name, len) != 0) {
			v[i].keep = true;
			count--;
		}
}

static void snapshot_trim(const char *folder, const struct snapshot_limits *limits)
{
	CLEANUP(freep) struct snapshot_file *v = NULL;
	DIR *dir = opendir(folder);
	int64_t bytes = 0;
	size_t n;

	if (!dir)
		return;
	n = snapshot_scan(dir, &v);
	if (n > 0)
		qsort(v, n, sizeof(*v), snapshot_newer);
	snapshot_keep(v, n, 13, limits->hourly); /* 2026-11-24T08 */
	snapshot_keep(v, n, 10, limits->daily);  /* 2026-11-24 */
	for (size_t i = 0; i < n; i++) {
		bytes += v[i].keep || i == 0 ? v[i].bytes : 0;
		if (i > 0 && (!v[i].keep || bytes > limits->max_bytes))
			(void)unlinkat(dirfd(dir), v[i].name, 0); /* one too many, then */
	}
	(void)closedir(dir);
}

int snapshot_take(struct db *db, const char *folder, const struct snapshot_limits *limits,
		  const atomic_bool *cancel, char *path, struct error *e)
{
	CLEANUP(freep) char *dir = fs_path("%s/snapshots", folder);
	CLEANUP(freep) char *tmp = NULL;
	char name[32];
	int r;

	snapshot_name(name, sizeof(name));
	tmp = dir ? fs_path("%s/" SNAPSHOT_TMP "%d", dir, (int)getpid()) : NULL;
	if (!tmp)
		return error_set(e, -ENOMEM, "out of memory");
	if (snprintf(path, HEALTH_PATH_MAX, "%s/%s.db", dir, name) >= HEALTH_PATH_MAX)
		return error_set(e, -ENAMETOOLONG, "the path of %s is too long", dir);
	r = snapshot_folder(db, dir, e);
	if (r < 0)
		return r;
	db_file_remove(tmp);
	r = snapshot_make(db, tmp, cancel, e);
	if (r == 0) {
		r = snapshot_sync(tmp);
		if (r == 0 && rename(tmp, path) < 0)
			r = -errno;
		if (r == 0)
			r = fs_sync_parent(path);
		if (r < 0)
			(void)error_errno(e, r, "cannot publish %s", path);
	}
	/* also of one that was taken: SQLite does not say when it could not remove a WAL that
	 * it has folded in */
	db_file_remove(tmp);
	if (r != 0)
		return r;
	snapshot_trim(dir, limits);
	return 0;
}

int64_t snapshot_newest(const char *folder, char *path)
{
	return snapshot_at(folder, INT64_MAX, path);
}

int64_t snapshot_at(const char *folder, int64_t at, char *path)
{
	CLEANUP(freep) char *dir_path = fs_path("%s/snapshots", folder);
	CLEANUP(freep) struct snapshot_file *v = NULL;
	DIR *dir = dir_path ? opendir(dir_path) : NULL;
	int64_t time = 0;
	size_t n, i = 0;

	path[0] = '\0';
	if (!dir)
		return 0;
	n = snapshot_scan(dir, &v);
	(void)closedir(dir);
	if (n == 0)
		return 0;
	qsort(v, n, sizeof(*v), snapshot_newer);
	for (; i < n; i++) {
		struct tm tm = { 0 };

		time = strptime(v[i].name, "%Y-%m-%dT%H%M%SZ", &tm) ? (int64_t)timegm(&tm) : 0;
		if (time <= at)
			break;
	}
	if (i == n)
		return 0;
	if (snprintf(path, HEALTH_PATH_MAX, "%s/%s", dir_path, v[i].name) >= HEALTH_PATH_MAX)
		path[0] = '\0';
	return time;
}
