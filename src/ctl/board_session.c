/*
 * What is done about a board in trouble: check, repair, restore, accept, snapshot, snapshots.
 * The daemon that serves the root does it, and dispatches nothing on that board meanwhile.
 * Without one they work on the files, under the same locks; what changes a board then needs the
 * lease of the root, so a dispatcher that starts is never surprised.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/mend.h"
#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/client.h"
#include "ctl/progress.h"
#include "ctl/table.h"
#include "daemon/config.h"
#include "root/lease.h"
#include "util/fs.h"
#include "util/json.h"

/* The board a verb is about, and who does the work: the daemon, or we under the lease. */
struct mend {
	struct ctl *ctl;
	char *root;
	struct board_place place;
	struct client *client; /* NULL: the files */
	struct lease *lease;   /* … where something is changed */
};

static void mend_close(struct mend *m)
{
	board_place_deinit(&m->place);
	m->lease = lease_free(m->lease);
	m->client = client_free(m->client);
	free(m->root);
}

static int mend_lease(struct mend *m)
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
static int mend_begin(struct mend *m, struct ctl *ctl, const char *slug, bool change)
{
	int r;

	*m = (struct mend){ .ctl = ctl };
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
	return mend_lease(m);
}

static int mend_exit(const struct ctl *ctl, int r, const struct error *e)
{
	if (r == MEND_NOT_WELL)
		return ctl_say(ctl, CTL_NOT_WELL, "%s", e->text);
	if (r == MEND_BUSY)
		return ctl_say(ctl, CTL_TRY_AGAIN, "%s", e->text);
	return ctl_fail(ctl, r, e);
}

/* Ask the daemon. *@out: what it says, a new reference. */
static int mend_ask(const struct mend *m, const char *what, json_t *body, json_t **out)
{
	CLEANUP(reply_deinit) struct reply reply = { 0 };
	int r = client_call(
		m->client, "POST",
		client_path(m->client, NULL, "/v1/boards/%s/%s", m->place.slug, what), body,
		&reply);

	*out = STEAL(reply.json);
	return r;
}

/* ---- check, repair -------------------------------------------------------------------------
 */

static json_t *mend_tables(const struct repair_report *rep)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < rep->n_tables; i++)
		(void)json_array_append_new(
			a,
			json_pack("{s:s, s:I, s:I, s:o}", "table", rep->tables[i].name, "saved",
				  (json_int_t)rep->tables[i].saved, "filled",
				  (json_int_t)rep->tables[i].filled, "lost",
				  rep->tables[i].lost < 0 ? json_null()
							  : json_integer(rep->tables[i].lost)));
	return a;
}

static json_t *mend_report_json(const struct mend *m, const struct mend_report *rep, bool well)
{
	return json_pack("{s:s, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:o}", "board",
			 m->place.slug, "root", json_or_null(m->root), "well", well, "state",
			 health_state_name(rep->state), "what", json_or_null(rep->what), "will",
			 json_or_null(rep->will), "method", json_or_null(rep->repair.method),
			 "tables", mend_tables(&rep->repair), "evidence",
			 json_or_null(rep->health.evidence));
}

/* Would rows be lost: the report names some, and nothing was repaired */
static bool mend_loses(const json_t *report)
{
	const json_t *tables = json_object_get(report, "tables");

	for (size_t i = 0; i < json_array_size(tables); i++)
		if (json_number(json_array_get(tables, i), "lost", -1) != 0)
			return true;
	return false;
}

