/*
 * kanbanctl as a client: a false daemon says what each case wants, the truth or not. (With the
 * real one: test_daemon_ctl.)
 */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "ctl/sse.h"
#include "kit/answers.h"
#include "kit/ctl.h"
#include "kit/suite.h"
#include "util/fs.h"

#define PROBLEM "application/problem+json"

/* ---- the false daemon ---------------------------------------------------------------- */

#define refused(exit, word, ...) fails(exit, word, "--socket", answers_socket, __VA_ARGS__)

/* ---- who is asked -------------------------------------------------------------------- */

START_TEST(nobody)
{
	static const char *const verbs[] = { "workers", "tick",    "pause",  "resume", "drain",
					     "events",  "metrics", "reload", "top" };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fails(69, "no daemon", verbs[i]);
	fails(69, "no daemon", "notify", "retry");
	refused(69, "no daemon answers", "workers");
	refused(69, "no daemon answers", "status"); /* named: the files do not stand in */
	fails(64, "one argument too many", "workers", "x");
	fails(64, "board name", "tick", "../x", "--socket", answers_socket);
}
END_TEST

START_TEST(stranger)
{
	char owner[PATH_MAX + 512];

	if (getuid() != 0)
		return;
	answers_serve((const struct answer[]){ answers_leader, { NULL, NULL, NULL, NULL } }, 1);
	refused(77, "is neither root nor the owner", "workers");
	/* the owner file leads there: as if there were no daemon */
	(void)snprintf(owner, sizeof(owner),
		       "{\"epoch\":1,\"pid\":1,\"host\":\"h\",\"boot_id\":\"b\",\"unit\":\"\","
		       "\"version\":\"0\",\"socket\":\"%s\",\"since\":1}",
		       answers_socket);
	world_put("kanban/.dispatcher.owner.json", owner, strlen(owner));
	fails(69, "no daemon serves", "workers");
	ck_assert_str_eq(answers_requests(), "");
	/* it is the owner of the root: then it may */
	(void)snprintf(owner, sizeof(owner), "chown -R 1:1 %s", world_root);
	ck_assert_int_eq(system(owner), 0);
	(void)world_ok((const char *const[]){ "leader", NULL });
	ck_assert_str_ne(answers_requests(), "");
}
END_TEST

/* A root that nobody named: the one of the host's daemon. "ROOT" is what the daemon says. */
START_TEST(root_of_the_host)
{
	static char run[300], own[300], answers[1][600];
	const struct ctl_result *r;

	(void)snprintf(run, sizeof(run), "KANBAND_RUN=%s/run", world_root);
	ck_assert_int_eq(fs_mkdir_p(world_path("run/kanband-two"), 0755), 0);
	world_env(run);
	world_env("HERMES_KANBAN_HOME=");
	(void)snprintf(answers[0], sizeof(answers[0]),
		       "{\"roots\":[{\"root\":\"%s\",\"held\":true,\"pid\":7,\"owner\":null}]}",
		       world_root);
	/* nobody serves any */
	fails(66, "name one with --root", "leader");
	(void)snprintf(answers_socket, sizeof(answers_socket), "%.80s/run/kanband-two/k.sock",
		       world_root);
	(void)snprintf(answers_socket + strlen(answers_socket) - 6, 20, "control.sock");
	answers_serve((const struct answer[]){ { "GET /v1/leader", "200 OK", JSON, answers[0] },
					       { "GET /v1/workers", "200 OK", JSON,
						 "{\"workers\":[]}" },
					       { NULL, NULL, NULL, NULL } },
		      geteuid());
	(void)ok("workers");
	(void)ok("--socket", answers_socket, "workers");
	(void)ok("list"); /* and its files are found */
	/* init makes one's own */
	ck_assert_ptr_nonnull(strstr(ok("init"), "/.hermes/kanban.db"));
	ck_assert_ptr_nonnull(strstr(ok("list", "--json"), "default"));
	if (getuid() != 0)
		return;
	/* one that may not be asked is told as that, not as absence */
	ck_assert_int_eq(chmod(answers_socket, 0600), 0);
	world_env("HOME=/nonexistent");
	world_user(65534);
	fails(77, "you may not talk to the daemon", "workers");
	/* a root of one's own that nobody leases: then it is none of its business */
	ck_assert_int_eq(fs_mkdir_p(world_path("own"), 0755), 0);
	ck_assert_int_eq(chown(world_path("own"), 65534, 65534), 0);
	(void)snprintf(own, sizeof(own), "HERMES_KANBAN_HOME=%s", world_path("own"));
	world_env(own);
	(void)ok("init");
	r = kanbanctl("status");
	ck_assert_int_eq(r->exit, 1);
	ck_assert_ptr_nonnull(strstr(r->out, "from the files: no daemon serves this root"));
	ck_assert_str_eq(r->err, "");
}
END_TEST

