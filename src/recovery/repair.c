/*
 * The order of a repair: header or journal alone → put right in place; indexes alone → REINDEX;
 * else everything that is left of the evidence copy goes into a fresh database beside the
 * board, gaps are filled from the newest good snapshot, the result is checked, the policy
 * asked, and only then the board's own file is written. If others have written to it meanwhile
 * all this is done once more, from what is there then, while they wait.
 */
#include "recovery/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "db/db.h"
#include "db/db_file.h"
#include "db/db_open.h"
#include "db/db_probe.h"
#include "recovery.h"
#include "recovery/evidence.h"
#include "util/clock.h"
#include "util/fs.h"

#define REPAIR_AGAIN ".again" /* the second rebuild, beside the first */

/* Without these there is no board. */
static const char *const repair_tables[] = { "tasks", "task_links", "task_runs" };

/* One sentence: what was saved of which table, and what was not. Return: would rows be lost
 * that must not be? */
static bool repair_sum_up(struct repair_report *rep)
{
	bool loses = false, any = false;
	size_t used;

	(void)snprintf(rep->text, sizeof(rep->text), "saved");
	for (unsigned i = 0; i < rep->n_tables; i++) {
		const struct repair_table *t = &rep->tables[i];

		if (t->saved == 0 && t->lost == 0)
			continue; /* it was empty */
		used = strlen(rep->text);
		(void)snprintf(rep->text + used, sizeof(rep->text) - used, "%s %" PRId64 " %s",
			       any ? "," : "", t->saved, t->name);
		any = true;
		used = strlen(rep->text);
		if (t->filled > 0)
			(void)snprintf(rep->text + used, sizeof(rep->text) - used,
				       " (%" PRId64 " from the snapshot)", t->filled);
		used = strlen(rep->text);
		if (t->lost > 0)
			(void)snprintf(rep->text + used, sizeof(rep->text) - used,
				       " (%" PRId64 " lost)", t->lost);
		else if (t->lost < 0)
			(void)snprintf(rep->text + used, sizeof(rep->text) - used,
				       " (others may be lost)");
		loses |= t->lost != 0;
	}
	used = strlen(rep->text);
	if (!any)
		used += (size_t)snprintf(rep->text + used, sizeof(rep->text) - used,
					 ": there was no row");
	if (rep->objects_lost > 0)
		(void)snprintf(
			rep->text + used, sizeof(rep->text) - used,
			"; %u other objects of the schema (virtual tables, views, triggers, "
			"indexes) cannot be made again",
			rep->objects_lost);
	return loses || rep->objects_lost > 0;
}

/* Tables that are not there at all were lost with all their rows. */
static bool repair_tables_missing(const struct repair_report *rep)
{
	for (size_t k = 0; k < sizeof(repair_tables) / sizeof(repair_tables[0]); k++) {
		bool there = false;

		for (unsigned i = 0; i < rep->n_tables; i++)
			there |= strcmp(rep->tables[i].name, repair_tables[k]) == 0;
		if (!there)
			return true;
	}
	return false;
}

/*
 * Whoever has seen event n asks for those after it, so no number is given twice: where newer
 * events are lost, the sequence still goes on from the last that is known.
 */
static int repair_sequence(const char *out, int64_t at_least, struct error *e)
{
	sqlite3 *db = NULL;
	char *sql = sqlite3_mprintf(
		"UPDATE sqlite_sequence SET seq = max(seq, %lld) WHERE name = 'task_events';"
		"INSERT INTO sqlite_sequence(name, seq) SELECT 'task_events', %lld WHERE NOT "
		"EXISTS"
		" (SELECT 1 FROM sqlite_sequence WHERE name = 'task_events')",
		at_least, at_least);
	int rc = sql ? db_open_plain(&db, out, DB_OPEN_WRITE) : SQLITE_NOMEM;
	int r = 0;

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		r = recovery_sqlite(db, rc, "cannot set the sequence of events", e);
	sqlite3_free(sql);
	db_open_close(&db);
	return r;
}

/* Against what was known to be good: a loss that the pages do not show. */
static int repair_compare(const struct repair_options *opt, const char *out,
			  const struct health_good *found, const struct repair_report *rep,
			  struct error *e)
{
	struct error back = ERROR_NULL;

