/*
 * A world for the notifier: real boards, the real outbox, a clock that is set by hand, and
 * chats that take, refuse or ignore messages as the test says. What was delivered is written to
 * a file at the moment of its arrival, so that it survives the end of the process, however that
 * comes.
 *
 * world_step() marks each point between two effects: a test may have the process end there.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>
#include <unistd.h>
#include <uv.h>

#include "board/edit.h"
#include "board/subs.h"
#include "db/db.h"
#include "folder.h"
#include "notify/notify.h"
#include "tick/tick.h"
#include "util/fs.h"

#define WORLD_BOARDS 2
#define WORLD_SENDS  64

/* One message that a child has. */
struct world_send {
	bool used;
	char target[200], text[4200];
	notify_ended_fn done;
	void *done_arg;
	char killed[128];
};

enum world_answer { WORLD_TAKE, WORLD_FAIL, WORLD_REFUSE, WORLD_HANG };

static struct {
	uv_loop_t loop;
	struct jobs jobs;
	struct outbox *outbox;
	struct gateways *gateways;
	struct notify *n;
	struct notify_settings settings;
	struct db *db[WORLD_BOARDS];
	bool want[WORLD_BOARDS], look[WORLD_BOARDS], absent[WORLD_BOARDS];
	struct world_send sends[WORLD_SENDS];
	unsigned running, running_max;
	uint64_t mono;
	int64_t wall;
	enum world_answer (*answer)(const char *target, const char *text);
	unsigned tries;    /* messages handed to children */
	int steps, die_at; /* the process ends at that step; 0: never */
	char log[20000];
	bool stopped, closed, intent_fails;
	unsigned looks;
} world;

static const char *const world_slugs[WORLD_BOARDS] = { "b", "c" };

/* What the end cuts off: as many messages as children are at work, one letter each. */
static inline void world_die(void)
{
	struct notify_status st = { 0 };
	FILE *f = fopen(help_path("cut"), "ae");

	ck_assert_ptr_nonnull(f);
	if (world.n)
		notify_get_status(world.n, &st);
	for (unsigned i = 0; i < st.sending; i++)
		(void)fputc('x', f);
	(void)fclose(f);
	_exit(77);
}

static inline void world_step(void)
{
	if (++world.steps == world.die_at)
		world_die();
}

/* ---- boards ------------------------------------------------------------------------------
 */

static inline void sql_on(int board, const char *fmt, ...)
{
	char *message = NULL, *text;
	va_list ap;

	va_start(ap, fmt);
	text = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	sqlite3_exec(db_handle(world.db[board]), text, NULL, NULL, &message);
	ck_assert_msg(!message, "%s: %s", text, message);
	sqlite3_free(text);
}

static inline int64_t value_on(int board, const char *fmt, ...)
{
	sqlite3_stmt *stmt = NULL;
	int64_t v = -1;
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	ck_assert_msg(sqlite3_prepare_v2(db_handle(world.db[board]), text, -1, &stmt, NULL) ==
			      SQLITE_OK,
		      "%s: %s", text, sqlite3_errmsg(db_handle(world.db[board])));
	if (sqlite3_step(stmt) == SQLITE_ROW)
		v = sqlite3_column_int64(stmt, 0);
	ck_assert_int_eq(sqlite3_finalize(stmt), SQLITE_OK);
	sqlite3_free(text);
	return v;
}

static inline void add_task(int board, const char *id, const char *status, const char *chat)
{
	sql_on(board,
	       "INSERT INTO tasks (id, title, status, created_at) VALUES (%Q, %Q, %Q, 1);"
	       "INSERT INTO kanban_notify_subs (task_id, platform, chat_id, created_at)"
	       " VALUES (%Q, 'telegram', %Q, 1)",
	       id, id, status, id, chat);
}

static inline int64_t add_event_at(int board, const char *id, const char *kind,
				   const char *payload, int64_t at)
{
	sql_on(board,
	       "INSERT INTO task_events (task_id, kind, payload, created_at)"
	       " VALUES (%Q, %Q, %Q, %lld)",
	       id, kind, payload, (long long)at);
	world.want[board] = world.look[board] = true;
	return value_on(board, "SELECT max(id) FROM task_events");
}

static inline int64_t add_event(int board, const char *id, const char *kind)
{
	return add_event_at(board, id, kind, NULL, world.wall);
}

static inline int64_t cursor_of(int board, const char *id)
{
	return value_on(board,
			"SELECT last_event_id FROM kanban_notify_subs WHERE task_id = %Q", id);
}

static inline bool world_owner(void *arg, struct error *why)
{
	(void)arg;
	(void)why;
	return true;
}

static inline bool world_owns(void *arg, const char *profile)
{
	(void)arg;
	return gateways_owns(world.gateways, profile);
}

