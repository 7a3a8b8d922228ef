/*
 * What is asked about a board in trouble. Each is an errand (root/errand.h): it has the board
 * as a visit has it, so the dispatcher cannot be surprised by it nor the other way round. Where
 * it changed something the board is visited before the answer, which then says what is.
 *
 * A request that is given up while its errand runs does not end the errand: a repair is not cut
 * off because somebody pressed a key.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board/mend.h"
#include "control.h"
#include "root/operation.h"
#include "util/log.h"

#define MEND_LIMIT_MS (60 * 60 * 1000)

enum mend_verb { MEND_CHECK, MEND_REPAIR, MEND_RESTORE, MEND_ACCEPT, MEND_SNAPSHOT };

static const char *const mend_names[] = { "check", "repair", "restore", "accept", "snapshot" };

struct mending {
	struct errand errand; /* first */
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	enum mend_verb verb;
	bool dry_run, salvage;
	char *from;
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
	c->errands--;
	control_try_free(c);
}

static void mending_work(struct job *job)
{
	struct mending *m = (struct mending *)job;
	const struct board_place *place = &m->errand.dispatch->board.place;

	switch (m->verb) {
	case MEND_CHECK:
		m->result = mend_check(place, &m->report, &m->error);
		break;
	case MEND_REPAIR:
		m->result = mend_repair(place, m->salvage ? REPAIR_SALVAGE : REPAIR_LOSSLESS,
					m->dry_run, &m->report, &m->error);
		break;
	case MEND_RESTORE:
		m->result =
			mend_restore(place, m->from, m->dry_run, m->path, &m->found, &m->error);
		break;
	case MEND_ACCEPT:
		m->result = mend_accept(place, &m->found, &m->error);
		break;
	case MEND_SNAPSHOT:
		m->result = mend_snapshot(place, &m->limits, m->path, &m->error);
		break;
	}
}

/* ---- answers -------------------------------------------------------------------------------
 */

