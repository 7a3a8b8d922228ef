/* How a root does, in the words of the status that `systemctl status` shows. */
#include "daemon/status_text.h"

#include <inttypes.h>

#include "notify/notify.h"
#include "root/dispatch.h"
#include "root/hostfault.h"
#include "root/notices.h"
#include "root/root.h"

struct sentence_counts {
	size_t boards, unseen, quarantined, troubled, mode_waits, paused;
	int64_t running, ready;
	const char *memory; /* why memory holds work back, or NULL */
	const char *bad;    /* slug of the first damaged board */
};

static void sentence_count(const struct root *root, struct sentence_counts *c)
{
	for (size_t i = 0; i < root->n_boards; i++) {
		const struct dispatch *d = root->boards[i];

		if (!d->dispatched)
			continue;
		c->boards++;
		c->unseen += d->board.state == BOARD_NEW;
		c->running += d->last.running;
		c->ready += d->last.ready;
		if (d->last.memory[0])
			c->memory = d->last.memory;
		if (board_state_stands(d->board.state)) {
			c->quarantined++;
			if (!c->bad)
				c->bad = d->board.place.slug;
		}
		c->troubled += d->board.state == BOARD_TROUBLED;
		c->paused += d->held;
		c->mode_waits += d->board.mode_waits;
	}
}

/* Notifications, as far as there is something wrong with them. */
static void sentence_notify(const struct root *root, FILE *out)
{
	const struct notify *n = notices_get(root);
	struct notify_status st = { 0 };

	if (notices_why(root))
		(void)fprintf(out, ", no notifications: %s", notices_why(root));
	if (!n)
		return;
	notify_get_status(n, &st);
	if (st.unwritten)
		(void)fprintf(out, ", notifications wait: the outbox cannot be written");
	if (st.parked)
		(void)fprintf(out, ", notifications of %u subscription%s parked", st.parked,
			      st.parked == 1 ? "" : "s");
	if (st.retrying)
		(void)fprintf(out, ", of %u tried again", st.retrying);
	if (st.unserved)
		(void)fprintf(out, ", %u subscription%s that nobody serves", st.unserved,
			      st.unserved == 1 ? "" : "s");
}

void status_text_root(const struct root *root, FILE *out)
{
	struct sentence_counts c = { 0 };

	switch (root->role) {
	case ROOT_STARTING:
		(void)fprintf(out, "starting on %s", root->path);
		return;
	case ROOT_STANDBY:
		(void)fprintf(out, "standby: %s is held by %s", root->path, root->holder);
		return;
	case ROOT_FAILED:
		(void)fprintf(out, "not dispatching %s: %s", root->path, root->holder);
		return;
	case ROOT_OWNER:
		break;
	}
	(void)fprintf(out, "owner of %s (epoch %" PRId64 "): ", root->path, root->epoch);
	if (!root->scanned_once) { /* zeros would be no news but wrong ones */
		(void)fputs("looking for boards", out);
		return;
	}
	sentence_count(root, &c);
	(void)fprintf(out, "%zu board%s, %" PRId64 " running, %" PRId64 " ready", c.boards,
		      c.boards == 1 ? "" : "s", c.running, c.ready);
	if (c.unseen)
		(void)fprintf(out, ", %zu board%s not looked at yet", c.unseen,
			      c.unseen == 1 ? "" : "s");
	if (c.quarantined)
		(void)fprintf(out, ", %zu board%s not dispatched (%s%s)", c.quarantined,
			      c.quarantined == 1 ? "" : "s", c.bad,
			      c.quarantined > 1 ? ", …" : "");
	if (c.troubled)
		(void)fprintf(out, ", %zu board%s being retried", c.troubled,
			      c.troubled == 1 ? "" : "s");
	if (c.mode_waits)
		(void)fprintf(out, ", %zu board%s waiting to change the journal mode",
			      c.mode_waits, c.mode_waits == 1 ? "" : "s");
	if (c.paused)
		(void)fprintf(out, ", %zu board%s paused by the operator", c.paused,
			      c.paused == 1 ? "" : "s");
	if (root->estop)
		(void)fprintf(out, ", %s", root->estop);
	if (c.memory)
		(void)fprintf(out, ", work held back: %s", c.memory);
	if (hostfault_why(root, NULL, NULL))
		(void)fprintf(out, ", nothing can be started: %s",
			      hostfault_why(root, NULL, NULL));
	sentence_notify(root, out);
}