/* ---- a visit, as the root makes it -------------------------------------------------------
 */

struct world_visit {
	int board;
	struct notify_item *items[5000];
	bool sure[5000];
	size_t n_items;
};

static inline int world_claimed(void *arg, struct subs_claim *claims, size_t n, struct error *e)
{
	struct world_visit *w = arg;
	size_t from = w->n_items;

	world_step();
	if (world.intent_fails)
		return error_set(e, -ENOSPC, "no room");
	for (size_t i = 0; i < n; i++) {
		struct subs_claim *c = &claims[i];
		const struct notify_about about = { .board = world_slugs[w->board],
						    .task = c->task,
						    .title = c->title,
						    .status = c->status,
						    .assignee = c->assignee,
						    .result = c->result };
		struct notify_item **item = &w->items[w->n_items++];

		ck_assert_int_eq(notify_item_new(item, &about, c->platform, c->chat, c->thread,
						 c->profile, c->old, c->new, c->row),
				 0);
		for (size_t k = 0; k < c->n_events; k++)
			ck_assert_int_eq(notify_item_add(*item, &about, c->events[k].id,
							 c->events[k].at, c->events[k].kind,
							 c->events[k].payload),
					 0);
		ck_assert_int_eq(notify_item_finish(*item), 0);
	}
	ck_assert_msg(notify_items_write(world.outbox, w->items + from, n, e) == 0, "%s",
		      e->text);
	world_step();
	return 0;
}

static inline void world_committed(void *arg, struct subs_claim *claims, size_t n, int r)
{
	struct world_visit *w = arg;
	struct error e = ERROR_NULL;

	(void)claims;
	ck_assert_int_eq(r, 0);
	world_step();
	ck_assert_int_eq(notify_items_mark(world.outbox, w->items + w->n_items - n, n, &e), 0);
	for (size_t i = w->n_items - n; i < w->n_items; i++)
		w->sure[i] = true;
	world_step();
}

static const enum subs_verb world_verbs[] = { SUBS_CHECK, SUBS_REWIND, SUBS_FINISH };
static const enum notify_answer world_answers[] = {
	[SUBS_UNANSWERED] = NOTIFY_UNANSWERED, [SUBS_DONE] = NOTIFY_DONE,
	[SUBS_AT_OLD] = NOTIFY_AT_OLD,         [SUBS_AT_NEW] = NOTIFY_AT_NEW,
	[SUBS_ELSEWHERE] = NOTIFY_ELSEWHERE,   [SUBS_GONE] = NOTIFY_GONE,
};

static inline void world_visit(int board)
{
	static const struct tick_outside outside = { .owner = world_owner };
	struct world_visit *w = calloc(1, sizeof(*w));
	struct notify_skip skips[20];
	struct notify_visit v;
	struct subs_request rq = { .now = world.wall,
				   .look = world.look[board],
				   .full = true,
				   .owns = world_owns,
				   .claimed = world_claimed,
				   .committed = world_committed,
				   .arg = w };
	struct subs_result res = { 0 };
	struct error e = ERROR_NULL;
	int r;

	world.want[board] = world.look[board] = false;
	world.looks += rq.look;
	w->board = board;
	ck_assert_int_eq(notify_visit_begin(world.n, world_slugs[board], &v), 0);
	rq.n_holds = v.n_holds;
	rq.holds = calloc(v.n_holds + 1, sizeof(*rq.holds));
	rq.n_ops = v.n_ops;
	rq.ops = calloc(v.n_ops + 1, sizeof(*rq.ops));
	for (size_t i = 0; i < v.n_holds; i++)
		rq.holds[i] = (struct subs_hold){
			.key = { v.holds[i].key.task, v.holds[i].key.platform,
				 v.holds[i].key.chat, v.holds[i].key.thread },
			.until = v.holds[i].until,
			.only = v.holds[i].only,
			.parked = v.holds[i].parked,
			.cursor = v.holds[i].cursor,
			.row = v.holds[i].row,
		};
	for (size_t i = 0; i < v.n_ops; i++)
		rq.ops[i] = (struct subs_op){
			.key = { v.ops[i].key->task, v.ops[i].key->platform, v.ops[i].key->chat,
				 v.ops[i].key->thread },
			.verb = world_verbs[v.ops[i].verb],
			.old = v.ops[i].old,
			.new = v.ops[i].new,
		};
	r = subs_run(world.db[board], &outside, &rq, &res, &e);
	ck_assert_msg(r == 0 || world.intent_fails, "%s", e.text);
	world_step();
	for (size_t i = 0; i < w->n_items; i++)
		notify_claimed(world.n, w->items[i], w->sure[i]);
	for (size_t i = 0; i < v.n_ops; i++)
		v.ops[i].answer = world_answers[rq.ops[i].answer];
	for (size_t i = 0; i < v.n_holds; i++) {
		v.holds[i].gone = rq.holds[i].gone;
		v.holds[i].used = rq.holds[i].used;
	}
	ck_assert_uint_le(res.n_skips, 20);
	for (size_t i = 0; i < res.n_skips; i++)
		skips[i] = (struct notify_skip){ res.skips[i].profile,
						 (enum notify_why)res.skips[i].why,
						 res.skips[i].count, res.skips[i].oldest };
	if (rq.look && res.looked)
		(void)notify_skipped(world.n, world_slugs[board], skips, res.n_skips);
	if (res.more)
		world.want[board] = world.look[board] = true;
	notify_visit_end(world.n, world_slugs[board], &v, rq.look && res.looked && !res.more);
	subs_result_deinit(&res);
	free(rq.holds);
	free(rq.ops);
	free(w);
}

