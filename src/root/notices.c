/*
 * The notifier's life in a root, and when boards are visited on its behalf.
 *
 * Happy path: when the root is ours a job opens the outbox, then the notifier takes up what it
 * holds. From then on every visit that looks at a board looks at its subscriptions too, and the
 * notifier asks for visits of its own; those are gathered for a moment and asked for together.
 *
 * Looks: a visit that ticks looks at what is new since the last look, which costs a few rows.
 * Every minute, if there was any such look, one follows that trusts nothing; so does one
 * whenever the notifier, a gateway that went away, or a hold that ran out asks for it.
 *
 * Failure modes: an outbox that cannot be opened is told once and tried again every ten
 * seconds; until then nothing is claimed, so nothing is lost. A look that fails is tried again
 * with a back-off of 5 s to 5 min; the board's own state is none of its business unless the
 * board is damaged.
 *
 * Shutdown: children get a few seconds, then every board that has ops is visited once more, so
 * that what was claimed and not sent is back on the boards for whoever comes next. A lease that
 * is lost ends everything at once: the outbox has it, and the next owner goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "launch/launch.h"
#include "notices.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

#define OPEN_LIMIT_MS 120000
#define OPEN_RETRY_MS 10000
#define GATHER_MS     20 /* the notifier's wishes, before boards are visited for them */

static void notices_open_start(struct notices *n);

static struct log_about notices_about(const struct notices *n, const char *board,
				      const char *task)
{
	return (struct log_about){
		.root = n->root->path, .board = board, .task = task, .epoch = n->root->epoch
	};
}

/* ---- when ---------------------------------------------------------------------------- */

static void notices_timer(uv_timer_t *t);

void notices_poke(struct notices *n, uint64_t in_ms)
{
	uint64_t at = uv_now(n->root->env->loop) + in_ms;

	if (n->state == NOTICES_CLOSING || (n->timer_at && n->timer_at <= at))
		return;
	if (uv_timer_start(&n->timer, notices_timer, in_ms, 0) == 0)
		n->timer_at = at;
}

struct notices_board *notices_board_get(struct notices *n, struct dispatch *d)
{
	struct notices_board *b = d->notices;

	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return NULL;
		d->notices = b;
	}
	if (b->generation != n->generation)
		*b = (struct notices_board){ .generation = n->generation, .look = true };
	return b;
}

void notices_due(struct notices *n, struct dispatch *d, uint64_t in_ms)
{
	struct notices_board *b = notices_board_get(n, d);
	uint64_t at = uv_now(n->root->env->loop) + in_ms;

	if (!b)
		return; /* no memory: the next tick looks */
	if (!b->look_at || at < b->look_at)
		b->look_at = at;
	notices_poke(n, in_ms);
}

/* May the board be visited for this alone? Trouble has its own visits, which carry it along. */
static bool notices_may(const struct dispatch *d)
{
	return d->board.state == BOARD_HEALTHY ||
	       (d->board.state == BOARD_NEW && !d->root->stopping);
}

static void notices_timer(uv_timer_t *t)
{
	struct notices *n = t->data;
	struct root *root = n->root;
	uint64_t now = uv_now(root->env->loop), next = 0;

	n->timer_at = 0;
	if (n->state == NOTICES_WAITING)
		notices_open_start(n);
	for (size_t i = 0; n->notify && i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];
		struct notices_board *b = d->notices;

		if (!b || b->generation != n->generation)
			continue;
		if (b->look_at && b->look_at <= now) {
			b->look = true;
			b->look_at = 0;
		}
		if (b->look_at && (!next || b->look_at < next))
			next = b->look_at;
		if ((b->ops || (b->look && d->dispatched && n->state == NOTICES_OPEN)) &&
		    notices_may(d))
			wakeup_want(d, WANT_NOTIFY);
	}
	if (next)
		notices_poke(n, next > now ? next - now : 0);
	if (n->state == NOTICES_SETTLING)
		root_visit_ended(root);
}

/* ---- what the notifier says ---------------------------------------------------------- */

static struct dispatch *notices_find(const struct notices *n, const char *slug)
{
	for (size_t i = 0; i < n->root->n_boards; i++)
		if (strcmp(n->root->boards[i]->board.place.slug, slug) == 0)
			return n->root->boards[i];
	return NULL;
}

static void notices_call_visit(void *arg, const char *slug, bool look)
{
	struct notices *n = arg;
	struct dispatch *d = notices_find(n, slug);
	struct notices_board *b = d ? notices_board_get(n, d) : NULL;

	if (!b)
		return; /* not scanned yet, or gone: notices_scanned() sees to it */
	b->look |= look;
	b->ops = true;
	notices_poke(n, GATHER_MS);
}

static void notices_call_changed(void *arg)
{
	struct notices *n = arg;

	n->root->env->changed(n->root->env->arg);
	if (n->state == NOTICES_SETTLING) /* it may be over */
		notices_poke(n, 0);
}

