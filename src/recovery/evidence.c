/*
 * Evidence is named by its content, so that keeping the same damage twice is nothing: a hundred
 * processes that see one damaged file make one copy.
 *
 * The sidecars belong to the database: a hot journal or a WAL is copied under the same name
 * before the database itself appears, so whoever finds the evidence file finds the set
 * complete. The name is that of the database alone, as Hermes gives it; only where a set of
 * this name holds other sidecars (the same file met with another WAL) a second one is named by
 * the database with its -wal and -journal.
 *
 * Who goes on writing to the board waits while it is copied (evidence_lock.c).
 *
 * Failure modes: a set that cannot be made whole (disk full) is taken away again, and nothing
 * is repaired without one. A copy whose bytes are not those that were hashed (somebody wrote
 * all the same) is made anew, a few times. What a killed process left under a temp name is
 * removed by the next; a set that does not hold what its name says (cut short by a crash of the
 * machine) is made anew.
 */
#include "recovery/evidence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db_file.h"
#include "recovery.h"
#include "util/clock.h"
#include "util/fs.h"

#define EVIDENCE_TRIES    5    /* copies, while somebody goes on writing the file */
#define EVIDENCE_STILL_MS 1000 /* for those who write to let go */

/* ---- caps ---------------------------------------------------------------------------- */

struct evidence_set {
	char name[256]; /* of the evidence file, without sidecars */
	int64_t mtime_ns;
	int64_t bytes; /* with sidecars */
};

static int64_t evidence_bytes(int dir, const char *name, int64_t *mtime_ns)
{
	int64_t bytes = 0;
	struct stat st;
	char side[300];

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return -1;
	*mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	bytes = st.st_size;
	for (enum db_part part = DB_WAL; part < DB_PARTS; part++) {
		(void)snprintf(side, sizeof(side), "%s%s", name, db_file_suffix(part));
		if (fstatat(dir, side, &st, AT_SYMLINK_NOFOLLOW) == 0)
			bytes += st.st_size;
	}
	return bytes;
}

/* Is @name one of ours: <base>.corrupt.<16 hex>.bak */
static bool evidence_is_ours(const char *name, const char *base)
{
	size_t n = strlen(base);

	if (strncmp(name, base, n) != 0 || strncmp(name + n, ".corrupt.", 9) != 0)
		return false;
	name += n + 9;
	return strspn(name, "0123456789abcdef") == 16 && strcmp(name + 16, ".bak") == 0;
}

static int evidence_older(const void *a, const void *b)
{
	const struct evidence_set *x = a, *y = b;

	return x->mtime_ns < y->mtime_ns ? -1 : x->mtime_ns > y->mtime_ns;
}

static void evidence_remove(int dir, const char *name)
{
	/* the database first: without it the rest is no set */
	(void)unlinkat(dir, name, 0); /* it is only over the cap then */
	for (enum db_part part = DB_WAL; part < DB_PARTS; part++) {
		CLEANUP(freep) char *side = db_file_path(name, part);

		if (side)
			(void)unlinkat(dir, side, 0); /* most have none */
	}
}

