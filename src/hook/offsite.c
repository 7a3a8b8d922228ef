/*
 * Running snapshot_command.
 *
 * Happy path: offsite_copy() notes the snapshot at its board; when none runs, the board that
 * waits longest has its turn: {snapshot} and the others are put into copies of the words, and
 * the child is started (process/child.h). Its end is noted at the board.
 *
 * Failure modes: a child that fails is told once; the next snapshot is the next try. A board
 * that is gone keeps its line until the daemon ends.
 */
#include "hook/offsite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "process/child.h"
#include "process/environ.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

struct copy {
	struct copy *next;
	struct offsite *offsite;
	char *root, *board;
	/* what waits; path NULL: nothing */
	char *path;
	char **command;
	struct environment *environment;
	uint64_t timeout_ms;
	uint64_t turn; /* of its waiting */
	/* what runs */
	struct environment *used;
	struct child *child;
	/* what came of it */
	int64_t at, failing_at;
	uint64_t ok, failed;
	char error[ERROR_TEXT_MAX / 2];
};

struct offsite {
	struct uv_loop_s *loop;
	struct jobs *jobs;
	char *const *inherited;
	struct copy *list;
	struct copy *running;
	uint64_t turns;
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void offsite_next(struct offsite *c);

static void copy_words_free(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}

static void copy_forget(struct copy *k)
{
	free(k->path);
	copy_words_free(k->command);
	environ_free(k->environment);
	k->path = NULL;
	k->command = NULL;
	k->environment = NULL;
}

static void offsite_free(struct offsite *c)
{
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	while (c->list) {
		struct copy *k = c->list;

		c->list = k->next;
		copy_forget(k);
		environ_free(k->used);
		free(k->root);
		free(k->board);
		free(k);
	}
	free(c);
	closed(arg);
}

/* ---- the words ---- */

/* @word with each {name} replaced; malloc'd. */
static char *copy_word(const char *word, const struct offsite_order *o)
{
	const struct {
		const char *name, *value;
	} known[] = { { "{root}", o->root },
		      { "{board}", o->board },
		      { "{snapshot}", o->path } };
	char *text = strdup("");

	while (text && *word) {
		size_t n = 1, skip = 1;
		const char *from = word;
		char *more;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (strncmp(word, known[i].name, strlen(known[i].name)) == 0) {
				from = known[i].value;
				n = strlen(from);
				skip = strlen(known[i].name);
			}
		more = fs_path("%s%.*s", text, (int)n, from);
		free(text);
		text = more;
		word += skip;
	}
	return text;
}

static char **copy_words(const struct offsite_order *o)
{
	size_t n = 0;
	char **words;

	while (o->command[n])
		n++;
	words = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; words && i < n; i++) {
		words[i] = copy_word(o->command[i], o);
		if (!words[i]) {
			copy_words_free(words);
			return NULL;
		}
	}
	return words;
}

/* ---- running ---- */

static void copy_judge(struct copy *k, const struct child_end *end)
{
	const struct log_about about = { .root = k->root, .board = k->board };
	char why[ERROR_TEXT_MAX / 2];
	bool was_well = !k->error[0];

	child_sentence(end, why, sizeof(why));
	(void)snprintf(k->error, sizeof(k->error), "%s", why);
	if (!why[0]) {
		k->ok++;
		k->at = clock_wall_s();
		k->failing_at = 0;
		if (!was_well)
			log_about(LOG_NOTICE, &about, "snapshots of board %s are copied again",
				  k->board);
		return;
	}
	k->failed++;
	if (!was_well)
		return;
	k->failing_at = clock_wall_s();
	log_about(LOG_WARNING, &about,
		  "the snapshot of board %s was not copied: snapshot_command: %s; the next "
		  "snapshot is the next try",
		  k->board, why);
}

static void copy_ended(void *arg, const struct child_end *end)
{
	struct copy *k = arg;
	struct offsite *c = k->offsite;

	k->child = NULL;
	k->used = environ_free(k->used);
	c->running = NULL;
	if (c->closing) {
		offsite_free(c);
		return;
	}
	copy_judge(k, end);
	offsite_next(c);
}

static void copy_run(struct copy *k)
{
	struct offsite *c = k->offsite;
	const struct environ_var vars[] = {
		{ "KANBAN_ROOT", k->root },
		{ "KANBAN_BOARD", k->board },
		{ "KANBAN_SNAPSHOT", k->path },
	};
	const struct child_how how = {
		.argv = (const char *const *)k->command,
		.environment = k->environment,
		.vars = vars,
		.n_vars = sizeof(vars) / sizeof(vars[0]),
		.limit_ms = k->timeout_ms,
		.whole = true,
	};
	int r = child_start(&k->child, c->loop, c->jobs, &how, copy_ended, k);

	if (r == 0) {
		c->running = k;
		k->used = STEAL(k->environment);
	} else {
		const struct child_end end = { .result = r,
					       .error = { r, "it could not be started", 0 } };

		copy_judge(k, &end);
	}
	copy_forget(k);
}

static void offsite_next(struct offsite *c)
{
	while (!c->running && !c->closing) {
		struct copy *best = NULL;

		for (struct copy *k = c->list; k; k = k->next)
			if (k->path && (!best || k->turn < best->turn))
				best = k;
		if (!best)
			return;
		copy_run(best);
	}
}

/* ---- the seam ---- */

static struct copy *offsite_of(struct offsite *c, const char *root, const char *board)
{
	struct copy *k = c->list;

	while (k && (strcmp(k->root, root) != 0 || strcmp(k->board, board) != 0))
		k = k->next;
	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->offsite = c;
	k->root = strdup(root);
	k->board = strdup(board);
	if (!k->root || !k->board) {
		free(k->root);
		free(k->board);
		free(k);
		return NULL;
	}
	k->next = c->list;
	c->list = k;
	return k;
}

int offsite_copy(struct offsite *c, const struct offsite_order *o)
{
	struct copy *k = c->closing ? NULL : offsite_of(c, o->root, o->board);

	if (c->closing)
		return 0;
	if (!k)
		return -ENOMEM;
	if (!k->path)
		k->turn = ++c->turns;
	copy_forget(k);
	k->timeout_ms = o->timeout_ms;
	k->command = copy_words(o);
	k->path = strdup(o->path);
	if (!k->command || !k->path ||
	    environ_new(&k->environment, c->inherited, o->pass) < 0) {
		copy_forget(k);
		return -ENOMEM;
	}
	offsite_next(c);
	return 0;
}

bool offsite_state(const struct offsite *c, size_t i, struct offsite_state *state)
{
	const struct copy *k = c ? c->list : NULL;

	while (k && i-- > 0)
		k = k->next;
	if (!k)
		return false;
	*state = (struct offsite_state){ .root = k->root,
					 .board = k->board,
					 .running = k->child || k->path,
					 .at = k->at,
					 .failing_at = k->failing_at,
					 .error = k->error[0] ? k->error : NULL,
					 .ok = k->ok,
					 .failed = k->failed };
	return true;
}

int offsite_new(struct offsite **out, struct uv_loop_s *loop, struct jobs *jobs,
		char *const *inherited)
{
	struct offsite *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->jobs = jobs;
	c->inherited = inherited;
	*out = c;
	return 0;
}

void offsite_close(struct offsite *c, void (*done)(void *arg), void *arg)
{
	if (!c) {
		done(arg);
		return;
	}
	c->closing = true;
	c->closed = done;
	c->closed_arg = arg;
	if (c->running)
		child_term(c->running->child);
	else
		offsite_free(c);
}
