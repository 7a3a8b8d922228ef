#include "faultsweep.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "util/fs.h"

#define SWEEP_POINTS    5 /* of each kind, unless all are wanted */
#define SWEEP_FILES_MAX 16

struct sweep_file {
	char *path;
	char *bytes;
	size_t size;
	struct timespec times[2]; /* a health record knows them */
};

static struct sweep_file kept[SWEEP_FILES_MAX];
static size_t n_kept;
static char where[160];
static int64_t idle_memory; /* of SQLite, with nothing open */
static int idle_fds;

const char *sweep_where(void)
{
	return where;
}

/* ---- files ------------------------------------------------------------------------------ */

void sweep_setup(void)
{
	char tmp[200];

	faultvfs_install();
	/* copies that are examined go here, and away with the rest */
	(void)snprintf(tmp, sizeof(tmp), "%s/tmp", kit.dir);
	ck_assert_int_eq(mkdir(tmp, 0700), 0);
	ck_assert_int_eq(setenv("TMPDIR", tmp, 1), 0);
	n_kept = 0;
}

void sweep_teardown(void)
{
	for (size_t i = 0; i < n_kept; i++) {
		free(kept[i].path);
		free(kept[i].bytes);
	}
	n_kept = 0;
	ck_assert_uint_eq(faultvfs_files(), 0);
}

static int keep_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	struct sweep_file *f = &kept[n_kept];
	int fd;

	(void)ftw;
	if (kind != FTW_F)
		return 0;
	ck_assert_uint_lt(n_kept, SWEEP_FILES_MAX);
	f->path = strdup(path);
	f->size = (size_t)st->st_size;
	f->times[0] = st->st_atim;
	f->times[1] = st->st_mtim;
	f->bytes = malloc(f->size + 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert(f->path && f->bytes && fd >= 0);
	ck_assert_int_eq(read(fd, f->bytes, f->size), (ssize_t)f->size);
	ck_assert_int_eq(close(fd), 0);
	n_kept++;
	return 0;
}

void sweep_keep(void)
{
	sweep_teardown();
	ck_assert_int_eq(nftw(kit.dir, keep_one, 16, FTW_PHYS), 0);
}

static int drop_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	/* the folders of the first level stay */
	if (ftw->level == 0 || (ftw->level == 1 && kind == FTW_DP))
		return 0;
	return remove(path);
}

void sweep_back(void)
{
	ck_assert_int_eq(nftw(kit.dir, drop_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	for (size_t i = 0; i < n_kept; i++) {
		int fd = open(kept[i].path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(write(fd, kept[i].bytes, kept[i].size), (ssize_t)kept[i].size);
		ck_assert_int_eq(futimens(fd, kept[i].times), 0);
		ck_assert_int_eq(close(fd), 0);
	}
}

bool sweep_is_kept(const char *path, const char *name)
{
	CLEANUP(freep) char *bytes = NULL;
	size_t len = 0;

	ck_assert_int_eq(fs_read_file(path, 1 << 24, &bytes, &len), 0);
	for (size_t i = 0; i < n_kept; i++)
		if (strcmp(kept[i].path + strlen(kit.dir) + 1, name) == 0)
			return len == kept[i].size && memcmp(bytes, kept[i].bytes, len) == 0;
	return false;
}

size_t sweep_count(const char *pattern)
{
	char path[400];
	size_t n = 0;
	glob_t g;

	(void)snprintf(path, sizeof(path), "%s/%s", kit.dir, pattern);
	if (glob(path, 0, NULL, &g) == 0) {
		n = g.gl_pathc;
		globfree(&g);
	}
	return n;
}

/* ---- rows ------------------------------------------------------------------------------- */

static const char *const row_queries[] = {
	"SELECT * FROM tasks ORDER BY rowid",
	"SELECT * FROM task_links ORDER BY rowid",
	"SELECT * FROM task_comments ORDER BY rowid",
	"SELECT * FROM task_events ORDER BY rowid",
	"SELECT * FROM task_runs ORDER BY rowid",
	"SELECT * FROM kanban_notify_subs ORDER BY rowid",
	"SELECT name, seq FROM sqlite_sequence ORDER BY name",
	"PRAGMA user_version",
	"PRAGMA page_size",
};

/* Append the rows of @sql. Return: could they be read to the end? */
static bool rows_add(sqlite3 *db, const char *sql, FILE *out)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(s);
		for (int i = 0; rc == SQLITE_ROW && i < sqlite3_column_count(s); i++) {
			const char *v = (const char *)sqlite3_column_text(s, i);

			(void)fprintf(out, "%s|", v ? v : "-");
		}
		if (rc == SQLITE_ROW)
			(void)fputc('\n', out);
	}
	(void)sqlite3_finalize(s);
	return rc == SQLITE_DONE;
}

static bool rows_sound(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	bool ok;

	ok = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &s, NULL) == SQLITE_OK &&
	     sqlite3_step(s) == SQLITE_ROW &&
	     strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
	(void)sqlite3_finalize(s);
	return ok;
}

char *sweep_file_rows(const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	sqlite3 *db = NULL;
	bool ok;

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ok = rows_sound(db);
	for (size_t i = 0; ok && i < sizeof(row_queries) / sizeof(row_queries[0]); i++)
		ok = rows_add(db, row_queries[i], out);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	ck_assert_int_eq(fclose(out), 0);
	if (!ok) {
		free(text);
		text = NULL;
	}
	return text;
}

