/*
 * Looking and mending.
 *
 * A board that is recorded as being in trouble is looked at on private copies, so that a look
 * changes nothing of it: no hot journal is played back, no WAL is folded in, no lock of it is
 * taken. Any other is opened as everybody opens it. What changes a board holds both its locks,
 * in the order in which everybody takes them.
 *
 * Failure modes: what another process is in the way of (a lock, a commit in between) is
 * MEND_BUSY and leaves the record as it was. A kill leaves a record that says `repairing`, and
 * copies in the temp folder.
 */
#include "board/mend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db/db.h"
#include "db/db_file.h"
#include "recovery/door.h"
#include "recovery/evidence.h"
#include "util/clock.h"
#include "util/fs.h"

#define MEND_LOCK_MS 10000
#define MEND_BUSY_MS 5000

/* Both locks of a board, in the order in which everybody takes them. */
struct mend_locks {
	int dispatch, init;
};

static void mend_unlock(struct mend_locks *l)
{
	fs_closep(&l->init);
	fs_closep(&l->dispatch);
}

static int mend_lock_one(const char *db_path, const char *suffix, int *fd, struct error *e)
{
	CLEANUP(freep) char *path = fs_path("%s%s", db_path, suffix);
	uint64_t until = clock_mono_ms() + MEND_LOCK_MS;
	int r = path ? fs_lock_open(path) : -ENOMEM;

	if (r < 0)
		return error_errno(e, r, "cannot open %s%s", db_path, suffix);
	*fd = r;
	while ((r = fs_lock_try(*fd)) == -EWOULDBLOCK && clock_mono_ms() < until) {
		struct timespec ts = { .tv_nsec = 20000000 };

		(void)nanosleep(&ts, NULL); /* flock(2) has no time-out */
	}
	if (r == -EWOULDBLOCK)
		return error_set(e, MEND_BUSY, "another process holds %s%s; try again", db_path,
				 suffix);
	return r < 0 ? error_errno(e, r, "cannot lock %s%s", db_path, suffix) : 0;
}

static int mend_lock(const char *db_path, struct mend_locks *l, struct error *e)
{
	int r = mend_lock_one(db_path, ".dispatch.lock", &l->dispatch, e);

	return r == 0 ? mend_lock_one(db_path, ".init.lock", &l->init, e) : r;
}

static int mend_open(const char *path, struct db **db, struct error *e)
{
	struct db_options opt = { .path = path,
				  .busy_timeout_ms = MEND_BUSY_MS,
				  .integrity = true };

	return db_open(db, &opt, e);
}

/* An outcome of db_open() and friends as one of ours; 0 and -errno pass. */
static int mend_outcome(int r)
{
	return r <= 0 ? r : r == DB_TRANSIENT ? MEND_BUSY : MEND_NOT_WELL;
}

/* A bounded sentence; the parts are as long as the whole may be, so it may be cut. */
static void mend_say(char out[ERROR_TEXT_MAX], const char *fmt, ...) PRINTF(2, 3);

static void mend_say(char out[ERROR_TEXT_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(out, ERROR_TEXT_MAX, fmt, ap) < 0)
		out[0] = '\0';
	va_end(ap);
}

/* ---- check --------------------------------------------------------------------------- */

/* Two private copies: one to look at and work on, one as its evidence. */
struct mend_copies {
	char *dir, *work, *evidence;
};

static void mend_copies_deinit(struct mend_copies *c)
{
	if (c->work)
		db_file_remove(c->work);
	if (c->evidence)
		db_file_remove(c->evidence);
	if (c->dir)
		(void)rmdir(c->dir); /* in /tmp at worst */
	free(c->work);
	free(c->evidence);
	free(c->dir);
}

