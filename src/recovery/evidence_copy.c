/*
 * Comparing and copying a set of evidence: the database, and what belongs to it.
 *
 * All parts are copied under temp names and compared with the live ones at once, before
 * anything is synced, so that there is little time in which somebody can write. Then the
 * sidecars get their names, and the database last: whoever finds it finds the set whole. A
 * failure or a kill leaves temp names alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db_file.h"
#include "db/db_registry.h"
#include "recovery.h"
#include "recovery/evidence.h"
#include "util/fs.h"

#define EVIDENCE_CHUNK (1 << 18)

/* ---- comparing ----------------------------------------------------------------------- */

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

/* As evidence_same(), of what evidence_open() said. */
static int evidence_same_fd(int fa, int fb)
{
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

int evidence_same(const char *a, const char *b)
{
	CLEANUP(db_registry_closep) int fa = evidence_open(a);
	CLEANUP(db_registry_closep) int fb = evidence_open(b);

	return evidence_same_fd(fa, fb);
}

int evidence_same_db(const struct evidence_of *of, const char *b)
{
	CLEANUP(db_registry_closep) int fb = evidence_open(b);

	return evidence_same_fd(of->fd, fb);
}

/* One sidecar and @tail, which is the rest of its name in the set. */
static int evidence_same_side(const struct evidence_of *of, const char *b, enum db_part part,
			      const char *tail)
{
	CLEANUP(freep) char *x = db_file_path(of->real, part);
	CLEANUP(freep) char *y = fs_path("%s%s%s", b, db_file_suffix(part), tail);

	return x && y ? evidence_same(x, y) : -ENOMEM;
}

/* Those that are part of the database's content; -shm is made from the WAL. */
static int evidence_same_sides(const struct evidence_of *of, const char *b, const char *tail)
{
	CLEANUP(freep)
	char *none =
		of->journal ? NULL : fs_path("%s%s%s", b, db_file_suffix(DB_JOURNAL), tail);
	int r = evidence_same_side(of, b, DB_WAL, tail);

	if (r == 1 && of->journal)
		r = evidence_same_side(of, b, DB_JOURNAL, tail);
	else if (r == 1) /* the one of a transaction that is going on is none */
		r = none ? evidence_same(none, "/dev/null") : -ENOMEM;
	return r;
}

int evidence_same_set(const struct evidence_of *of, const char *b, bool sidecars_alone)
{
	int r = sidecars_alone ? 1 : evidence_same_db(of, b);

	return r == 1 ? evidence_same_sides(of, b, "") : r;
}

/* ---- copying ------------------------------------------------------------------------- */

static bool evidence_takes(const struct evidence_of *of, enum db_part part)
{
	if (part == DB_SHM)
		return of->shm_too;
	return part != DB_JOURNAL || of->journal;
}

/* One sidecar, or none. */
static int evidence_draft(const struct evidence_of *of, const char *to, enum db_part part,
			  const char *tail)
{
	CLEANUP(freep) char *from = db_file_path(of->real, part);
	CLEANUP(freep) char *tmp = fs_path("%s%s%s", to, db_file_suffix(part), tail);
	int r = 0;

	if (!from || !tmp)
		return -ENOMEM;
	if (unlink(tmp) < 0 && errno != ENOENT) /* of one that had our pid */
		return -errno;
	if (evidence_takes(of, part))
		r = db_file_copy_part(from, tmp);
	return r == -ENOENT ? 0 : r;
}

/* Make @name durable and give it its own; where there is none, none of that name may be. */
/* No more readable than the board, and its owner's. */
static int evidence_own(const struct evidence_of *of, int fd)
{
	struct stat st;

	if (fstat(of->fd, &st) < 0)
		return -errno;
	if (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0)
		return -errno;
	return fchmod(fd, st.st_mode & 0666) < 0 ? -errno : 0;
}

static int evidence_publish(const struct evidence_of *of, const char *to, enum db_part part,
			    const char *tail)
{
	CLEANUP(freep) char *name = db_file_path(to, part);
	CLEANUP(freep) char *tmp = fs_path("%s%s%s", to, db_file_suffix(part), tail);
	CLEANUP(db_registry_closep) int fd = -1;
	int r;

	if (!name || !tmp)
		return -ENOMEM;
	fd = open(tmp, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return unlink(name) < 0 && errno != ENOENT ? -errno : 0;
	r = fd < 0 ? -errno : evidence_own(of, fd);
	if (r < 0)
		return r;
	if (fsync(fd) < 0 || rename(tmp, name) < 0)
		return -errno;
	return fs_sync_parent(name);
}

static void evidence_undraft(const char *to, const char *tail)
{
	for (enum db_part part = DB_MAIN; part < DB_PARTS; part++) {
		CLEANUP(freep) char *tmp = fs_path("%s%s%s", to, db_file_suffix(part), tail);

		if (tmp)
			(void)unlink(tmp); /* mostly not there */
	}
}

/* The drafts are what is there now, and what the set was named for. */
static int evidence_proof(const struct evidence_of *of, const char *to, const char *tail,
			  const char *sha256)
{
	CLEANUP(freep) char *tmp = fs_path("%s%s", to, tail);
	struct health_print print;
	int r = tmp ? evidence_same_db(of, tmp) : -ENOMEM;

	if (r == 1)
		r = evidence_same_sides(of, to, tail);
	if (r != 1)
		return r == 0 ? -EAGAIN : r;
	if (of->locked)
		return 0;
	r = health_print_take(tmp, true, &print);
	return r == 0 && strcmp(print.sha256, sha256) != 0 ? -EAGAIN : r;
}

int evidence_copy_set(const struct evidence_of *of, const char *to, const char *sha256)
{
	CLEANUP(freep) char *tail = fs_path(".%d.tmp", (int)getpid());
	CLEANUP(freep) char *tmp = tail ? fs_path("%s%s", to, tail) : NULL;
	int r = tmp ? 0 : -ENOMEM;

	for (enum db_part part = DB_WAL; r == 0 && part < DB_PARTS; part++)
		r = evidence_draft(of, to, part, tail);
	if (r == 0)
		r = fs_copy(of->fd, tmp);
	if (r == 0)
		r = evidence_proof(of, to, tail, sha256);
	for (enum db_part part = DB_WAL; r == 0 && part < DB_PARTS; part++)
		r = evidence_publish(of, to, part, tail);
	if (r == 0)
		r = evidence_publish(of, to, DB_MAIN, tail);
	if (r < 0 && tmp)
		evidence_undraft(to, tail);
	return r;
}
