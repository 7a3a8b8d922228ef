/*
 * The door.
 *
 *        +-------------------------------------------+
 *        v                                           |
 *   NEW --> HEALTHY <--> TROUBLED     any --> QUARANTINED (bytes changed: examined again)
 *     \--> MISSING  <--> HEALTHY      any --> SCHEMA      (bytes changed: examined again)
 *
 * Happy path: a visit takes `<db>.dispatch.lock`, opens the database if it is not open (the
 * first time under `<db>.init.lock` and with an integrity check), does what it was asked for,
 * and notes which bytes it has seen, so that the next sweep can tell by two stat calls that
 * there is nothing to do.
 *
 * Failure modes: a passing fault keeps the connection and is tried again later. Damage closes
 * the connection; no file of a quarantined board is opened again until its bytes change.
 *
 * What was seen: the stamps are taken after the last commit of the visit, and hold only if the
 * connection's data_version shows that nobody committed in between. A file that was written
 * within the resolution of its time stamps is marked racy and looked at once more.
 */
#include "board/board.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board/board_await.h"
#include "board/board_lock.h"
#include "board/examine.h"
#include "db/db.h"
#include "db/db_file.h"
#include "db/db_registry.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"
#include "util/memory.h"

#define BOARD_BUSY_MS      100  /* wait for SQLite's lock; then others have their turn */
#define BOARD_BUSY_ONCE_MS 5000 /* the same where no others wait for the thread */
#define BOARD_LONG_BYTES   ((uint64_t)8 << 20) /* to read all of it takes long */
#define BOARD_SLOW_MS      500                 /* a visit that took so long will again */
#define BOARD_VANISHED_MS  2000 /* a file that went away is not asked for sooner */
#define BOARD_IOERRS       3    /* I/O errors in a row after which damage is suspected */
#define BOARD_RACY_NS      1000000000LL
#define BOARD_JOB_LIMIT_MS (10 * 60 * 1000)
#define BOARD_MODE_BUSY_MS 200       /* to change the journal mode: nobody is to have it open */
#define BOARD_NO_VERSION   INT64_MIN /* data_version: no tick has used this connection yet */

void board_init(struct board *board, struct board_place *place)
{
	*board = (struct board){ .place = *place, .state = BOARD_NEW, .own_fd = -1 };
	*place = (struct board_place){ 0 };
}

void board_deinit(struct board *board)
{
	board->db = db_free(board->db);
	db_registry_disclaim(board);
	fs_closep(&board->own_fd);
	board_place_deinit(&board->place);
}

void board_close(struct board *board)
{
	board->db = db_free(board->db);
}

void board_forget(struct board *board)
{
	board->checked = false;
	board->seen_racy = true;
	board->ioerrs = 0;
}

bool board_changed(const struct board *board, const struct board_place *now)
{
	return board->seen_racy || !fs_stamp_equal(&board->seen_db, &now->db) ||
	       !fs_stamp_equal(&board->seen_wal, &now->wal);
}

bool board_swept(const struct board *board, const struct board_place *now)
{
	return !board->full_racy && fs_stamp_equal(&board->full_db, &now->db) &&
	       fs_stamp_equal(&board->full_wal, &now->wal);
}

/* ---- the job's side ------------------------------------------------------------------ */

/* The file behind the path is not the one that is open: it was replaced or removed. */
static bool board_moved(const struct board *b, const struct fs_stamp *now)
{
	return b->opened.dev != now->dev || b->opened.ino != now->ino;
}

/* Note which bytes this visit has seen. */
static void board_note_seen(struct board *b)
{
	struct error e = ERROR_NULL;
	int64_t version = 0, now;

	b->seen_racy = true;
	b->seen_db = fs_stamp_of(b->place.db_path);
	b->seen_wal = db_file_stamp(b->place.db_path, DB_WAL);
	if (!b->db || db_data_version(b->db, &version, &e) != 0 || version != b->data_version)
		return; /* somebody committed after the tick looked: look again */
	now = clock_wall_us() * 1000;
	b->seen_racy = now - b->seen_db.mtime_ns < BOARD_RACY_NS ||
		       (b->seen_wal.ino && now - b->seen_wal.mtime_ns < BOARD_RACY_NS);
}