START_TEST(which_of_several)
{
	world_env("HERMES_KANBAN_HOME=");
	world_env("HOME=/nonexistent");
	answers_serve(
		(const struct answer[]){
			{ "GET /v1/leader", "200 OK", JSON,
			  "{\"roots\":[{\"root\":\"/a\"},{\"root\":\"/b\"}]}" },
			{ NULL, NULL, NULL, NULL } },
		geteuid());
	refused(64, "--root takes one of /a, /b", "workers");
}
END_TEST

START_TEST(other_root)
{
	answers_serve(
		(const struct answer[]){
			{ "GET /v1/leader", "404 Not Found", PROBLEM,
			  "{\"type\":\"urn:kanband:problem:no-root\",\"status\":404,"
			  "\"detail\":\"this process does not serve it\",\"remedy\":null}" },
			{ NULL, NULL, NULL, NULL } },
		geteuid());
	refused(69, "does not serve it", "workers");
}
END_TEST

/* ---- what comes back ----------------------------------------------------------------- */

START_TEST(problems)
{
	static const struct {
		const char *type;
		int exit;
	} t[] = { { "bad-request", 64 }, { "forbidden", 77 }, { "no-board", 66 },
		  { "not-owner", 75 },   { "not-well", 1 },   { "config", 78 },
		  { "busy", 75 },        { "too-many", 75 },  { "stopping", 69 },
		  { "internal", 74 },    { "new-one", 74 } };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char body[512];

		(void)snprintf(body, sizeof(body),
			       "{\"type\":\"urn:kanband:problem:%s\",\"title\":\"x\","
			       "\"status\":400,\"detail\":\"it is so\\u001b[2J\\n\","
			       "\"remedy\":\"do that\"}",
			       t[i].type);
		daemon({ "POST /v1/boards/b/tick", "400 Bad", PROBLEM, body });
		refused(t[i].exit, "it is so", "tick", "b");
		refused(t[i].exit, "; do that", "tick", "b");
		ck_assert_int_eq(kill(server, SIGKILL), 0);
		ck_assert_int_eq(waitpid(server, NULL, 0), server);
		server = 0;
	}
}
END_TEST

START_TEST(rubbish)
{
	daemon({ "GET /v1/workers", "200 OK", JSON, "not JSON" },
	       { "GET /v1/boards/b", "200 OK", JSON, "[1]" },
	       { "GET /v1/boards?", "200 OK", JSON, "{\"boards\":7}" },
	       { "GET /v1/status", "200 OK", JSON, "{\"roots\":[]}" },
	       { "GET /v1/notify", "500 Oops", "text/html", "<html>" },
	       { "POST /v1/tick", NULL, NULL,
		 "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{" },
	       { "POST /v1/reload", NULL, NULL, "SSH-2.0-x\r\n" },
	       { "GET /metrics", "200 OK", "text/plain", "a 1\n" });
	(void)ok("--board", "b", "init");
	refused(74, "does not answer with JSON", "workers");
	refused(74, "does not answer with JSON", "board", "b");
	ck_assert_int_eq(with("boards")->exit, 0);
	refused(74, "says nothing about", "status");
	refused(74, "500", "notify");
	refused(74, "daemon at", "tick");
	refused(74, "daemon at", "reload");
	ck_assert_str_eq(ok("metrics", "--socket", answers_socket), "a 1");
}
END_TEST