static int mend_copies_make(struct mend_copies *c, const char *db_path, int64_t max,
			    struct error *e)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = fs_path("%s/kanband-check.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	int r;

	if (!dir || !mkdtemp(dir)) {
		r = dir ? -errno : -ENOMEM;
		free(dir);
		return error_errno(e, r, "cannot make a folder for a copy (set TMPDIR)");
	}
	c->dir = dir;
	c->work = fs_path("%s/work.db", dir);
	c->evidence = fs_path("%s/evidence.db", dir);
	r = c->work && c->evidence ? evidence_copy(db_path, c->work, max) : -ENOMEM;
	if (r == 0)
		r = evidence_copy(c->work, c->evidence, max);
	return r < 0 ? error_errno(e, r, "cannot copy %s%s", db_path,
				   r == -EFBIG ? " (see max_evidence_bytes)" : "")
		     : 0;
}

/* Try the repair on the copies. */
static int mend_try(const struct mend_copies *c, enum repair_policy policy,
		    struct mend_report *rep, struct error *e)
{
	struct repair_options opt = { .db_path = c->work,
				      .evidence = c->evidence,
				      .good = &rep->health.good,
				      .policy = policy,
				      .max_bytes = rep->max_bytes,
				      .dry_run = true,
				      .cancel = rep->cancel,
				      .progress = rep->progress,
				      .arg = rep->arg };

	return repair_run(&opt, &rep->repair, e);
}

static int mend_lost(const struct board_place *place, struct mend_report *rep, const char *what)
{
	rep->state = HEALTH_LOST;
	mend_say(rep->what, "%s", what);
	mend_say(
		rep->will,
		"nothing is dispatched until it is restored or accepted; see kanbanctl restore "
		"%s and kanbanctl accept %s",
		place->slug, place->slug);
	return MEND_NOT_WELL;
}

static int mend_sound(const struct board_place *place, struct db *db, struct mend_report *rep,
		      struct error *e)
{
	struct health_good found = { 0 };
	struct error back = ERROR_NULL;
	int r = health_count(db, clock_wall_s(), &found, e);

	if (r != 0)
		return mend_outcome(r);
	if (health_went_back(&rep->health.good, &found, &back))
		return mend_lost(place, rep, back.text);
	if (rep->health.state == HEALTH_LOST) /* as it was judged, by the copies beside it */
		return mend_lost(place, rep, rep->health.reason);
	rep->state = HEALTH_HEALTHY;
	mend_say(rep->what,
		 "sound: %" PRId64 " tasks, %" PRId64 " links, %" PRId64 " runs, %" PRId64
		 " events",
		 found.tasks, found.links, found.runs, found.events);
	return 0;
}

static int mend_damaged(const struct mend_copies *c, enum repair_policy policy,
			struct mend_report *rep, struct error *e)
{
	int r = mend_try(c, policy, rep, e);

	if (r < 0)
		return r;
	if (r == 0)
		mend_say(rep->will, "can be repaired by %s (tried on a copy): %s",
			 rep->repair.method, rep->repair.text);
	else
		mend_say(rep->will, "%s", e->text);
	return MEND_NOT_WELL;
}

/* What opening it said, but damage, which may be worth a try. */
static int mend_judge(const struct board_place *place, struct mend_report *rep, int r,
		      struct error *e)
{
	mend_say(rep->what, "%s", e->text);
	switch (r) {
	case DB_MISSING:
		if (rep->health.good.tasks <= 0 && rep->health.state != HEALTH_LOST)
			return error_set(e, -ENOENT, "board %s has no database yet",
					 place->slug);
		return mend_lost(place, rep,
				 rep->health.reason[0] ? rep->health.reason
						       : "its file is gone or empty");
	case DB_SCHEMA_BAD:
		rep->state = HEALTH_SCHEMA;
		mend_say(rep->will, "nothing is dispatched until Hermes has migrated it, or a "
				    "copy is restored");
		return MEND_NOT_WELL;
	case DB_CORRUPT:
		rep->state = HEALTH_QUARANTINED;
		return MEND_NOT_WELL;
	case DB_OVERRUN:
		rep->state = HEALTH_SUSPECT;
		mend_say(rep->will, "nothing is dispatched until it is quicker, or a copy is "
				    "restored");
		return MEND_NOT_WELL;
	default:
		return mend_outcome(r);
	}
}