	if (!opt->good || !health_went_back(opt->good, found, &back))
		return 0;
	if (opt->policy != REPAIR_SALVAGE)
		return error_set(e, REPAIR_WOULD_LOSE, "a repair would lose rows: %s; %s",
				 back.text, rep->text);
	if (opt->good->tasks > 0 && found->tasks == 0)
		return error_set(e, REPAIR_IMPOSSIBLE, "no task is left: %s", rep->text);
	return repair_sequence(out, opt->good->event_seq, e);
}

static void repair_progress(void *arg, uint64_t done, uint64_t total)
{
	const struct repair_options *opt = arg;

	if (opt->progress)
		opt->progress(opt->arg, (int64_t)done, (int64_t)total);
}

static int repair_rebuild(const struct repair_options *opt, const char *out,
			  struct repair_report *rep, struct error *e)
{
	struct salvage_options so = { .cancel = opt->cancel,
				      .progress = repair_progress,
				      .arg = (void *)(uintptr_t)opt,
				      .no_sync = true }; /* of use to this process alone */
	struct salvage_report sr = { 0 };
	int r = salvage_database(opt->evidence, out, &so, &sr, e);

	if (r == SALVAGE_NOTHING)
		r = error_set(e, REPAIR_IMPOSSIBLE, "nothing of a board is left in the file");
	else if (r == SALVAGE_CANCELLED)
		r = error_set(e, -ECANCELED, "cancelled");
	if (r == 0)
		r = repair_fill(out, opt->good ? opt->good->snapshot : NULL, &sr, rep, e);
	salvage_report_deinit(&sr);
	return r;
}

/* May what was rebuilt be written back? Return: 0, an outcome, or -errno. */
static int repair_judge(const struct repair_options *opt, const char *out,
			struct repair_report *rep, struct error *e)
{
	bool loses = repair_sum_up(rep) || repair_tables_missing(rep);
	struct health_good found = { 0 };
	int r = repair_verify(out, &found, e);

	if (r != 0)
		return r;
	(void)snprintf(rep->method, sizeof(rep->method), "rebuild");
	if (loses && opt->policy != REPAIR_SALVAGE)
		return error_set(e, REPAIR_WOULD_LOSE, "a repair would lose %s: %s",
				 rep->objects_lost > 0 ? "a part of the schema" : "rows",
				 rep->text);
	r = repair_compare(opt, out, &found, rep, e);
	if (r == 0 && !opt->dry_run && opt->owner && !opt->owner(opt->owner_arg, e))
		r = error_set(e, -ECANCELED, "%s", e->text);
	if (r == 0 && opt->cancel && atomic_load(opt->cancel)) /* nothing is written yet */
		r = error_set(e, -ECANCELED, "cancelled");
	return r;
}

struct repair_pass {
	const struct repair_options *opt;
	const char *out; /* what was rebuilt, and is written back */
	struct repair_report *rep;
	uint64_t took_ms; /* the first time */
};

/* Others have written to the board, which is locked now: from its bytes of now, the same again.
 */
static int repair_again(void *arg, int fd, struct error *e)
{
	const struct repair_pass *p = arg;
	CLEANUP(freep) char *out = fs_path("%s" REPAIR_AGAIN, p->out);
	int r;

	if (!out)
		return error_set(e, -ENOMEM, "out of memory");
	if (p->took_ms > REPAIR_LOCKED_MS)
		return error_set(e, REPAIR_BUSY,
				 "another process wrote to the board during the repair, which "
				 "takes too long to keep it waiting");
	r = evidence_keep_locked(p->opt->db_path, fd, p->opt->max_bytes, p->opt->print,
				 p->opt->evidence, e);
	if (r < 0)
		return r == -EAGAIN ? error_set(e, REPAIR_BUSY, "%s", e->text) : r;
	*p->rep = (struct repair_report){ 0 };
	r = repair_rebuild(p->opt, out, p->rep, e);
	if (r == 0)
		r = repair_judge(p->opt, out, p->rep, e);
	return r == 0 ? repair_write_back(p->out, out, NULL, e) : r;
}

