/* The control API of a running daemon: what it shows, and that what is asked of it happens. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/rig.h"
#include "kit/web.h"

static bool healthy(const char *slug)
{
	struct web_answer *a = web_get(rig_printf("/v1/boards/%s", slug));

	return a->status == 200 && !strcmp(web_text(a->json, "health"), "healthy");
}

/* ---- reading ------------------------------------------------------------------------- */

START_TEST(api_status)
{
	struct rig_daemon *d;
	json_t *s;

	rig_board("default", RIG_WAL);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	rig_add("default", .id = "t_2", .status = "todo");
	rig_link("default", "t_1", "t_2");
	d = rig_start();
	(void)rig_ran("t_1");
	RIG_UNTIL(web_int(web_json(web_get("/v1/status"), 200), "roots.0.boards.0.running") ==
			  1,
		  5000);
	s = web_json(web_get("/v1/status"), 200);
	ck_assert_int_eq(web_int(s, "pid"), d->pid);
	ck_assert_str_eq(web_text(s, "host"), rig.host);
	ck_assert_str_eq(web_text(s, "socket"), web_socket());
	ck_assert(web_true(s, "well"));
	ck_assert(json_is_null(web_member(s, "draining")));
	ck_assert_int_eq(web_int(s, "limits.max_in_progress"), 1000);
	ck_assert_int_eq(web_int(s, "limits.in_progress"), 1);
	ck_assert_int_gt(web_int(s, "rss_bytes"), 1000000);
	ck_assert_ptr_nonnull(strstr(web_text(s, "sentence"), "owner of"));
	ck_assert_str_eq(web_text(s, "roots.0.root"), rig.root);
	ck_assert_str_eq(web_text(s, "roots.0.role"), "owner");
	ck_assert_int_eq(web_int(s, "roots.0.epoch"), rig_epoch());
	ck_assert_int_eq(web_int(s, "roots.0.leader.pid"), d->pid);
	ck_assert_str_eq(web_text(s, "roots.0.leader.owner.socket"), web_socket());
	ck_assert_int_eq(web_int(s, "roots.0.tasks.running"), 1);
	ck_assert_int_eq(web_int(s, "roots.0.tasks.todo"), 1);
	ck_assert_int_eq(web_int(s, "roots.0.tasks.total"), 2);
	ck_assert_str_eq(web_text(s, "roots.0.boards.0.slug"), "default");
	ck_assert_str_eq(web_text(s, "roots.0.boards.0.journal_mode"), "wal");
	ck_assert_int_eq(web_int(s, "roots.0.boards.0.workers"), 1);
	s = web_json(web_get("/v1/status?tasks=no"), 200);
	ck_assert(json_is_null(web_member(s, "roots.0.tasks")));
	ck_assert(json_is_null(web_member(s, "roots.0.boards.0.tasks")));
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert(!rig_exists(web_socket()));
}
END_TEST

