/*
 * What is done about a board in trouble: check, repair, restore, accept, snapshot, snapshots.
 * They work on the files, under the same locks as a daemon; what changes a board needs the
 * lease of the root, so a running dispatcher is never surprised.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/mend.h"
#include "ctl/cells.h"
#include "ctl/ctl.h"
#include "ctl/table.h"
#include "root/lease.h"
#include "util/fs.h"

/* The board a verb is about, and the lease where it changes something. */
struct mend {
	struct ctl *ctl;
	struct board_place place;
	struct lease *lease;
};

static void mend_close(struct mend *m)
{
	board_place_deinit(&m->place);
	m->lease = lease_free(m->lease);
}

static int mend_begin(struct mend *m, struct ctl *ctl, const char *slug, bool change)
{
	CLEANUP(freep) char *root = NULL;
	struct lease_identity who = { .host = NULL };
	struct error e = ERROR_NULL;
	char host[256] = "";
	int64_t epoch;
	int r;

	*m = (struct mend){ .ctl = ctl };
	if (slug)
		ctl->board_arg = slug;
	r = ctl_place(ctl, &m->place);
	if (r != 0 || !change)
		return r;
	r = ctl_root(ctl, &root);
	if (r != 0)
		return r;
	if (gethostname(host, sizeof(host) - 1) < 0)
		return ctl_say(ctl, CTL_IO, "cannot get the host name: %s", strerror(errno));
	who.host = host;
	r = lease_try(&m->lease, root, &who, &epoch, &e);
	if (r == LEASE_HELD)
		return ctl_say(
			ctl, CTL_TRY_AGAIN,
			"%s; what changes a board needs the lease: stop that process first "
			"(systemctl stop kanband), or let it do the work at its next try",
			e.text);
	return r < 0 ? ctl_fail(ctl, r, &e) : 0;
}

static int mend_exit(const struct ctl *ctl, int r, const struct error *e)
{
	if (r == MEND_NOT_WELL)
		return ctl_say(ctl, CTL_NOT_WELL, "%s", e->text);
	if (r == MEND_BUSY)
		return ctl_say(ctl, CTL_TRY_AGAIN, "%s", e->text);
	return ctl_fail(ctl, r, e);
}

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

static json_t *mend_or_null(const char *text)
{
	json_t *v = *text ? json_string(text) : NULL;

	return v ? v : json_null();
}

/* One report, as check and repair print it. */
static int mend_print(const struct mend *m, const struct mend_report *rep, int exit)
{
	const struct ctl *ctl = m->ctl;

	if (ctl->json)
		return ctl_print_json(
			ctl,
			json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "board", m->place.slug,
				  "state", health_state_name(rep->state), "what",
				  mend_or_null(rep->what), "will", mend_or_null(rep->will),
				  "method", mend_or_null(rep->repair.method), "tables",
				  mend_tables(&rep->repair), "evidence",
				  mend_or_null(rep->health.evidence)),
			exit);
	(void)fprintf(ctl->out, "%s: %s%s%s\n", m->place.slug, health_state_name(rep->state),
		      rep->what[0] ? ": " : "", rep->what);
	if (rep->will[0])
		(void)fprintf(ctl->out, "  %s\n", rep->will);
	for (unsigned i = 0; i < rep->repair.n_tables; i++) {
		const struct repair_table *t = &rep->repair.tables[i];

		(void)fprintf(ctl->out, "  %-20s %8" PRId64 " saved", t->name, t->saved);
		if (t->filled)
			(void)fprintf(ctl->out, ", %" PRId64 " from the snapshot", t->filled);
		if (t->lost < 0)
			(void)fprintf(ctl->out, ", others may be lost");
		else if (t->lost > 0)
			(void)fprintf(ctl->out, ", %" PRId64 " lost", t->lost);
		(void)fputc('\n', ctl->out);
	}
	return exit;
}

int ctl_verb_check(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(freep) struct mend_report *rep = calloc(1, sizeof(*rep));
	struct error e = ERROR_NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!rep)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = mend_begin(&m, ctl, words[0], false);
	if (r != 0)
		return r;
	r = mend_check(&m.place, rep, &e);
	if (r != 0 && r != MEND_NOT_WELL)
		return mend_exit(ctl, r, &e);
	if (r == MEND_NOT_WELL && rep->state == HEALTH_LOST && !rep->will[0])
		(void)snprintf(rep->will, sizeof(rep->will),
			       "see kanbanctl restore %s and kanbanctl accept %s", m.place.slug,
			       m.place.slug);
	return mend_print(&m, rep, r == 0 ? CTL_OK : CTL_NOT_WELL);
}

