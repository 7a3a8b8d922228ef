/*
 * The two locks beside a board's file that all who share it take: `.dispatch.lock` for a visit,
 * `.init.lock` for the first open. And the one in its folder that says who dispatches it:
 * releases of Hermes that ask for no lock of the root any more, but for one of each board, are
 * announced (CONTRACT §13.26), and both kinds are to find it taken.
 */
#include "board/board_lock.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "db/db.h"
#include "util/clock.h"
#include "util/fs.h"

#define BOARD_INIT_WAIT_MS 10000 /* for `<db>.init.lock`, then on without it */

int board_lock_take(const struct board *b, const char *suffix, uint64_t until, struct error *e)
{
	CLEANUP(freep) char *path = fs_path("%s%s", b->place.db_path, suffix);
	int fd, r;

	if (!path)
		return error_set(e, -ENOMEM, "out of memory");
	fd = fs_lock_open(path);
	if (fd < 0)
		return error_errno(e, fd, "cannot open %s", path);
	while ((r = fs_lock_try(fd)) == -EWOULDBLOCK && clock_mono_ms() < until) {
		struct timespec ts = { .tv_nsec = 20000000 };

		(void)nanosleep(&ts,
				NULL); /* flock(2) has no time-out; the contract says poll */
	}
	if (r == 0)
		return fd;
	(void)close(fd);
	if (r == -EWOULDBLOCK)
		return error_set(e, r, "another process holds %s", path);
	return error_errno(e, r, "cannot lock %s", path);
}

/* Is what we hold still what the path names? A lock that was put there instead is another. */
static bool board_owns(const struct board *b, const char *path)
{
	struct stat held, named;

	return b->own_fd >= 0 && fstat(b->own_fd, &held) == 0 && stat(path, &named) == 0 &&
	       held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* The locks of very many boards leave half of the descriptors to what is opened and started. */
static bool board_lock_room(int fd)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 || (rlim_t)fd < limit.rlim_cur / 2;
}

int board_lock_own(struct board *b, struct board_job *bj)
{
	CLEANUP(freep) char *path = NULL;
	int r;

	if (!bj->rq.steps || bj->dry_run || (b->own_fd >= 0 && bj->rq.promote_after != 0))
		return 0;
	path = fs_path("%s/.dispatcher.lock", b->place.folder);
	if (!path)
		return error_set(&bj->error, -ENOMEM, "out of memory");
	if (board_owns(b, path))
		return 0;
	fs_closep(&b->own_fd);
	/* the folder of the default board may not be there yet */
	r = strcmp(b->place.slug, DISCOVER_DEFAULT) ? 0 : fs_mkdir_p(b->place.folder, 0755);
	b->own_fd = r < 0 ? r : fs_lock_open(path);
	if (b->own_fd >= 0 && !board_lock_room(b->own_fd))
		fs_closep(&b->own_fd);
	if (b->own_fd < 0)
		return 0; /* no folder, no right to it: it can be nobody's */
	r = fs_lock_try(b->own_fd);
	if (r == 0)
		return 0;
	fs_closep(&b->own_fd);
	return r == -EWOULDBLOCK ? error_set(&bj->error, r,
					     "another process dispatches it: it holds %s", path)
				 : 0;
}

int board_lock_init(struct board *b, struct board_job *bj, int *fd)
{
	uint64_t now = clock_mono_ms();
	int r;

	if (!b->init_wait_ms)
		b->init_wait_ms = now + BOARD_INIT_WAIT_MS;
	r = board_lock_take(b, ".init.lock", bj->rq.once ? b->init_wait_ms : 0, &bj->error);
	b->open_busy = r == -EWOULDBLOCK && !bj->rq.once && now < b->init_wait_ms;
	if (b->open_busy)
		return DB_TRANSIENT;
	b->init_wait_ms = 0;
	*fd = r < 0 ? -1 : r;
	return r == -EWOULDBLOCK || r >= 0 ? 0 : r;
}