static int mend_record(const struct board_place *place, struct health *h, struct error *e)
{
	CLEANUP(freep) char *newest = calloc(1, HEALTH_PATH_MAX);
	int r = newest ? health_read(place->db_path, h) : -ENOMEM;

	if (r < 0)
		return error_errno(e, r, "cannot read %s.health.json", place->db_path);
	/* one taken since then, or the recorded one was trimmed */
	if (snapshot_newest(place->folder, newest) > 0)
		(void)snprintf(h->good.snapshot, sizeof(h->good.snapshot), "%s", newest);
	return 0;
}

/* Look without changing anything; a damaged board's repair is tried on copies. */
static int mend_look(const struct board_place *place, enum repair_policy policy,
		     struct mend_report *rep, struct error *e)
{
	CLEANUP(mend_copies_deinit) struct mend_copies copies = { 0 };
	CLEANUP(db_freep) struct db *db = NULL;
	struct fs_stamp there = fs_stamp_of(place->db_path);
	bool copied = false;
	int r = mend_record(place, &rep->health, e);

	if (r < 0)
		return r;
	if (there.ino != 0 && health_standing(place->db_path, NULL) != HEALTH_HEALTHY) {
		r = mend_copies_make(&copies, place->db_path, rep->max_bytes, e);
		if (r < 0)
			return r;
		copied = true;
	}
	r = mend_open(copied ? copies.work : place->db_path, &db, e);
	if (r == 0)
		return mend_sound(place, db, rep, e);
	r = mend_judge(place, rep, r, e);
	if (r != MEND_NOT_WELL || rep->state != HEALTH_QUARANTINED)
		return r;
	if (!copied)
		r = mend_copies_make(&copies, place->db_path, rep->max_bytes, e);
	return r < 0 ? r : mend_damaged(&copies, policy, rep, e);
}

static void mend_begin(struct mend_report *report)
{
	*report = (struct mend_report){ .progress = report->progress,
					.arg = report->arg,
					.cancel = report->cancel,
					.max_bytes = report->max_bytes };
}

int mend_check(const struct board_place *place, struct mend_report *report, struct error *e)
{
	mend_begin(report);
	return mend_look(place, REPAIR_LOSSLESS, report, e);
}

/* ---- repair -------------------------------------------------------------------------- */

/* Open, count and record: what is there is good from now on. */
static int mend_settle(const struct board_place *place, struct health *h,
		       struct health_good *found, struct error *e)
{
	CLEANUP(db_freep) struct db *db = NULL;
	int r = mend_open(place->db_path, &db, e);

	if (r == 0)
		r = health_count(db, clock_wall_s(), found, e);
	if (r != 0)
		return mend_outcome(r);
	memcpy(found->snapshot, h->good.snapshot, sizeof(found->snapshot));
	db = db_free(db);
	repair_forget(place->db_path);
	*h = (struct health){ .state = HEALTH_HEALTHY,
			      .good = *found,
			      .last_epoch = h->last_epoch };
	r = health_print_take(place->db_path, false, &h->print);
	if (r == 0)
		r = health_write(place->db_path, h);
	return r < 0 ? error_errno(e, r, "cannot write %s.health.json", place->db_path) : 0;
}

/* The repair did not end well: book it, unless somebody was only in the way. */
static int mend_repair_failed(const struct board_place *place, struct mend_report *rep,
			      struct health *was, int r, const struct error *e)
{
	mend_say(rep->will, "%s", e->text);
	if (r == REPAIR_BUSY) {
		IGNORE(health_write(place->db_path, was)); /* the repair's outcome counts */
		return MEND_BUSY;
	}
	health_failed(&rep->health, HEALTH_QUARANTINED, "corrupt", e->text,
		      rep->health.last_epoch, clock_wall_s());
	IGNORE(health_write(place->db_path, &rep->health)); /* the repair's error counts */
	return r > 0 ? MEND_NOT_WELL : r;
}

