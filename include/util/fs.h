/* Files and paths: small durable writes, bounded reads, folders, lock files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include "util/error.h"

static inline void fs_closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* What a file looked like; all 0 when there is none. Equal stamps: the same content. */
struct fs_stamp {
	uint64_t dev;     /* device and inode: which file */
	uint64_t ino;     /* … */
	uint64_t size;    /* bytes */
	int64_t mtime_ns; /* last write, ns since 1970 */
	int64_t ctime_ns; /* last change of anything, ns since 1970 */
};

/** fs_stamp_at() - the stamp of @path (relative to @dir), following symbolic links; false and
 * all 0 if there is nothing */
bool fs_stamp_at(int dir, const char *path, struct fs_stamp *stamp);

/** fs_stamp_of() - the same of a path alone */
struct fs_stamp fs_stamp_of(const char *path);

/** fs_stamp_equal() - is it the same content as far as the file system tells */
bool fs_stamp_equal(const struct fs_stamp *a, const struct fs_stamp *b);

/**
 * fs_path() - printf into a fresh string
 * Return: malloc'd, the caller frees it; NULL when out of memory.
 */
MUST_CHECK char *fs_path(const char *fmt, ...) PRINTF(1, 2);

/**
 * fs_read_file() - read a whole small file
 * @path: the file; a folder (-EISDIR), FIFO or device (-EINVAL) is refused, never waited for
 * @max:  most bytes to accept; a larger file is -EFBIG
 * @data: out; malloc'd and NUL-terminated (the NUL is not counted), the caller frees it
 * @len:  out, may be NULL; bytes read
 * Return: 0 or -errno.
 */
MUST_CHECK int fs_read_file(const char *path, size_t max, char **data, size_t *len);

/**
 * fs_write_atomic() - replace a small file durably: temp, fsync, rename, fsync of the folder
 * @path: the file; its folder must exist. The temp file is beside it, `.NAME.PID.tmp`
 * @mode: permission bits of a new file, before the umask
 * Blocks: two fsyncs.
 * Return: 0 or -errno; on error no temp file stays and the old content stands, unless only
 * the sync of the folder failed: then the new content is in place and may not survive a crash.
 */
MUST_CHECK int fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode);

/**
 * fs_write_soon() - the same without a sync: whole or not at all for other processes, and on
 * the disk when the kernel writes it. Does not wait for a disk.
 */
MUST_CHECK int fs_write_soon(const char *path, const void *data, size_t len, mode_t mode);

/**
 * fs_copy() - copy a regular file that is open and stays so, sharing its blocks where the file
 * system can; holes stay holes, and nothing is begun for which there is no room (-ENOSPC)
 * @in: its offset moves
 * @to: replaced if it is there; not through a symbolic link
 * Return: 0; -EISDIR, -EINVAL it is no regular file; other -errno (@to may then be
 * half-written: a temp name, please).
 */
MUST_CHECK int fs_copy(int in, const char *to);

/** fs_uri() - a file: URI for SQLite: @path with everything special escaped, then @query.
 * malloc'd */
MUST_CHECK char *fs_uri(const char *path, const char *query);

/** fs_sync_parent() - fsync the folder that @path is in, so that its name is durable. 0 or
 * -errno. */
MUST_CHECK int fs_sync_parent(const char *path);

/**
 * fs_mkdir_p() - make a folder and its missing parents
 * @path: absolute or relative; an existing folder is success, an existing non-folder -ENOTDIR
 * Return: 0 or -errno.
 */
MUST_CHECK int fs_mkdir_p(const char *path, mode_t mode);

/**
 * fs_lock_open() - open or create a lock file, close-on-exec, without touching its content
 * @path: the lock file; its folder must exist. Whoever may not write that may not read the file
 * either, since that would be enough to hold the lock; an older one of ours is set right.
 * Return: a descriptor, or -errno.
 */
MUST_CHECK int fs_lock_open(const char *path);

/**
 * fs_lock_try() - flock(LOCK_EX | LOCK_NB)
 * Return: 0 locked; -EWOULDBLOCK held by somebody else; other -errno.
 */
MUST_CHECK int fs_lock_try(int fd);

/** fs_is_dir() - is there a folder at @path (symbolic links followed) */
bool fs_is_dir(const char *path);

/**
 * fs_is_slug() - does @name match ^[a-z0-9][a-z0-9_-]{0,63}$ (boards and profiles, CONTRACT §1)
 */
bool fs_is_slug(const char *name);