/* ---- chats -------------------------------------------------------------------------------
 */

static inline void world_arrived(const struct world_send *s)
{
	int fd = open(help_path("arrived"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	char line[5000];
	int len = snprintf(line, sizeof(line), "%s %s", s->target, s->text);

	for (char *p = line; *p; p++)
		*p = *p == '\n' ? '|' : *p;
	line[len] = '\n';
	ck_assert_int_eq(write(fd, line, (size_t)len + 1), len + 1);
	ck_assert_int_eq(close(fd), 0);
}

static inline int world_start(void *arg, const struct notify_message *m, notify_ended_fn done,
			      void *done_arg, void **handle)
{
	struct world_send *s = world.sends;

	(void)arg;
	while (s->used)
		s++;
	*s = (struct world_send){ .used = true, .done = done, .done_arg = done_arg };
	(void)snprintf(s->target, sizeof(s->target), "%s/%s:%s%s%s", m->profile, m->platform,
		       m->chat, m->thread[0] ? ":" : "", m->thread);
	(void)snprintf(s->text, sizeof(s->text), "%s", m->text);
	world.running++;
	world.tries++;
	if (world.running > world.running_max)
		world.running_max = world.running;
	*handle = s;
	return 0;
}

static inline void world_kill(void *arg, void *handle, const char *reason)
{
	struct world_send *s = handle;

	(void)arg;
	ck_assert(s->used);
	ck_assert_str_eq(s->killed, "");
	(void)snprintf(s->killed, sizeof(s->killed), "%s", reason);
}

/* Let the children do what the test says. Return: did any end? */
static inline bool world_children(void)
{
	bool any = false;

	for (size_t i = 0; i < WORLD_SENDS; i++) {
		struct world_send *s = &world.sends[i];
		struct notify_ending e = { .fate = NOTIFY_RETRY };
		enum world_answer a;

		if (!s->used)
			continue;
		a = world.answer ? world.answer(s->target, s->text) : WORLD_TAKE;
		if (!s->killed[0] && a == WORLD_HANG)
			continue;
		(void)snprintf(e.reason, sizeof(e.reason), "%s",
			       s->killed[0] ? s->killed : "chat says no");
		if (!s->killed[0]) {
			world_step();
			if (a == WORLD_TAKE)
				world_arrived(s);
			e.fate = a == WORLD_TAKE   ? NOTIFY_DELIVERED
				 : a == WORLD_FAIL ? NOTIFY_RETRY
						   : NOTIFY_HOPELESS;
			world_step();
		}
		s->used = false;
		world.running--;
		any = true;
		s->done(s->done_arg, &e);
	}
	return any;
}

/* Everything that arrived, as lines; the file is emptied. */
static inline char *world_take(void)
{
	static char text[1000000];
	char *data = NULL;

	text[0] = '\0';
	if (fs_read_file(help_path("arrived"), sizeof(text) - 1, &data, NULL) == 0) {
		(void)snprintf(text, sizeof(text), "%s", data);
		free(data);
		ck_assert_int_eq(remove(help_path("arrived")), 0);
	}
	return text;
}

/* ---- the notifier ------------------------------------------------------------------------
 */

static inline uint64_t world_mono(void *arg)
{
	(void)arg;
	return world.mono;
}

static inline int64_t world_wall(void *arg)
{
	(void)arg;
	return world.wall;
}

static inline void world_call_visit(void *arg, const char *board, bool look)
{
	(void)arg;
	for (int i = 0; i < WORLD_BOARDS; i++)
		if (strcmp(board, world_slugs[i]) == 0) {
			world.want[i] = true;
			world.look[i] |= look;
		}
}

static inline void world_call_changed(void *arg)
{
	(void)arg;
}

static inline void world_call_log(void *arg, int priority, const char *id, const char *board,
				  const char *task, const char *text)
{
	size_t n = strlen(world.log);

	(void)arg;
	(void)id;
	(void)snprintf(world.log + n, sizeof(world.log) - n, "%d %s %s %s\n", priority,
		       board ? board : "-", task ? task : "-", text);
}

static inline unsigned world_logged(const char *part)
{
	unsigned n = 0;

	for (const char *p = world.log; (p = strstr(p, part)); p++)
		n++;
	return n;
}

static inline void world_open(void)
{
	const struct notify_sender sender = { world_start, world_kill, NULL };
	const struct notify_calls calls = { world_call_visit, world_call_changed,
					    world_call_log, NULL };
	const struct notify_clock clock = { world_mono, world_wall, NULL };
	struct error e = ERROR_NULL;

	ck_assert_int_eq(uv_loop_init(&world.loop), 0);
	jobs_init(&world.jobs, &world.loop);
	ck_assert_msg(outbox_open(&world.outbox, help_path("outbox"), NULL, &e) == 0, "%s",
		      e.text);
	ck_assert_int_eq(gateways_new(&world.gateways, help_dir, NOTIFY_AUTO, world_mono, NULL),
			 0);
	for (int i = 0; i < WORLD_BOARDS; i++) {
		char *path = help_path(i ? "c.db" : "b.db");
		const struct db_options opt = { .path = path, .busy_timeout_ms = 5000 };

		if (access(path, F_OK) < 0)
			ck_assert_msg(edit_create_board(path, false, &e) == 0, "%s", e.text);
		ck_assert_msg(db_open(&world.db[i], &opt, &e) == 0, "%s", e.text);
		/* these tests end processes, not machines */
		sql_on(i, "PRAGMA synchronous = OFF");
		world.want[i] = world.look[i] = true;
	}
	ck_assert_int_eq(notify_new(&world.n, &world.loop, &world.jobs, world.outbox,
				    world.gateways, &world.settings, &sender, &calls, &clock),
			 0);
}

static inline void world_closed(void *arg)
{
	(void)arg;
	world.closed = true;
}

/* Forget everything but the files. */
static inline void world_close(void)
{
	world.closed = false;
	notify_close(world.n, world_closed, NULL);
	while (!world.closed) {
		(void)uv_run(&world.loop, UV_RUN_NOWAIT);
		(void)world_children();
	}
	ck_assert_int_eq(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&world.loop), 0);
	world.outbox = outbox_free(world.outbox);
	world.gateways = gateways_free(world.gateways);
	for (int i = 0; i < WORLD_BOARDS; i++)
		world.db[i] = db_free(world.db[i]);
	ck_assert_uint_eq(world.running, 0);
}

static inline void world_reopen(void)
{
	world_close();
	world_open();
}

static inline void world_setup(void)
{
	help_setup();
	world.mono = 1000000;
	world.wall = 1800000000;
	world.settings = (struct notify_settings){ .concurrency = 4, .timeout_ms = 30000 };
	world_open();
}

static inline void world_teardown(void)
{
	world_close();
	help_teardown();
}

/* Until nothing happens any more at this moment of the clock. */
static inline void world_settle(void)
{
	for (unsigned quiet = 0, turns = 0; quiet < 3; turns++) {
		bool any = false;

		ck_assert_uint_lt(turns, 200000);
		(void)notify_turn(world.n);
		(void)uv_run(&world.loop, UV_RUN_NOWAIT);
		while (world.jobs.count) {
			(void)uv_run(&world.loop, UV_RUN_ONCE);
			any = true;
			world_step();
		}
		any |= world_children();
		for (int i = 0; i < WORLD_BOARDS; i++)
			if (world.want[i] && !world.absent[i]) {
				world_visit(i);
				any = true;
			}
		quiet = any ? 0 : quiet + 1;
	}
}

/* Let the time pass, turn by turn as the notifier asks for them. */
static inline void world_pass(int64_t seconds)
{
	uint64_t end = world.mono + (uint64_t)seconds * 1000;

	world_settle();
	while (world.mono < end) {
		uint64_t due = notify_turn(world.n),
			 to = due > world.mono && due < end ? due : end;

		world.wall += (int64_t)((to - 1000000) / 1000) -
			      (int64_t)((world.mono - 1000000) / 1000);
		world.mono = to;
		world_settle();
	}
}

static inline int world_count(void *arg, const char *key, const json_t *value)
{
	(void)value;
	(void)key;
	++*(unsigned *)arg;
	return 0;
}

/* Entries of the outbox. */
static inline unsigned world_entries(void)
{
	unsigned n = 0;

	ck_assert_int_eq(outbox_each(world.outbox, world_count, &n), 0);
	return n;
}