static void notices_call_log(void *arg, int priority, const char *id, const char *board,
			     const char *task, const char *text)
{
	struct log_about about = notices_about(arg, board, task);

	about.id = id;
	log_about(priority, &about, "%s", text);
}

/* ---- opening ------------------------------------------------------------------------- */

static void open_work(struct job *job)
{
	struct notices *n = container_of(job, struct notices, open);

	n->result = outbox_open(&n->outbox, n->path, &n->found, &n->error);
}

static struct notify_settings notices_settings(const struct root *root)
{
	return (struct notify_settings){
		.concurrency = (unsigned)root->set.notify_concurrency,
		.timeout_ms = (uint64_t)root->set.notify_timeout_ms,
	};
}

static int notices_start(struct notices *n)
{
	struct root *root = n->root;
	const struct notify_calls calls = { notices_call_visit, notices_call_changed,
					    notices_call_log, n };
	const struct notify_settings settings = notices_settings(root);
	struct notify_sender seam;
	int r = 0;

	if (!n->sender)
		r = sender_new(
			&n->sender, root->env->loop, root->env->jobs, root->path,
			root->set.hermes,
			launcher_environment(root->env->launcher(root->env->arg, root->path)));
	if (r == 0 && !n->gateways)
		r = gateways_new(&n->gateways, root->path, (enum notify_mode)root->set.notify,
				 NULL, NULL);
	if (r < 0)
		return r;
	seam = sender_seam(n->sender);
	return notify_new(&n->notify, root->env->loop, root->env->jobs, n->outbox, n->gateways,
			  &settings, &seam, &calls, NULL);
}

static void notices_opened(struct notices *n)
{
	struct log_about about = notices_about(n, NULL, NULL);

	about.id = LOG_ID_OUTBOX;
	if (n->result == 0) {
		n->result = notices_start(n);
		if (n->result < 0)
			(void)error_errno(&n->error, n->result, "cannot start the notifier");
	}
	if (n->result < 0) {
		n->outbox = outbox_free(n->outbox);
		if (n->state != NOTICES_WAITING)
			log_about(LOG_ERR, &about,
				  "%s; no notification is delivered until this is put right",
				  n->error.text);
		n->state = NOTICES_WAITING;
		notices_poke(n, OPEN_RETRY_MS);
		return;
	}
	if (n->found.set_aside)
		log_about(LOG_WARNING, &about, "%s was no outbox of ours and is now at %s.bad",
			  n->path, n->path);
	else if (n->found.bad)
		log_about(LOG_WARNING, &about,
			  "%zu damaged lines in %s were passed over: notifications in them may "
			  "not have been sent",
			  n->found.bad, n->path);
	if (n->state == NOTICES_WAITING)
		log_about(LOG_NOTICE, &about, "notifications are delivered again");
	n->state = NOTICES_OPEN;
	notices_scanned(n->root);
}

static void open_done(struct job *job)
{
	struct notices *n = container_of(job, struct notices, open);

	n->opening = false;
	if (n->state == NOTICES_CLOSING) {
		notices_release(n);
		return;
	}
	if (n->root->stopping) {
		n->state = NOTICES_SETTLING; /* nothing was begun */
		root_visit_ended(n->root);
		return;
	}
	notices_opened(n);
}

static void notices_open_start(struct notices *n)
{
	int r;

	if (n->opening || n->root->stopping)
		return;
	n->error = (struct error)ERROR_NULL;
	/* n->result is the job's from here on */
	n->opening = true;
	r = job_submit(n->root->env->jobs, &n->open, "outbox", open_work, open_done,
		       OPEN_LIMIT_MS);
	if (r == 0)
		return;
	n->opening = false;
	n->result = error_errno(&n->error, r, "cannot open the outbox");
	notices_opened(n);
}

void notices_open(struct root *root)
{
	struct notices *n = root->notices;

	if (root->env->once || root->env->dry_run)
		return;
	if (n) { /* the last one is not gone yet */
		n->again = true;
		return;
	}
	n = calloc(1, sizeof(*n));
	if (n)
		n->path = fs_path("%s/kanban/.kanband.outbox", root->path);
	if (!n || !n->path || uv_timer_init(root->env->loop, &n->timer) < 0) {
		log_error("out of memory: no notification is delivered");
		if (n)
			free(n->path);
		free(n);
		return;
	}
	n->root = root;
	n->timer.data = n;
	n->generation = root->epoch;
	root->notices = n;
	notices_open_start(n);
}

/* ---- boards come and go -------------------------------------------------------------- */

void notices_scanned(struct root *root)
{
	struct notices *n = root->notices;
	CLEANUP(freep) const char **slugs = NULL;

	if (!n || !n->notify || !root->scanned || n->state != NOTICES_OPEN)
		return;
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched)
			(void)notices_board_get(n, root->boards[i]);
	slugs = notify_boards(n->notify);
	for (size_t i = 0; slugs && slugs[i]; i++) {
		struct dispatch *d = notices_find(n, slugs[i]);
		struct notices_board *b = d ? notices_board_get(n, d) : NULL;

		if (b)
			b->ops = true;
		else if (!d) {
			/* the vector's strings belong to items that this may free */
			char slug[BOARD_SLUG_MAX + 1];

			(void)snprintf(slug, sizeof(slug), "%s", slugs[i]);
			notify_board_gone(n->notify, slug);
		}
	}
	notices_poke(n, 0);
}