START_TEST(requests_made)
{
	const char *text;

	daemon({ "POST /v1/boards/b/", "200 OK", JSON, "{\"running\":1,\"ready\":2}" },
	       { "POST /v1/drain", "200 OK", JSON,
		 "{\"draining\":null,\"drained\":false,\"workers\":2,\"launching\":1}" },
	       { "POST /v1/resume", "200 OK", JSON, "{\"resumed\":false,\"boards\":0}" },
	       { "POST /v1/notify/retry", "200 OK", JSON, "{\"retried\":3}" });
	ck_assert_ptr_nonnull(
		strstr(ok("--socket", answers_socket, "pause", "b"), "2 ready left"));
	(void)ok("--socket", answers_socket, "--board", "b", "tick");
	(void)ok("--socket", answers_socket, "pause");
	ck_assert_ptr_nonnull(
		strstr(ok("--socket", answers_socket, "resume"), "nothing was paused"));
	ck_assert_int_eq(with("drain", "--timeout", "5")->exit, 1);
	ck_assert_int_eq(with("drain", "--no-wait")->exit, 0);
	ck_assert_ptr_nonnull(
		strstr(ok("--socket", answers_socket, "notify", "retry", "t_\"1"), "3 subscr"));
	text = answers_requests();
	ck_assert_ptr_nonnull(strstr(text, "POST /v1/boards/b/pause?root=%2F"));
	ck_assert_ptr_nonnull(strstr(text, "POST /v1/boards/b/tick?root=%2F"));
	ck_assert_ptr_nonnull(
		strstr(text, "/v1/drain HTTP/1.1 {\"wait\":false,\"pause\":true}"));
	ck_assert_ptr_nonnull(strstr(text, "{\"wait\":true,\"timeout_s\":5}"));
	ck_assert_ptr_nonnull(strstr(text, "{\"wait\":false,\"timeout_s\":null}"));
	ck_assert_ptr_nonnull(strstr(text, "\"board\":null,\"task\":\"t_\\\"1\"}"));
}
END_TEST

/* Hostile texts of a daemon do nothing to a terminal, and tables stay tables. */
START_TEST(hostile_texts)
{
	const struct ctl_result *r;

	daemon({ "GET /v1/workers", "200 OK", JSON,
		 "{\"workers\":[{\"board\":\"\\u001b[2J\",\"task\":\"a\\nb\",\"run\":\"x\","
		 "\"pid\":null,\"started_at\":1e300}]}" },
	       { "GET /v1/events", "200 OK", JSON,
		 "{\"last\":\"5\",\"events\":[{\"id\":\"5\",\"at\":1e99,\"kind\":\"\\u001b]0;"
		 "x\","
		 "\"message\":\"a\\r\\nb\",\"root\":null},7]}" });
	r = with("workers");
	ck_assert_int_eq(r->exit, 0);
	ck_assert_ptr_null(strchr(r->out, '\033'));
	ck_assert_ptr_nonnull(strstr(r->out, "a\\nb"));
	r = with("events");
	ck_assert_int_eq(r->exit, 0);
	ck_assert_ptr_null(strchr(r->out, '\033'));
	ck_assert_ptr_nonnull(strstr(r->out, "a\\r\\nb"));
}
END_TEST

/* ---- events -------------------------------------------------------------------------- */

