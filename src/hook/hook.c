/*
 * Hooks: who is told of what, in which order, and what became of it.
 *
 * Happy path: hooks_tell() makes the event's JSON once and puts it into the queue of each hook
 * that asks for it; the first free place goes to the hook that was served longest ago. Its
 * child (process/child.h) reads the JSON, ends, and the next one is started.
 *
 * Failure modes: a child that cannot be started, fails, or takes too long is told once in the
 * log, and once again when the hook works. A queue that is full takes no more; what it missed
 * is counted and told with the next event.
 *
 * Reload: hooks are made anew; one of the same name takes over what waits. The child of one
 * that is gone runs to its end.
 */
#include "hook/hook.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "hook/hook_kind.h"
#include "process/child.h"
#include "process/environ.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"
#include "util/strv.h"

struct hook_item {
	struct hook_item *next;
	json_t *json;  /* shared by the hooks that are told */
	char *vars[6]; /* as hook_names[]; NULL: none */
};

static const char *const hook_names[] = { "KANBAN_EVENT", "KANBAN_ROOT", "KANBAN_BOARD",
					  "KANBAN_TASK",  "KANBAN_RUN",  "KANBAN_EPOCH" };

#define HOOK_VARS (sizeof(hook_names) / sizeof(hook_names[0]))

struct hook {
	struct hooks *hooks;
	char *name;
	char **events, **boards, **command; /* the first two: NULL is all */
	struct environment *environment;
	uint64_t timeout_ms;
	struct child *child; /* NULL: none runs */
	struct hook_item *first, *last;
	size_t waiting;
	uint64_t missed; /* since the last event that it was told */
	uint64_t turn;   /* when it was served last */
	uint64_t ok, failed, timed_out, dropped;
	char error[ERROR_TEXT_MAX / 2]; /* of the last child; "" it did well */
	bool told_full;                 /* that its queue is full */
	bool gone;                      /* not in the list any more */
};

struct hooks {
	uv_loop_t *loop;
	struct jobs *jobs;
	char *const *inherited;
	const char *host;
	struct hook *list[HOOKS_MAX];
	size_t n;
	unsigned running; /* children, also of those that are gone */
	uint64_t turns;
	struct hook *leaving[HOOKS_MAX * 2]; /* gone, and their child runs */
	int64_t tasks_since;                 /* see hooks_tasks_since() */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void hook_next(struct hooks *h);

/* ---- lists --------------------------------------------------------------------------- */

static char **hook_strv(const char *const *from, bool *ok)
{
	size_t n = 0;
	char **v;

	if (!from)
		return NULL;
	while (from[n])
		n++;
	v = calloc(n + 1, sizeof(char *));
	for (size_t i = 0; v && i < n; i++) {
		v[i] = strdup(from[i]);
		*ok = *ok && v[i];
	}
	*ok = *ok && v;
	return v;
}

static bool hook_listed(char *const *list, const char *word)
{
	for (; list && *list; list++)
		if (word && strcmp(*list, word) == 0)
			return true;
	return false;
}

/* ---- one hook ------------------------------------------------------------------------ */

static void hook_item_free(struct hook_item *item)
{
	for (size_t i = 0; i < HOOK_VARS; i++)
		free(item->vars[i]);
	json_decref(item->json);
	free(item);
}

static struct hook *hook_free(struct hook *k)
{
	if (!k)
		return NULL;
	while (k->first) {
		struct hook_item *item = k->first;

		k->first = item->next;
		hook_item_free(item);
	}
	(void)strv_free(k->events);
	(void)strv_free(k->boards);
	(void)strv_free(k->command);
	environ_free(k->environment);
	free(k->name);
	free(k);
	return NULL;
}

static struct hook *hook_new(struct hooks *h, const struct hook_def *def)
{
	struct hook *k = calloc(1, sizeof(*k));
	bool ok = true;

