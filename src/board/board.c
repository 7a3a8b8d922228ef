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
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "board/examine.h"
#include "db/db.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"
#include "util/memory.h"

#define BOARD_BUSY_MAX_MS  5000  /* longest wait for SQLite's lock in one statement */
#define BOARD_INIT_WAIT_MS 10000 /* for `<db>.init.lock`, then on without it */
#define BOARD_IOERRS       3     /* I/O errors in a row after which damage is suspected */
#define BOARD_RACY_NS      1000000000LL
#define BOARD_JOB_LIMIT_MS (10 * 60 * 1000)
#define BOARD_MODE_BUSY_MS 200       /* to change the journal mode: nobody is to have it open */
#define BOARD_NO_VERSION   INT64_MIN /* data_version: no tick has used this connection yet */

const char *board_state_name(enum board_state state)
{
	static const char *const names[] = {
		[BOARD_NEW] = "new",
		[BOARD_HEALTHY] = "healthy",
		[BOARD_MISSING] = "missing",
		[BOARD_TROUBLED] = "troubled",
		[BOARD_SCHEMA] = "schema",
		[BOARD_LOST] = "lost",
		[BOARD_QUARANTINED] = "quarantined",
	};

	return names[state];
}

void board_init(struct board *board, struct board_place *place)
{
	*board = (struct board){ .place = *place, .state = BOARD_NEW };
	*place = (struct board_place){ 0 };
}

void board_deinit(struct board *board)
{
	board->db = db_free(board->db);
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
	return board->seen_racy || !file_stamp_equal(&board->seen_db, &now->db) ||
	       !file_stamp_equal(&board->seen_wal, &now->wal);
}

/* ---- the job's side ------------------------------------------------------------------------
 */

static int board_lock(const struct board *b, const char *suffix, bool wait, struct error *e)
{
	CLEANUP(freep) char *path = fs_path("%s%s", b->place.db_path, suffix);
	uint64_t until = clock_mono_ms() + BOARD_INIT_WAIT_MS;
	int fd, r;

	if (!path)
		return error_set(e, -ENOMEM, "out of memory");
	fd = fs_lock_open(path);
	if (fd < 0)
		return error_errno(e, fd, "cannot open %s", path);
	while ((r = fs_lock_try(fd)) == -EWOULDBLOCK && wait && clock_mono_ms() < until) {
		struct timespec ts = { .tv_nsec = 20000000 };

		(void)nanosleep(&ts,
				NULL); /* flock(2) has no time-out; the contract says poll */
	}
	if (r == 0)
		return fd;
	(void)close(fd);
	return r == -EWOULDBLOCK ? r : error_errno(e, r, "cannot lock %s", path);
}

/* The file behind the path is not the one that is open: it was replaced or removed. */
static bool board_moved(const struct board *b, const struct file_stamp *now)
{
	return b->opened.dev != now->dev || b->opened.ino != now->ino;
}

/* Note which bytes this visit has seen. */
static void board_note_seen(struct board *b)
{
	CLEANUP(freep) char *wal = fs_path("%s-wal", b->place.db_path);
	struct error e = ERROR_NULL;
	int64_t version = 0, now;

	b->seen_racy = true;
	if (!wal)
		return;
	b->seen_db = file_stamp_of(b->place.db_path);
	b->seen_wal = file_stamp_of(wal);
	if (!b->db || db_data_version(b->db, &version, &e) != 0 || version != b->data_version)
		return; /* somebody committed after the tick looked: look again */
	now = clock_wall_us() * 1000;
	b->seen_racy = now - b->seen_db.mtime_ns < BOARD_RACY_NS ||
		       (b->seen_wal.ino && now - b->seen_wal.mtime_ns < BOARD_RACY_NS);
}

static int board_open_db(struct board *b, struct board_job *bj)
{
	struct db_options opt = {
		.path = b->place.db_path,
		.busy_timeout_ms = (int)(bj->rq.set->busy_timeout_ms < BOARD_BUSY_MAX_MS
						 ? bj->rq.set->busy_timeout_ms
						 : BOARD_BUSY_MAX_MS),
		.integrity = !b->checked,
		.examined = true,
		.ioerr = &b->open_ioerr,
		.cancel = &bj->job.cancel,
	};
	CLEANUP(fs_closep) int init = -1;
	int r;

	b->opened = file_stamp_of(b->place.db_path);
	if (!b->checked) {
		bj->read_all = true;
		init = board_lock(b, ".init.lock", true, &bj->error);
		if (init < 0 && init != -EWOULDBLOCK)
			return init;
	}
	r = b->checked ? db_open(&b->db, &opt, &bj->error)
		       : examine_open(b, bj, &opt, init >= 0, b->ioerrs >= BOARD_IOERRS);
	if (r == 0) {
		b->data_version = BOARD_NO_VERSION;
		db_leave_wal(b->db, true);
	}
	return r;
}