START_TEST(follow)
{
	struct world_child child;
	const struct ctl_result *r;

	/* the stream ends after two events; the client comes back with the id of the second */
	daemon({ "GET /v1/events", NULL, NULL,
		 STREAM ": hello\n\nid: 8\nevent: spawned\ndata: {\"id\":\"8\",\"at\":1,\n"
			"data: \"kind\":\"spawned\",\"message\":\"one\"}\n\n"
			"id: 9\nevent: gap\ndata: nonsense\n\n"
			"id: 10\ndata: {\"kind\":\"worker\",\"message\":\"two\","
			"\"root\":\"/elsewhere\"}\n\nid: 11\ndata: {\"kind\":\"cut off\"" });
	child = world_start(
		(const char *const[]){ "--socket", answers_socket, "events", "-f", NULL });
	for (int i = 0; i < 1000 && !strstr(answers_requests(), "/v1/events"); i++)
		usleep(10000);
	for (int i = 0; i < 1000; i++) {
		const char *first = strstr(answers_requests(), "/v1/events");

		if (first && strstr(first + 1, "/v1/events"))
			break;
		usleep(10000);
	}
	ck_assert_int_eq(kill(child.pid, SIGINT), 0);
	r = world_wait(child);
	ck_assert_int_eq(r->exit, -SIGINT);
	ck_assert_ptr_nonnull(strstr(r->out, "spawned: one\n"));
	ck_assert_ptr_null(strstr(r->out, "two"));
	ck_assert_ptr_null(strstr(r->out, "cut off"));
}
END_TEST

/* Nobody reads any more: over, quietly. */
START_TEST(follow_closed)
{
	struct world_child child;

	daemon({ "GET /v1/events", NULL, NULL,
		 STREAM "id: 1\ndata: {\"kind\":\"a\",\"message\":\"b\"}\n\n" });
	child = world_start((const char *const[]){ "--socket", answers_socket, "events",
						   "--follow", "--since", "bad id", NULL });
	ck_assert_int_eq(world_wait(child)->exit, 64);
}
END_TEST

static char sse_log[4096];

static int sse_one(void *arg, const char *id, const char *event, const char *data, size_t len)
{
	size_t used = strlen(sse_log);

	ck_assert_uint_eq(strlen(data), len);
	(void)snprintf(sse_log + used, sizeof(sse_log) - used, "[%s|%s|%s]", id, event, data);
	return *(int *)arg;
}

START_TEST(sse_pieces)
{
	static const char text[] = "\r\nevent: a\r\ndata: one\r\ndata:two\r\nid: 1\r\n\r\n"
				   ":c\ndata\n\nevent: nothing\n\nid\rdata: x\r\rretry: 5\n"
				   "data:  y\n\ndata: never ended";
	static const char want[] = "[1|a|one\ntwo][1|message|][|message|x][|message| y]";
	int stop = 0;

	for (size_t piece = 1; piece < sizeof(text); piece++) {
		struct sse s;

		sse_log[0] = '\0';
		sse_init(&s, sse_one, &stop);
		for (size_t i = 0; i < sizeof(text) - 1; i += piece) {
			size_t n = sizeof(text) - 1 - i < piece ? sizeof(text) - 1 - i : piece;

			ck_assert_int_eq(sse_feed(&s, text + i, n), 0);
		}
		sse_deinit(&s);
		ck_assert_msg(strcmp(sse_log, want) == 0, "pieces of %zu: %s", piece, sse_log);
	}
}
END_TEST

START_TEST(sse_limits)
{
	int stop = 3;
	struct sse s;
	char block[4096];
	int r = 0;

	sse_init(&s, sse_one, &stop);
	ck_assert_int_eq(sse_feed(&s, "data: x\n\n", 9), 3);
	sse_deinit(&s);
	memset(block, 'x', sizeof(block));
	sse_init(&s, sse_one, &stop);
	for (size_t i = 0; r == 0 && i <= SSE_MAX / sizeof(block); i++)
		r = sse_feed(&s, block, sizeof(block));
	ck_assert_int_eq(r, -EMSGSIZE);
	sse_deinit(&s);
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { nobody,           stranger,         other_root,
				       root_of_the_host, which_of_several, problems,
				       rubbish,          requests_made,    hostile_texts,
				       follow,           follow_closed,    sse_pieces,
				       sse_limits };

	return SUITE_EACH("ctl_client", 30, answers_setup, answers_teardown, tests);
}
