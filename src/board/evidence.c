/*
 * Evidence is named by its content, so that keeping the same damage twice is nothing: a hundred
 * processes that see one damaged file make one copy.
 *
 * The sidecars belong to the database: a hot journal or a WAL is copied under the same name
 * before the database itself appears, so whoever finds the evidence file finds the set
 * complete.
 */
#include "board/evidence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"

static const char *const evidence_sidecars[] = { "-wal", "-shm", "-journal" };

#define N_SIDECARS (sizeof(evidence_sidecars) / sizeof(evidence_sidecars[0]))

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
	char side[300];

	(void)unlinkat(dir, name, 0); /* it is only over the cap then */
	for (size_t i = 0; i < N_SIDECARS; i++) {
		(void)snprintf(side, sizeof(side), "%s%s", name, evidence_sidecars[i]);
		(void)unlinkat(dir, side, 0); /* most have none */
	}
}

static size_t evidence_list(DIR *dir, const char *base, struct evidence_set **sets)
{
	struct dirent *entry;
	size_t n = 0;

	while ((entry = readdir(dir))) {
		struct evidence_set set = { 0 }, *more;

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

/* Keep the oldest (how it began) and the newest; drop from the second oldest on. */
static void evidence_trim(const char *db_path)
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
	     i + 1 < n && (left > EVIDENCE_MAX_FILES || bytes > EVIDENCE_MAX_BYTES);
	     i++, left--) {
		bytes -= sets[i].bytes;
		evidence_remove(dirfd(dir), sets[i].name);
	}
	(void)closedir(dir);
}

int evidence_keep(const char *db_path, struct health_print *print, char *path, struct error *e)
{
	struct stat st;
	int r;

	r = health_print_take(db_path, true, print);
	if (r == 0 && print->size < 0)
		r = -ENOENT;
	if (r < 0)
		return error_errno(e, r, "cannot read %s to keep its bytes", db_path);
	if (snprintf(path, HEALTH_PATH_MAX, "%s.corrupt.%.16s.bak", db_path, print->sha256) >=
	    HEALTH_PATH_MAX)
		return error_set(e, -ENAMETOOLONG, "the path of %s is too long", db_path);
	if (stat(path, &st) == 0 && st.st_size == print->size)
		return 0; /* these bytes are kept already */
	r = evidence_copy_set(db_path, path);
	if (r < 0)
		return error_errno(e, r, "cannot keep the bytes of %s as %s", db_path, path);
	evidence_trim(db_path);
	return 0;
}
