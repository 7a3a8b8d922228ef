/*
 * Files and paths: reads with a limit, writes that are there as a whole or not at all, copies,
 * folders and lock files.
 */
#include "util/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FS_COPY_CHUNK (1 << 18)
#define FS_SPARE      (1 << 20) /* bytes that a copy leaves free */

char *fs_path(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

bool fs_stamp_at(int dir, const char *path, struct fs_stamp *stamp)
{
	struct stat st;

	if (fstatat(dir, path, &st, 0) < 0) {
		*stamp = (struct fs_stamp){ 0 };
		return false;
	}
	*stamp = (struct fs_stamp){
		.dev = (uint64_t)st.st_dev,
		.ino = (uint64_t)st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
		.ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
	};
	return true;
}

struct fs_stamp fs_stamp_of(const char *path)
{
	struct fs_stamp stamp;

	(void)fs_stamp_at(AT_FDCWD, path, &stamp); /* nothing there is an answer too */
	return stamp;
}

bool fs_stamp_equal(const struct fs_stamp *a, const struct fs_stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

int fs_read_file(const char *path, size_t max, char **data, size_t *len)
{
	CLEANUP(fs_closep) int fd = -1;
	CLEANUP(freep) char *buf = NULL;
	struct stat st;
	size_t used = 0, size;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (st.st_size < 0 || (size_t)st.st_size > max)
		return -EFBIG;
	/* st_size is a hint (0 in /proc); the loop below reads to the end whatever it says */
	size = (size_t)st.st_size + 1;
	if (size < 512)
		size = 512;
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, buf + used, size - used);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return -EFBIG;
		if (used == size) {
			char *more = realloc(buf, size * 2 + 1);

			if (!more)
				return -ENOMEM;
			buf = more;
			size *= 2;
		}
	}
	buf[used] = '\0';
	*data = STEAL(buf);
	if (len)
		*len = used;
	return 0;
}

static int fs_write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

char *fs_uri(const char *path, const char *query)
{
	char *uri = malloc(strlen(path) * 3 + strlen(query) + 6), *p = uri;

	if (!uri)
		return NULL;
	p = stpcpy(p, "file:");
	for (; *path; path++) {
		if (*path == '?' || *path == '#' || *path == '%' || (unsigned char)*path <= ' ')
			p += sprintf(p, "%%%02x", (unsigned char)*path);
		else
			*p++ = *path;
	}
	(void)strcpy(p, query); /* room was made above */
	return uri;
}

int fs_sync_parent(const char *path)
{
	CLEANUP(freep) char *dir = NULL;
	CLEANUP(fs_closep) int fd = -1;
	const char *slash = strrchr(path, '/');

	dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	if (!dir)
		return -ENOMEM;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* some file systems cannot sync a folder and say EINVAL: nothing more can be done there
	 */
	if (fsync(fd) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

static int fs_replace(const char *path, const void *data, size_t len, mode_t mode, bool durable)
{
	CLEANUP(freep) char *tmp = NULL;
	CLEANUP(fs_closep) int fd = -1;
	const char *slash = strrchr(path, '/');
	int r;

	if (slash)
		tmp = fs_path("%.*s/.%s.%d.tmp", (int)(slash - path), path, slash + 1,
			      (int)getpid());
	else
		tmp = fs_path(".%s.%d.tmp", path, (int)getpid());
	if (!tmp)
		return -ENOMEM;
	/* one left by a process that had our pid and was killed, with whatever mode it had */
	if (unlink(tmp) < 0 && errno != ENOENT)
		return -errno;
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = fs_write_all(fd, data, len);
	if (r == 0 && durable && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(tmp);
		return r;
	}
	return durable ? fs_sync_parent(path) : 0;
}

int fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
	return fs_replace(path, data, len, mode, true);
}

int fs_write_soon(const char *path, const void *data, size_t len, mode_t mode)
{
	return fs_replace(path, data, len, mode, false);
}

static int fs_copy_range(int in, int out, char *buf, off_t at, off_t end)
{
	while (at < end) {
		size_t want = end - at < FS_COPY_CHUNK ? (size_t)(end - at) : FS_COPY_CHUNK;
		ssize_t n = pread(in, buf, want, at);

		if (n <= 0) /* cut meanwhile: what was there is copied */
			return n < 0 ? -errno : 0;
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(out, buf + done, (size_t)(n - done), at + done);

			if (w < 0)
				return -errno;
			done += w;
		}
		at += n;
	}
	return 0;
}

