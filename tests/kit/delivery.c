#include "delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <syslog.h>
#include <unistd.h>

#include "board/edit.h"
#include "board/subs.h"
#include "rows.h"
#include "tick/tick.h"
#include "util/fs.h"

struct world world;

static const char *const delivery_slugs[WORLD_BOARDS] = { "b", "c" };

/* What the end cuts off: as many messages as children are at work, one letter each. */
static void delivery_die(void)
{
	struct notify_status st = { 0 };
	FILE *f = fopen(folder_path("cut"), "ae");

	ck_assert_ptr_nonnull(f);
	if (world.n)
		notify_get_status(world.n, &st);
	for (unsigned i = 0; i < st.sending; i++)
		(void)fputc('x', f);
	(void)fclose(f);
	_exit(77);
}

void delivery_step(void)
{
	if (++world.steps == world.die_at)
		delivery_die();
}

void sql_on(int board, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	rows_vrun(db_handle(world.db[board]), fmt, ap);
	va_end(ap);
}

int64_t value_on(int board, const char *fmt, ...)
{
	va_list ap;
	int64_t v;

	va_start(ap, fmt);
	v = rows_vint(db_handle(world.db[board]), fmt, ap);
	va_end(ap);
	return v;
}

void add_task(int board, const char *id, const char *status, const char *chat)
{
	sql_on(board,
	       "INSERT INTO tasks (id, title, status, created_at) VALUES (%Q, %Q, %Q, 1);"
	       "INSERT INTO kanban_notify_subs (task_id, platform, chat_id, created_at)"
	       " VALUES (%Q, 'telegram', %Q, 1)",
	       id, id, status, id, chat);
}

int64_t add_event_at(int board, const char *id, const char *kind, const char *payload,
		     int64_t at)
{
	sql_on(board,
	       "INSERT INTO task_events (task_id, kind, payload, created_at)"
	       " VALUES (%Q, %Q, %Q, %lld)",
	       id, kind, payload, (long long)at);
	world.want[board] = world.look[board] = true;
	return value_on(board, "SELECT max(id) FROM task_events");
}

int64_t add_event(int board, const char *id, const char *kind)
{
	return add_event_at(board, id, kind, NULL, world.wall);
}

int64_t cursor_of(int board, const char *id)
{
	return value_on(board,
			"SELECT last_event_id FROM kanban_notify_subs WHERE task_id = %Q", id);
}

static bool delivery_owner(void *arg, struct error *why)
{
	(void)arg;
	(void)why;
	return true;
}

static bool delivery_owns(void *arg, const char *profile)
{
	(void)arg;
	return gateways_owns(world.gateways, profile);
}

/* a visit, as the root makes it */
struct delivery_visit {
	int board;
	struct notify_item *items[5000];
	bool sure[5000];
	size_t n_items;
};

static struct notify_visit *delivery_visiting;

static int64_t delivery_waits(void *arg, const char *profile, const struct subs_key *key)
{
	(void)arg;
	return notify_visit_waits(delivery_visiting, profile, key);
}