static int board_open_db(struct board *b, struct board_job *bj)
{
	const int busy_max = bj->rq.once ? BOARD_BUSY_ONCE_MS : BOARD_BUSY_MS;
	struct db_options opt = {
		.path = b->place.db_path,
		.busy_timeout_ms = (int)(bj->rq.set->busy_timeout_ms < busy_max
						 ? bj->rq.set->busy_timeout_ms
						 : busy_max),
		.tries = bj->rq.once ? 0 : 1,
		.busy = &b->open_busy,
		.integrity = !b->checked,
		.ioerr = &b->open_ioerr,
		.cancel = &bj->job.cancel,
	};
	CLEANUP(fs_closep) int init = -1;
	int r;

	b->opened = fs_stamp_of(b->place.db_path);
	if (!b->checked) {
		bj->read_all = true;
		r = board_lock_init(b, bj, &init);
		if (r != 0)
			return r;
	}
	r = b->checked ? db_open(&b->db, &opt, &bj->error)
		       : examine_open(b, bj, &opt, init >= 0, b->ioerrs >= BOARD_IOERRS);
	if (r == 0) {
		b->data_version = BOARD_NO_VERSION;
		db_leave_wal(b->db, true);
	}
	return r;
}

/*
 * One board a file, in the whole process: the same file may be reached by another slug, another
 * root, or a link that was put in its place.
 */
static int board_claim(struct board *b, const struct fs_stamp *now, struct error *e)
{
	char other[512];
	int r;

	if (now->ino == 0) {
		db_registry_disclaim(b);
		return 0;
	}
	r = db_registry_claim(b, b->place.folder, (dev_t)now->dev, (ino_t)now->ino, other,
			      sizeof(other));
	if (r < 0)
		return error_set(e, r, "out of memory");
	if (r == 0)
		return 0;
	b->db = db_free(b->db);
	b->checked = false;
	return error_set(
		e, DB_TRANSIENT,
		"its database is the same file as that of the board at %s, and is worked "
		"on there",
		other);
}

/*
 * Has the file just gone away? Then the whole folder may be on its way out (`boards rm`, an
 * archive), and a lock file or a record made in it now would stand in the way or bring it back.
 * So nothing is touched until it has stayed away for a while; by then a scan has let a board go
 * whose folder is no more.
 */
static bool board_vanishes(struct board *b, const struct board_job *bj)
{
	if (bj->rq.once || b->seen_db.ino == 0 || fs_stamp_of(b->place.db_path).ino != 0) {
		b->vanished_ms = 0;
		return false;
	}
	if (!b->vanished_ms)
		b->vanished_ms = clock_mono_ms();
	return clock_mono_ms() - b->vanished_ms < BOARD_VANISHED_MS;
}

/* Have a connection to the file that is there now. */
static int board_door(struct board *b, struct board_job *bj)
{
	struct fs_stamp now = fs_stamp_of(b->place.db_path);
	int r;

	if (b->place.refused)
		return error_set(&bj->error, DB_TRANSIENT, "%s", b->place.refused);
	if (b->db && board_moved(b, &now)) {
		b->db = db_free(b->db);
		b->checked = false;
	}
	if (now.ino == 0 && board_vanishes(b, bj)) {
		b->open_busy = true; /* tried again before long */
		return error_set(&bj->error, DB_TRANSIENT, "its file has just gone away");
	}
	r = board_claim(b, &now, &bj->error);
	return r != 0 || b->db ? r : board_open_db(b, bj);
}

/*
 * Its journal mode, where one is asked for. To change it the file is closed and looked at: it
 * is done when nobody else has it open, tried again at the checkpoint interval, told once.
 */
static int board_mode(struct board *b, struct board_job *bj)
{
	const struct settings *set = bj->rq.set;
	bool wal = set->journal_mode == DB_MODE_WAL;
	CLEANUP(fs_closep) int init = -1;
	struct error e = ERROR_NULL;
	int64_t now = clock_wall_s();
	int r;

	bj->mode_waits = set->journal_mode != DB_MODE_KEEP && db_is_wal(b->db) != wal;
	if (!bj->mode_waits) {
		b->mode_told = false;
		return set->journal_mode == DB_MODE_TRUNCATE &&
				       b->data_version == BOARD_NO_VERSION
			       ? db_mode_truncate(b->db, &bj->error)
			       : 0;
	}
	if (bj->dry_run || now - b->mode_tried_at < set->checkpoint_interval_s)
		return 0;
	b->mode_tried_at = now;
	init = board_lock_take(b, ".init.lock", 0, &e);
	if (init < 0)
		return 0; /* somebody is opening it */
	b->db = db_free(b->db);
	r = db_mode_change(b->place.db_path, wal, BOARD_MODE_BUSY_MS, &e);
	fs_closep(&init);
	bj->mode_waits = r != 0;
	if (r == 0)
		plan_note(
			&bj->plan, LOG_NOTICE, NULL, NULL, 0,
			"the journal mode of board %s is %s now%s", b->place.slug,
			wal ? "wal" : "delete",
			wal && db_wal_reset_bug()
				? "; the SQLite library that is loaded has the WAL-reset bug: "
				  "processes that checkpoint while others write can damage it"
				: "");
	else if (!b->mode_told)
		plan_note(&bj->plan, LOG_NOTICE, NULL, NULL, 0,
			  "the journal mode of board %s stays as it is for now: %s",
			  b->place.slug, e.text);
	b->mode_told = r != 0;
	return board_door(b, bj);
}