/* Whoever connects while it starts, as with socket activation, is told what it became. */
START_TEST(api_who_comes_before_ready)
{
	struct rig_daemon *d;
	struct web_answer *a;
	char *text;
	int fd;

	rig_board("default", 0);
	for (int i = 0; i < 10; i++) {
		d = rig_start_args(false, (const char *const[]){ NULL });
		while ((fd = web_try_open(web_socket())) < 0)
			ck_assert(!rig_ended(d));
		web_send(fd, "GET /v1/leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
		text = web_read(fd, NULL, 10000);
		(void)close(fd);
		a = web_answer(text, strlen(text));
		ck_assert_str_eq(web_text(web_json(a, 200), "roots.0.role"), "owner");
		ck_assert_int_eq(rig_stop(d), 0);
	}
}
END_TEST

START_TEST(api_counts_follow_the_board)
{
	struct rig_daemon *d;

	rig_board("default", 0);
	d = rig_start();
	RIG_UNTIL(healthy("default"), 5000);
	for (int i = 1; i < 4; i++) {
		rig_add("default", .id = rig_printf("t_%d", i), .status = "todo",
			.assignee = RIG_NOBODY);
		ck_assert_int_eq(
			web_int(web_json(web_get("/v1/boards"), 200), "boards.0.tasks.total"),
			i);
	}
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_one_board)
{
	struct rig_daemon *d;
	json_t *b;

	rig_board("default", 0);
	rig_board("other", 0);
	rig_add("other", .id = "t_1", .assignee = "nemo");
	d = rig_start();
	RIG_UNTIL(healthy("other"), 5000);
	/* it is healthy before its tasks are looked at */
	RIG_UNTIL((b = web_json(web_get("/v1/boards/other"), 200),
		   json_array_size(web_member(b, "waits")) > 0),
		  5000);
	ck_assert_str_eq(web_text(b, "slug"), "other");
	ck_assert_str_eq(web_text(b, "db"), rig_db("other"));
	ck_assert_str_eq(web_text(b, "record.state"), "healthy");
	ck_assert_int_eq(web_int(b, "record.good.tasks"), 1);
	ck_assert_str_eq(web_text(b, "waits.0"), "profile");
	ck_assert_int_eq(web_int(b, "left.nonspawnable"), 1);
	(void)web_problem(web_get("/v1/boards/none"), 404, "no-board");
	(void)web_problem(web_get("/v1/boards/..%2f"), 404, "not-found");
	(void)web_problem(web_get("/v1/boards/A%00"), 400, "bad-request");
	(void)web_problem(web_get("/v1/boards/other%00x"), 400, "bad-request");
	(void)web_problem(web_get("/v1/boards/other?root=/nowhere%00"), 400, "bad-request");
	(void)web_problem(web_get("/v1/boards/other?tasks=no%00x"), 400, "bad-request");
	(void)web_problem(web_get("/v1/boards/other?root=/nowhere"), 404, "no-root");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* Boards that keep every thread of the pool waiting hold no answer up. */
START_TEST(api_status_whatever_the_boards_do)
{
	const char *paths[] = { "/v1/status", "/v1/boards/b3", "/v1/leader", "/v1/workers" };
	struct rig_daemon *d;
	json_t *s;

	rig_board("default", 0);
	for (int i = 0; i < 8; i++) {
		rig_board(rig_printf("b%d", i), RIG_WAL);
		rig_add(rig_printf("b%d", i), .id = "t_1");
		rig_writer(rig_printf("b%d", i),
			   "PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE", false);
	}
	d = rig_start();
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		int64_t start = rig_mono_us();

		s = web_json(web_get(paths[i]), 200);
		ck_assert_msg(rig_mono_us() - start < 6000000, "%s took %lld ms", paths[i],
			      (long long)(rig_mono_us() - start) / 1000);
	}
	s = web_json(web_get("/v1/status"), 200);
	ck_assert_str_eq(web_text(s, "roots.0.role"), "owner");
	ck_assert(web_true(s, "roots.0.leader.held"));
	ck_assert_int_eq(web_int(s, "roots.0.leader.pid"), d->pid);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_workers_and_metrics)
{
	struct rig_daemon *d;
	json_t *w;
	char *text;

	rig_board("default", 0);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	d = rig_start();
	(void)rig_ran("t_1");
	RIG_UNTIL(json_array_size(
			  web_member(web_json(web_get("/v1/workers"), 200), "workers")) == 1,
		  5000);
	w = web_json(web_get("/v1/workers"), 200);
	ck_assert_str_eq(web_text(w, "workers.0.task"), "t_1");
	ck_assert_int_eq(web_int(w, "workers.0.run"), 1);
	ck_assert(rig_alive((pid_t)web_int(w, "workers.0.pid")));
	ck_assert(web_true(w, "workers.0.child"));
	ck_assert_str_eq(web_text(w, "workers.0.profile"), "jimmy");
	/* of all that it started: some memory, at least a thread */
	ck_assert_int_gt(web_int(w, "workers.0.memory"), 0);
	ck_assert_int_ge(web_int(w, "workers.0.tasks"), 1);
	ck_assert(json_is_real(web_member(w, "workers.0.cpu_s")));
	ck_assert(json_is_null(web_member(w, "workers.0.unit")));
	ck_assert(json_is_null(web_member(w, "workers.0.job")));
	/* title and last sign of life, as the row says them */
	rig_sql("default",
		"UPDATE tasks SET title='another', last_heartbeat_at=strftime('%%s')");
	RIG_UNTIL(!strcmp(json_string_value(web_member(web_json(web_get("/v1/workers"), 200),
						       "workers.0.title"))
				  ?: "",
			  "another"),
		  5000);
	w = web_json(web_get("/v1/workers"), 200);
	ck_assert_int_gt(web_int(w, "workers.0.heartbeat_at"), 1600000000);
	rig_let_go();
	RIG_UNTIL(json_array_size(
			  web_member(web_json(web_get("/v1/workers"), 200), "workers")) == 0,
		  5000);
	text = web_get("/metrics")->body;
	ck_assert_ptr_nonnull(strstr(text, "\nkanband_claims_total 1\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nkanband_spawns_total 1\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nkanband_wake_to_exec_seconds_count 1\n"));
	ck_assert_ptr_nonnull(strstr(text, "kanband_worker_ends_total{how=\"success\"} 1\n"));
	ck_assert_ptr_nonnull(
		strstr(text, rig_printf("kanband_lease{root=\"%s\"} 1\n", rig.root)));
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* ---- changing ------------------------------------------------------------------------ */

START_TEST(api_pause_and_resume)
{
	struct rig_daemon *d;
	json_t *b;

	rig_board("default", 0);
	rig_board("other", 0);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	d = rig_start();
	(void)rig_ran("t_1");
	b = web_json(web_post("/v1/boards/default/pause", NULL), 200);
	ck_assert_str_eq(web_text(b, "state"), "paused");
	ck_assert_str_eq(web_text(b, "paused.by"), "operator");
	ck_assert_str_eq(web_text(b, "health"), "healthy");
	rig_add("default", .id = "t_2");
	rig_add("other", .id = "t_3");
	(void)rig_ran("t_3"); /* the other board goes on … */
	(void)web_json(web_post("/v1/boards/default/tick", "{}"), 200);
	ck_sql("default", "ready", "SELECT status FROM tasks WHERE id = 't_2'");
	/* … and what runs is watched on */
	rig_let_go();
	RIG_UNTIL(web_int(web_json(web_get("/v1/boards/default"), 200), "workers") == 0, 5000);
	RIG_UNTIL(rig_status_has(d, "1 board paused by the operator"), 5000);
	b = web_json(web_post("/v1/boards/default/resume", NULL), 200);
	ck_assert(json_is_null(web_member(b, "paused")));
	(void)rig_ran("t_2");
	RIG_UNTIL(!rig_status_has(d, "paused"), 5000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_pause_ends_with_the_process)
{
	struct rig_daemon *d;

	rig_board("default", 0);
	rig_profile("jimmy");
	d = rig_start();
	RIG_UNTIL(web_post("/v1/boards/default/pause", NULL)->status == 200, 10000);
	rig_add("default", .id = "t_1");
	ck_assert_int_eq(rig_stop(d), 0);
	d = rig_start();
	(void)rig_ran("t_1");
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_paused_by_config)
{
	struct rig_daemon *d;
	json_t *b;

	rig_write("kanband.conf", "[board other]\npaused = yes\n");
	rig_board("default", 0);
	rig_board("other", 0);
	d = rig_start();
	RIG_UNTIL(web_get("/v1/boards/other")->status == 200, 5000);
	b = web_json(web_get("/v1/boards/other"), 200);
	ck_assert_str_eq(web_text(b, "paused.by"), "config");
	ck_assert_str_eq(web_text(b, "state"), "paused");
	(void)web_problem(web_post("/v1/boards/other/tick", NULL), 409, "not-well");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_drain)
{
	struct rig_daemon *d;
	struct web_answer *a;
	json_t *s;
	char *text;
	int fd;

	rig_board("default", 0);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	d = rig_start();
	(void)rig_ran("t_1");
	s = web_json(web_post("/v1/drain", "{\"timeout_s\":0}"), 200);
	ck_assert(!web_true(s, "drained"));
	ck_assert_int_eq(web_int(s, "workers") + web_int(s, "launching"), 1);
	s = web_json(web_post("/v1/drain", "{\"timeout_s\":1}"), 200);
	ck_assert(!web_true(s, "drained"));
	s = web_json(web_post("/v1/drain", "{\"wait\":false}"), 200);
	ck_assert(!web_true(s, "drained"));
	fd = web_open(web_socket());
	web_send(fd, "POST /v1/drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		     "Content-Length: 0\r\n\r\n");
	rig_add("default", .id = "t_2");
	(void)web_json(web_post("/v1/boards/default/tick", NULL), 200);
	ck_sql("default", "ready", "SELECT status FROM tasks WHERE id = 't_2'");
	ck_assert_str_eq(web_text(web_json(web_get("/v1/status"), 200), "draining.by"),
			 "operator");
	rig_let_go();
	text = web_read(fd, NULL, 10000);
	(void)close(fd);
	a = web_answer(text, strlen(text));
	ck_assert(web_true(web_json(a, 200), "drained"));
	ck_sql("default", "ready", "SELECT status FROM tasks WHERE id = 't_2'");
	RIG_UNTIL(rig_status_has(d, "draining, nothing is started"), 5000);
	/* a pause is called one */
	(void)web_json(web_post("/v1/drain", "{\"wait\":false,\"pause\":true}"), 200);
	RIG_UNTIL(rig_status_has(d, "paused by the operator, nothing is started"), 5000);
	s = web_json(web_post("/v1/resume", NULL), 200);
	ck_assert(web_true(s, "resumed"));
	(void)rig_ran("t_2");
	RIG_UNTIL(!rig_status_has(d, "nothing is started"), 5000);
	s = web_json(web_post("/v1/resume", NULL), 200);
	ck_assert(!web_true(s, "resumed"));
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_resume_ends_a_drain_that_waits)
{
	struct rig_daemon *d;
	char *text;
	int fd;

	rig_board("default", 0);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	d = rig_start();
	(void)rig_ran("t_1");
	fd = web_open(web_socket());
	web_send(fd, "POST /v1/drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		     "Content-Length: 0\r\n\r\n");
	RIG_UNTIL(!json_is_null(web_member(web_json(web_get("/v1/status"), 200), "draining")),
		  5000);
	(void)web_json(web_post("/v1/resume", NULL), 200);
	text = web_read(fd, NULL, 5000);
	(void)close(fd);
	ck_assert(!web_true(web_json(web_answer(text, strlen(text)), 200), "drained"));
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_stop_answers_who_waits)
{
	struct rig_daemon *d;
	char *text;
	int fd;

	rig_board("default", 0);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	d = rig_start();
	(void)rig_ran("t_1");
	fd = web_open(web_socket());
	web_send(fd, "POST /v1/drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		     "Content-Length: 0\r\n\r\n");
	RIG_UNTIL(!json_is_null(web_member(web_json(web_get("/v1/status"), 200), "draining")),
		  5000);
	ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
	text = web_read(fd, NULL, 5000);
	(void)close(fd);
	(void)web_problem(web_answer(text, strlen(text)), 503, "stopping");
	RIG_UNTIL(rig_ended(d), 10000);
	ck_assert_int_eq(rig_stop(d), 0);
	rig_let_go();
}
END_TEST

START_TEST(api_reload)
{
	struct rig_daemon *d;

	rig_board("default", 0);
	rig_write("kanband.conf", "[kanband]\nmax_in_progress = 3\n");
	d = rig_start();
	ck_assert_int_eq(
		web_int(web_json(web_get("/v1/status"), 200), "limits.max_in_progress"), 3);
	rig_write("kanband.conf", "[kanband]\nmax_in_progress = 5\n");
	ck_assert(web_true(web_json(web_post("/v1/reload", NULL), 200), "reloaded"));
	ck_assert_int_eq(
		web_int(web_json(web_get("/v1/status"), 200), "limits.max_in_progress"), 5);
	rig_write("kanband.conf", "[kanband]\nmax_in_progress = lots\n");
	ck_assert_ptr_nonnull(strstr(web_problem(web_post("/v1/reload", NULL), 422, "config"),
				     "max_in_progress"));
	ck_assert_int_eq(
		web_int(web_json(web_get("/v1/status"), 200), "limits.max_in_progress"), 5);
	rig_notices(d);
	ck_assert_uint_eq(d->reload, 2);
	ck_assert_uint_eq(d->ready, 3);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_tick_finds_a_new_board)
{
	struct rig_daemon *d;

	rig_board("default", 0);
	d = rig_start();
	RIG_UNTIL(web_get("/v1/boards/default")->status == 200, 5000);
	rig_board("young", 0);
	ck_assert_int_ge(web_int(web_json(web_post("/v1/tick", NULL), 200), "boards"), 1);
	RIG_UNTIL(web_get("/v1/boards/young")->status == 200, 5000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* ---- several roots, several daemons -------------------------------------------------- */

START_TEST(api_two_roots)
{
	struct rig_daemon *d;
	struct web_answer *a;
	char *second = rig_path("second");
	json_t *p;

	rig_board("default", 0);
	rig_board("mine", 0);
	rig_mkdir("second");
	rig_shell("cp -r root/kanban.db second/");
	d = rig_start("--root", second);
	RIG_UNTIL(json_array_size(web_member(web_json(web_get("/v1/boards"), 200), "boards")) ==
			  3,
		  5000);
	a = web_get("/v1/boards/default");
	(void)web_problem(a, 409, "ambiguous");
	ck_assert_uint_eq(json_array_size(web_member(a->json, "roots")), 2);
	(void)web_problem(web_post("/v1/boards/default/tick", NULL), 409, "ambiguous");
	p = web_json(web_get(rig_printf("/v1/boards/default?root=%s", second)), 200);
	ck_assert_str_eq(web_text(p, "root"), second);
	(void)web_json(web_get("/v1/boards/mine"), 200);
	(void)web_problem(web_get(rig_printf("/v1/boards/mine?root=%s", second)), 404,
			  "no-board");
	p = web_json(web_get(rig_printf("/v1/status?root=%s", second)), 200);
	ck_assert_uint_eq(json_array_size(web_member(p, "roots")), 1);
	p = web_json(web_get("/v1/leader"), 200);
	ck_assert_uint_eq(json_array_size(web_member(p, "roots")), 2);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_standby)
{
	struct rig_daemon *owner, *standby;
	struct web_answer *a;
	json_t *s;

	rig_board("default", 0);
	owner = rig_start();
	standby = rig_start();
	s = web_json(web_get("/v1/status"), 200);
	ck_assert_int_eq(web_int(s, "pid"), standby->pid);
	ck_assert_str_eq(web_text(s, "roots.0.role"), "standby");
	ck_assert_ptr_nonnull(
		strstr(web_text(s, "roots.0.holder"), rig_printf("pid %d", (int)owner->pid)));
	ck_assert_int_eq(web_int(s, "roots.0.leader.pid"), owner->pid);
	ck_assert_str_eq(web_text(s, "roots.0.leader.owner.socket"), web_socket_of(0));
	a = web_post("/v1/boards/default/pause", NULL);
	(void)web_problem(a, 409, "not-owner");
	ck_assert_ptr_nonnull(
		strstr(web_text(a->json, "owner"), rig_printf("pid %d", (int)owner->pid)));
	(void)web_problem(web_post("/v1/drain", NULL), 409, "not-owner");
	(void)web_problem(web_post("/v1/notify/retry", NULL), 409, "not-owner");
	rig_kill9(owner);
	RIG_UNTIL(web_post("/v1/boards/default/tick", NULL)->status == 200, 5000);
	ck_assert_int_eq(rig_stop(standby), 0);
}
END_TEST

START_TEST(api_socket_in_use)
{
	struct rig_daemon *d, *e;

	rig_board("default", 0);
	d = rig_start();
	e = rig_start("--socket", web_socket());
	ck_assert_ptr_nonnull(strstr(rig_err(e), "another process listens on"));
	ck_assert_int_eq(
		web_int(web_json(web_ask(web_socket_of(0), "GET", "/v1/status", NULL), 200),
			"pid"),
		d->pid);
	ck_assert_int_eq(rig_stop(e), 0);
	ck_assert(rig_exists(web_socket_of(0)));
	rig_kill9(d);
	ck_assert(rig_exists(web_socket_of(0)));
	/* what a kill left behind is replaced */
	e = rig_start("--socket", web_socket_of(0));
	ck_assert_int_eq(
		web_int(web_json(web_ask(web_socket_of(0), "GET", "/v1/status", NULL), 200),
			"pid"),
		e->pid);
	ck_assert_int_eq(rig_stop(e), 0);
}
END_TEST

/* ---- rights -------------------------------------------------------------------------- */

START_TEST(api_other_users_read)
{
	struct rig_daemon *d;
	char *text;

	if (geteuid() != 0)
		return;
	rig_board("default", 0);
	d = rig_start();
	rig_shell("chmod 755 . && chmod 666 '%s'", web_socket());
	rig_shell(
		"setpriv --reuid=65534 --regid=65534 --clear-groups curl -s --unix-socket '%s' "
		"http://x/v1/status >got",
		web_socket());
	ck_assert_int_eq(web_int(rig_json(rig_read("got")), "pid"), d->pid);
	rig_shell("setpriv --reuid=65534 --regid=65534 --clear-groups curl -s -i -X POST "
		  "--unix-socket '%s' http://x/v1/boards/default/pause >got",
		  web_socket());
	text = rig_read("got");
	(void)web_problem(web_answer(text, strlen(text)), 403, "forbidden");
	ck_assert(json_is_null(
		web_member(web_json(web_get("/v1/boards/default"), 200), "paused")));
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(api_no_descriptor_reaches_a_worker)
{
	struct rig_daemon *d;
	pid_t worker;
	int fd;

	rig_board("default", 0);
	rig_profile("jimmy");
	d = rig_start();
	fd = web_open(web_socket());
	web_send(fd, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
	(void)web_read(fd, ": kanband", 5000);
	rig_add("default", .id = "t_1");
	(void)rig_ran("t_1");
	RIG_UNTIL(json_array_size(
			  web_member(web_json(web_get("/v1/workers"), 200), "workers")) == 1,
		  5000);
	worker = (pid_t)web_int(web_json(web_get("/v1/workers"), 200), "workers.0.pid");
	rig_shell("ls -l /proc/%d/fd >fds", (int)worker);
	ck_assert_msg(!strstr(rig_read("fds"), "socket:") &&
			      !strstr(rig_read("fds"), "eventpoll"),
		      "%s", rig_read("fds"));
	(void)close(fd);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *reads = rig_tcase("reading", 60);
	TCase *changes = rig_tcase("changing", 60);
	TCase *several = rig_tcase("several", 60);

	tcase_add_test(reads, api_status);
	tcase_add_test(reads, api_who_comes_before_ready);
	tcase_add_test(reads, api_counts_follow_the_board);
	tcase_add_test(reads, api_one_board);
	tcase_add_test(reads, api_status_whatever_the_boards_do);
	tcase_add_test(reads, api_workers_and_metrics);
	tcase_add_test(reads, api_other_users_read);
	tcase_add_test(reads, api_no_descriptor_reaches_a_worker);
	tcase_add_test(changes, api_pause_and_resume);
	tcase_add_test(changes, api_pause_ends_with_the_process);
	tcase_add_test(changes, api_paused_by_config);
	tcase_add_test(changes, api_drain);
	tcase_add_test(changes, api_resume_ends_a_drain_that_waits);
	tcase_add_test(changes, api_stop_answers_who_waits);
	tcase_add_test(changes, api_reload);
	tcase_add_test(changes, api_tick_finds_a_new_board);
	tcase_add_test(several, api_two_roots);
	tcase_add_test(several, api_standby);
	tcase_add_test(several, api_socket_in_use);
	return rig_suite("control_api", reads, changes, several, NULL);
}