static int mend_repair_now(const struct board_place *place, enum repair_policy policy,
			   struct mend_report *rep, struct error *e)
{
	CLEANUP(freep) struct health *was = malloc(sizeof(*was));
	struct repair_options opt = { .db_path = place->db_path,
				      .evidence = rep->health.evidence,
				      .print = &rep->health.print,
				      .good = &rep->health.good,
				      .policy = policy,
				      .max_bytes = rep->max_bytes,
				      .cancel = rep->cancel,
				      .progress = rep->progress,
				      .arg = rep->arg };
	struct health_good found = { 0 };
	int r;

	if (!was)
		return error_set(e, -ENOMEM, "out of memory");
	*was = rep->health;
	r = evidence_keep(place->db_path, rep->max_bytes, &rep->health.print,
			  rep->health.evidence, e);
	if (r == -EAGAIN)
		return mend_repair_failed(place, rep, was, REPAIR_BUSY, e);
	if (r < 0)
		return r;
	rep->health.state = HEALTH_REPAIRING;
	r = health_write(place->db_path, &rep->health);
	if (r < 0)
		return error_errno(e, r, "cannot write %s.health.json", place->db_path);
	r = repair_run(&opt, &rep->repair, e);
	if (r != 0)
		return mend_repair_failed(place, rep, was, r, e);
	mend_say(rep->will, "repaired by %s: %s", rep->repair.method, rep->repair.text);
	rep->what[0] = '\0'; /* what was wrong is in the log of what was done */
	r = mend_settle(place, &rep->health, &found, e);
	rep->state = r == 0 ? HEALTH_HEALTHY : HEALTH_QUARANTINED;
	return r;
}

static int mend_repair_live(const struct board_place *place, enum repair_policy policy,
			    struct mend_report *rep, struct error *e)
{
	CLEANUP(mend_unlock) struct mend_locks locks = { -1, -1 };
	CLEANUP(db_freep) struct db *db = NULL;
	struct health_good found = { 0 };
	int r = mend_lock(place->db_path, &locks, e);

	if (r == 0)
		r = mend_record(place, &rep->health, e);
	if (r != 0)
		return r;
	r = mend_open(place->db_path, &db, e);
	if (r == 0) {
		r = mend_sound(place, db, rep, e);
		db = db_free(db);
		/* a record that says otherwise of a sound board is old */
		if (r == 0 && rep->health.state != HEALTH_HEALTHY)
			r = mend_settle(place, &rep->health, &found, e);
		return r;
	}
	r = mend_judge(place, rep, r, e);
	if (r != MEND_NOT_WELL || rep->state != HEALTH_QUARANTINED)
		return r;
	return mend_repair_now(place, policy, rep, e);
}

int mend_repair(const struct board_place *place, enum repair_policy policy, bool dry_run,
		struct mend_report *report, struct error *e)
{
	int r;

	mend_begin(report);
	if (!dry_run)
		return mend_repair_live(place, policy, report, e);
	r = mend_look(place, policy, report, e);
	if (r != MEND_NOT_WELL || report->state != HEALTH_QUARANTINED)
		return r;
	/* would it be sound? */
	return report->repair.method[0] && e->code != REPAIR_WOULD_LOSE ? 0 : r;
}

/* ---- restore, accept, snapshot ------------------------------------------------------- */

static int mend_choose(const struct board_place *place, int64_t max, char *used,
		       struct error *e)
{
	struct candidate *list = NULL;
	size_t n = 0;
	int r = candidates_list(place->db_path, place->folder, true, max, NULL, &list, &n, e);

	if (r < 0)
		return r;
	r = error_set(e, MEND_NOT_WELL, "there is no sound copy of board %s that has a task",
		      place->slug);
	for (size_t i = 0; i < n; i++)
		if (list[i].sound && list[i].tasks > 0) {
			(void)snprintf(used, HEALTH_PATH_MAX, "%s", list[i].path);
			r = 0;
			break;
		}
	candidates_free(list, n);
	return r;
}

