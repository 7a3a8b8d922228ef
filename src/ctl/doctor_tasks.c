/*
 * doctor: tasks that are ready and that nobody can start: no assignee, no profile, a guard that
 * lasts, no git for a worktree. The rules are those of a tick, in the words of `why`.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "board/discover.h"
#include "board/view.h"
#include "ctl.h"
#include "ctl/doctor.h"
#include "ctl/rules.h"
#include "ctl/waiting_text.h"
#include "db/db.h"
#include "process/spawn.h"
#include "tick/waiting.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/quote.h"

#define DOCTOR_TASKS_BUSY_MS 1000
#define DOCTOR_TASKS_MANY    20   /* lines about a board */
#define DOCTOR_TASKS_LONG_S  3600 /* a guard that ends sooner is no trouble */

struct doctor_waiting {
	struct doctor *d;
	const struct board_place *place;
	struct rules *rules;
	json_int_t ready, worktrees;
	char *worktree; /* one of them, owned */
	bool git;
};

static int doctor_tasks_row(void *arg, json_t *row)
{
	struct doctor_waiting *w = arg;

	w->ready++;
	if (w->git || strcmp(json_text(row, "workspace_kind"), "worktree") != 0)
		return 0;
	w->worktrees++;
	if (!w->worktree)
		w->worktree = strdup(json_text(row, "id"));
	return 0;
}

/* Which finding is it, that tasks wait because of @group? DOCTOR_IDS: none, it passes. */
static enum doctor_id doctor_tasks_id(const json_t *group)
{
	const char *rule = json_text(group, "rule");
	const json_t *at = json_object_get(group, "at");

	if (strcmp(rule, "assignee") == 0)
		return DOCTOR_TASKS_UNASSIGNED;
	if (strcmp(rule, "profile") == 0)
		return DOCTOR_TASKS_NO_PROFILE;
	if (strcmp(rule, "guard") == 0 &&
	    (!json_is_integer(at) ||
	     json_integer_value(at) - clock_wall_s() > DOCTOR_TASKS_LONG_S))
		return DOCTOR_TASKS_GUARDED;
	return DOCTOR_IDS;
}

/* One is shown: why it waits, and what releases it. */
static char *doctor_tasks_remedy(const struct doctor_waiting *w, const char *task)
{
	return quote_command("kanbanctl --root %q --board %q why %q", w->d->root,
			     w->place->slug, task);
}

static void doctor_tasks_say(const struct doctor_waiting *w, const json_t *groups)
{
	int lines = 0;

	for (size_t i = 0; i < json_array_size(groups) && lines < DOCTOR_TASKS_MANY; i++) {
		const json_t *group = json_array_get(groups, i);
		const json_t *tasks = json_object_get(group, "tasks");
		enum doctor_id id = doctor_tasks_id(group);
		const char *task = json_string_value(json_array_get(tasks, 0));
		json_int_t n = json_number(group, "count", 0);
		char why[ERROR_TEXT_MAX], until[ERROR_TEXT_MAX];

		if (id == DOCTOR_IDS || !task)
			continue;
		lines++;
		waiting_text(group, why, sizeof(why));
		waiting_until(group, n == 1 ? task : NULL, until, sizeof(until));
		doctor_say(w->d, id, w->place->slug, doctor_tasks_remedy(w, task),
			   "of what is ready %s (%s%s)%s", why, task, n == 1 ? "" : ", …",
			   until);
	}
	if (w->worktree)
		doctor_say(
			w->d, DOCTOR_TASKS_NO_GIT, w->place->slug,
			doctor_tasks_remedy(w, w->worktree),
			"%lld ready task%s a git worktree, %s the first, and there is no git "
			"on the PATH: install git",
			(long long)w->worktrees, w->worktrees == 1 ? " wants" : "s want",
			w->worktree);
}

static void doctor_tasks_board(struct doctor_waiting *w)
{
	static const struct view_filter filter = { .status = "ready", .limit = -1 };
	CLEANUP(json_freep) json_t *groups = NULL;
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	int r = view_open(&db, w->place->db_path, DOCTOR_TASKS_BUSY_MS, &e);

	if (r == 0)
		r = view_tasks(db, &filter, doctor_tasks_row, w, &e);
	if (r == 0)
		r = waiting_count(rules_of(w->rules, w->place, db, &e), &groups);
	/* a board that cannot be read is told by the check of boards */
	if (r == 0)
		doctor_tasks_say(w, groups);
	w->d->memory |= r == -ENOMEM;
	free(w->worktree);
	w->worktree = NULL;
	w->worktrees = 0;
}

static bool doctor_tasks_git(const struct doctor *d)
{
	const char *path = ctl_env(d->ctl, "PATH");
	CLEANUP(freep) char *file = NULL;

	return spawn_find("git", path ? path : "/usr/bin:/bin", &file) == 0;
}

void doctor_tasks(struct doctor *d)
{
	CLEANUP(discovery_deinit) struct discovery disc = { .no_wal = true };
	CLEANUP(rules_close) struct rules rules = { .config = NULL };
	struct doctor_waiting w = { .d = d, .rules = &rules, .git = doctor_tasks_git(d) };
	size_t before = json_array_size(d->checks);
	struct error e = ERROR_NULL;

	/* both are told by checks of their own */
	if (rules_load(&rules, d->ctl, d->config_file, d->root, &e) < 0 ||
	    discover_boards(&disc, d->root, NULL, &e) < 0)
		return;
	for (size_t i = 0; i < disc.count; i++) {
		w.place = &disc.boards[i];
		if (w.place->db_exists && !w.place->archived && !*w.place->duplicate_of)
			doctor_tasks_board(&w);
	}
	if (json_array_size(d->checks) != before)
		return;
	if (w.ready == 0)
		doctor_well(d, "tasks", NULL, "none is ready");
	else
		doctor_well(d, "tasks", NULL,
			    w.ready == 1 ? "%lld is ready, and somebody can start it"
					 : "%lld are ready, and somebody can start each",
			    (long long)w.ready);
}