/* What is due at the checkpoint interval and before closing: checkpoint, record what is good.
 */
static int board_upkeep(struct board *b, struct board_job *bj)
{
	int64_t now = clock_wall_s();
	struct error e = ERROR_NULL;
	int r;

	if (!bj->close && now - b->checkpointed_at < bj->rq.set->checkpoint_interval_s)
		return 0;
	bj->read_all = true; /* if only by a snapshot */
	r = examine_good(b, bj);
	if (r != 0)
		return r;
	examine_snapshot(b, bj);
	r = db_checkpoint(b->db, &e); /* nothing in rollback mode */
	if (r == DB_TRANSIENT)        /* readers or writers in the way: the next one does it */
		return 0;
	if (r == 0)
		b->checkpointed_at = now;
	else
		bj->error = e;
	return r;
}

/* Trouble here is not the board's, and costs no visit, unless the board is damaged. */
static int board_subs(struct board *b, struct board_job *bj)
{
	int r;

	bj->subs_begun = true;
	r = subs_run(b->db, bj->rq.host, bj->subs, &bj->subs_result, &bj->subs_error);
	if (r == 0 || (r != DB_CORRUPT && !bj->subs_result.lease_lost))
		return 0;
	bj->plan.lease_lost |= bj->subs_result.lease_lost;
	bj->error = bj->subs_error;
	return r;
}

static int board_visit(struct board *b, struct board_job *bj)
{
	struct tick_request *rq = &bj->rq;
	int64_t version;
	int r;

	r = board_door(b, bj);
	if (r == 0)
		r = board_mode(b, bj);
	if (r != 0)
		return r;
	if (bj->only_if_changed && bj->n_ended + bj->n_record == 0) {
		r = db_data_version(b->db, &version, &bj->error);
		if (r != 0)
			return r;
		if (version == b->data_version && !bj->subs_must) {
			bj->outcome = BOARD_UNCHANGED;
			bj->pending = board_await_pending(b) || db_writing(b->db);
			return 0;
		}
		if (version == b->data_version)
			rq->steps = 0;
	}
	if (clock_wall_s() - b->checked_at >= rq->set->integrity_interval_s) {
		bj->read_all = true;
		r = db_quick_check(b->db, &bj->error);
		if (r != 0)
			return r;
		b->checked_at = clock_wall_s();
	}
	if (rq->steps || bj->subs || bj->n_ended + bj->n_record > 0)
		r = examine_sequence(b, bj);
	if (r == 0 && bj->wants_news && bj->news_after < 0)
		r = news_begin(b->db, bj->news_since, &bj->news_after, &bj->error);
	if (r == 0 && bj->n_ended > 0)
		r = tick_ended(b->db, rq, bj->ended, bj->n_ended, &bj->plan, &bj->error);
	bj->ended_booked = r == 0;
	if (r == 0 && bj->n_record > 0)
		r = tick_record(b->db, rq, bj->record, bj->n_record, &bj->plan, &bj->error);
	bj->recorded = r == 0;
	/* without a tick what others committed is news still */
	if (r == 0 && rq->steps)
		r = db_data_version(b->db, &b->data_version, &bj->error);
	if (r == 0 && rq->steps)
		r = tick_run(b->db, rq, &bj->plan, &bj->error);
	if (r == 0 && bj->subs)
		r = board_subs(b, bj);
	if (r == 0 && bj->wants_news) {
		r = news_read(b->db, bj->news_after, &bj->news, &bj->error);
		bj->news_read = r == 0;
	}
	if (r == 0 && bj->checkpoint)
		r = board_upkeep(b, bj);
	return r;
}

/* Without a connection only the stamps can tell whether there is anything new. */
static bool board_as_seen(const struct board *b)
{
	CLEANUP(freep) char *wal = db_file_path(b->place.db_path, DB_WAL);
	struct board_place now = { .db = fs_stamp_of(b->place.db_path) };

	if (!wal)
		return false;
	now.wal = fs_stamp_of(wal);
	return !board_changed(b, &now);
}

