/*
 * The page and what it asks: one document, tasks, logs, activity; and who is not served: pages
 * of other sites, and whoever comes to the port of kanbanctl web without its token. What a
 * browser makes of it is in tests/page.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/rig.h"
#include "kit/web.h"

/* A request with more header lines, each with its end. */
static struct web_answer *ask_with(const char *method, const char *path, const char *headers)
{
	int fd = web_open(web_socket());
	char *text;

	web_send(fd, "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n",
		 method, path, headers);
	text = web_read(fd, NULL, 20000);
	(void)close(fd);
	return web_answer(text, strlen(text));
}

START_TEST(page_is_one_document)
{
	struct rig_daemon *d;
	struct web_answer *a;

	rig_board("default", 0);
	d = rig_start();
	a = web_get("/");
	ck_assert_int_eq(a->status, 200);
	ck_assert_ptr_nonnull(strstr(a->head, "text/html; charset=utf-8"));
	ck_assert_ptr_nonnull(strstr(a->head, "default-src 'none'; style-src 'sha256-"));
	ck_assert_ptr_nonnull(strstr(a->head, "frame-ancestors 'none'"));
	ck_assert_ptr_null(strstr(a->head, "unsafe-inline"));
	ck_assert_ptr_null(strstr(a->body, "{{"));
	ck_assert_ptr_null(strstr(a->body, "<script src"));
	ck_assert_ptr_null(strstr(a->body, "<link rel=\"stylesheet"));
	ck_assert_str_eq(a->body + a->n - strlen("</html>\n"), "</html>\n");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* ---- tasks --------------------------------------------------------------------------- */

static json_int_t sum(const json_t *list)
{
	json_int_t n = 0;

	for (size_t i = 0; i < json_array_size(list); i++)
		n += json_integer_value(json_array_get(list, i));
	return n;
}

START_TEST(a_task_is_added)
{
	static const char path[] = "/v1/boards/default/tasks";
	json_t *a;

	rig_board("default", 0);
	rig_profile("jimmy");
	(void)rig_start();
	RIG_UNTIL(web_get(path)->status == 200, 10000);
	a = web_json(
		web_post(path, "{\"title\":\"now\",\"assignee\":\"jimmy\",\"priority\":-1}"),
		200);
	(void)rig_ran(web_text(a, "id"));
	a = web_json(web_post(path, "{\"title\":\"later\",\"at\":4102444800,\"parents\":[],"
				    "\"every\":\"daily\",\"idempotency_key\":\"k\"}"),
		     200);
	ck_assert_str_eq(web_text(a, "status"), "scheduled");
	ck_assert(web_true(a, "created"));
	a = web_json(web_post(path, "{\"title\":\"x\",\"every\":\"daily\","
				    "\"idempotency_key\":\"k\"}"),
		     200);
	ck_assert(!web_true(a, "created"));
	a = web_json(web_get("/v1/boards/default/tasks?status=scheduled"), 200);
	ck_assert_int_eq(web_int(a, "tasks.0.scheduled_at"), 4102444800);
	ck_assert_str_eq(web_text(a, "tasks.0.every"), "daily");
	ck_assert_ptr_nonnull(
		strstr(web_problem(web_post(path, "{\"title\":\"x\",\"every\":\"noonish\"}"),
				   400, "bad-request"),
		       "systemd.time(7)"));
	(void)web_problem(web_post(path, "{\"title\":\"x\",\"parents\":[\"t_none\"]}"), 404,
			  "no-task");
	(void)web_problem(web_post(path, "{\"title\":\"x\",\"parents\":[1]}"), 400,
			  "bad-request");
	(void)web_problem(web_post(path, "{\"title\":\"x\",\"at\":-1}"), 400, "bad-request");
	(void)web_problem(web_post(path, "{}"), 400, "bad-request");
	(void)web_problem(web_post(path, NULL), 400, "bad-request");
}
END_TEST

START_TEST(tasks_of_a_board)
{
	struct rig_daemon *d;
	json_t *t;

	rig_board("default", 0);
	rig_board("other", 0);
	rig_profile("jimmy");
	rig_do("default", "wait stop");
	rig_add("default", .id = "t_1", .priority = 1);
	rig_add("default", .id = "t_2", .assignee = "ghost");
	rig_add("default", .id = "t_3", .assignee = RIG_NOBODY,
		.title = "a\xff"
			 "b\x1b[2J");
	(void)rig_add_run("default", "t_2", "completed", 100);
	(void)rig_add_run("default", "t_2", "crashed", 70000);
	(void)rig_add_run("default", "t_2", "timed_out", 60);
	(void)rig_add_run("default", "t_2", "reclaimed", 50);
	(void)rig_add_run("default", "t_2", "crashed", 200000);
	rig_add("other", .id = "t_9", .status = "triage", .assignee = RIG_NOBODY);
	d = rig_start();
	(void)rig_ran("t_1");
	RIG_UNTIL(json_array_size(web_member(
			  web_json(web_get("/v1/boards/default/tasks?status=running"), 200),
			  "tasks")) == 1,
		  10000);
	t = web_json(web_get("/v1/boards/default/tasks"), 200);
	ck_assert_str_eq(web_text(t, "board"), "default");
	ck_assert_str_eq(web_text(t, "tasks.0.id"), "t_1");
	ck_assert(json_is_null(web_member(t, "tasks.0.why")));
	ck_assert_str_eq(web_text(t, "tasks.1.why"), "no-profile");
	ck_assert_str_eq(web_text(t, "tasks.2.why"), "unassigned");
	ck_assert_str_eq(web_text(t, "tasks.2.title"), "a\xEF\xBF\xBD"
						       "b\x1b[2J");
	t = web_json(web_get("/v1/boards/default/tasks?limit=1&assignee=ghost"), 200);
	ck_assert_uint_eq(json_array_size(web_member(t, "tasks")), 1);
	ck_assert_str_eq(web_text(t, "tasks.0.id"), "t_2");
	(void)web_problem(web_get("/v1/boards/default/tasks?limit=-1"), 400, "bad-request");
	(void)web_problem(web_get("/v1/boards/default/tasks?limit=9999999999999999999"), 400,
			  "bad-request");
	(void)web_problem(web_get("/v1/boards/none/tasks"), 404, "no-board");
	/* a task is found wherever it is, or where it is said to be */
	t = web_json(web_get("/v1/tasks/t_9"), 200);
	ck_assert_str_eq(web_text(t, "board"), "other");
	ck_assert_str_eq(web_text(t, "task.status"), "triage");
	(void)web_problem(web_get("/v1/tasks/t_9?board=default"), 404, "no-task");
	(void)web_problem(web_get("/v1/tasks/nothing"), 404, "no-task");
	t = web_json(web_get("/v1/boards/default/activity"), 200);
	ck_assert_uint_eq(json_array_size(web_member(t, "done")), 24);
	ck_assert_int_eq(sum(web_member(t, "done")), 1);
	ck_assert_int_eq(sum(web_member(t, "failed")), 2);
	ck_assert_uint_eq(json_array_size(web_member(t, "failures")), 2);
	ck_assert_str_eq(web_text(t, "failures.0.outcome"), "timed_out");
	ck_assert_str_eq(web_text(t, "failures.0.id"), "t_2");
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* Nothing but the worker's own plain file is read. */
START_TEST(logs)
{
	struct rig_daemon *d;
	json_t *l;

	rig_board("default", 0);
	rig_add("default", .id = "t_1", .status = "blocked", .assignee = RIG_NOBODY);
	rig_add("default", .id = "t_2", .status = "blocked", .assignee = RIG_NOBODY);
	rig_add("default", .id = "t_3", .status = "blocked", .assignee = RIG_NOBODY);
	d = rig_start();
	RIG_UNTIL(web_get("/v1/boards/default/tasks")->status == 200, 10000);
	l = web_json(web_get("/v1/tasks/t_1/log"), 200);
	ck_assert(!web_true(l, "there"));
	ck_assert_str_eq(web_text(l, "text"), "");
	rig_write("root/kanban/logs/t_1.log", "first\nsecond\xff\n");
	l = web_json(web_get("/v1/tasks/t_1/log?board=default"), 200);
	ck_assert(web_true(l, "there"));
	ck_assert_str_eq(web_text(l, "text"), "first\nsecond\xEF\xBF\xBD\n");
	l = web_json(web_get("/v1/tasks/t_1/log?bytes=8"), 200);
	ck_assert_int_eq(web_int(l, "size"), 14);
	ck_assert_int_eq(web_int(l, "from"), 6);
	ck_assert_str_eq(web_text(l, "text"), "second\xEF\xBF\xBD\n");
	rig_write("secret", "not yours\n");
	ck_assert_int_eq(symlink(rig_path("secret"), rig_path("root/kanban/logs/t_2.log")), 0);
	ck_assert_int_eq(mkfifo(rig_path("root/kanban/logs/t_3.log"), 0644), 0);
	ck_assert_int_eq(web_get("/v1/tasks/t_2/log")->status, 500);
	ck_assert_int_eq(web_get("/v1/tasks/t_3/log")->status, 500);
	(void)web_problem(web_get("/v1/tasks/t_9/log"), 404, "no-task");
	rig_shell("mv root/kanban/logs elsewhere && ln -s ../../elsewhere root/kanban/logs");
	ck_assert_int_eq(web_get("/v1/tasks/t_1/log")->status, 500);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* ---- who is not served --------------------------------------------------------------- */

START_TEST(pages_of_other_sites)
{
	const char *evil[] = {
		"Host: evil.example\r\nOrigin: http://evil.example\r\n",
		"Host: localhost:8080\r\nOrigin: http://evil.example\r\n",
		"Host: localhost:8080\r\nSec-Fetch-Site: cross-site\r\n",
		"Host: localhost:8080\r\nSec-Fetch-Site: same-site\r\n",
		"Host: localhost:8080\r\nOrigin: null\r\n",
		"Host: localhost.evil.example\r\nSec-Fetch-Site: same-origin\r\n",
	};
	struct rig_daemon *d;

	rig_board("default", 0);
	d = rig_start();
	for (size_t i = 0; i < sizeof(evil) / sizeof(evil[0]); i++)
		(void)web_problem(ask_with("POST", "/v1/tick", evil[i]), 403, "forbidden");
	(void)web_problem(ask_with("GET", "/v1/status", evil[0]), 403, "forbidden");
	ck_assert_int_eq(ask_with("POST", "/v1/tick", "Host: x\r\n")->status, 200);
	ck_assert_int_eq(ask_with("POST", "/v1/tick",
				  "Host: localhost:8080\r\nOrigin: http://localhost:8080\r\n"
				  "Sec-Fetch-Site: same-origin\r\n")
				 ->status,
			 200);
	ck_assert_int_eq(
		ask_with("GET", "/", "Host: [::1]:80\r\nSec-Fetch-Site: none\r\n")->status,
		200);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* A NUL ends no name: what stands behind it was meant, too. */
START_TEST(addresses_with_a_nul)
{
	static const struct {
		const char *text;
		size_t n;
	} bad[] = {
#define LINE(text) { text, sizeof(text) - 1 }
		LINE("GET /v1/boards/default\0x HTTP/1.1\r\nHost: x\r\nConnection: "
		     "close\r\n\r\n"),
		LINE("GET /v1/boards/default\0 HTTP/1.1\r\nHost: x\r\nConnection: "
		     "close\r\n\r\n"),
		LINE("GET /v1/boards/default?tasks=no\0x HTTP/1.1\r\nHost: x\r\nConnection: "
		     "close\r\n\r\n"),
		LINE("GET /v1/boards/default%00 HTTP/1.1\r\nHost: x\r\nConnection: "
		     "close\r\n\r\n"),
		LINE("POST /v1/tick\0/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
	};
	struct rig_daemon *d;

	rig_board("default", 0);
	d = rig_start();
	RIG_UNTIL(web_get("/v1/boards/default")->status == 200, 10000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = web_open(web_socket());
		char *text;

		ck_assert(web_try_send(fd, bad[i].text, bad[i].n));
		text = web_read(fd, NULL, 20000);
		(void)close(fd);
		ck_assert_msg(strncmp(text, "HTTP/1.1 40", 11) == 0 || !*text, "%zu: %.60s", i,
			      text);
	}
	ck_assert_int_eq(web_get("/v1/boards/def%61ult")->status, 200);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* kanbanctl web, by curl. */
START_TEST(port_with_a_token)
{
	struct rig_daemon *d;

	rig_board("default", 0);
	d = rig_start();
	rig_write("try",
		  "set -eu\n"
		  "\"$1/kanbanctl\" --root \"$2\" --socket \"$3\" web --no-open >url &\n"
		  "trap 'kill $!' EXIT\n"
		  "i=0; until [ -s url ]; do i=$((i + 1)); [ $i -lt 2000 ]; sleep 0.01; done\n"
		  "url=$(head -n 1 url); base=${url%%/\\?*}\n"
		  "code() { curl -s -o body -w '%{http_code}' --max-time 20 \"$@\"; }\n"
		  "[ \"$(code \"$base/\")\" = 403 ]\n"
		  "[ \"$(code \"$base/?token=x\")\" = 403 ]\n"
		  "[ \"$(code -H 'Host: evil.example' \"$url\")\" = 403 ]\n"
		  "home=$(curl -s -o body -w '%{redirect_url}' \"$url\")\n"
		  "[ \"$home\" ] && [ \"$(code \"$url\")\" = 403 ]\n"
		  "[ \"$(code \"$home\")\" = 200 ] && grep -q '</html>' body\n"
		  "[ \"$(code \"${home}v1/status\")\" = 200 ] && grep -q '\"may_change\":true' "
		  "body\n"
		  "[ \"$(code -d '{\"wait\":false}' \"${home}v1/drain\")\" = 200 ]\n"
		  "[ \"$(code -d '{}' -H 'Origin: http://evil.example' \"${home}v1/resume\")\" "
		  "= 403 ]\n"
		  "[ \"$(code -d '{}' \"${home}v1/resume\")\" = 200 ]\n"
		  "(curl -sN --max-time 3 \"${home}v1/events?since=0\" || true) | grep -q "
		  "'^event: resumed'\n"
		  "{ printf 'X: '; head -c 40000 /dev/zero | tr '\\0' a; } >long\n"
		  "[ \"$(code -H @long \"${home}v1/status\")\" != 200 ]\n"
		  "[ \"$(code \"${home}v1/status\")\" = 200 ]\n");
	rig_shell("sh -x ./try '%s' '%s' '%s' >try.log 2>&1 || { cat try.log >&2; exit 1; }",
		  rig.bin, rig.root, web_socket());
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *tc = rig_tcase("page", 60);

	tcase_add_test(tc, page_is_one_document);
	tcase_add_test(tc, a_task_is_added);
	tcase_add_test(tc, tasks_of_a_board);
	tcase_add_test(tc, logs);
	tcase_add_test(tc, pages_of_other_sites);
	tcase_add_test(tc, addresses_with_a_nul);
	tcase_add_test(tc, port_with_a_token);
	return rig_suite("control_page", tc, NULL);
}