/* Holes stay holes. */
static int fs_copy_bytes(int in, int out, off_t size)
{
	CLEANUP(freep) char *buf = malloc(FS_COPY_CHUNK);
	off_t at = 0, end;
	int r = 0;

	if (!buf)
		return -ENOMEM;
	while (r == 0 && at < size) {
		off_t data = lseek(in, at, SEEK_DATA);

		if (data < 0 && errno == ENXIO)
			break; /* a hole up to the end */
		end = data < 0 ? size : lseek(in, data, SEEK_HOLE);
		if (data < 0) /* a file system that does not tell */
			data = at;
		if (end < data)
			end = size;
		r = fs_copy_range(in, out, buf, data, end);
		at = end;
	}
	if (r == 0 && ftruncate(out, size) < 0)
		r = -errno;
	return r;
}

/* Is there room for what @st has, and some to spare for those who go on working? */
static int fs_room(int out, const struct stat *st)
{
	struct statvfs fs;
	uint64_t need = (uint64_t)st->st_blocks * 512 + FS_SPARE, room;

	if (fstatvfs(out, &fs) < 0)
		return -errno;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	/* some file systems tell nothing */
	return fs.f_blocks > 0 && need > room ? -ENOSPC : 0;
}

int fs_copy(int in, const char *to)
{
	CLEANUP(fs_closep) int out = -1;
	struct stat st;
	int r = 0;

	if (fstat(in, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) /* a device would have no end */
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0)
		return -errno;
	if (ioctl(out, FICLONE, in) < 0) { /* else the file system shares the blocks */
		r = fs_room(out, &st);
		if (r == 0)
			r = fs_copy_bytes(in, out, st.st_size);
	}
	return r;
}

int fs_mkdir_p(const char *path, mode_t mode)
{
	CLEANUP(freep) char *copy = NULL;

	if (!path[0])
		return -ENOENT;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(copy, mode) < 0) {
		if (errno != EEXIST)
			return -errno;
		if (!fs_is_dir(copy))
			return -ENOTDIR;
	}
	return 0;
}

/* Who may write the folder may lock its files, and nobody else: to hold a lock, reading is
 * enough. */
static mode_t fs_lock_mode(const char *path)
{
	const char *slash = strrchr(path, '/');
	CLEANUP(freep)
	char *dir =
		slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	mode_t mode = 0600;
	struct stat st;

	if (!dir || stat(dir, &st) < 0)
		return mode;
	mode |= (mode_t)(st.st_mode & S_IWGRP ? 0060 : 0);
	mode |= (mode_t)(st.st_mode & S_IWOTH ? 0006 : 0);
	return mode;
}

int fs_lock_open(const char *path)
{
	mode_t mode = fs_lock_mode(path);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, mode);
	struct stat st;

	if (fd < 0)
		return -errno;
	/* one of ours from before, or Hermes's: others may wait for it, not hold it; what has a
	   second name is known to others by that one */
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && st.st_nlink == 1 &&
	    (st.st_mode & 0077 & ~mode))
		(void)fchmod(fd, st.st_mode & 07777 & ~(0077 & ~mode));
	return fd;
}

int fs_lock_try(int fd)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

bool fs_is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool fs_is_slug(const char *name)
{
	size_t n = 0;

	for (; name[n]; n++) {
		char c = name[n];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (n >= 64 || (!alnum && (n == 0 || (c != '_' && c != '-'))))
			return false;
	}
	return n > 0;
}
