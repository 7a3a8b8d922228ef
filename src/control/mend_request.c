/*
 * What is asked about a board in trouble. Each is an operation (root/operation.h): it has the
 * board as a visit has it, so the dispatcher cannot be surprised by it nor the other way round.
 * Where it changed something the board is visited before the answer, which then says what is.
 *
 * A request that is given up while its operation runs does not end the operation: a repair is
 * not cut off because somebody pressed a key.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board/mend.h"
#include "control.h"
#include "root/observer.h"
#include "root/operation.h"
#include "util/log.h"
#include "wire/wire_mend.h"

#define MEND_LIMIT_MS (60 * 60 * 1000)

enum mend_verb { MEND_CHECK, MEND_REPAIR, MEND_RESTORE, MEND_ACCEPT, MEND_SNAPSHOT };

static const char *const mend_names[] = { "check", "repair", "restore", "accept", "snapshot" };

struct mending {
	struct operation operation;
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	enum mend_verb verb;
	bool dry_run, salvage;
	char *from;
	int64_t max_bytes;             /* of a copy */
	struct snapshot_limits limits; /* in force when it was asked for */
	/* what came of it */
	int result;
	struct error error;
	struct mend_report report;
	struct health_good found;
	char path[HEALTH_PATH_MAX];
};

static void mending_free(struct mending *m)
{
	struct control *c = m->control;

	free(m->from);
	free(m);
	c->operations--;
	server_try_free(c);
}

static void mending_work(struct job *job)
{
	struct mending *m = container_of(job, struct mending, operation.job);
	const struct board_place *place = &m->operation.dispatch->board.place;

	m->report.cancel = &job->cancel;
	m->report.max_bytes = m->max_bytes;
	switch (m->verb) {
	case MEND_CHECK:
		m->result = mend_check(place, &m->report, &m->error);
		break;
	case MEND_REPAIR:
		m->result = mend_repair(place, m->salvage ? REPAIR_SALVAGE : REPAIR_LOSSLESS,
					m->dry_run, &m->report, &m->error);
		break;
	case MEND_RESTORE:
		m->result = mend_restore(place, m->from, m->max_bytes, m->dry_run, m->path,
					 &m->found, &m->error);
		break;
	case MEND_ACCEPT:
		m->result = mend_accept(place, &m->found, &m->error);
		break;
	case MEND_SNAPSHOT:
		m->result = mend_snapshot(place, &m->limits, m->path, &m->error);
		break;
	}
}

/* ---- answers ---- */

static json_t *mending_report(const struct mending *m, const char *slug, const char *root)
{
	const struct mend_report *rep = &m->report;
	char hint[ERROR_TEXT_MAX];
	bool lost = m->result == MEND_NOT_WELL && rep->state == HEALTH_LOST && !rep->will[0];

	if (lost)
		(void)snprintf(hint, sizeof(hint),
			       "see kanbanctl restore %s and kanbanctl accept %s", slug, slug);
	return wire_report(slug, root, m->result == 0, rep, lost ? hint : NULL);
}

static json_t *mending_json(const struct mending *m)
{
	const char *slug = m->req->slug, *root = m->operation.dispatch->root->path;

	switch (m->verb) {
	case MEND_RESTORE:
		return wire_restored(slug, root, m->path, !m->dry_run, m->found.tasks);
	case MEND_ACCEPT:
		return wire_accepted(slug, root, m->found.tasks);
	case MEND_SNAPSHOT:
		return wire_snapshot(slug, root, m->path);
	default:
		return mending_report(m, slug, root);
	}
}

static void mending_problem(struct request *req, const struct mending *m)
{
	const char *text = m->error.text[0] ? m->error.text : strerror(-m->result);

	if (m->result == MEND_NOT_WELL || (m->from && m->result < 0))
		reply_problem(req, 422, "not-well",
			      m->from ? "kanbanctl snapshots lists the copies"
				      : "kanbanctl check says more",
			      NULL, "%s", text);
	else if (m->result == MEND_BUSY)
		reply_problem(req, 503, "busy", "try again", NULL, "%s", text);
	else if (m->result == -ENOENT)
		reply_problem(req, 404, "no-database", "kanbanctl init makes one", NULL, "%s",
			      text);
	else
		reply_problem(req, 500, "internal", "see the log of the daemon", NULL,
			      "board %s: %s", req->slug, text);
}

static void mending_answer(struct mending *m)
{
	struct request *req = m->req;
	bool report = m->verb == MEND_CHECK || m->verb == MEND_REPAIR;
	json_t *json;

	if (!req)
		return;
	req->gone = NULL;
	if (m->result != 0 && !(report && m->result == MEND_NOT_WELL)) {
		mending_problem(req, m);
		m->req = NULL;
		return;
	}
	json = mending_json(m);
	m->req = NULL;
	reply_json(req, 200, json);
}

