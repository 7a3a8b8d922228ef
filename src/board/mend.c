#include "board/mend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "board/db.h"
#include "board/evidence.h"
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

/* ---- check ---------------------------------------------------------------------------------
 */

static const char *const mend_sidecars[] = { "", "-wal", "-journal" };

static int mend_copy(const char *from, const char *to)
{
	for (size_t i = 0; i < 3; i++) {
		CLEANUP(freep) char *f = fs_path("%s%s", from, mend_sidecars[i]);
		CLEANUP(freep) char *t = fs_path("%s%s", to, mend_sidecars[i]);
		int r = f && t ? fs_copy(f, t, false) : -ENOMEM;

		if (r < 0 && (i == 0 || r != -ENOENT))
			return r;
	}
	return 0;
}

static void mend_remove(const char *copy)
{
	static const char *const all[] = { "", "-wal", "-journal", "-shm" };

	for (size_t i = 0; i < 4; i++) {
		CLEANUP(freep) char *path = fs_path("%s%s", copy, all[i]);

		if (path)
			(void)unlink(path); /* mostly not there */
	}
}

/* Try the repair of a damaged board on two private copies: one to work on, one as its evidence.
 */
static int mend_try(const struct board_place *place, const struct health *health,
		    enum repair_policy policy, struct repair_report *report, struct error *e)
{
	const char *tmp = getenv("TMPDIR");
	CLEANUP(freep)
	char *dir = fs_path("%s/kanband-check.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	CLEANUP(freep) char *work = NULL;
	CLEANUP(freep) char *evidence = NULL;
	struct repair_options opt = { .good = &health->good,
				      .policy = policy,
				      .dry_run = true };
	int r;

	if (!dir || !mkdtemp(dir))
		return error_errno(e, dir ? -errno : -ENOMEM,
				   "cannot make a folder for a copy (set "
				   "TMPDIR)");
	work = fs_path("%s/work.db", dir);
	evidence = fs_path("%s/evidence.db", dir);
	r = work && evidence ? mend_copy(place->db_path, work) : -ENOMEM;
	if (r == 0)
		r = mend_copy(place->db_path, evidence);
	if (r < 0) {
		(void)error_errno(e, r, "cannot copy %s", place->db_path);
	} else {
		opt.db_path = work;
		opt.evidence = evidence;
		r = repair_run(&opt, report, e);
	}
	if (work && evidence) {
		mend_remove(work);
		mend_remove(evidence);
	}
	(void)rmdir(dir); /* in /tmp at worst */
	return r;
}

static int mend_sound(struct db *db, struct mend_report *rep, struct error *e)
{
	struct health_good found = { 0 };
	struct error back = ERROR_NULL;
	int r = health_count(db, clock_wall_s(), &found, e);

	if (r != 0)
		return mend_outcome(r);
	if (health_went_back(&rep->health.good, &found, &back)) {
		rep->state = HEALTH_LOST;
		mend_say(rep->what, "%s", back.text);
		mend_say(rep->will, "nothing is dispatched until it is restored or accepted");
		return MEND_NOT_WELL;
	}
	rep->state = rep->health.state == HEALTH_LOST ? HEALTH_LOST : HEALTH_HEALTHY;
	if (rep->state == HEALTH_LOST) { /* as it was judged, by the copies beside it */
		mend_say(rep->what, "%s", rep->health.reason);
		return MEND_NOT_WELL;
	}
	mend_say(rep->what,
		 "sound: %" PRId64 " tasks, %" PRId64 " links, %" PRId64 " runs, %" PRId64
		 " events",
		 found.tasks, found.links, found.runs, found.events);
	return 0;
}

static int mend_damaged(const struct board_place *place, enum repair_policy policy,
			struct mend_report *rep, struct error *e)
{
	int r = mend_try(place, &rep->health, policy, &rep->repair, e);

	rep->state = HEALTH_QUARANTINED;
	if (r < 0)
		return r;
	if (r == 0)
		mend_say(rep->will, "can be repaired by %s: %s", rep->repair.method,
			 rep->repair.text);
	else
		mend_say(rep->will, "%s", e->text);
	return MEND_NOT_WELL;
}

static int mend_look(const struct board_place *place, enum repair_policy policy,
		     struct mend_report *rep, struct error *e)
{
	CLEANUP(db_freep) struct db *db = NULL;
	int r = health_read(place->db_path, &rep->health);

	if (r < 0)
		return error_errno(e, r, "cannot read %s.health.json", place->db_path);
	r = mend_open(place->db_path, &db, e);
	if (r == 0)
		return mend_sound(db, rep, e);
	mend_say(rep->what, "%s", e->text);
	if (r == DB_MISSING && rep->health.good.tasks <= 0 && rep->health.state != HEALTH_LOST)
		return error_set(e, -ENOENT, "board %s has no database yet", place->slug);
	if (r == DB_MISSING) {
		rep->state = HEALTH_LOST;
		mend_say(rep->what, "%s",
			 rep->health.reason[0] ? rep->health.reason : "its file is gone");
		return MEND_NOT_WELL;
	}
	if (r == DB_SCHEMA_BAD) {
		rep->state = HEALTH_SCHEMA;
		return MEND_NOT_WELL;
	}
	if (r == DB_CORRUPT)
		return mend_damaged(place, policy, rep, e);
	return mend_outcome(r);
}

int mend_check(const struct board_place *place, struct mend_report *report, struct error *e)
{
	*report = (struct mend_report){ 0 };
	return mend_look(place, REPAIR_LOSSLESS, report, e);
}

/* ---- repair --------------------------------------------------------------------------------
 */

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
	*h = (struct health){ .state = HEALTH_HEALTHY,
			      .good = *found,
			      .last_epoch = h->last_epoch };
	r = health_print_take(place->db_path, false, &h->print);
	if (r == 0)
		r = health_write(place->db_path, h);
	return r < 0 ? error_errno(e, r, "cannot write %s.health.json", place->db_path) : 0;
}