int ctl_verb_repair(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(freep) struct mend_report *rep = calloc(1, sizeof(*rep));
	bool dry_run = false, salvage = false;
	struct error e = ERROR_NULL;
	const struct ctl_arg options[] = {
		{ "dry-run", CTL_ARG_FLAG, &dry_run, NULL,
		  "say what would be saved and lost, write nothing", 0, 0 },
		{ "salvage", CTL_ARG_FLAG, &salvage, NULL,
		  "write it back although rows are lost", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **words;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!rep)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = mend_begin(&m, ctl, words[0], !dry_run);
	if (r != 0)
		return r;
	r = mend_repair(&m.place, salvage ? REPAIR_SALVAGE : REPAIR_LOSSLESS, dry_run, rep, &e);
	if (r != 0 && r != MEND_NOT_WELL)
		return mend_exit(ctl, r, &e);
	r = mend_print(&m, rep, r == 0 ? CTL_OK : CTL_NOT_WELL);
	if (r == CTL_NOT_WELL && e.code == REPAIR_WOULD_LOSE && !ctl->json)
		(void)fprintf(ctl->out,
			      "  to save what can be saved: kanbanctl repair %s --salvage\n"
			      "  to go back to a copy: kanbanctl snapshots %s; kanbanctl "
			      "restore %s\n",
			      m.place.slug, m.place.slug, m.place.slug);
	return r;
}

int ctl_verb_restore(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(freep) char *used = calloc(1, HEALTH_PATH_MAX);
	struct health_good found = { 0 };
	struct error e = ERROR_NULL;
	bool dry_run = false;
	const struct ctl_arg options[] = {
		{ "dry-run", CTL_ARG_FLAG, &dry_run, NULL, "say which copy it would be", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **words;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 2, &words))
		return ctl->exit;
	if (!used)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = mend_begin(&m, ctl, words[0], !dry_run);
	if (r != 0)
		return r;
	r = mend_restore(&m.place, words[0] ? words[1] : NULL, dry_run, used, &found, &e);
	if (r != 0)
		return mend_exit(ctl, r, &e);
	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:s, s:o, s:b, s:I}", "board", m.place.slug,
						"from", mend_or_null(used), "restored",
						!dry_run, "tasks", (json_int_t)found.tasks),
				      CTL_OK);
	if (dry_run)
		(void)fprintf(ctl->out, "%s: would be restored from %s\n", m.place.slug, used);
	else
		(void)fprintf(ctl->out,
			      "%s: restored from %s: %" PRId64
			      " tasks; what was there is kept beside "
			      "it as evidence\n",
			      m.place.slug, used, found.tasks);
	return CTL_OK;
}

int ctl_verb_accept(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	struct health_good found = { 0 };
	struct error e = ERROR_NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	r = mend_begin(&m, ctl, words[0], true);
	if (r != 0)
		return r;
	r = mend_accept(&m.place, &found, &e);
	if (r != 0)
		return mend_exit(ctl, r, &e);
	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:s, s:b, s:I}", "board", m.place.slug,
						"accepted", 1, "tasks",
						(json_int_t)found.tasks),
				      CTL_OK);
	(void)fprintf(ctl->out, "%s: accepted as it is, with %" PRId64 " tasks\n", m.place.slug,
		      found.tasks);
	return CTL_OK;
}

int ctl_verb_snapshot(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	CLEANUP(freep) char *path = calloc(1, HEALTH_PATH_MAX);
	struct error e = ERROR_NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!path)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = mend_begin(&m, ctl, words[0], false);
	if (r != 0)
		return r;
	r = mend_snapshot(&m.place, path, &e);
	if (r != 0)
		return mend_exit(ctl, r, &e);
	if (ctl->json)
		return ctl_print_json(
			ctl, json_pack("{s:s, s:s}", "board", m.place.slug, "snapshot", path),
			CTL_OK);
	(void)fprintf(ctl->out, "%s\n", path);
	return CTL_OK;
}

static json_t *mend_candidate(const struct candidate *c)
{
	return json_pack("{s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "path",
			 mend_or_null(c->path), "kind", c->kind, "sound", c->sound, "tasks",
			 (json_int_t)c->tasks, "links", (json_int_t)c->links, "runs",
			 (json_int_t)c->runs, "events", (json_int_t)c->events,
			 "newest_event_at", (json_int_t)c->newest_event_at, "size",
			 (json_int_t)c->size, "why", mend_or_null(c->why));
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

int ctl_verb_snapshots(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(mend_close) struct mend m = { 0 };
	struct candidate *list = NULL;
	struct error e = ERROR_NULL;
	json_t *all;
	char **words;
	size_t n = 0;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	r = mend_begin(&m, ctl, words[0], false);
	if (r != 0)
		return r;
	r = candidates_list(m.place.db_path, m.place.folder, true, &list, &n, &e);
	if (r < 0)
		return ctl_fail(ctl, r, &e);
	all = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(all, mend_candidate(&list[i]));
	candidates_free(list, n);
	if (ctl->json)
		return ctl_print_json(ctl, all, CTL_OK);
	r = mend_candidates_table(ctl, all);
	json_decref(all);
	return r;
}
