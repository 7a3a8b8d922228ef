/*
 * The two locks beside a board's file that all who share it take: `.dispatch.lock` for a visit,
 * `.init.lock` for the first open.
 */
#include "board/board_lock.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

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