/* One report, as check and repair print it; @report is given away. Writes go to ctl->out. */
static int mend_print(const struct mend *m, json_t *given, bool repair)
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
	screen_put(ctl->out, state, strlen(state), 0);
	(void)fputs(*what ? ": " : "", ctl->out);
	screen_put(ctl->out, what, strlen(what), 0);
	(void)fputs(*will ? "\n  " : "", ctl->out);
	screen_put(ctl->out, will, strlen(will), 0);
	(void)fputc('\n', ctl->out);
	json_array_foreach(tables, i, t)
	{
		const char *name = json_text(t, "table");
		int64_t filled = json_number(t, "filled", 0), lost = json_number(t, "lost", -1);
		int gap = strlen(name) < 20 ? 20 - (int)strlen(name) : 0;

		(void)fputs("  ", ctl->out);
		screen_put(ctl->out, name, strlen(name), 0);
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
	if (repair && exit == CTL_NOT_WELL && mend_loses(report))
		(void)fprintf(ctl->out,
			      "  to save what can be saved: kanbanctl repair %s --salvage\n"
			      "  to go back to a copy: kanbanctl snapshots %s; kanbanctl "
			      "restore %s\n",
			      m->place.slug, m->place.slug, m->place.slug);
	return exit;
}

int ctl_verb_check(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(freep) struct mend_report *rep = calloc(1, sizeof(*rep));
	struct progress progress;
	struct error e = ERROR_NULL;
	json_t *report = NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!rep)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = mend_begin(&m, ctl, words[0], false);
	if (r == 0 && m.client) {
		r = mend_ask(&m, "check", NULL, &report);
		return r == 0 ? mend_print(&m, report, false) : r;
	}
	if (r != 0)
		return r;
	rep->progress = progress_share;
	rep->arg = &progress;
	progress_begin(&progress, "check");
	r = mend_check(&m.place, rep, &e);
	progress_end(&progress);
	if (r != 0 && r != MEND_NOT_WELL)
		return mend_exit(ctl, r, &e);
	if (r == MEND_NOT_WELL && rep->state == HEALTH_LOST && !rep->will[0])
		(void)snprintf(rep->will, sizeof(rep->will),
			       "see kanbanctl restore %s and kanbanctl accept %s", m.place.slug,
			       m.place.slug);
	return mend_print(&m, mend_report_json(&m, rep, r == 0), false);
}

int ctl_verb_repair(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(freep) struct mend_report *rep = calloc(1, sizeof(*rep));
	bool dry_run = false, salvage = false;
	struct progress progress;
	struct error e = ERROR_NULL;
	const struct ctl_arg options[] = {
		{ "dry-run", CTL_ARG_FLAG, &dry_run, NULL,
		  "say what would be saved and lost, write nothing", 0, 0 },
		{ "salvage", CTL_ARG_FLAG, &salvage, NULL,
		  "write it back although rows are lost", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	json_t *report = NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!rep)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = mend_begin(&m, ctl, words[0], !dry_run);
	if (r == 0 && m.client) {
		r = mend_ask(&m, "repair",
			     json_pack("{s:b, s:b}", "dry_run", dry_run, "salvage", salvage),
			     &report);
		return r == 0 ? mend_print(&m, report, true) : r;
	}
	if (r != 0)
		return r;
	rep->progress = progress_share;
	rep->arg = &progress;
	progress_begin(&progress, "repair");
	r = mend_repair(&m.place, salvage ? REPAIR_SALVAGE : REPAIR_LOSSLESS, dry_run, rep, &e);
	progress_end(&progress);
	if (r != 0 && r != MEND_NOT_WELL)
		return mend_exit(ctl, r, &e);
	return mend_print(&m, mend_report_json(&m, rep, r == 0), true);
}

/* ---- restore, accept, snapshot -------------------------------------------------------------
 */

/* @from: "" for the copy that is chosen. *@out: what was done. */
static int mend_restore_here(const struct mend *m, const char *from, bool dry_run, json_t **out)
{
	CLEANUP(freep) char *used = calloc(1, HEALTH_PATH_MAX);
	struct health_good found = { 0 };
	struct progress progress;
	struct error e = ERROR_NULL;
	int r;

	if (!used)
		return ctl_say(m->ctl, CTL_IO, "out of memory");
	progress_begin(&progress, "restore");
	r = mend_restore(&m->place, from, dry_run, used, &found, &e);
	progress_end(&progress);
	if (r != 0)
		return mend_exit(m->ctl, r, &e);
	*out = json_pack("{s:s, s:s, s:o, s:b, s:I}", "board", m->place.slug, "root", m->root,
			 "from", json_or_null(used), "restored", !dry_run, "tasks",
			 (json_int_t)found.tasks);
	return *out ? 0 : ctl_say(m->ctl, CTL_IO, "out of memory");
}

int ctl_verb_restore(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(json_freep) json_t *done = NULL;
	CLEANUP(freep) char *from = NULL;
	bool dry_run = false;
	const struct ctl_arg options[] = {
		{ "dry-run", CTL_ARG_FLAG, &dry_run, NULL, "say which copy it would be", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	const char *used;
	char **words;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 2, &words))
		return ctl->exit;
	if (words[0] && words[1]) {
		from = ctl_absolute(ctl, words[1]);
		if (!from)
			return ctl_say(ctl, CTL_IO, "out of memory");
	}
	r = mend_begin(&m, ctl, words[0], !dry_run);
	if (r == 0 && m.client)
		r = mend_ask(&m, "restore",
			     json_pack("{s:o, s:b}", "from",
				       from ? json_string(from) : json_null(), "dry_run",
				       dry_run),
			     &done);
	else if (r == 0)
		r = mend_restore_here(&m, from, dry_run, &done);
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(done), CTL_OK);
	used = json_text(done, "from");
	(void)fprintf(ctl->out, "%s: %s from ", m.place.slug,
		      dry_run ? "would be restored" : "restored");
	screen_put(ctl->out, used, strlen(used), 0);
	if (!dry_run)
		(void)fprintf(ctl->out,
			      ": %" PRId64 " tasks; what was there is kept beside it as "
			      "evidence",
			      json_number(done, "tasks", 0));
	(void)fputc('\n', ctl->out);
	return CTL_OK;
}

