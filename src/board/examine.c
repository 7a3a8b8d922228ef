/*
 * The order of things, so that a kill at any instant leaves a record that leads the next start
 * to the right place: the evidence is kept before anything is changed; `repairing` is written
 * before a repair begins and replaced after it ended; `healthy` is written only when the board
 * was opened, checked and counted.
 *
 * What is in the way of a repair only now (another process holds the board or a lock, no
 * memory, the job is cancelled) is no failed try: nothing is booked, the visit failed for a
 * passing reason and is repeated soon. A disk that is full is booked: somebody has to make
 * room.
 *
 * A repair that ends this process each time it is tried (killed for its memory, say) must not
 * keep it from its other boards: after three that did not come to an end the board is
 * quarantined without a fourth, until the next try is due.
 */
#include "board/examine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db/db.h"
#include "db/db_probe.h"
#include "recovery/evidence.h"
#include "recovery/health.h"
#include "recovery/repair.h"
#include "recovery/snapshot.h"
#include "util/clock.h"
#include "util/log.h"

#define EXAMINE_KILLED 3 /* repairs in a row that did not come to an end */

static int examine_outcome(enum health_state state)
{
	return state == HEALTH_LOST     ? DB_LOST
	       : state == HEALTH_SCHEMA ? DB_SCHEMA_BAD
					: DB_CORRUPT;
}

/* Still in the trouble that is on record, and not due: nothing of the board is opened. */
static int examine_refuse(struct board_job *bj, const struct health *h)
{
	plan_deadline(&bj->plan, h->retry_at);
	return error_set(&bj->error, examine_outcome(h->state), "%s", h->reason);
}

static void examine_write(const struct board *b, struct board_job *bj, const struct health *h)
{
	int r;

	if (bj->dry_run)
		return;
	r = health_write(b->place.db_path, h);
	if (r < 0)
		plan_note(&bj->plan, LOG_WARNING, NULL, NULL, 0,
			  "cannot write %s.health.json: %s; after a restart the board is "
			  "examined "
			  "anew",
			  b->place.db_path, strerror(-r));
}

/* Book a failed try, and say what the operator can do. */
static int examine_failed(struct board *b, struct board_job *bj, struct health *h,
			  const struct health_print *print, enum health_state state,
			  const char *kind)
{
	int64_t now = clock_wall_s();

	health_failed(h, state, kind, bj->error.text, bj->epoch, now);
	h->print = *print;
	examine_write(b, bj, h);
	plan_deadline(&bj->plan, h->retry_at);
	return examine_outcome(state);
}

static int examine_lost(struct board *b, struct board_job *bj, struct health *h,
			const struct health_print *print)
{
	struct error why = bj->error;

	(void)error_set(
		&bj->error, DB_LOST,
		"%s; nothing is dispatched. To go back to a copy that has them: kanbanctl "
		"restore %s; to go on with what is there: kanbanctl accept %s",
		why.text, b->place.slug, b->place.slug);
	return examine_failed(b, bj, h, print, HEALTH_LOST, "lost");
}

/*
 * No record, and no task: a new board, or one that was "recovered" to nothing before we came?
 * The copies beside it tell.
 */