static int mend_repair_now(const struct board_place *place, enum repair_policy policy,
			   struct mend_report *rep, struct error *e)
{
	struct repair_options opt = { .db_path = place->db_path,
				      .evidence = rep->health.evidence,
				      .good = &rep->health.good,
				      .policy = policy };
	struct health_good found = { 0 };
	int r;

	r = evidence_keep(place->db_path, &rep->health.print, rep->health.evidence, e);
	if (r < 0)
		return r;
	rep->health.state = HEALTH_REPAIRING;
	r = health_write(place->db_path, &rep->health);
	if (r < 0)
		return error_errno(e, r, "cannot write %s.health.json", place->db_path);
	r = repair_run(&opt, &rep->repair, e);
	if (r == 0) {
		mend_say(rep->will, "repaired by %s: %s", rep->repair.method, rep->repair.text);
		rep->what[0] = '\0'; /* what was wrong is in the log of what was done */
		r = mend_settle(place, &rep->health, &found, e);
		rep->state = r == 0 ? HEALTH_HEALTHY : HEALTH_QUARANTINED;
		return r;
	}
	health_failed(&rep->health, HEALTH_QUARANTINED, "corrupt", e->text,
		      rep->health.last_epoch, clock_wall_s());
	IGNORE(health_write(place->db_path, &rep->health)); /* the repair's error counts */
	mend_say(rep->will, "%s", e->text);
	return r == REPAIR_BUSY ? MEND_BUSY : r > 0 ? MEND_NOT_WELL : r;
}

int mend_repair(const struct board_place *place, enum repair_policy policy, bool dry_run,
		struct mend_report *report, struct error *e)
{
	CLEANUP(mend_unlock) struct mend_locks locks = { -1, -1 };
	struct health_good found = { 0 };
	int r;

	*report = (struct mend_report){ 0 };
	if (!dry_run) {
		r = mend_lock(place->db_path, &locks, e);
		if (r != 0)
			return r;
	}
	r = mend_look(place, policy, report, e);
	if (r == 0 && !dry_run && report->health.state != HEALTH_HEALTHY)
		return mend_settle(place, &report->health, &found, e); /* the record is old */
	if (r != MEND_NOT_WELL || report->state != HEALTH_QUARANTINED)
		return r;
	if (dry_run) /* would it be sound? */
		return report->repair.method[0] && e->code != REPAIR_WOULD_LOSE ? 0 : r;
	return mend_repair_now(place, policy, report, e);
}

/* ---- restore, accept, snapshot -------------------------------------------------------------
 */

static int mend_choose(const struct board_place *place, char *used, struct error *e)
{
	struct candidate *list = NULL;
	size_t n = 0;
	int r = candidates_list(place->db_path, place->folder, true, &list, &n, e);

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

int mend_restore(const struct board_place *place, const char *from, bool dry_run, char *used,
		 struct health_good *found, struct error *e)
{
	CLEANUP(mend_unlock) struct mend_locks locks = { -1, -1 };
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	int r = 0;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	if (from)
		(void)snprintf(used, HEALTH_PATH_MAX, "%s", from);
	else
		r = mend_choose(place, used, e);
	if (r != 0 || dry_run)
		return r;
	r = mend_lock(place->db_path, &locks, e);
	if (r == 0 && health_read(place->db_path, h) < 0)
		*h = (struct health){ 0 };
	if (r != 0)
		return r;
	r = snapshot_restore(place->db_path, used, found, e);
	if (r == REPAIR_BUSY)
		return MEND_BUSY;
	if (r == -EBADMSG)
		return error_set(e, MEND_NOT_WELL, "%s", e->text);
	return r < 0 ? r : mend_settle(place, h, found, e);
}

int mend_accept(const struct board_place *place, struct health_good *found, struct error *e)
{
	CLEANUP(mend_unlock) struct mend_locks locks = { -1, -1 };
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	struct file_stamp now = file_stamp_of(place->db_path);
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

int mend_snapshot(const struct board_place *place, char *path, struct error *e)
{
	struct snapshot_limits limits = { .hourly = 24,
					  .daily = 7,
					  .max_bytes = INT64_C(1) << 30 };
	CLEANUP(db_freep) struct db *db = NULL;
	struct db_options opt = { .path = place->db_path, .busy_timeout_ms = MEND_BUSY_MS };
	int r = db_open(&db, &opt, e);

	if (r == 0)
		r = snapshot_take(db, place->folder, &limits, NULL, path, e);
	return mend_outcome(r);
}