int ctl_verb_accept(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(json_freep) json_t *done = NULL;
	struct health_good found = { 0 };
	struct error e = ERROR_NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	r = mend_begin(&m, ctl, words[0], true);
	if (r == 0 && m.client) {
		r = mend_ask(&m, "accept", NULL, &done);
	} else if (r == 0) {
		r = mend_accept(&m.place, &found, &e);
		if (r != 0)
			return mend_exit(ctl, r, &e);
		done = json_pack("{s:s, s:s, s:b, s:I}", "board", m.place.slug, "root", m.root,
				 "accepted", 1, "tasks", (json_int_t)found.tasks);
	}
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(done), CTL_OK);
	(void)fprintf(ctl->out, "%s: accepted as it is, with %" PRId64 " tasks\n", m.place.slug,
		      json_number(done, "tasks", 0));
	return CTL_OK;
}

/* What of the older ones is kept: as the configuration says. One that is refused says nothing:
 * then nothing is dropped. */
static void mend_limits(const struct mend *m, struct snapshot_limits *limits)
{
	const struct config_cli cli = { .file = NULL };
	CLEANUP(config_freep) struct config *config = NULL;
	struct error e = ERROR_NULL;
	struct settings set;

	*limits = (struct snapshot_limits){ INT_MAX, INT_MAX, INT64_MAX };
	if (!m->root || config_load(&config, &cli, m->ctl->env, &e) < 0)
		return;
	config_settings(config, m->root, m->place.slug, &set);
	*limits = (struct snapshot_limits){ (int)set.snapshot_keep_hourly,
					    (int)set.snapshot_keep_daily,
					    set.snapshot_max_bytes };
}

int ctl_verb_snapshot(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(freep) char *path = calloc(1, HEALTH_PATH_MAX);
	CLEANUP(json_freep) json_t *done = NULL;
	struct snapshot_limits limits;
	struct progress progress;
	struct error e = ERROR_NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!path)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = mend_begin(&m, ctl, words[0], false);
	if (r == 0 && m.client) {
		r = mend_ask(&m, "snapshot", NULL, &done);
	} else if (r == 0) {
		mend_limits(&m, &limits);
		progress_begin(&progress, "snapshot");
		r = mend_snapshot(&m.place, &limits, path, &e);
		progress_end(&progress);
		if (r != 0)
			return mend_exit(ctl, r, &e);
		done = json_pack("{s:s, s:o, s:o}", "board", m.place.slug, "root",
				 json_or_null(m.root), "snapshot", json_or_null(path));
	}
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(done), CTL_OK);
	screen_put(ctl->out, json_text(done, "snapshot"), strlen(json_text(done, "snapshot")),
		   0);
	(void)fputc('\n', ctl->out);
	return CTL_OK;
}

