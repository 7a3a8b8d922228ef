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
 * Failure modes: a set that cannot be made whole (disk full) is taken away again, and nothing
 * is repaired without one. A copy whose bytes are not those that were hashed (somebody wrote
 * meanwhile) is made anew, a few times. What a killed process left under a temp name is removed
 * by the next; a set that does not hold what its name says (cut short by a crash of the
 * machine) is made anew.
 */
#include "board/evidence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"

#define EVIDENCE_TRIES 5 /* copies, while somebody goes on writing the file */
#define EVIDENCE_CHUNK (1 << 18)

static const char *const evidence_sidecars[] = { "-wal", "-shm", "-journal" };

#define N_SIDECARS (sizeof(evidence_sidecars) / sizeof(evidence_sidecars[0]))

/* Those that are part of the database's content; -shm is made from the WAL. */
static const char *const evidence_content[] = { "-wal", "-journal" };

/* ---- comparing -----------------------------------------------------------------------------
 */

/* One chunk at @at; bytes that are not there because the file ended. Return: length or -errno.
 */
static ssize_t evidence_read(int fd, char *buf, off_t at)
{
	size_t used = 0;

	while (used < EVIDENCE_CHUNK) {
		ssize_t n = pread(fd, buf + used, EVIDENCE_CHUNK - used, at + (off_t)used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

static int evidence_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* Do both hold the same bytes; one that is not there is as good as an empty one. 0, 1 or
 * -errno.
 */
int evidence_same(const char *a, const char *b)
{
	CLEANUP(fs_closep) int fa = evidence_open(a);
	CLEANUP(fs_closep) int fb = evidence_open(b);
	CLEANUP(freep) char *buf = malloc(2 * EVIDENCE_CHUNK);
	ssize_t na = 0, nb = 0;
	off_t at = 0;

	if (!buf)
		return -ENOMEM;
	if ((fa < 0 && fa != -ENOENT) || (fb < 0 && fb != -ENOENT))
		return fa < 0 && fa != -ENOENT ? fa : fb;
	do {
		if (fa >= 0)
			na = evidence_read(fa, buf, at);
		if (fb >= 0)
			nb = evidence_read(fb, buf + EVIDENCE_CHUNK, at);
		if (na < 0 || nb < 0)
			return (int)(na < 0 ? na : nb);
		if (na != nb || memcmp(buf, buf + EVIDENCE_CHUNK, (size_t)na) != 0)
			return 0;
		at += na;
	} while (na > 0);
	return 1;
}

/* Does @b hold what @a does, the sidecars that are content with it. 0, 1 or -errno. */
static int evidence_same_set(const char *a, const char *b, bool sidecars_alone)
{
	int r = sidecars_alone ? 1 : evidence_same(a, b);

	for (size_t i = 0; r == 1 && i < sizeof(evidence_content) / sizeof(char *); i++) {
		CLEANUP(freep) char *x = fs_path("%s%s", a, evidence_content[i]);
		CLEANUP(freep) char *y = fs_path("%s%s", b, evidence_content[i]);

		r = x && y ? evidence_same(x, y) : -ENOMEM;
	}
	return r;
}

bool evidence_matches(const char *db_path, const char *evidence)
{
	return evidence_same_set(db_path, evidence, false) == 1;
}

/* ---- copying -------------------------------------------------------------------------------
 */

/* Copy @from to @to durably under a temp name; -ENOENT when there is no @from. */
static int evidence_copy(const char *from, const char *to)
{
	CLEANUP(freep) char *tmp = fs_path("%s.%d.tmp", to, (int)getpid());
	int r;

	if (!tmp)
		return -ENOMEM;
	r = fs_copy(from, tmp, true);
	if (r == 0 && rename(tmp, to) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(tmp); /* the error that counts is already there */
	return r < 0 ? r : fs_sync_parent(to);
}

static int evidence_copy_set(const char *db_path, const char *to)
{
	for (size_t i = 0; i < N_SIDECARS; i++) {
		CLEANUP(freep) char *from = fs_path("%s%s", db_path, evidence_sidecars[i]);
		CLEANUP(freep) char *side = fs_path("%s%s", to, evidence_sidecars[i]);
		int r;

		if (!from || !side)
			return -ENOMEM;
		r = evidence_copy(from, side);
		if (r == -ENOENT && unlink(side) < 0 && errno != ENOENT)
			return -errno; /* of a set that never became one */
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return evidence_copy(db_path, to);
}

/* ---- caps ----------------------------------------------------------------------------------
 */

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
	for (size_t i = 0; i < N_SIDECARS; i++) {
		(void)snprintf(side, sizeof(side), "%s%s", name, evidence_sidecars[i]);
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
	for (size_t i = 0; i < N_SIDECARS; i++) {
		CLEANUP(freep) char *side = fs_path("%s%s", name, evidence_sidecars[i]);

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
static void evidence_trim(const char *db_path, const char *kept)
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
	for (size_t i = 1, left = n;
	     i + 1 < n && (left > EVIDENCE_MAX_FILES || bytes > EVIDENCE_MAX_BYTES); i++) {
		if (strcmp(sets[i].name, strrchr(kept, '/') ? strrchr(kept, '/') + 1 : kept) ==
		    0)
			continue;
		bytes -= sets[i].bytes;
		left--;
		evidence_remove(dirfd(dir), sets[i].name);
	}
	(void)closedir(dir);
}

/* ---- keeping -------------------------------------------------------------------------------
 */

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
static int evidence_choose(const char *db_path, const struct health_print *print, char *path,
			   struct error *e)
{
	char hash[HEALTH_HASH_MAX];
	int r = evidence_name(db_path, print->sha256, path, e);

	if (r < 0)
		return r;
	if (access(path, F_OK) < 0 || evidence_same_set(db_path, path, true) == 1 ||
	    evidence_same(db_path, path) != 1)
		return 0;
	r = health_hash_set(db_path, hash);
	return r < 0 ? error_errno(e, r, "cannot read %s to keep its bytes", db_path)
		     : evidence_name(db_path, hash, path, e);
}

/* One try. Return: 1 kept already, 0 copied, -EAGAIN the file changed meanwhile, -errno. */
static int evidence_try(const char *db_path, struct health_print *print, char *path,
			struct error *e)
{
	int r = health_print_take(db_path, true, print);
	bool was_there;

	if (r == 0 && print->size < 0)
		r = -ENOENT;
	if (r < 0)
		return error_errno(e, r, "cannot read %s to keep its bytes", db_path);
	r = evidence_choose(db_path, print, path, e);
	if (r < 0)
		return r;
	was_there = access(path, F_OK) == 0;
	r = was_there ? evidence_same_set(db_path, path, false) : 0;
	if (r == 0) {
		r = evidence_copy_set(db_path, path);
		if (r == 0 && evidence_same_set(db_path, path, false) != 1)
			r = -EAGAIN;
		if (r < 0 && !was_there)
			evidence_remove(AT_FDCWD, path); /* half a set is none */
	}
	if (r < 0)
		return error_errno(e, r, "cannot keep the bytes of %s as %s", db_path, path);
	return r;
}

int evidence_keep(const char *db_path, struct health_print *print, char *path, struct error *e)
{
	int r = -EAGAIN;

	for (int i = 0; r == -EAGAIN && i < EVIDENCE_TRIES; i++)
		r = evidence_try(db_path, print, path, e);
	if (r == -EAGAIN)
		return error_set(e, r, "%s is being written while its bytes are to be kept",
				 db_path);
	if (r == 0)
		evidence_trim(db_path, path);
	return r < 0 ? r : 0;
}