/* Neither a file nor a record of one: a board that is still to be made, not one that is lost.
 */
static bool board_never_was(const struct board *b)
{
	CLEANUP(freep) char *record = fs_path("%s.health.json", b->place.db_path);

	if ((b->state != BOARD_MISSING && b->state != BOARD_NEW) || b->place.refused)
		return false;
	return fs_stamp_of(b->place.db_path).ino == 0 && record && fs_stamp_of(record).ino == 0;
}

/* After an error that may mean damage: close, and examine the board at once. */
static int board_suspect(struct board *b, struct board_job *bj, int r)
{
	if (r == DB_TRANSIENT && (b->db ? db_was_ioerr(b->db) : b->open_ioerr))
		b->ioerrs++;
	else if (r != DB_TRANSIENT)
		b->ioerrs = 0;
	if (r == DB_OVERRUN)
		return examine_overrun(b, bj);
	if (b->db && db_is_torn(b->db)) { /* nothing can be read through it any more */
		b->db = db_free(b->db);
		return r;
	}
	if ((r != DB_CORRUPT || !b->checked) && b->ioerrs < BOARD_IOERRS)
		return r;
	b->db = db_free(b->db);
	b->checked = false;
	r = board_door(b, bj);
	b->ioerrs = 0;
	if (r == DB_OVERRUN)
		return examine_overrun(b, bj);
	/* sound after all, or whole again: what was asked for is done at the next try */
	return r == 0 ? DB_TRANSIENT : r;
}

/* Has another process the lock that the visit ended with? */
static bool board_was_busy(const struct board *b)
{
	return b->db ? db_was_busy(b->db) : b->open_busy;
}

/* Nobody committed since the last visit, and nothing is brought along that has to be booked. */
static bool board_unchanged(struct board *b, struct board_job *bj)
{
	if (!bj->only_if_changed || bj->n_ended + bj->n_record > 0 || bj->subs_must)
		return false;
	if (b->db)
		board_await(b, bj);
	return (bj->not_in_between && board_await_between(b)) || (!b->db && board_as_seen(b));
}

/* What the visit that ended with @r leaves: a connection or none, and what was seen. @before:
 * the stamps when it began, without a connection */
static void board_leave(struct board *b, struct board_job *bj, int r, bool was_open,
			const struct board_place *before)
{
	if (board_state_stands(board_state_of(r)) || r == DB_MISSING) {
		b->db = db_free(b->db);
		b->checked = false;
	}
	/* a connection that was opened for reading stays so when the file can be written again
	 */
	if (r == -EROFS)
		b->db = db_free(b->db);
	/* a tick that failed for a passing reason has seen nothing; damage is judged by its
	 * bytes */
	if ((r == 0 && !bj->pending) || !b->db)
		board_note_seen(b);
	if (r == 0 && bj->outcome == BOARD_DONE && b->db && !bj->close && !bj->rq.once &&
	    !bj->dry_run)
		bj->pending = board_await_overtaken(b);
	if (r == 0 && (bj->rq.steps & TICK_PROMOTE) && bj->rq.promote_after == 0) {
		b->full_db = b->seen_db;
		b->full_wal = b->seen_wal;
		b->full_racy = b->seen_racy;
	}
	/* what an open connection ran into (a migration, an emptied file) a new one may see
	 * otherwise: that is examined once; and so is what was written while it was judged */
	if (r != 0 && !b->db)
		b->seen_racy = (was_open && r != DB_MISSING) || bj->outcome == BOARD_LOCKED ||
			       r == -EROFS || !fs_stamp_equal(&b->seen_db, &before->db) ||
			       !fs_stamp_equal(&b->seen_wal, &before->wal);
	else if (r != 0)
		b->seen_racy = true;
	if (bj->close && b->db) {
		db_leave_wal(b->db, !bj->last);
		b->db = db_free(b->db);
	}
	if (b->db) /* the next visit comes when others have written, and then it is stale */
		db_drop_cache(b->db);
	if (bj->read_all)
		memory_give_back();
}

/* A tick failed; a visit without one is no proof that the next would not. */
static bool board_still_troubled(const struct board *b, const struct board_job *bj)
{
	return b->state == BOARD_TROUBLED && !bj->rq.once &&
	       (bj->outcome == BOARD_UNCHANGED || !bj->rq.steps);
}