/* ---- snapshots -----------------------------------------------------------------------------
 */

static json_t *mend_candidate(const struct candidate *c)
{
	return json_pack("{s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "path",
			 json_or_null(c->path), "kind", c->kind, "sound", c->sound, "tasks",
			 (json_int_t)c->tasks, "links", (json_int_t)c->links, "runs",
			 (json_int_t)c->runs, "events", (json_int_t)c->events,
			 "newest_event_at", (json_int_t)c->newest_event_at, "size",
			 (json_int_t)c->size, "why", json_or_null(c->why));
}

static int mend_candidates_table(const struct ctl *ctl, const json_t *list)
{
	static const struct table_column columns[] = {
		{ "KIND", false, 0 },  { "TASKS", true, 0 },         { "EVENTS", true, 0 },
		{ "SOUND", false, 0 }, { "NEWEST EVENT", false, 0 }, { "PATH", false, 20 },
		{ NULL, false, 0 },
	};
	CLEANUP(table_freep) struct table *table = table_new(columns);
	const json_t *c;
	size_t i;
	int r = table ? 0 : -ENOMEM;

	json_array_foreach(list, i, c)
	{
		bool sound = json_is_true(json_object_get(c, "sound"));

		if (r == 0)
			r = cells_add(table, json_object_get(c, "kind"), TABLE_PLAIN);
		if (r == 0)
			r = cells_add(table, json_object_get(c, "tasks"), TABLE_PLAIN);
		if (r == 0)
			r = cells_add(table, json_object_get(c, "events"), TABLE_PLAIN);
		if (r == 0)
			r = table_cell(table, sound ? "yes" : "no", sound ? 3 : 2,
				       sound ? TABLE_GREEN : TABLE_RED);
		if (r == 0)
			r = cells_add_time(table, json_object_get(c, "newest_event_at"));
		if (r == 0)
			r = cells_add(table, json_object_get(c, "path"), TABLE_PLAIN);
	}
	if (r < 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	table_print(table, &ctl->screen, 0, ctl->out);
	return CTL_OK;
}

/* What the daemon says: it reads what this user may not. NULL: it does not, so the files have
 * to tell. */
static json_t *mend_copies_asked(const struct mend *m)
{
	CLEANUP(reply_deinit) struct reply reply = { 0 };

	if (!m->client || client_quiet(m->client,
				       client_path(m->client, "deep=yes",
						   "/v1/boards/%s/snapshots", m->place.slug),
				       &reply) != 0)
		return NULL;
	return json_incref(json_object_get(reply.json, "snapshots"));
}

static int mend_copies(const struct mend *m, json_t **all)
{
	struct candidate *list = NULL;
	struct error e = ERROR_NULL;
	size_t n = 0;
	int r = candidates_list(m->place.db_path, m->place.folder, true, &list, &n, &e);

	if (r < 0)
		return ctl_fail(m->ctl, r, &e);
	*all = json_array();
	for (size_t i = 0; *all && i < n; i++)
		if (json_array_append_new(*all, mend_candidate(&list[i])) < 0) {
			json_decref(*all);
			*all = NULL;
		}
	candidates_free(list, n);
	return *all ? 0 : ctl_say(m->ctl, CTL_IO, "out of memory");
}

int ctl_verb_snapshots(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(json_freep) json_t *all = NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	r = mend_begin(&m, ctl, words[0], false);
	if (r != 0)
		return r;
	all = mend_copies_asked(&m);
	if (!all)
		r = mend_copies(&m, &all);
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(all), CTL_OK);
	return mend_candidates_table(ctl, all);
}
