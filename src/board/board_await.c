/* Waiting for a commit that is under way. */
#include "board/board_await.h"

#include <stdlib.h>
#include <time.h>

#include "db/db.h"
#include "db/db_file.h"
#include "util/clock.h"
#include "util/fs.h"

#define BOARD_SOON_NS  50000L      /* between two looks for a commit, at first … */
#define BOARD_SOON_US  4000        /* … for so long */
#define BOARD_STEP_NS  250000L     /* … and later */
#define BOARD_STIRS_NS 15000000LL  /* so long after the last write one is still expected */
#define BOARD_SYNCS_NS 250000000LL /* … if it stands in the log, and a sync takes its time */
#define BOARD_AWAIT_US 40000       /* and waited for at the most: a thread is kept for it */

/* A transaction is under way: there is nothing new yet, and our lock would be in its way. */
bool board_await_between(const struct board *b)
{
	struct fs_stamp stamp = db_file_stamp(b->place.db_path, DB_JOURNAL);

	return stamp.ino && stamp.size > 0;
}

/* Was a file of the board written within @ns? Our own commits are looked at later than that. */
static bool await_stirs(const struct board *b, int64_t ns)
{
	static const enum db_part files[] = { DB_MAIN, DB_WAL, DB_JOURNAL };
	int64_t now_ns = clock_wall_us() * 1000;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct fs_stamp stamp = db_file_stamp(b->place.db_path, files[i]);

		if (stamp.ino && now_ns - stamp.mtime_ns < ns && stamp.mtime_ns - now_ns < ns)
			return true;
	}
	return false;
}

/*
 * The log was written, and nothing is committed: a writer whose sync takes its time, after
 * which nothing of the file changes any more. Or it was rolled back.
 */
bool board_await_pending(const struct board *b)
{
	struct fs_stamp now;

	if (!db_is_wal(b->db))
		return false;
	now = db_file_stamp(b->place.db_path, DB_WAL);
	return now.ino != b->seen_wal.ino || now.size != b->seen_wal.size ||
	       now.mtime_ns > b->seen_wal.mtime_ns;
}

/*
 * A writer that was in the middle of a commit during the visit, or that ended one since the
 * visit looked: its writes have woken us already, and its commit will not. Whoever comes after
 * the lock was free writes, and wakes us.
 */
bool board_await_overtaken(const struct board *b)
{
	struct error e = ERROR_NULL;
	int64_t version;

	return db_is_wal(b->db) &&
	       (db_writing(b->db) || db_data_version(b->db, &version, &e) != 0 ||
		version != b->data_version);
}

/*
 * What woke us was a write, and the commit that it belongs to is seen some hundred microseconds
 * or a sync later, without anything that would wake us again. So it is waited for in small
 * steps, without any lock, as long as somebody still writes, or has written to the log what is
 * no commit yet; data_version costs 2 us.
 */
void board_await(const struct board *b, struct board_job *bj)
{
	const uint64_t begun = clock_mono_us();
	struct error e = ERROR_NULL;
	int64_t version;

	while (board_await_between(b) ||
	       (db_data_version(b->db, &version, &e) == 0 && version == b->data_version &&
		(await_stirs(b, BOARD_STIRS_NS) ||
		 (board_await_pending(b) && await_stirs(b, BOARD_SYNCS_NS))))) {
		const uint64_t waited = clock_mono_us() - begun;
		const struct timespec step = { .tv_nsec = waited < BOARD_SOON_US
								  ? BOARD_SOON_NS
								  : BOARD_STEP_NS };

		if (waited >= BOARD_AWAIT_US || atomic_load(&bj->job.cancel))
			return;
		(void)nanosleep(&step, NULL); /* shorter is as good */
	}
}
