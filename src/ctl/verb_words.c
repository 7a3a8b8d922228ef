/*
 * words: names, one a line, for completion in shells and for scripts. It must be quick and must
 * not change anything, and what it prints is put on a command line: so boards are only listed,
 * not opened, and a name with anything in it that a shell could take for more than a name is
 * left out.
 */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "board/view.h"
#include "ctl.h"
#include "db/db.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/printable.h"

#define WORDS_TASKS 500 /* most; who has more types a letter first */
#define WORDS_TITLE 60  /* characters of a title */

/* Nothing that any shell reads as more than a name. */
static bool words_plain(const char *word)
{
	return *word && *word != '-' &&
	       strspn(word,
		      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") ==
		       strlen(word);
}

static int words_verbs(struct ctl *ctl)
{
	for (const struct ctl_verb *const *v = ctl->verbs; *v; v++)
		if ((*v)->group != CTL_HIDDEN)
			(void)fprintf(ctl->out, "%s\t%s\n", (*v)->name, (*v)->what);
	return CTL_OK;
}

/* The options that @name has of its own: "--name=VALUE<TAB>what" */
static int words_options(struct ctl *ctl, char *name)
{
	const struct ctl_verb *verb = ctl_verb_find(ctl, name);
	char *ask[] = { name, NULL };

	if (!verb)
		return CTL_OK;
	ctl->verb = verb;
	ctl->describe = true;
	return verb->run(ctl, 1, ask);
}

/* What the arguments of @name are, one a line: BOARD, TASK, TASK:STATUS, FOLDER … */
static int words_arguments(struct ctl *ctl, const char *name)
{
	const struct ctl_verb *verb = ctl_verb_find(ctl, name);
	const char *s = !verb ? "" : verb->complete ? verb->complete : verb->args;

	while (*s) {
		size_t n = strcspn(s, " []");

		if (n > 0)
			(void)fprintf(ctl->out, "%.*s\n", (int)n, s);
		s += n + (s[n] != '\0');
	}
	return CTL_OK;
}

static int words_boards(struct ctl *ctl)
{
	CLEANUP(discovery_deinit) struct discovery d = { .no_wal = true };
	CLEANUP(freep) char *root = NULL;
	struct error e = ERROR_NULL;
	int r = ctl_root(ctl, &root);

	if (r != 0)
		return r;
	r = discover_boards(&d, root, NULL, &e);
	if (r < 0)
		return ctl_fail(ctl, r, &e);
	for (size_t i = 0; i < d.count; i++)
		(void)fprintf(ctl->out, "%s\n", d.boards[i].slug);
	return CTL_OK;
}

static int words_profiles(struct ctl *ctl)
{
	CLEANUP(freep) char *root = NULL;
	CLEANUP(freep) char *path = NULL;
	struct dirent *entry;
	DIR *dir;
	int r = ctl_root(ctl, &root);

	if (r != 0)
		return r;
	path = fs_path("%s/profiles", root);
	if (!path)
		return ctl_say(ctl, CTL_IO, "out of memory");
	(void)fputs("default\n", ctl->out);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (fs_is_slug(entry->d_name) && strcmp(entry->d_name, "default") != 0)
			(void)fprintf(ctl->out, "%s\n", entry->d_name);
	if (dir)
		(void)closedir(dir); /* it was only read */
	return CTL_OK;
}

static int words_statuses(struct ctl *ctl)
{
	for (size_t i = 0; i < VIEW_STATUSES; i++)
		(void)fprintf(ctl->out, "%s\n", view_statuses[i]);
	return CTL_OK;
}

static int words_task(void *arg, json_t *row)
{
	const struct ctl *ctl = arg;
	const char *id = json_text(row, "id"), *title = json_text(row, "title");
	CLEANUP(freep) char *text = printable_text(title, strlen(title), WORDS_TITLE, 0);

	if (!text)
		return -ENOMEM;
	if (words_plain(id))
		(void)fprintf(ctl->out, "%s\t%s\n", id, text);
	return 0;
}

static int words_tasks(struct ctl *ctl, const char *status)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	const struct view_filter filter = { .status = status, .limit = WORDS_TASKS };
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	int r = ctl_place(ctl, &place);

	if (r == 0)
		r = ctl_open(ctl, &place, false, &db);
	if (r != 0)
		return r;
	r = view_tasks(db, &filter, words_task, ctl, &e);
	return r != 0 ? ctl_fail(ctl, r, &e) : CTL_OK;
}

static int verb_words_run(struct ctl *ctl, int argc, char **argv)
{
	char **args;

	if (!ctl_args(ctl, NULL, argc, argv, 1, 2, &args))
		return ctl->exit;
	if (strcmp(args[0], "tasks") == 0)
		return words_tasks(ctl, args[1]);
	if (strcmp(args[0], "options") == 0)
		return words_options(ctl, args[1]);
	if (strcmp(args[0], "arguments") == 0)
		return words_arguments(ctl, args[1]);
	if (args[1])
		return ctl_say(ctl, CTL_USAGE, "\"%s\" is one argument too many", args[1]);
	if (strcmp(args[0], "verbs") == 0)
		return words_verbs(ctl);
	if (strcmp(args[0], "boards") == 0)
		return words_boards(ctl);
	if (strcmp(args[0], "profiles") == 0)
		return words_profiles(ctl);
	if (strcmp(args[0], "statuses") == 0)
		return words_statuses(ctl);
	return ctl_say(ctl, CTL_USAGE,
		       "there are verbs, options, arguments, boards, tasks, profiles and "
		       "statuses, not \"%s\"",
		       args[0]);
}

static const struct ctl_verb verb_words = {
	.name = "words",
	.args = "KIND [VERB|STATUS]",
	.what = "names, one a line, for completion and scripts",
	.group = CTL_HIDDEN,
	.rank = 10,
	.complete = "verbs|options|arguments|boards|tasks|profiles|statuses",
	.run = verb_words_run,
};
CTL_VERB(verb_words);