	if (!k)
		return NULL;
	k->hooks = h;
	k->name = strdup(def->name);
	k->events = hook_strv(def->events, &ok);
	k->boards = hook_strv(def->boards, &ok);
	k->command = hook_strv(def->command, &ok);
	k->timeout_ms = def->timeout_ms;
	if (!ok || !k->name || environ_new(&k->environment, h->inherited, def->pass) < 0)
		return hook_free(k);
	return k;
}

static struct hook_item *hook_take(struct hook *k)
{
	struct hook_item *item = k->first;

	k->first = item->next;
	if (!k->first)
		k->last = NULL;
	k->waiting--;
	return item;
}

static void hook_append(struct hook *k, struct hook_item *item)
{
	if (k->last)
		k->last->next = item;
	else
		k->first = item;
	k->last = item;
	k->waiting++;
}

/* ---- running ------------------------------------------------------------------------- */

static void hook_say(struct hook *k, int priority, const char *what)
{
	log_about(priority, NULL, "hook %s %s", k->name, what);
}

static void hook_judge(struct hook *k, const struct child_end *end)
{
	char why[ERROR_TEXT_MAX / 2], text[ERROR_TEXT_MAX];
	bool was_well = !k->error[0];

	child_sentence(end, why, sizeof(why));
	if (k->hooks->closing && end->killed)
		return;
	k->ok += !why[0];
	k->timed_out += end->timed_out;
	k->failed += why[0] && !end->timed_out;
	(void)snprintf(k->error, sizeof(k->error), "%s", why);
	if (why[0] && was_well) {
		(void)snprintf(
			text, sizeof(text),
			"fails: %s; what it missed is not told again, and this not until "
			"it works",
			why);
		hook_say(k, LOG_WARNING, text);
	} else if (!why[0] && !was_well) {
		hook_say(k, LOG_NOTICE, "works again");
	}
}

static void hooks_try_free(struct hooks *h)
{
	void (*closed)(void *arg) = h->closed;
	void *arg = h->closed_arg;

	if (!h->closing || h->running > 0)
		return;
	for (size_t i = 0; i < h->n; i++)
		hook_free(h->list[i]);
	free(h);
	closed(arg);
}

/* Whose counts a child of @k goes into: its own, or, after a reload, those of whoever has its
 * name. Or NULL. */
static struct hook *hook_counts(const struct hooks *h, struct hook *k)
{
	if (!k->gone)
		return k;
	for (size_t i = 0; i < h->n; i++)
		if (strcmp(h->list[i]->name, k->name) == 0)
			return h->list[i];
	return NULL;
}

static void hook_ended(void *arg, const struct child_end *end)
{
	struct hook *k = arg, *counts;
	struct hooks *h = k->hooks;

	k->child = NULL;
	h->running--;
	counts = hook_counts(h, k);
	if (counts)
		hook_judge(counts, end);
	for (size_t i = 0; k->gone && i < HOOKS_MAX * 2; i++)
		if (h->leaving[i] == k)
			h->leaving[i] = NULL;
	if (k->gone)
		hook_free(k);
	hook_next(h);
	hooks_try_free(h);
}

/* Its JSON, with what was missed before it. */
static char *hook_text(struct hook *k, const struct hook_item *item)
{
	CLEANUP(json_freep) json_t *json = json_copy(item->json);
	CLEANUP(freep) char *text = NULL;
	char *line;

	if (json_object_set_new(json, "hook", json_string(k->name)) < 0 ||
	    json_object_set_new(json, "missed", json_integer((json_int_t)k->missed)) < 0)
		return NULL;
	text = json_plain(json, JSON_COMPACT);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		return NULL;
	return line;
}

static void hook_run(struct hook *k)
{
	struct hooks *h = k->hooks;
	struct hook_item *item = hook_take(k);
	CLEANUP(freep) char *text = hook_text(k, item);
	struct environ_var vars[HOOK_VARS];
	const struct child_how how = {
		.argv = (const char *const *)k->command,
		.environment = k->environment,
		.vars = vars,
		.n_vars = HOOK_VARS,
		.input = text,
		.limit_ms = k->timeout_ms,
		.whole = true,
	};
	int r = text ? 0 : -ENOMEM;

	for (size_t i = 0; i < HOOK_VARS; i++)
		vars[i] = (struct environ_var){ hook_names[i], item->vars[i] };
	if (r == 0)
		r = child_start(&k->child, h->loop, h->jobs, &how, hook_ended, k);
	k->turn = ++h->turns;
	hook_item_free(item);
	if (r == 0) {
		h->running++;
		k->missed = 0;
		return;
	}
	k->dropped++;
	k->missed++;
}

/* Does a child of it run, if only one from before a reload. */
static bool hook_runs(const struct hooks *h, const struct hook *k)
{
	for (size_t i = 0; i < HOOKS_MAX * 2; i++)
		if (h->leaving[i] && strcmp(h->leaving[i]->name, k->name) == 0)
			return true;
	return k->child != NULL;
}

/* Who waits, and was served longest ago. */
static struct hook *hook_whose_turn(const struct hooks *h)
{
	struct hook *best = NULL;