static int delivery_claimed(void *arg, struct subs_claim *claims, size_t n, struct error *e)
{
	struct delivery_visit *w = arg;
	size_t from = w->n_items;

	delivery_step();
	if (world.intent_fails)
		return error_set(e, -ENOSPC, "no room");
	for (size_t i = 0; i < n; i++) {
		struct subs_claim *c = &claims[i];
		const struct notify_about about = { .board = delivery_slugs[w->board],
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
	delivery_step();
	return 0;
}

static void delivery_committed(void *arg, struct subs_claim *claims, size_t n, int r)
{
	struct delivery_visit *w = arg;
	struct error e = ERROR_NULL;

	(void)claims;
	ck_assert_int_eq(r, 0);
	delivery_step();
	ck_assert_int_eq(notify_items_mark(world.outbox, w->items + w->n_items - n, n, &e), 0);
	for (size_t i = w->n_items - n; i < w->n_items; i++)
		w->sure[i] = true;
	delivery_step();
}

void delivery_visit(int board)
{
	static const struct tick_host host = { .owner = delivery_owner };
	struct delivery_visit *w = calloc(1, sizeof(*w));
	struct notify_visit v;
	struct subs_request rq = { .now = world.wall,
				   .look = world.look[board],
				   .full = true,
				   .owns = delivery_owns,
				   .waits = delivery_waits,
				   .claimed = delivery_claimed,
				   .committed = delivery_committed,
				   .arg = w };
	struct subs_result res = { 0 };
	struct error e = ERROR_NULL;
	int r;

	world.want[board] = world.look[board] = false;
	world.looks += rq.look;
	w->board = board;
	ck_assert_int_eq(notify_visit_begin(world.n, delivery_slugs[board], &v), 0);
	delivery_visiting = &v;
	rq.n_holds = v.n_holds;
	rq.holds = v.holds;
	rq.n_ops = v.n_ops;
	rq.ops = v.ops;
	r = subs_run(world.db[board], &host, &rq, &res, &e);
	ck_assert_msg(r == 0 || world.intent_fails, "%s", e.text);
	delivery_step();
	for (size_t i = 0; i < w->n_items; i++)
		notify_claimed(world.n, w->items[i], w->sure[i]);
	if (rq.look && res.looked)
		(void)notify_skipped(world.n, delivery_slugs[board], res.skips, res.n_skips);
	if (res.held_until && (!world.held[board] || res.held_until < world.held[board]))
		world.held[board] = res.held_until;
	if (res.more)
		world.want[board] = world.look[board] = true;
	notify_visit_end(world.n, delivery_slugs[board], &v,
			 rq.look && res.looked && !res.more);
	subs_result_deinit(&res);
	free(w);
}

static void delivery_arrived(const struct delivery_send *s)
{
	int fd = open(folder_path("arrived"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	char line[5000];
	int len = snprintf(line, sizeof(line), "%s %s", s->target, s->text);

	for (char *p = line; *p; p++)
		*p = *p == '\n' ? '|' : *p;
	line[len] = '\n';
	ck_assert_int_eq(write(fd, line, (size_t)len + 1), len + 1);
	ck_assert_int_eq(close(fd), 0);
}

static int delivery_start(void *arg, const struct notify_message *m, notify_ended_fn done,
			  void *done_arg, void **handle)
{
	struct delivery_send *s = world.sends;

	(void)arg;
	while (s->used)
		s++;
	*s = (struct delivery_send){ .used = true, .done = done, .done_arg = done_arg };
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

static void delivery_kill(void *arg, void *handle, const char *reason)
{
	struct delivery_send *s = handle;

	(void)arg;
	ck_assert(s->used);
	ck_assert_str_eq(s->killed, "");
	(void)snprintf(s->killed, sizeof(s->killed), "%s", reason);
}

bool delivery_children(void)
{
	bool any = false;

	for (size_t i = 0; i < WORLD_SENDS; i++) {
		struct delivery_send *s = &world.sends[i];
		struct notify_ending e = { .fate = NOTIFY_RETRY };
		enum delivery_answer a;

		if (!s->used)
			continue;
		a = world.answer ? world.answer(s->target, s->text) : WORLD_TAKE;
		if (!s->killed[0] && a == WORLD_HANG)
			continue;
		(void)snprintf(e.reason, sizeof(e.reason), "%s",
			       s->killed[0] ? s->killed : "chat says no");
		if (!s->killed[0]) {
			delivery_step();
			if (a == WORLD_TAKE)
				delivery_arrived(s);
			e.fate = a == WORLD_TAKE   ? NOTIFY_DELIVERED
				 : a == WORLD_FAIL ? NOTIFY_RETRY
						   : NOTIFY_HOPELESS;
			delivery_step();
		}
		s->used = false;
		world.running--;
		any = true;
		s->done(s->done_arg, &e);
	}
	return any;
}

char *delivery_take(void)
{
	static char text[1000000];
	char *data = NULL;

	text[0] = '\0';
	if (fs_read_file(folder_path("arrived"), sizeof(text) - 1, &data, NULL) == 0) {
		(void)snprintf(text, sizeof(text), "%s", data);
		free(data);
		ck_assert_int_eq(remove(folder_path("arrived")), 0);
	}
	return text;
}

static uint64_t delivery_mono(void *arg)
{
	(void)arg;
	return world.mono;
}

static int64_t delivery_wall(void *arg)
{
	(void)arg;
	return world.wall;
}

static void delivery_call_visit(void *arg, const char *board, bool look)
{
	(void)arg;
	for (int i = 0; i < WORLD_BOARDS; i++)
		if (strcmp(board, delivery_slugs[i]) == 0) {
			world.want[i] = true;
			world.look[i] |= look;
		}
}

static void delivery_call_changed(void *arg)
{
	(void)arg;
}

static void delivery_call_log(void *arg, int priority, const char *id, const char *board,
			      const char *task, const char *text)
{
	size_t n = strlen(world.log);

	(void)arg;
	(void)id;
	(void)snprintf(world.log + n, sizeof(world.log) - n, "%d %s %s %s\n", priority,
		       board ? board : "-", task ? task : "-", text);
}

unsigned delivery_logged(const char *part)
{
	unsigned n = 0;

	for (const char *p = world.log; (p = strstr(p, part)); p++)
		n++;
	return n;
}

void delivery_open(void)
{
	const struct notify_sender sender = { delivery_start, delivery_kill, NULL };
	const struct notify_calls calls = { delivery_call_visit, delivery_call_changed,
					    delivery_call_log, NULL };
	const struct notify_clock clock = { delivery_mono, delivery_wall, NULL };
	struct error e = ERROR_NULL;

	ck_assert_int_eq(uv_loop_init(&world.loop), 0);
	jobs_init(&world.jobs, &world.loop);
	ck_assert_msg(outbox_open(&world.outbox, folder_path("outbox"), NULL, &e) == 0, "%s",
		      e.text);
	ck_assert_int_eq(
		gateways_new(&world.gateways, folder_dir, NOTIFY_AUTO, delivery_mono, NULL), 0);
	for (int i = 0; i < WORLD_BOARDS; i++) {
		char *path = folder_path(i ? "c.db" : "b.db");
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

static void delivery_closed(void *arg)
{
	(void)arg;
	world.closed = true;
}

void delivery_close(void)
{
	world.closed = false;
	notify_close(world.n, delivery_closed, NULL);
	while (!world.closed) {
		(void)uv_run(&world.loop, UV_RUN_NOWAIT);
		(void)delivery_children();
	}
	ck_assert_int_eq(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&world.loop), 0);
	world.outbox = outbox_free(world.outbox);
	world.gateways = gateways_free(world.gateways);
	for (int i = 0; i < WORLD_BOARDS; i++)
		world.db[i] = db_free(world.db[i]);
	ck_assert_uint_eq(world.running, 0);
}

void delivery_reopen(void)
{
	delivery_close();
	delivery_open();
}

void delivery_setup(void)
{
	folder_setup();
	world.mono = 1000000;
	world.wall = 1800000000;
	world.settings = (struct notify_settings){ .concurrency = 4, .timeout_ms = 30000 };
	delivery_open();
}

void delivery_teardown(void)
{
	delivery_close();
	folder_teardown();
}

void delivery_settle(void)
{
	for (unsigned quiet = 0, turns = 0; quiet < 3; turns++) {
		bool any = false;

		ck_assert_uint_lt(turns, 200000);
		(void)notify_turn(world.n);
		(void)uv_run(&world.loop, UV_RUN_NOWAIT);
		while (world.jobs.count) {
			(void)uv_run(&world.loop, UV_RUN_ONCE);
			any = true;
			delivery_step();
		}
		any |= delivery_children();
		for (int i = 0; i < WORLD_BOARDS; i++)
			if (world.want[i] && !world.absent[i]) {
				delivery_visit(i);
				any = true;
			}
		quiet = any ? 0 : quiet + 1;
	}
}

void delivery_pass(int64_t seconds)
{
	uint64_t end = world.mono + (uint64_t)seconds * 1000;

	delivery_settle();
	while (world.mono < end) {
		uint64_t due = notify_turn(world.n),
			 to = due > world.mono && due < end ? due : end;

		world.wall += (int64_t)((to - 1000000) / 1000) -
			      (int64_t)((world.mono - 1000000) / 1000);
		world.mono = to;
		for (int i = 0; i < WORLD_BOARDS; i++)
			if (world.held[i] && world.held[i] <= world.wall) {
				world.held[i] = 0;
				world.want[i] = world.look[i] = true;
			}
		delivery_settle();
	}
}

static int delivery_count(void *arg, const char *key, const json_t *value)
{
	(void)value;
	(void)key;
	++*(unsigned *)arg;
	return 0;
}

unsigned delivery_entries(void)
{
	unsigned n = 0;

	ck_assert_int_eq(outbox_each(world.outbox, delivery_count, &n), 0);
	return n;
}