/* A header that is lost does not say that the board was in WAL mode; a WAL beside it does. */
static bool repair_was_wal(const char *evidence)
{
	struct db_probe look;
	struct error e = ERROR_NULL;
	bool read = db_probe(evidence, &look, &e) == 0;

	if (read && look.header && db_probe_header(look.head, sizeof(look.head)))
		read = false; /* hot, and the header is nobody's business then */
	return !read && db_file_stamp(evidence, DB_WAL).ino != 0;
}

static int repair_replace(const struct repair_options *opt, const char *out,
			  struct repair_report *rep, uint64_t took_ms, struct error *e)
{
	struct repair_pass pass = { opt, out, rep, took_ms };
	struct repair_again again = { opt->evidence, repair_again, &pass };
	bool was_wal = repair_was_wal(opt->evidence);
	struct error later = ERROR_NULL;
	int r = repair_place_journal(opt, e);

	if (r == 0)
		r = repair_write_again(opt->db_path, out, opt->evidence,
				       opt->print ? &again : NULL, e);

	rep->written = r == 0;
	/* if it cannot be changed now, DELETE mode is right, too */
	if (r == 0 && was_wal &&
	    db_mode_change(opt->db_path, true, REPAIR_WAIT_MS, &later) != 0)
		later = (struct error)ERROR_NULL;
	return r;
}

/* One name for all: the locks see to it that there is one repair at a time. */
static char *repair_temp(const char *db_path)
{
	const char *slash = strrchr(db_path, '/');

	if (!slash)
		return fs_path(".%s.repair", db_path);
	return fs_path("%.*s/.%s.repair", (int)(slash - db_path), db_path, slash + 1);
}

void repair_forget(const char *db_path)
{
	CLEANUP(freep) char *out = repair_temp(db_path);
	CLEANUP(freep) char *again = out ? fs_path("%s" REPAIR_AGAIN, out) : NULL;

	if (out)
		db_file_remove(out);
	if (again)
		db_file_remove(again);
}

static void repair_say(struct repair_report *rep, const char *method, const char *text,
		       bool written)
{
	(void)snprintf(rep->method, sizeof(rep->method), "%s", method);
	(void)snprintf(rep->text, sizeof(rep->text), "%s", text);
	rep->written = written;
}

int repair_run(const struct repair_options *opt, struct repair_report *rep, struct error *e)
{
	CLEANUP(freep) char *out = repair_temp(opt->db_path);
	struct error first = ERROR_NULL;
	enum reindex_verdict found;
	bool placed = false;
	uint64_t begun;
	int r = 0;

	*rep = (struct repair_report){ 0 };
	if (!out)
		return error_set(e, -ENOMEM, "out of memory");
	if (opt->policy != REPAIR_NEVER)
		r = repair_place(opt, out, &placed, e);
	if (r != 0)
		return r;
	if (placed)
		repair_say(rep, "header",
			   "only its header or its journal was damaged, which is put right: no "
			   "row "
			   "is lost",
			   !opt->dry_run);
	if (placed && opt->dry_run)
		return 0;
	r = repair_reindex(opt->db_path, opt->dry_run || opt->policy == REPAIR_NEVER, &found,
			   &first);
	if (r == REPAIR_BUSY)
		return error_set(e, r, "%s", first.text);
	if (r == 0 && found == REINDEX_OK) { /* what looked like damage has passed */
		if (!placed)
			repair_say(rep, "check", "it is sound after all: nothing was written",
				   false);
		return 0;
	}
	if (opt->policy == REPAIR_NEVER)
		return error_set(e, REPAIR_IMPOSSIBLE, "repair_policy is never");
	if (r == 0 && found == REINDEX_INDEXES) {
		repair_say(rep, "reindex",
			   "only indexes were damaged: they are made anew, no row is lost",
			   !opt->dry_run);
		return 0;
	}
	repair_forget(opt->db_path);
	begun = clock_mono_ms();
	r = repair_rebuild(opt, out, rep, e);
	if (r == 0)
		r = repair_judge(opt, out, rep, e);
	if (r == 0 && !opt->dry_run)
		r = repair_replace(opt, out, rep, clock_mono_ms() - begun, e);
	repair_forget(opt->db_path);
	return r;
}