	for (size_t i = 0; i < h->n; i++) {
		struct hook *k = h->list[i];

		if (k->first && !hook_runs(h, k) && (!best || k->turn < best->turn))
			best = k;
	}
	return best;
}

static void hook_next(struct hooks *h)
{
	struct hook *k;

	while (!h->closing && h->running < HOOK_RUNNING_MAX && (k = hook_whose_turn(h)))
		hook_run(k);
}

/* ---- events -------------------------------------------------------------------------- */

static json_t *hook_number(int64_t n)
{
	return n ? json_integer(n) : json_null();
}

static json_t *hook_payload(const char *text)
{
	json_t *json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	return json ? json : json_null();
}

static json_t *hook_json(const struct hooks *h, const struct hook_event *e)
{
	return json_pack("{s:s, s:f, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "event",
			 e->kind, "at", (double)e->at_us / 1e6, "host", h->host, "root",
			 json_utf8(e->root), "board", json_utf8(e->board), "task",
			 json_utf8(e->task), "run", hook_number(e->run), "epoch",
			 hook_number(e->epoch), "message", json_utf8(e->message), "payload",
			 hook_payload(e->payload), "path", json_utf8(e->path));
}

static char *hook_number_text(int64_t n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRId64, n);
	return n ? strdup(text) : NULL;
}

/* NULL: out of memory. */
static struct hook_item *hook_item_new(const struct hook_event *e, json_t *json)
{
	struct hook_item *item = calloc(1, sizeof(*item));
	const char *const texts[] = { e->kind, e->root, e->board, e->task };

	if (!item)
		return NULL;
	item->json = json_incref(json);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		item->vars[i] = texts[i] ? strdup(texts[i]) : NULL;
		if (texts[i] && !item->vars[i]) {
			hook_item_free(item);
			return NULL;
		}
	}
	item->vars[4] = hook_number_text(e->run); /* a convenience: the JSON has them too */
	item->vars[5] = hook_number_text(e->epoch);
	return item;
}

static bool hook_asks(const struct hook *k, const struct hook_event *e)
{
	return (!k->events || hook_listed(k->events, e->kind)) &&
	       (!k->boards || hook_listed(k->boards, e->board));
}

static void hook_drop(struct hook *k)
{
	k->dropped++;
	k->missed++;
	if (!k->told_full)
		hook_say(k, LOG_WARNING,
			 "is behind: events for it are dropped, and counted in what it is told "
			 "next");
	k->told_full = true;
}

void hooks_tell(struct hooks *h, const struct hook_event *e)
{
	CLEANUP(json_freep) json_t *json = NULL;

	if (!h || h->closing)
		return;
	for (size_t i = 0; i < h->n; i++) {
		struct hook *k = h->list[i];
		struct hook_item *item;

		if (!hook_asks(k, e))
			continue;
		if (!json)
			json = hook_json(h, e);
		item = json && k->waiting < HOOK_QUEUE_MAX ? hook_item_new(e, json) : NULL;
		if (!item) {
			hook_drop(k);
			continue;
		}
		if (k->waiting == 0)
			k->told_full = false;
		hook_append(k, item);
	}
	if (json)
		hook_next(h);
}