static bool examine_bereft(const struct board *b, const struct board_job *bj, int64_t *tasks)
{
	struct candidate *list = NULL;
	struct error e = ERROR_NULL;
	size_t n = 0;

	*tasks = 0;
	if (candidates_list(b->place.db_path, b->place.folder, false,
			    bj->rq.set->max_evidence_bytes, &bj->job.cancel, &list, &n, &e) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (list[i].sound && list[i].tasks > *tasks)
			*tasks = list[i].tasks;
	candidates_free(list, n);
	return *tasks > 0;
}

static int examine_schema(struct board *b, struct board_job *bj, struct health *h,
			  const struct health_print *print)
{
	return examine_failed(b, bj, h, print, HEALTH_SCHEMA, "schema");
}

static bool good_same(const struct health_good *a, const struct health_good *b)
{
	return a->event_seq == b->event_seq && a->tasks == b->tasks && a->links == b->links &&
	       a->runs == b->runs && a->events == b->events;
}

/* Open and sound: is it still the same board? Then what it has is what is known to be good. */
static int examine_sound(struct board *b, struct board_job *bj, struct health *h,
			 const struct health_print *print)
{
	struct health_good found = { 0 };
	bool was_bad = h->state != HEALTH_HEALTHY;
	int64_t tasks = -1;
	int r = health_count(b->db, clock_wall_s(), &found, &bj->error);

	if (r != 0)
		return r;
	if (found.tasks == 0 && h->good.event_seq == 0 && h->good.at == 0 &&
	    examine_bereft(b, bj, &tasks))
		(void)error_set(&bj->error, DB_LOST,
				"the board is empty, but a copy beside it has %" PRId64
				" tasks",
				tasks);
	else if (!health_went_back(&h->good, &found, &bj->error))
		tasks = 0;
	if (tasks != 0) {
		b->db = db_free(b->db);
		return examine_lost(b, bj, h, print);
	}
	b->checked = true;
	b->checked_at = clock_wall_s();
	b->good_seq = b->seen_seq = found.event_seq;
	b->good_tasks = found.tasks;
	if (was_bad && !bj->dry_run)
		repair_forget(b->place.db_path);
	if (!was_bad && good_same(&h->good, &found))
		return 0;
	memcpy(found.snapshot, h->good.snapshot, sizeof(found.snapshot));
	*h = (struct health){ .state = HEALTH_HEALTHY, .good = found, .last_epoch = bj->epoch };
	h->print = *print;
	/* a sound board that never had a task needs no record */
	if (was_bad || found.tasks > 0)
		examine_write(b, bj, h);
	return 0;
}

/* What is in the way now and may not be soon. */
static int examine_later(struct board_job *bj, const char *why, const char *what)
{
	return error_set(&bj->error, DB_TRANSIENT, "%s; to be repaired: %s", why, what);
}

/*
 * Its bytes are kept: try to make it whole. Return: 0 it is; DB_TRANSIENT something is in the
 * way; else DB_CORRUPT; bj->error says why.
 */
static int examine_repair(struct board *b, struct board_job *bj, struct health *h,
			  struct health_print *print, const char *why)
{
	CLEANUP(freep) struct repair_report *rep = calloc(1, sizeof(*rep));
	struct error e = ERROR_NULL;
	struct repair_options opt = {
		.db_path = b->place.db_path,
		.evidence = h->evidence,
		.print = print,
		.good = &h->good,
		.policy = (enum repair_policy)bj->rq.set->repair_policy,
		.max_bytes = bj->rq.set->max_evidence_bytes,
		.cancel = &bj->job.cancel,
		.owner = bj->rq.host->owner,
		.owner_arg = bj->rq.host->arg,
	};
	CLEANUP(freep) char *newest = calloc(1, HEALTH_PATH_MAX);
	int r;

	if (!rep || !newest)
		return examine_later(bj, why, "out of memory");
	/* one taken since then, or the recorded one was trimmed */
	if (snapshot_newest(b->place.folder, newest) > 0)
		(void)snprintf(h->good.snapshot, sizeof(h->good.snapshot), "%s", newest);
	h->state = HEALTH_REPAIRING;
	h->print = *print;
	h->begun++;
	examine_write(b, bj, h);
	r = repair_run(&opt, rep, &e);
	h->begun = 0;
	if (r == 0 && !rep->written) {
		plan_note(&bj->plan, LOG_NOTICE, NULL, NULL, 0,
			  "board %s looked damaged (%s), but %s; its bytes are kept as %s",
			  b->place.slug, why, rep->text, h->evidence);
		return 0;
	}
	if (r == 0) {
		plan_note(&bj->plan, LOG_NOTICE, LOG_ID_REPAIRED, NULL, 0,
			  "board %s was damaged (%s) and is repaired by %s: %s; the damaged "
			  "bytes are "
			  "kept as %s",
			  b->place.slug, why, rep->method, rep->text, h->evidence);
		return 0;
	}
	if (r == REPAIR_BUSY || r == -ENOMEM || r == -ECANCELED) {
		examine_write(b, bj, h); /* it came to an end */
		return examine_later(bj, why, e.text);
	}
	return error_set(&bj->error, DB_CORRUPT,
			 "%s; %s; its bytes are kept as %s; see kanbanctl check %s", why,
			 e.text, h->evidence, b->place.slug);
}

/* Keep its bytes. Return: 0; DB_TRANSIENT; DB_CORRUPT: they cannot be kept; bj->error says why.
 */
static int examine_keep(struct board *b, struct board_job *bj, struct health *h,
			struct health_print *print, const char *why)
{
	struct error e = ERROR_NULL;
	int r = evidence_keep(b->place.db_path, bj->rq.set->max_evidence_bytes, print,
			      h->evidence, &e);

	if (r == 0)
		return 0;
	h->evidence[0] = '\0';
	if (r == -EAGAIN || r == -ENOMEM)
		return examine_later(bj, why, e.text);
	return error_set(&bj->error, DB_CORRUPT,
			 "%s; its bytes could not be kept, so nothing is repaired: %s", why,
			 e.text);
}

static int examine_killed(const struct board *b, struct board_job *bj, const struct health *h,
			  const char *why, int64_t begun)
{
	return error_set(
		&bj->error, DB_CORRUPT,
		"%s; a repair was begun %" PRId64
		" times and this process was ended each time before it was through; its "
		"bytes are kept as %s; see kanbanctl check %s",
		why, begun, h->evidence, b->place.slug);
}

static int examine_damage(struct board *b, struct board_job *bj, struct health *h,
			  struct health_print *print, const struct db_options *opt, bool locked)
{
	struct error why = bj->error;
	int64_t begun = h->state == HEALTH_REPAIRING ? h->begun : 0;
	int r;

	if (bj->dry_run)
		return DB_CORRUPT;
	if (!locked)
		return examine_later(bj, why.text, "another process holds its .init.lock");
	r = examine_keep(b, bj, h, print, why.text);
	if (r == 0 && begun >= EXAMINE_KILLED)
		r = examine_killed(b, bj, h, why.text, begun);
	else if (r == 0)
		r = examine_repair(b, bj, h, print, why.text);
	if (r == 0)
		r = db_open(&b->db, opt, &bj->error);
	if (r == 0)
		return examine_sound(b, bj, h, print);
	if (r == DB_TRANSIENT)
		return r;
	h->begun = 0;
	return examine_failed(b, bj, h, print, HEALTH_QUARANTINED, "corrupt");
}

static int examine_missing(struct board *b, struct board_job *bj, struct health *h,
			   const struct health_print *print)
{
	int64_t tasks = h->good.tasks;

	if (tasks <= 0 && (h->good.at != 0 || !examine_bereft(b, bj, &tasks)))
		return DB_MISSING;
	(void)error_set(&bj->error, DB_LOST, "the board's file is %s, but %s %" PRId64 " tasks",
			print->size < 0 ? "gone" : "empty",
			h->good.tasks > 0 ? "it had" : "a copy beside it has", tasks);
	return examine_lost(b, bj, h, print);
}

/* Its bytes cannot be had: what is there may be no file. */
static int examine_unreadable(const struct board *b, struct board_job *bj, int r)
{
	struct error e = ERROR_NULL;

	if (db_probe_files(b->place.db_path, &e) == -EINVAL)
		return error_set(&bj->error, r, "%s", e.text);
	return error_errno(&bj->error, r, "cannot examine %s", b->place.db_path);
}

int examine_open(struct board *b, struct board_job *bj, const struct db_options *opt,
		 bool locked, bool failing)
{
	CLEANUP(freep)
	struct health *h = calloc(1, sizeof(*h)); /* two paths: too big for here */
	struct health_print print = { .size = -1 };
	int r;

	if (!h)
		return error_set(&bj->error, -ENOMEM, "out of memory");
	r = health_read(b->place.db_path, h);
	if (r == 0)
		r = health_print_stat(b->place.db_path, &print);
	if (r == 0 && board_state_stands(board_state_of_health(h->state)) &&
	    !health_due(h, &print, bj->epoch, clock_wall_s()))
		return examine_refuse(bj, h);
	if (r == 0)
		r = health_print_take(b->place.db_path, false, &print);
	if (r < 0)
		return examine_unreadable(b, bj, r);
	r = db_open(&b->db, opt, &bj->error);
	if (r == DB_TRANSIENT && failing && *opt->ioerr)
		r = DB_CORRUPT; /* it does not pass */
	switch (r) {
	case 0:
		return examine_sound(b, bj, h, &print);
	case DB_MISSING:
		return examine_missing(b, bj, h, &print);
	case DB_SCHEMA_BAD:
		return examine_schema(b, bj, h, &print);
	case DB_CORRUPT:
		return examine_damage(b, bj, h, &print, opt, locked);
	default:
		return r;
	}
}

int examine_overrun(struct board *b, struct board_job *bj)
{
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	struct health_print print;
	int r;

	b->db = db_free(b->db);
	if (!h)
		return error_set(&bj->error, -ENOMEM, "out of memory");
	r = health_read(b->place.db_path, h);
	if (r == 0)
		r = health_print_take(b->place.db_path, false, &print);
	if (r < 0)
		return examine_unreadable(b, bj, r);
	return examine_failed(b, bj, h, &print, HEALTH_QUARANTINED, "overrun");
}

/* An open board that has less than it had: close it and say so. */
static int examine_lost_open(struct board *b, struct board_job *bj, struct health *h)
{
	struct health_print print;
	int r;

	b->db = db_free(b->db);
	/* it was seen to have that much, recorded or not */
	if (h->good.event_seq < b->seen_seq)
		h->good.event_seq = b->seen_seq;
	r = health_print_take(b->place.db_path, false, &print);
	if (r < 0)
		return examine_unreadable(b, bj, r);
	return examine_lost(b, bj, h, &print);
}

int examine_sequence(struct board *b, struct board_job *bj)
{
	CLEANUP(freep) struct health *h = NULL;
	struct health_good was = { .event_seq = b->seen_seq }, is = { 0 };
	int r = health_sequence(b->db, &is.event_seq, &bj->error);

	if (r != 0)
		return r;
	if (!health_went_back(&was, &is, &bj->error)) {
		b->seen_seq = is.event_seq;
		return 0;
	}
	h = calloc(1, sizeof(*h));
	if (!h)
		return error_set(&bj->error, -ENOMEM, "out of memory");
	r = health_read(b->place.db_path, h);
	if (r < 0)
		return error_errno(&bj->error, r, "cannot read %s.health.json",
				   b->place.db_path);
	return examine_lost_open(b, bj, h);
}

int examine_good(struct board *b, struct board_job *bj)
{
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	struct health_good found = { 0 };
	struct error e = ERROR_NULL;

	if (!h || bj->dry_run || health_count(b->db, clock_wall_s(), &found, &e) != 0)
		return 0;
	if (found.event_seq == b->good_seq && found.tasks == b->good_tasks)
		return 0;
	if (health_read(b->place.db_path, h) < 0)
		return 0;
	if (health_went_back(&h->good, &found, &bj->error))
		return examine_lost_open(b, bj, h);
	memcpy(found.snapshot, h->good.snapshot, sizeof(found.snapshot));
	h->state = HEALTH_HEALTHY;
	h->good = found;
	h->last_epoch = bj->epoch;
	examine_write(b, bj, h);
	b->good_seq = found.event_seq;
	b->good_tasks = found.tasks;
	return 0;
}

void examine_snapshot(struct board *b, struct board_job *bj)
{
	const struct settings *set = bj->rq.set;
	struct snapshot_limits limits = { (int)set->snapshot_keep_hourly,
					  (int)set->snapshot_keep_daily,
					  set->snapshot_max_bytes };
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	int64_t now = clock_wall_s(), seq = b->good_seq;
	struct error e = ERROR_NULL;

	if (!h || bj->dry_run || set->snapshot_interval_s <= 0 ||
	    health_read(b->place.db_path, h) < 0)
		return;
	if (b->snapshot_at == 0)
		b->snapshot_at = snapshot_newest(b->place.folder, h->good.snapshot);
	if (now - b->snapshot_at < set->snapshot_interval_s || seq == b->snapshot_seq)
		return;
	if (snapshot_take(b->db, b->place.folder, &limits, &bj->job.cancel, h->good.snapshot,
			  &e) != 0) {
		if (!b->snapshot_told)
			plan_note(&bj->plan, LOG_WARNING, NULL, NULL, 0,
				  "no snapshot of board %s: %s; tried again later",
				  b->place.slug, e.text);
		b->snapshot_told = true;
		b->snapshot_at = now; /* not before the next interval */
		return;
	}
	b->snapshot_told = false;
	b->snapshot_at = now;
	b->snapshot_seq = seq;
	bj->snapshot = strdup(h->good.snapshot); /* NULL: nobody is told of it */
	h->state = HEALTH_HEALTHY;
	examine_write(b, bj, h);
}