static json_t *mending_tables(const struct repair_report *rep)
{
	json_t *list = json_array();

	for (unsigned i = 0; list && i < rep->n_tables; i++) {
		const struct repair_table *t = &rep->tables[i];
		json_t *one = json_pack(
			"{s:o, s:I, s:I, s:o}", "table", reply_string(t->name, true), "saved",
			(json_int_t)t->saved, "filled", (json_int_t)t->filled, "lost",
			t->lost < 0 ? json_null() : json_integer(t->lost));

		if (json_array_append_new(list, one) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *mending_report(const struct mending *m)
{
	const struct mend_report *rep = &m->report;
	char hint[ERROR_TEXT_MAX];
	const char *slug = m->req->slug, *will = rep->will;

	if (m->result == MEND_NOT_WELL && rep->state == HEALTH_LOST && !rep->will[0]) {
		(void)snprintf(hint, sizeof(hint),
			       "see kanbanctl restore %s and kanbanctl accept %s", slug, slug);
		will = hint;
	}
	return json_pack("{s:b, s:s, s:o, s:o, s:o, s:o, s:o}", "well", m->result == 0, "state",
			 health_state_name(rep->state), "what", reply_string(rep->what, true),
			 "will", reply_string(will, true), "method",
			 reply_string(rep->repair.method, true), "tables",
			 mending_tables(&rep->repair), "evidence",
			 reply_string(rep->health.evidence, true));
}

static json_t *mending_json(const struct mending *m)
{
	switch (m->verb) {
	case MEND_RESTORE:
		return json_pack("{s:o, s:b, s:I}", "from", reply_string(m->path, true),
				 "restored", !m->dry_run, "tasks", (json_int_t)m->found.tasks);
	case MEND_ACCEPT:
		return json_pack("{s:b, s:I}", "accepted", 1, "tasks",
				 (json_int_t)m->found.tasks);
	case MEND_SNAPSHOT:
		return json_pack("{s:o}", "snapshot", reply_string(m->path, true));
	default:
		return mending_report(m);
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
	json_t *json, *head;

	if (!req)
		return;
	req->gone = NULL;
	if (m->result != 0 && !(report && m->result == MEND_NOT_WELL)) {
		mending_problem(req, m);
		m->req = NULL;
		return;
	}
	json = mending_json(m);
	head = json_pack("{s:s, s:o}", "board", req->slug, "root",
			 reply_string(m->errand.dispatch->root->path, true));
	if (head && (!json || json_object_update(head, json) < 0)) {
		json_decref(head);
		head = NULL;
	}
	json_decref(json);
	m->req = NULL;
	reply_json(req, 200, head);
}

/* ---- its course ----------------------------------------------------------------------------
 */

static bool mending_changes(const struct mending *m)
{
	return !m->dry_run && m->verb != MEND_CHECK && m->verb != MEND_SNAPSHOT;
}

/* The visit after it is over, too. */
static void mending_visited(struct errand *e, bool ran)
{
	struct mending *m = (struct mending *)e;

	(void)ran; /* what was asked for was done before */
	mending_answer(m);
	mending_free(m);
}

static void mending_done(struct errand *e, bool ran)
{
	struct mending *m = (struct mending *)e;
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
	if (mending_changes(m) && d->dispatched && m->result == 0) {
		m->errand = (struct errand){ .name = "wait", .done = mending_visited };
		/* not before @d is idle again, which it is when this returns: the wish is noted
		 * and the errand waits for it */
		m->errand.after = d->visits + 1;
		errand_submit(d, &m->errand);
		return;
	}
	mending_answer(m);
	mending_free(m);
}

static void mending_gone(struct request *req)
{
	struct mending *m = req->work;

	m->req = NULL;
	if (errand_forget(&m->errand))
		mending_free(m);
}

static void mending_start(struct request *req, enum mend_verb verb, bool dry_run, bool salvage,
			  const char *from)
{
	struct dispatch *d;
	struct mending *m;

	if (!ask_board(req, &d))
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
	m->control->errands++;
	m->req = req;
	m->verb = verb;
	m->dry_run = dry_run;
	m->salvage = salvage;
	m->limits = (struct snapshot_limits){ (int)d->set.snapshot_keep_hourly,
					      (int)d->set.snapshot_keep_daily,
					      d->set.snapshot_max_bytes };
	m->errand.name = mend_names[verb];
	m->errand.work = mending_work;
	m->errand.done = mending_done;
	m->errand.limit_ms = MEND_LIMIT_MS;
	/* each looks at the file itself, and closing that drops this process's locks on it */
	m->errand.close = true;
	m->errand.fresh = mending_changes(m);
	req->work = m;
	req->gone = mending_gone;
	errand_submit(d, &m->errand);
}

void mend_do_check(struct request *req)
{
	mending_start(req, MEND_CHECK, false, false, NULL);
}

void mend_do_repair(struct request *req)
{
	bool dry_run = false, salvage = false;

	if (ask_bool(req, "dry_run", &dry_run) && ask_bool(req, "salvage", &salvage))
		mending_start(req, MEND_REPAIR, dry_run, salvage, NULL);
}

void mend_do_restore(struct request *req)
{
	const char *from = NULL;
	bool dry_run = false;

	if (!ask_text(req, "from", &from) || !ask_bool(req, "dry_run", &dry_run))
		return;
	if (from && (from[0] != '/' || strlen(from) >= HEALTH_PATH_MAX))
		reply_problem(req, 400, "bad-request", NULL, NULL, "from is no absolute path");
	else
		mending_start(req, MEND_RESTORE, dry_run, false, from);
}

void mend_do_accept(struct request *req)
{
	mending_start(req, MEND_ACCEPT, false, false, NULL);
}

void mend_do_snapshot(struct request *req)
{
	mending_start(req, MEND_SNAPSHOT, false, false, NULL);
}