/* ---- its course ---- */

static bool mending_changes(const struct mending *m)
{
	return !m->dry_run && m->verb != MEND_CHECK && m->verb != MEND_SNAPSHOT;
}

/* The visit after it is over, too. */
static void mending_visited(struct operation *e, bool ran)
{
	struct mending *m = container_of(e, struct mending, operation);

	(void)ran; /* what was asked for was done before */
	mending_answer(m);
	mending_free(m);
}

static void mending_done(struct operation *e, bool ran)
{
	struct mending *m = container_of(e, struct mending, operation);
	struct dispatch *d = e->dispatch;

	if (!ran) {
		m->result = -ECANCELED;
		if (m->req) {
			m->req->gone = NULL;
			reply_problem(m->req, 503, "stopping", "ask again, or ask the owner",
				      NULL, "board %s is not ours any more", m->req->slug);
			m->req = NULL;
		}
		mending_free(m);
		return;
	}
	if (mending_changes(m)) {
		struct log_about about = { .root = d->root->path,
					   .board = d->board.place.slug,
					   .epoch = d->root->epoch };

		log_about(LOG_NOTICE, &about, "%s of board %s by the operator: %s%s",
			  mend_names[m->verb], d->board.place.slug,
			  m->result == 0 ? "done" : "not done: ",
			  m->result == 0 ? "" : m->error.text);
	}
	if (m->verb == MEND_SNAPSHOT && m->result == 0)
		observer_snapshot(d, m->path);
	if (mending_changes(m) && d->dispatched && m->result == 0) {
		m->operation = (struct operation){ .name = "wait", .done = mending_visited };
		/* not before @d is idle again, which it is when this returns: the wish is noted
		 * and the operation waits for it */
		m->operation.after = d->visit.count + 1;
		operation_submit(d, &m->operation);
		return;
	}
	mending_answer(m);
	mending_free(m);
}

static void mending_gone(struct request *req)
{
	struct mending *m = req->work;

	m->req = NULL;
	if (operation_forget(&m->operation))
		mending_free(m);
}

static void mending_start(struct request *req, enum mend_verb verb, bool dry_run, bool salvage,
			  const char *from)
{
	struct dispatch *d;
	struct mending *m;

	if (!params_board(req, &d))
		return;
	m = calloc(1, sizeof(*m));
	if (m && from) {
		m->from = strdup(from);
		if (!m->from) {
			free(m);
			m = NULL;
		}
	}
	if (!m) {
		reply_response(req, 500, NULL);
		return;
	}
	m->control = req->control;
	m->control->operations++;
	m->req = req;
	m->verb = verb;
	m->dry_run = dry_run;
	m->salvage = salvage;
	m->max_bytes = d->set.max_evidence_bytes;
	m->limits = (struct snapshot_limits){ (int)d->set.snapshot_keep_hourly,
					      (int)d->set.snapshot_keep_daily,
					      d->set.snapshot_max_bytes };
	m->operation.name = mend_names[verb];
	m->operation.work = mending_work;
	m->operation.done = mending_done;
	m->operation.limit_ms = MEND_LIMIT_MS;
	/* each looks at the file itself, and closing that drops this process's locks on it */
	m->operation.close = true;
	m->operation.fresh = mending_changes(m);
	req->work = m;
	req->gone = mending_gone;
	operation_submit(d, &m->operation);
}

void mend_request_check(struct request *req)
{
	mending_start(req, MEND_CHECK, false, false, NULL);
}

void mend_request_repair(struct request *req)
{
	bool dry_run = false, salvage = false;

	if (params_bool(req, "dry_run", &dry_run) && params_bool(req, "salvage", &salvage))
		mending_start(req, MEND_REPAIR, dry_run, salvage, NULL);
}

void mend_request_restore(struct request *req)
{
	const char *from = NULL;
	bool dry_run = false;

	if (!params_text(req, "from", &from) || !params_bool(req, "dry_run", &dry_run))
		return;
	if (from && (from[0] != '/' || strlen(from) >= HEALTH_PATH_MAX))
		reply_problem(req, 400, "bad-request", NULL, NULL, "from is no absolute path");
	else
		mending_start(req, MEND_RESTORE, dry_run, false, from);
}

void mend_request_accept(struct request *req)
{
	mending_start(req, MEND_ACCEPT, false, false, NULL);
}

void mend_request_snapshot(struct request *req)
{
	mending_start(req, MEND_SNAPSHOT, false, false, NULL);
}