/* Have a connection to the file that is there now. */
static int board_door(struct board *b, struct board_job *bj)
{
	struct file_stamp now = file_stamp_of(b->place.db_path);

	if (b->db && board_moved(b, &now)) {
		b->db = db_free(b->db);
		b->checked = false;
	}
	return b->db ? 0 : board_open_db(b, bj);
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
	init = board_lock(b, ".init.lock", false, &e);
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
	r = subs_run(b->db, bj->rq.outside, bj->subs, &bj->subs_result, &bj->subs_error);
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
	if (bj->only_if_changed && bj->n_settle + bj->n_record == 0) {
		r = db_data_version(b->db, &version, &bj->error);
		if (r != 0)
			return r;
		if (version == b->data_version && !bj->subs_must) {
			bj->outcome = BOARD_UNCHANGED;
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
	if (rq->steps || bj->subs || bj->n_settle + bj->n_record > 0)
		r = examine_sequence(b, bj);
	if (r == 0 && bj->n_settle > 0)
		r = tick_settle(b->db, rq, bj->settle, bj->n_settle, &bj->plan, &bj->error);
	bj->settled = r == 0;
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
	if (r == 0 && bj->checkpoint)
		r = board_upkeep(b, bj);
	return r;
}

/* Without a connection only the stamps can tell whether there is anything new. */
static bool board_as_seen(const struct board *b)
{
	CLEANUP(freep) char *wal = fs_path("%s-wal", b->place.db_path);
	struct board_place now = { .db = file_stamp_of(b->place.db_path) };

	if (!wal)
		return false;
	now.wal = file_stamp_of(wal);
	return !board_changed(b, &now);
}

/* A transaction is under way: there is nothing new yet, and our lock would be in its way. */
static bool board_in_between(const struct board *b)
{
	CLEANUP(freep) char *journal = fs_path("%s-journal", b->place.db_path);
	struct file_stamp stamp = { 0 };

	if (journal)
		stamp = file_stamp_of(journal);
	return stamp.ino && stamp.size > 0;
}

/* Neither a file nor a record of one: a board that is still to be made, not one that is lost.
 */
static bool board_never_was(const struct board *b)
{
	CLEANUP(freep) char *record = fs_path("%s.health.json", b->place.db_path);

	if (b->state != BOARD_MISSING && b->state != BOARD_NEW)
		return false;
	return file_stamp_of(b->place.db_path).ino == 0 && record &&
	       file_stamp_of(record).ino == 0;
}

/* After an error that may mean damage: close, and examine the board at once. */
static int board_suspect(struct board *b, struct board_job *bj, int r)
{
	if (r == DB_TRANSIENT && (b->db ? db_was_ioerr(b->db) : b->open_ioerr))
		b->ioerrs++;
	else if (r != DB_TRANSIENT)
		b->ioerrs = 0;
	if ((r != DB_CORRUPT || !b->checked) && b->ioerrs < BOARD_IOERRS)
		return r;
	b->db = db_free(b->db);
	b->checked = false;
	r = board_door(b, bj);
	b->ioerrs = 0;
	/* sound after all, or whole again: what was asked for is done at the next try */
	return r == 0 ? DB_TRANSIENT : r;
}

static enum board_state board_judge(int r)
{
	switch (r) {
	case 0:
		return BOARD_HEALTHY;
	case DB_MISSING:
		return BOARD_MISSING;
	case DB_SCHEMA_BAD:
		return BOARD_SCHEMA;
	case DB_LOST:
		return BOARD_LOST;
	case DB_CORRUPT:
		return BOARD_QUARANTINED;
	default:
		return BOARD_TROUBLED;
	}
}

void board_job_run(struct board_job *bj)
{
	struct board *b = bj->board;
	CLEANUP(fs_closep) int lock = -1;
	bool was_open = b->db != NULL;
	int r;

	bj->outcome = BOARD_DONE;
	bj->state = b->state;
	bj->mode_waits = b->mode_waits;
	if (board_never_was(b)) { /* nothing there: nothing to lock */
		bj->state = BOARD_MISSING;
		b->seen_db = b->seen_wal = (struct file_stamp){ 0 };
		b->seen_racy = false;
		return;
	}
	if (bj->only_if_changed && bj->not_in_between && bj->n_settle + bj->n_record == 0 &&
	    !bj->subs_must && board_in_between(b)) {
		bj->outcome = BOARD_UNCHANGED;
		return;
	}
	if (bj->only_if_changed && !b->db && bj->n_settle + bj->n_record == 0 &&
	    !bj->subs_must && board_as_seen(b)) {
		bj->outcome = BOARD_UNCHANGED;
		return;
	}
	lock = board_lock(b, ".dispatch.lock", false, &bj->error);
	if (lock == -EWOULDBLOCK) {
		bj->outcome = BOARD_LOCKED;
		if (bj->close && !bj->rq.steps) /* without a checkpoint, then */
			b->db = db_free(b->db);
		return;
	}
	r = lock < 0 ? lock : board_visit(b, bj);
	if (r == 0)
		b->ioerrs = 0;
	if (r > 0 && !bj->plan.lease_lost)
		r = board_suspect(b, bj, r);
	if (bj->plan.lease_lost)
		bj->outcome = BOARD_LEASE_LOST;
	else if (r != 0 && r != DB_MISSING)
		bj->outcome = BOARD_FAILED;
	if (bj->outcome != BOARD_LEASE_LOST)
		bj->state = board_judge(r);
	if (r == DB_CORRUPT || r == DB_LOST || r == DB_SCHEMA_BAD || r == DB_MISSING) {
		b->db = db_free(b->db);
		b->checked = false;
	}
	/* a tick that failed for a passing reason has seen nothing; damage is judged by its
	 * bytes */
	if (r == 0 || !b->db)
		board_note_seen(b);
	/* what an open connection ran into (a migration, an emptied file) a new one may see
	 * otherwise: that is examined once */
	if (r != 0 && !b->db)
		b->seen_racy = was_open && r != DB_MISSING;
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

static void board_work(struct job *job)
{
	board_job_run((struct board_job *)job);
}

_Static_assert(offsetof(struct board_job, job) == 0, "a job is the head of a board_job");

int board_submit(struct jobs *jobs, struct board_job *bj, job_fn done)
{
	int r = job_submit(jobs, &bj->job, "board", board_work, done, BOARD_JOB_LIMIT_MS);

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