void notices_forget(struct dispatch *d)
{
	free(d->notices);
	d->notices = NULL;
}

bool notices_wanted(const struct dispatch *d)
{
	const struct notices *n = d->root->notices;

	return n && n->notify && d->notices && d->notices->generation == n->generation &&
	       d->notices->ops && n->state != NOTICES_CLOSING;
}

void notices_reload(struct root *root)
{
	struct notices *n = root->notices;
	struct notify_settings settings = notices_settings(root);

	if (!n || !n->notify || n->state == NOTICES_CLOSING)
		return;
	gateways_set_mode(n->gateways, (enum notify_mode)root->set.notify);
	if (sender_set_hermes(n->sender, root->set.hermes) < 0)
		log_error("out of memory: notifications go on with the old hermes");
	notify_set(n->notify, &settings);
	for (size_t i = 0; i < root->n_boards; i++)
		notices_due(n, root->boards[i], 0); /* other rows may be ours now */
}

/* ---- the end ------------------------------------------------------------------------- */

static void notices_timer_closed(uv_handle_t *h)
{
	struct notices *n = h->data;
	struct root *root = n->root;
	void (*closed)(void *arg) = n->closed;
	void *arg = n->closed_arg;
	bool again = n->again && !root->stopping && atomic_load(&root->owner);

	(void)sender_free(n->sender);
	(void)gateways_free(n->gateways);
	(void)outbox_free(n->outbox);
	free(n->path);
	free(n);
	root->notices = NULL;
	if (again)
		notices_open(root);
	if (closed)
		closed(arg);
}

static void notices_try_free(struct notices *n)
{
	if (n->state != NOTICES_CLOSING || n->notify || n->opening || n->visits > 0 ||
	    uv_is_closing((uv_handle_t *)&n->timer))
		return;
	uv_close((uv_handle_t *)&n->timer, notices_timer_closed);
}

void notices_release(struct notices *n)
{
	notices_try_free(n);
}

static void notices_notify_closed(void *arg)
{
	struct notices *n = arg;

	n->notify = NULL;
	notices_try_free(n);
}

static void notices_give_up(struct notices *n)
{
	if (n->state == NOTICES_CLOSING)
		return;
	n->state = NOTICES_CLOSING;
	IGNORE(uv_timer_stop(&n->timer)); /* always 0 */
	if (n->notify)
		notify_close(n->notify, notices_notify_closed, n);
	else
		notices_try_free(n);
}

void notices_lost(struct root *root)
{
	if (root->notices) {
		root->notices->again = false;
		notices_give_up(root->notices);
	}
}

static void notices_stopped(void *arg)
{
	struct notices *n = arg;

	if (n->state != NOTICES_STOPPING)
		return;
	n->state = NOTICES_SETTLING;
	for (size_t i = 0; i < n->root->n_boards; i++) {
		struct dispatch *d = n->root->boards[i];
		struct notices_board *b = notices_board_get(n, d);

		if (b)
			b->ops = notify_has_ops(n->notify, d->board.place.slug);
		if (b && b->ops && notices_may(d))
			wakeup_want(d, WANT_NOTIFY);
	}
	root_visit_ended(n->root);
}

void notices_stop(struct root *root)
{
	struct notices *n = root->notices;

	if (!n || n->state == NOTICES_CLOSING || n->opening)
		return;
	if (!n->notify) {
		n->state = NOTICES_SETTLING;
		return;
	}
	n->state = NOTICES_STOPPING;
	notify_stop(n->notify, notices_stopped, n);
}

bool notices_over(struct root *root)
{
	struct notices *n = root->notices;

	if (!n || n->state == NOTICES_CLOSING)
		return true;
	if (n->state != NOTICES_SETTLING)
		return false;
	/* each board once: what cannot be settled now stands in the outbox */
	for (size_t i = 0; n->notify && i < root->n_boards; i++) {
		const struct dispatch *d = root->boards[i];
		const struct notices_board *b = d->notices;

		if (d->board.busy ||
		    (b && b->ops && !b->last && notices_may(d) && atomic_load(&root->owner)))
			return false;
	}
	return !n->notify || notify_settled(n->notify);
}

void notices_close(struct root *root, void (*done)(void *arg), void *arg)
{
	struct notices *n = root->notices;

	if (!n) {
		done(arg);
		return;
	}
	n->closed = done;
	n->closed_arg = arg;
	n->again = false;
	notices_give_up(n);
}

struct notify *notices_get(const struct root *root)
{
	const struct notices *n = root->notices;

	return n && n->state != NOTICES_CLOSING ? n->notify : NULL;
}

const char *notices_why(const struct root *root)
{
	const struct notices *n = root->notices;

	return n && n->state == NOTICES_WAITING ? n->error.text : NULL;
}