static bool hooks_want_tasks(const struct hooks *h)
{
	for (size_t i = 0; h && i < h->n; i++) {
		char *const *events = h->list[i]->events;

		if (!events)
			return true;
		for (; *events; events++) {
			const struct hook_kind *kind = hook_kind_find(*events);

			if (kind && kind->source == HOOK_TASK)
				return true;
		}
	}
	return false;
}

int64_t hooks_tasks_since(const struct hooks *h)
{
	return h ? h->tasks_since : 0;
}

bool hooks_state(const struct hooks *h, size_t i, struct hook_state *state)
{
	const struct hook *k = h && i < h->n ? h->list[i] : NULL;

	if (!k)
		return false;
	*state = (struct hook_state){ .name = k->name,
				      .running = k->child != NULL,
				      .waiting = k->waiting,
				      .ok = k->ok,
				      .failed = k->failed,
				      .timed_out = k->timed_out,
				      .dropped = k->dropped,
				      .error = k->error[0] ? k->error : NULL };
	return true;
}

/* ---- all of them --------------------------------------------------------------------- */

int hooks_new(struct hooks **out, uv_loop_t *loop, struct jobs *jobs, char *const *inherited,
	      const char *host)
{
	struct hooks *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->loop = loop;
	h->jobs = jobs;
	h->inherited = inherited;
	h->host = host;
	*out = h;
	return 0;
}

/* @k takes the place of @old: what waits for that is told to it, and its counts go on. */
static void hook_inherit(struct hook *k, struct hook *old)
{
	k->first = STEAL(old->first);
	k->last = STEAL(old->last);
	k->waiting = old->waiting;
	old->waiting = 0;
	k->missed = old->missed;
	k->ok = old->ok;
	k->failed = old->failed;
	k->timed_out = old->timed_out;
	k->dropped = old->dropped;
}

/* It goes, at once or when its child has ended. */
static void hook_leave(struct hooks *h, struct hook *k)
{
	k->gone = true;
	if (!k->child) {
		hook_free(k);
		return;
	}
	for (size_t i = 0; i < HOOKS_MAX * 2; i++)
		if (!h->leaving[i]) {
			h->leaving[i] = k;
			return;
		}
}

int hooks_set(struct hooks *h, const struct hook_def *defs, size_t n)
{
	struct hook *list[HOOKS_MAX] = { NULL };

	if (n > HOOKS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n; i++) {
		list[i] = hook_new(h, &defs[i]);
		if (!list[i]) {
			while (i > 0)
				hook_free(list[--i]);
			return -ENOMEM;
		}
	}
	for (size_t i = 0; i < h->n; i++) {
		for (size_t k = 0; k < n; k++)
			if (strcmp(list[k]->name, h->list[i]->name) == 0)
				hook_inherit(list[k], h->list[i]);
		hook_leave(h, h->list[i]);
	}
	memcpy(h->list, list, sizeof(list));
	h->n = n;
	if (!hooks_want_tasks(h))
		h->tasks_since = 0;
	else if (!h->tasks_since)
		h->tasks_since = clock_wall_s();
	hook_next(h);
	return 0;
}

void hooks_close(struct hooks *h, void (*done)(void *arg), void *arg)
{
	if (!h) {
		done(arg);
		return;
	}
	h->closing = true;
	h->closed = done;
	h->closed_arg = arg;
	for (size_t i = 0; i < h->n; i++)
		if (h->list[i]->child)
			child_term(h->list[i]->child);
	for (size_t i = 0; i < HOOKS_MAX * 2; i++)
		if (h->leaving[i])
			child_term(h->leaving[i]->child);
	hooks_try_free(h);
}