static void board_run(struct board_job *bj)
{
	struct board *b = bj->board;
	CLEANUP(fs_closep) int lock = -1;
	bool was_open = b->db != NULL;
	struct board_place before = { 0 };
	int r;

	bj->outcome = BOARD_DONE;
	bj->state = b->state;
	bj->mode_waits = b->mode_waits;
	b->open_busy = false;
	if (board_never_was(b)) { /* nothing there: nothing to lock */
		bj->state = BOARD_MISSING;
		b->seen_db = b->seen_wal = (struct fs_stamp){ 0 };
		b->seen_racy = false;
		return;
	}
	if (board_vanishes(b, bj)) {
		bj->outcome = BOARD_LOCKED; /* tried again before long */
		(void)error_set(&bj->error, DB_TRANSIENT, "its file has just gone away");
		if (bj->close)
			b->db = db_free(b->db);
		return;
	}
	if (board_unchanged(b, bj)) {
		bj->outcome = BOARD_UNCHANGED;
		return;
	}
	lock = board_lock_own(b, bj);
	if (lock == 0)
		lock = board_lock_take(b, ".dispatch.lock", 0, &bj->error);
	if (lock == -EWOULDBLOCK) {
		bj->outcome = BOARD_LOCKED;
		if (bj->close && !bj->rq.steps) /* without a checkpoint, then */
			b->db = db_free(b->db);
		return;
	}
	if (!was_open) {
		before.db = fs_stamp_of(b->place.db_path);
		before.wal = db_file_stamp(b->place.db_path, DB_WAL);
	}
	r = lock < 0 ? lock : board_visit(b, bj);
	if (r == 0)
		b->ioerrs = 0;
	if (r > 0 && !bj->plan.lease_lost)
		r = board_suspect(b, bj, r);
	if (bj->plan.lease_lost)
		bj->outcome = BOARD_LEASE_LOST;
	else if (r == DB_TRANSIENT && !bj->rq.once && board_was_busy(b))
		bj->outcome = BOARD_LOCKED; /* tried again before long; no fault of the board */
	else if (r != 0 && r != DB_MISSING)
		bj->outcome = BOARD_FAILED;
	if (bj->outcome != BOARD_LEASE_LOST && bj->outcome != BOARD_LOCKED &&
	    !(r == 0 && board_still_troubled(b, bj)))
		bj->state = board_state_of(r);
	board_leave(b, bj, r, was_open, &before);
}

void board_job_run(struct board_job *bj)
{
	struct board *b = bj->board;
	uint64_t begun = clock_mono_ms();

	board_run(bj);
	b->slow = clock_mono_ms() - begun >= BOARD_SLOW_MS;
	b->waits = bj->outcome == BOARD_LOCKED;
}

/* May the visit keep its thread long: by what is due and how much there is to read? */
static bool board_is_long(const struct board_job *bj)
{
	const struct board *b = bj->board;
	const struct settings *set = bj->rq.set;
	int64_t now = clock_wall_s();
	uint64_t size = b->place.db.size > b->seen_db.size ? b->place.db.size : b->seen_db.size;

	if (b->slow || b->waits)
		return true;
	if (size + b->place.wal.size < BOARD_LONG_BYTES)
		return false;
	return !b->checked || now - b->checked_at >= set->integrity_interval_s ||
	       (bj->checkpoint && now - b->checkpointed_at >= set->checkpoint_interval_s);
}

static void board_work(struct job *job)
{
	board_job_run(container_of(job, struct board_job, job));
}

int board_submit(struct jobs *jobs, struct board_job *bj, job_fn done)
{
	int r = board_is_long(bj) ? job_submit_long(jobs, &bj->job, "board", board_work, done,
						    BOARD_JOB_LIMIT_MS)
				  : job_submit(jobs, &bj->job, "board", board_work, done,
					       BOARD_JOB_LIMIT_MS);

	if (r == 0)
		bj->board->busy = true;
	return r;
}

void board_publish(struct board_job *bj, bool *changed)
{
	struct board *b = bj->board;
	const char *reason = bj->outcome == BOARD_FAILED ? bj->error.text : "";

	b->busy = false;
	b->mode_waits = bj->mode_waits;
	if (bj->outcome == BOARD_LOCKED || bj->outcome == BOARD_LEASE_LOST) {
		*changed = false;
		return;
	}
	*changed = b->state != bj->state;
	if (bj->outcome == BOARD_UNCHANGED && !*changed)
		return; /* and why it is what it is stays known */
	b->state = bj->state;
	if (bj->state == BOARD_HEALTHY || bj->state == BOARD_MISSING)
		reason = "";
	(void)snprintf(b->reason, sizeof(b->reason), "%s", reason);
}
