/*
 * The log of a worker: `<logs>/<task>.log`, appended to from run to run, rotated at a start
 * when it has grown past the limit. The folder of the logs is shared with other processes, so
 * what stands at that name may be anything: a symbolic link is not followed, and a FIFO or a
 * device is neither waited for nor written to.
 *
 * A rotation that fails costs no run: the log then grows further.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "process/spawn.h"
#include "util/fs.h"

/* .log.N-1 → .log.N and so on down to .log → .log.1; what falls off the end goes */
static int logfile_rotate(const char *path, int backups)
{
	CLEANUP(freep) char *oldest = NULL;

	if (backups <= 0)
		return unlink(path) < 0 ? -errno : 0;
	oldest = fs_path("%s.%d", path, backups);
	if (!oldest)
		return -ENOMEM;
	if (unlink(oldest) < 0 && errno != ENOENT)
		return -errno;
	for (int i = backups; i > 0; i--) {
		CLEANUP(freep) char *to = fs_path("%s.%d", path, i);
		CLEANUP(freep) char *from = i > 1 ? fs_path("%s.%d", path, i - 1) : NULL;

		if (!to || (i > 1 && !from))
			return -ENOMEM;
		if (rename(from ? from : path, to) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int logfile_open_path(const char *path, int64_t *size)
{
	CLEANUP(fs_closep) int fd = -1;
	struct stat st;

	/* O_NONBLOCK is for the FIFO that nobody reads; the worker gets the file without it */
	fd = open(path,
		  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY |
			  O_NONBLOCK,
		  0644);
	if (fd < 0)
		return errno == ENXIO ? -EINVAL : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (fcntl(fd, F_SETFL, O_APPEND) < 0)
		return -errno;
	*size = st.st_size;
	return spawn_fd_high(spawn_fd_steal(&fd));
}

/* The log folder of a board is made with its first log; not of a board that was just moved
 * away, whose folder that would bring back. */
static int logfile_open_made(const char *path, const struct launch_spec *spec, int64_t *size)
{
	int fd = logfile_open_path(path, size);
	int r;

	if (fd != -ENOENT || workspace_board_gone(spec))
		return fd;
	r = fs_mkdir_p(spec->logs_dir, 0777);
	return r < 0 ? r : logfile_open_path(path, size);
}

int logfile_open(const struct launcher *launcher, const struct launch_spec *spec,
		 struct error *e)
{
	CLEANUP(freep) char *path = fs_path("%s/%s.log", spec->logs_dir, spec->task);
	int64_t size = 0;
	bool own, bad;
	int fd;

	if (!path) {
		(void)error_set(e, LAUNCH_SPAWN_FAILED, "out of memory");
		return -ENOMEM;
	}
	fd = logfile_open_made(path, spec, &size);
	if (fd >= 0 && launcher->log_rotate_bytes > 0 && size > launcher->log_rotate_bytes &&
	    logfile_rotate(path, launcher->log_backup_count) == 0) {
		(void)close(fd);
		fd = logfile_open_made(path, spec, &size);
	}
	/* Held by the worker and what shares its output, as long as one of them lives: so
	 * another pid namespace can tell that it does. Where no lock is to be had, it cannot.
	 */
	if (fd >= 0)
		(void)flock(fd, LOCK_SH | LOCK_NB);
	bad = fd < 0 && workspace_place_bad(spec->logs_dir, fd);
	own = fd == -EINVAL || fd == -EISDIR || workspace_place_error(fd);
	/* what stands at the name of one log is that task's trouble */
	error_cause(e, fd < 0 && !(own && !bad) ? fd : 0);
	if (fd == -ELOOP || fd == -EINVAL)
		(void)error_set(e, LAUNCH_SPAWN_FAILED,
				"worker log %s is no plain file; move it away", path);
	else if (fd < 0)
		(void)error_set(e, LAUNCH_SPAWN_FAILED, "cannot write the worker log %s: %s",
				path, strerror(-fd));
	if (bad)
		e->code = LAUNCH_PLACE_FAILED;
	return fd;
}
