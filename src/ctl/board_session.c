/*
 * Finds the board that a verb names and who works on it: the daemon of its root is asked, or
 * the files are worked on here under the lease and the locks that a daemon would hold.
 */
#include "ctl/board_session.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/mend.h"
#include "ctl.h"
#include "ctl/client.h"
#include "ctl/client_find.h"
#include "daemon/config.h"
#include "root/lease.h"
#include "util/json.h"
#include "util/printable.h"

void board_session_close(struct board_session *m)
{
	board_place_deinit(&m->place);
	m->lease = lease_free(m->lease);
	m->client = client_free(m->client);
	free(m->root);
}

int64_t board_session_max(const struct board_session *m)
{
	const struct config_cli cli = { .file = NULL };
	CLEANUP(config_freep) struct config *config = NULL;
	struct error e = ERROR_NULL;
	struct settings set;

	if (!m->root || config_load(&config, &cli, m->ctl->env, &e) < 0)
		return 0;
	config_settings(config, m->root, m->place.slug, &set);
	return set.max_evidence_bytes;
}

static int board_session_lease(struct board_session *m)
{
	struct lease_identity who = { .host = NULL };
	struct error e = ERROR_NULL;
	char host[256] = "";
	int64_t epoch;
	int r;

	if (gethostname(host, sizeof(host) - 1) < 0)
		return ctl_say(m->ctl, CTL_IO, "cannot get the host name: %s", strerror(errno));
	who.host = host;
	r = lease_try(&m->lease, m->root, &who, &epoch, &e);
	if (r == LEASE_HELD)
		return ctl_say(
			m->ctl, CTL_TRY_AGAIN,
			"%s; what changes a board needs the lease: stop that process first "
			"(systemctl stop kanband), or let it do the work at its next try",
			e.text);
	return r < 0 ? ctl_fail(m->ctl, r, &e) : 0;
}

/* @change: without a daemon, the lease is needed */
int board_session_open(struct board_session *m, struct ctl *ctl, const char *slug, bool change)
{
	int r;

	*m = (struct board_session){ .ctl = ctl };
	if (slug)
		ctl->board_arg = slug;
	r = ctl_place(ctl, &m->place);
	if (r != 0)
		return r;
	/* a worker's own database needs no root; nobody but us knows where it is */
	if (!change && !ctl->root_arg && !ctl->board_arg && ctl_env(ctl, "HERMES_KANBAN_DB"))
		return 0;
	r = ctl_root(ctl, &m->root);
	if (r == 0)
		r = client_open(ctl, m->root, &m->client);
	if (r != 0 || m->client || !change)
		return r;
	return board_session_lease(m);
}

int board_session_fail(const struct ctl *ctl, int r, const struct error *e)
{
	if (r == MEND_NOT_WELL)
		return ctl_say(ctl, CTL_NOT_WELL, "%s", e->text);
	if (r == MEND_BUSY)
		return ctl_say(ctl, CTL_TRY_AGAIN, "%s", e->text);
	return ctl_fail(ctl, r, e);
}

/* Ask the daemon. *@out: what it says, a new reference. */
int board_session_ask(const struct board_session *m, const char *what, json_t *body,
		      json_t **out)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	int r = client_call(
		m->client, "POST",
		client_path(m->client, NULL, "/v1/boards/%s/%s", m->place.slug, what), body,
		&reply);

	*out = STEAL(reply.json);
	return r;
}

/* Would rows be lost: the report names some, and nothing was repaired */
static bool report_loses(const json_t *report)
{
	const json_t *tables = json_object_get(report, "tables");

	for (size_t i = 0; i < json_array_size(tables); i++)
		if (json_number(json_array_get(tables, i), "lost", -1) != 0)
			return true;
	return false;
}

/* What to type next, where it is not well. @ctl->out is looked at by ctl_main(). */
static void report_next(const struct board_session *m, const json_t *report)
{
	const char *slug = m->place.slug, *state = json_text(report, "state");
	bool damaged = strcmp(state, "quarantined") == 0 || strcmp(state, "suspect") == 0;
	size_t tables = json_array_size(json_object_get(report, "tables"));
	FILE *out = m->ctl->out;

	if (!damaged)
		return;
	if (tables > 0 && !report_loses(report)) {
		(void)fprintf(out, "  to repair it: kanbanctl repair %s\n", slug);
		return;
	}
	if (tables > 0)
		(void)fprintf(out,
			      "  to save what can be saved: kanbanctl repair %s --salvage\n",
			      slug);
	(void)fprintf(out,
		      "  to go back to a copy: kanbanctl snapshots %s; kanbanctl restore %s\n",
		      slug, slug);
}

/* One report, as check and repair print it; @report is given away. Writes go to ctl->out. */
int board_session_report(const struct board_session *m, json_t *given)
{
	CLEANUP(json_freep) json_t *report = given;
	const struct ctl *ctl = m->ctl;
	const char *what = json_text(report, "what"), *will = json_text(report, "will");
	const char *state = json_text(report, "state");
	int exit = json_flag(report, "well") ? CTL_OK : CTL_NOT_WELL;
	json_t *tables = json_object_get(report, "tables"), *t;
	size_t i;

	if (!report)
		return ctl_say(ctl, CTL_IO, "out of memory");
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(report), exit);
	(void)fprintf(ctl->out, "%s: ", m->place.slug);
	printable_put(ctl->out, state, strlen(state), 0);
	(void)fputs(*what ? ": " : "", ctl->out);
	printable_put(ctl->out, what, strlen(what), 0);
	(void)fputs(*will ? "\n  " : "", ctl->out);
	printable_put(ctl->out, will, strlen(will), 0);
	(void)fputc('\n', ctl->out);
	json_array_foreach(tables, i, t)
	{
		const char *name = json_text(t, "table");
		int64_t filled = json_number(t, "filled", 0), lost = json_number(t, "lost", -1);
		int gap = strlen(name) < 20 ? 20 - (int)strlen(name) : 0;

		(void)fputs("  ", ctl->out);
		printable_put(ctl->out, name, strlen(name), 0);
		(void)fprintf(ctl->out, "%*s %8" PRId64 " saved", gap, "",
			      json_number(t, "saved", 0));
		if (filled)
			(void)fprintf(ctl->out, ", %" PRId64 " from the snapshot", filled);
		if (lost < 0)
			(void)fprintf(ctl->out, ", others may be lost");
		else if (lost > 0)
			(void)fprintf(ctl->out, ", %" PRId64 " lost", lost);
		(void)fputc('\n', ctl->out);
	}
	if (exit == CTL_NOT_WELL)
		report_next(m, report);
	return exit;
}