char *sweep_rows(void)
{
	return sweep_file_rows(kit.path);
}

/* The first line in which they differ. */
static void rows_differ(const char *got, const char *want)
{
	size_t same = 0;

	while (got[same] && got[same] == want[same])
		same++;
	while (same > 0 && got[same - 1] != '\n')
		same--;
	sweep_assert(false, "other rows than there should be:\n%.200s\n--- not\n%.200s",
		     got + same, want + same);
}

void sweep_equal(const char *rows, const char *want)
{
	sweep_assert(rows != NULL, "%s", "the board is not sound");
	if (strcmp(rows, want) != 0)
		rows_differ(rows, want);
}

void sweep_same(const char *want)
{
	char *rows = sweep_rows();

	sweep_equal(rows, want);
	free(rows);
}

char *sweep_text(const char *sql)
{
	sqlite3_stmt *s = NULL;
	sqlite3 *db = NULL;
	char *text = NULL;

	ck_assert_int_eq(sqlite3_open(kit.path, &db), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW && sqlite3_column_text(s, 0))
		text = strdup((const char *)sqlite3_column_text(s, 0));
	(void)sqlite3_finalize(s);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	return text;
}

/* ---- the sweep -------------------------------------------------------------------------- */

/* For a message: what the descriptors are. */
static const char *fd_list(void)
{
	static char text[1000];
	size_t used = 0;

	for (int fd = 3; fd < 64; fd++) {
		char link[32], target[200];
		ssize_t n;

		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, target, sizeof(target));
		if (n > 0 && used + (size_t)n + 2 < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, " %.*s",
						 (int)n, target);
	}
	return text;
}

static void no_leak(const char *after)
{
	sweep_assert(faultvfs_files() == 0, "%s: %u files are open", after, faultvfs_files());
	sweep_assert(files_descriptors() == idle_fds, "%s: %d descriptors, not %d:%s", after,
		     files_descriptors(), idle_fds, fd_list());
	sweep_assert(sqlite3_memory_used() == idle_memory,
		     "%s: SQLite holds %lld bytes, not %lld", after,
		     (long long)sqlite3_memory_used(), (long long)idle_memory);
}

/* In a child that is to die. Return: -1 when it did. */
static int act_and_die(const struct sweep *s)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(s->act() == 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	sweep_assert(WIFEXITED(status), "crashed: wait status %x", (unsigned)status);
	return WEXITSTATUS(status) == FAULT_EXIT ? -1 : WEXITSTATUS(status);
}

static void sweep_one(const struct sweep *s, enum fault_kind kind, unsigned nth, bool persists)
{
	const struct sweep_fault f = { kind, persists };
	int r;

	(void)snprintf(where, sizeof(where), "%s at call %u%s", fault_names[kind], nth,
		       persists ? " and all after it" : "");
	sweep_back();
	faultvfs_arm(kind, nth, persists);
	r = kind == FAULT_DIE ? act_and_die(s) : s->act();
	(void)faultvfs_disarm();
	sweep_assert(r == -1 || kind == FAULT_DIE || faultvfs_fired() > 0, "%s",
		     "that call was not reached");
	no_leak("after the fault");
	s->judge(&f, r);
	(void)strcat(where, ", the next try");
	s->again(&f);
	no_leak("after the next try");
}

static bool sweep_full(void)
{
	const char *all = getenv("KANBAND_TORTURE");

	return all && *all && strcmp(all, "0") != 0;
}

static unsigned sweep_step(unsigned calls)
{
	unsigned step = calls / SWEEP_POINTS;

	if (sweep_full() || step < 2)
		return 1;
	for (;; step++) {
		unsigned d = 2;

		while (d * d <= step && step % d != 0)
			d++;
		if (d * d > step)
			return step;
	}
}

/* How many calls it makes that @kind can hit. Undisturbed it works. */
static unsigned sweep_calls(const struct sweep *s, enum fault_kind kind)
{
	const struct sweep_fault none = { FAULT_NONE, false };
	unsigned calls;
	int r;

	(void)snprintf(where, sizeof(where), "without a fault");
	sweep_back();
	faultvfs_arm(kind, ~0U, false);
	r = s->act();
	calls = faultvfs_disarm();
	sweep_assert(r == 0, "it fails: %d", r);
	s->judge(&none, r);
	s->again(&none);
	return calls;
}

void sweep_run(const struct sweep *s)
{
	unsigned tries = 0;

	(void)sweep_calls(s, FAULT_NONE);
	idle_memory = sqlite3_memory_used();
	idle_fds = files_descriptors();
	for (enum fault_kind kind = FAULT_IOERR; kind < FAULT_KINDS; kind++) {
		const unsigned calls = sweep_calls(s, kind), step = sweep_step(calls);

		ck_assert_uint_gt(calls, 0);
		if (getenv("KANBAND_TORTURE_SAY"))
			(void)fprintf(stderr, "%s %u, ", fault_names[kind], calls);
		for (int persists = 0; persists < (kind == FAULT_DIE ? 1 : 2); persists++) {
			/* the two begin apart, and the last call is always among them */
			for (unsigned n = persists ? step / 2 : 0; n < calls; n += step) {
				sweep_one(s, kind, n, persists != 0);
				tries++;
			}
			sweep_one(s, kind, calls - 1, persists != 0);
			tries++;
		}
	}
	if (getenv("KANBAND_TORTURE_SAY"))
		(void)fprintf(stderr, "%u tries\n", tries);
}