/* What a killed process was about to keep: <base>.corrupt.….bak….<pid>.tmp */
static void evidence_sweep(int dir, const char *name, const char *base)
{
	size_t n = strlen(base), len = strlen(name);
	const char *dot;
	long pid;

	if (strncmp(name, base, n) != 0 || strncmp(name + n, ".corrupt.", 9) != 0 || len < 4 ||
	    strcmp(name + len - 4, ".tmp") != 0)
		return;
	dot = memrchr(name, '.', len - 4);
	pid = dot ? strtol(dot + 1, NULL, 10) : 0;
	if (pid > 0 && pid <= INT32_MAX && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
		(void)unlinkat(dir, name, 0); /* it is only in the way */
}

static size_t evidence_list(DIR *dir, const char *base, struct evidence_set **sets)
{
	struct dirent *entry;
	size_t n = 0;

	while ((entry = readdir(dir))) {
		struct evidence_set set = { 0 }, *more;

		evidence_sweep(dirfd(dir), entry->d_name, base);
		if (!evidence_is_ours(entry->d_name, base))
			continue;
		(void)snprintf(set.name, sizeof(set.name), "%s", entry->d_name);
		set.bytes = evidence_bytes(dirfd(dir), set.name, &set.mtime_ns);
		more = set.bytes < 0 ? NULL : reallocarray(*sets, n + 1, sizeof(*more));
		if (!more)
			continue;
		*sets = more;
		more[n++] = set;
	}
	return n;
}

/*
 * Keep the oldest (how it began) and the newest; drop from the second oldest on. The one just
 * kept is never dropped, whatever the clock says.
 */
static void evidence_trim(const char *db_path, const char *kept, int64_t max)
{
	const char *slash = strrchr(db_path, '/');
	CLEANUP(freep)
	char *folder = slash ? strndup(db_path, (size_t)(slash - db_path) + 1) : strdup(".");
	CLEANUP(freep) struct evidence_set *sets = NULL;
	DIR *dir = folder ? opendir(folder) : NULL;
	int64_t bytes = 0;
	size_t n;

	if (!dir)
		return;
	n = evidence_list(dir, slash ? slash + 1 : db_path, &sets);
	if (n > 0)
		qsort(sets, n, sizeof(*sets), evidence_older);
	for (size_t i = 0; i < n; i++)
		bytes += sets[i].bytes;
	for (size_t i = 1, left = n; i + 1 < n && (left > EVIDENCE_MAX_FILES || bytes > max);
	     i++) {
		if (strcmp(sets[i].name, strrchr(kept, '/') ? strrchr(kept, '/') + 1 : kept) ==
		    0)
			continue;
		bytes -= sets[i].bytes;
		left--;
		evidence_remove(dirfd(dir), sets[i].name);
	}
	(void)closedir(dir);
}

/* ---- keeping ------------------------------------------------------------------------- */

static int evidence_name(const char *db_path, const char *hash, char *path, struct error *e)
{
	if (snprintf(path, HEALTH_PATH_MAX, "%s.corrupt.%.16s.bak", db_path, hash) >=
	    HEALTH_PATH_MAX)
		return error_set(e, -ENAMETOOLONG, "the path of %s is too long", db_path);
	return 0;
}

/*
 * The name of the set that these bytes belong in: that of the database, unless there is a set
 * of this name with the same database and other sidecars.
 */
static int evidence_choose(const struct evidence_of *of, const struct health_print *print,
			   char *path, struct error *e)
{
	char hash[HEALTH_HASH_MAX];
	int r = evidence_name(of->path, print->sha256, path, e);

	if (r < 0)
		return r;
	if (access(path, F_OK) < 0 || evidence_same_set(of, path, true) == 1 ||
	    evidence_same_db(of, path) != 1)
		return 0;
	r = health_hash_set(of->real, of->fd, of->journal, hash);
	return r < 0 ? error_errno(e, r, "cannot read %s to keep its bytes", of->path)
		     : evidence_name(of->path, hash, path, e);
}

/* What is too large to be kept is not even read: a file of holes has no end of bytes. */
static int evidence_fits(const struct evidence_of *of, int64_t max, struct error *e)
{
	int64_t bytes = (int64_t)db_file_stamp(of->real, DB_WAL).size +
			(int64_t)db_file_stamp(of->real, DB_JOURNAL).size;
	struct stat st;

	if (fstat(of->fd, &st) < 0)
		return error_errno(e, -errno, "cannot look at %s", of->path);
	if (bytes + st.st_size <= max)
		return 0;
	return error_set(
		e, -EFBIG,
		"%s is larger (%" PRId64
		" bytes) than what is kept as evidence: max_evidence_bytes is %" PRId64,
		of->path, bytes + (int64_t)st.st_size, max);
}

/* One try. Return: 1 kept already, 0 copied, -EAGAIN the file changed meanwhile, -errno. */
static int evidence_keep_of(const struct evidence_of *of, int64_t max,
			    struct health_print *print, char *path, struct error *e)
{
	int r = evidence_fits(of, max, e);
	bool was_there;

	if (r < 0)
		return r;
	r = health_print_fd(of->fd, true, print);

	if (r < 0)
		return error_errno(e, r, "cannot read %s to keep its bytes", of->path);
	r = evidence_choose(of, print, path, e);
	if (r < 0)
		return r;
	was_there = access(path, F_OK) == 0;
	r = was_there ? evidence_same_set(of, path, false) : 0;
	if (r == 0) {
		r = evidence_copy_set(of, path, print->sha256);
		if (r < 0 && !was_there)
			evidence_remove(AT_FDCWD, path); /* half a set is none */
	}
	if (r < 0)
		return error_errno(e, r, "cannot keep the bytes of %s as %s", of->path, path);
	return r;
}

static int evidence_begin(struct evidence_of *of, const char *db_path)
{
	of->path = db_path;
	of->real = db_file_real(db_path);
	of->fd = of->real ? open(of->real, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	return of->fd < 0 ? -errno : 0;
}

static int evidence_try(const char *db_path, int64_t max, uint64_t until,
			struct health_print *print, char *path, struct error *e)
{
	CLEANUP(evidence_of_deinit) struct evidence_of of = EVIDENCE_OF_NULL;

	int r;

	*print = (struct health_print){ .size = -1, .change_counter = -1 };
	r = evidence_begin(&of, db_path);
	if (r < 0)
		return error_errno(e, r, "cannot read %s to keep its bytes", db_path);
	evidence_lock_shared(&of, until);
	return evidence_keep_of(&of, max, print, path, e);
}

static int64_t evidence_limit(int64_t max)
{
	return max > 0 ? max : EVIDENCE_MAX_BYTES;
}

int evidence_copy(const char *from, const char *to, int64_t max)
{
	return db_file_copy(from, to, evidence_limit(max));
}

int evidence_keep(const char *db_path, int64_t max, struct health_print *print, char *path,
		  struct error *e)
{
	const uint64_t until = clock_mono_ms() + EVIDENCE_STILL_MS;
	int r = -EAGAIN;

	max = evidence_limit(max);
	for (int i = 0; r == -EAGAIN && i < EVIDENCE_TRIES; i++)
		r = evidence_try(db_path, max, until, print, path, e);
	if (r == -EAGAIN)
		return error_set(e, r, "%s is being written while its bytes are to be kept",
				 db_path);
	if (r == 0)
		evidence_trim(db_path, path, max);
	return r < 0 ? r : 0;
}

int evidence_keep_locked(const char *db_path, int fd, int64_t max, struct health_print *print,
			 char *path, struct error *e)
{
	CLEANUP(freep) char *real = db_file_real(db_path);
	const struct evidence_of of = {
		.path = db_path, .real = real, .fd = fd, .shm = -1, .locked = true
	};
	int r = real ? evidence_keep_of(&of, evidence_limit(max), print, path, e)
		     : error_errno(e, -errno, "cannot look at %s", db_path);

	if (r == 0)
		evidence_trim(db_path, path, evidence_limit(max));
	return r < 0 ? r : 0;
}

int64_t evidence_used(const char *db_path)
{
	const char *slash = strrchr(db_path, '/'), *base = slash ? slash + 1 : db_path;
	CLEANUP(freep)
	char *folder =
		fs_path("%.*s", (int)(slash ? slash - db_path + 1 : 1), slash ? db_path : ".");
	DIR *dir = folder ? opendir(folder) : NULL;
	const struct dirent *entry;
	size_t n = strlen(base);
	int64_t used = 0;
	struct stat st;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, base, n) == 0 &&
		    strncmp(entry->d_name + n, ".corrupt.", 9) == 0 &&
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			used += (int64_t)st.st_blocks * 512;
	(void)closedir(dir); /* was only read */
	return used;
}