int mend_restore(const struct board_place *place, const char *from, int64_t max, bool dry_run,
		 char *used, struct health_good *found, struct error *e)
{
	CLEANUP(mend_unlock) struct mend_locks locks = { -1, -1 };
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	int r = 0;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	if (from)
		(void)snprintf(used, HEALTH_PATH_MAX, "%s", from);
	else
		r = mend_choose(place, max, used, e);
	if (r == 0 && dry_run) {
		r = candidates_examine(used, max, found, e);
		return r == -EBADMSG ? error_set(e, MEND_NOT_WELL, "%s", e->text) : r;
	}
	if (r != 0)
		return r;
	r = mend_lock(place->db_path, &locks, e);
	if (r == 0 && health_read(place->db_path, h) < 0)
		*h = (struct health){ 0 };
	if (r != 0)
		return r;
	r = candidates_restore(place->db_path, used, max, found, e);
	if (r == REPAIR_BUSY)
		return MEND_BUSY;
	if (r == -EBADMSG)
		return error_set(e, MEND_NOT_WELL, "%s", e->text);
	return r < 0 ? r : mend_settle(place, h, found, e);
}

int mend_extract(const struct board_place *place, const char *from, const char *to, int64_t max,
		 bool dry_run, char *used, struct health_good *found, struct error *e)
{
	struct stat st;
	int r = 0;

	if (lstat(to, &st) == 0)
		return error_set(e, -EEXIST, "%s is there already; nothing is overwritten", to);
	if (from)
		(void)snprintf(used, HEALTH_PATH_MAX, "%s", from);
	else
		r = mend_choose(place, max, used, e);
	if (r == 0)
		r = dry_run ? candidates_examine(used, max, found, e)
			    : candidates_extract(used, to, max, found, e);
	return r == -EBADMSG ? error_set(e, MEND_NOT_WELL, "%s", e->text) : r;
}

int mend_accept(const struct board_place *place, struct health_good *found, struct error *e)
{
	CLEANUP(mend_unlock) struct mend_locks locks = { -1, -1 };
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	struct fs_stamp now = fs_stamp_of(place->db_path);
	int r;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	r = mend_lock(place->db_path, &locks, e);
	if (r == 0)
		r = health_read(place->db_path, h);
	if (r != 0)
		return r;
	if (now.ino == 0 || now.size == 0) { /* accepted as a board that is still to be made */
		*h = (struct health){ .state = HEALTH_HEALTHY, .last_epoch = h->last_epoch };
		h->good.at = clock_wall_s();
		*found = (struct health_good){ 0 };
		r = health_write(place->db_path, h);
		return r < 0 ? error_errno(e, r, "cannot write %s.health.json", place->db_path)
			     : 0;
	}
	return mend_settle(place, h, found, e);
}

int mend_snapshot(const struct board_place *place, const struct snapshot_limits *limits,
		  char *path, struct error *e)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct db_options opt = { .path = place->db_path, .busy_timeout_ms = MEND_BUSY_MS };
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	struct health_good found = { 0 };
	int r;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	if (health_standing(place->db_path, e) != HEALTH_HEALTHY)
		return error_set(e, MEND_NOT_WELL,
				 "no snapshot of a board that is not well: %s", e->text);
	r = health_read(place->db_path, h);
	if (r < 0)
		return error_errno(e, r, "cannot read %s.health.json", place->db_path);
	r = door_open(&db, &opt, e);
	if (r == 0)
		r = health_count(db, clock_wall_s(), &found, e);
	if (r == 0 && health_went_back(&h->good, &found, e))
		r = error_set(e, DB_LOST, "no snapshot of a board that lost something: %s",
			      e->text);
	if (r == 0)
		r = snapshot_take(db, place->folder, limits, NULL, path, e);
	return mend_outcome(r);
}
