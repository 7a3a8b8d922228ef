/*
 * kanbanctl as a client: a false daemon says what each case wants, the truth or not. (With the
 * real one: test_daemon_ctl.)
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "ctl/sse.h"
#include "kit/ctl.h"
#include "util/fs.h"

static pid_t server;
static char socket_path[108];

/* What the false daemon answers to a request whose first line begins with @path. */
struct answer {
	const char *path;   /* "GET /v1/leader" */
	const char *status; /* "200 OK" */
	const char *type;
	const char *body;
};

#define SLOW    "200 OK, after a while"
#define JSON    "application/json"
#define PROBLEM "application/problem+json"

static const struct answer leader_here = { "GET /v1/leader", "200 OK", JSON,
					   "{\"roots\":[{\"root\":\"ROOT\",\"held\":true,"
					   "\"pid\":7,\"kanband\":true,\"owner\":null}]}" };

static void setup(void)
{
	world_setup();
	(void)ok("init");
	(void)snprintf(socket_path, sizeof(socket_path), "%.90s/k.sock", world_root);
	server = 0;
}

static void teardown(void)
{
	if (server > 0) {
		ck_assert_int_eq(kill(server, SIGKILL), 0);
		ck_assert_int_eq(waitpid(server, NULL, 0), server);
	}
	world_teardown();
}

/* ---- the false daemon ---------------------------------------------------------------------
 */

static void serve_one(int fd, const struct answer *answers)
{
	char in[65536], out[65536];
	size_t used = 0;
	int log;

	for (;;) {
		ssize_t n = read(fd, in + used, sizeof(in) - 1 - used);
		const char *body, *length;

		if (n <= 0)
			return;
		used += (size_t)n;
		in[used] = '\0';
		body = strstr(in, "\r\n\r\n");
		length = strstr(in, "Content-Length: ");
		if (!body || (length && strlen(body + 4) < strtoul(length + 16, NULL, 10)))
			continue;
		log = open(world_path("requests"), O_WRONLY | O_CREAT | O_APPEND, 0644);
		dprintf(log, "%.*s %s\n", (int)strcspn(in, "\r"), in, body + 4);
		close(log);
		for (; answers->path; answers++)
			if (strncmp(in, answers->path, strlen(answers->path)) == 0)
				break;
		if (!answers->path)
			return;
		if (answers->status && strcmp(answers->status, SLOW) == 0)
			(void)usleep(2500000); /* what is tested is that waiting is shown */
		if (answers->type)
			(void)snprintf(
				out, sizeof(out),
				"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
				"Connection: close\r\n\r\n%s",
				answers->status, answers->type, strlen(answers->body),
				answers->body);
		else /* as it stands */
			(void)snprintf(out, sizeof(out), "%s", answers->body);
		if (write(fd, out, strlen(out)) < 0)
			return;
		return;
	}
}

static void serve(const struct answer *answers, uid_t uid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	(void)unlink(socket_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(socket_path, 0777), 0);
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server > 0) {
		/* who listens is who called listen(2): wait for it */
		while (access(world_path("listening"), F_OK) != 0)
			ck_assert_int_eq(waitpid(server, NULL, WNOHANG), 0);
		ck_assert_int_eq(unlink(world_path("listening")), 0);
		close(fd);
		return;
	}
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	close(open(world_path("requests"), O_WRONLY | O_CREAT, 0666));
	(void)chmod(world_path("requests"), 0666);
	(void)chmod(world_root, 0777);
	if (setresuid(uid, uid, uid) < 0 || listen(fd, 64) < 0)
		_exit(1);
	close(open(world_path("listening"), O_WRONLY | O_CREAT, 0666));
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client < 0)
			_exit(1);
		serve_one(client, answers);
		close(client);
	}
}

#define daemon(...)                                                                            \
	serve((const struct answer[]){ leader_here, __VA_ARGS__, { NULL, NULL, NULL, NULL } }, \
	      geteuid())

static char *requests(void)
{
	static char *text;

	free(text);
	text = NULL;
	ck_assert_int_eq(fs_read_file(world_path("requests"), 1 << 20, &text, NULL), 0);
	return text;
}

#define with(...)                kanbanctl("--socket", socket_path, __VA_ARGS__)
#define refused(exit, word, ...) fails(exit, word, "--socket", socket_path, __VA_ARGS__)

/* ---- who is asked -------------------------------------------------------------------------
 */

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
	fails(64, "board name", "tick", "../x", "--socket", socket_path);
}
END_TEST

START_TEST(stranger)
{
	char owner[512];

	if (getuid() != 0)
		return;
	serve((const struct answer[]){ leader_here, { NULL, NULL, NULL, NULL } }, 1);
	refused(77, "is neither root nor the owner", "workers");
	/* the owner file leads there: as if there were no daemon */
	(void)snprintf(owner, sizeof(owner),
		       "{\"epoch\":1,\"pid\":1,\"host\":\"h\",\"boot_id\":\"b\",\"unit\":\"\","
		       "\"version\":\"0\",\"socket\":\"%s\",\"since\":1}",
		       socket_path);
	world_put("kanban/.dispatcher.owner.json", owner, strlen(owner));
	fails(69, "no daemon serves", "workers");
	ck_assert_str_eq(requests(), "");
	/* it is the owner of the root: then it may */
	ck_assert_int_eq(chown(world_root, 1, 1), 0);
	ck_assert_int_eq(kanbanctl("leader")->exit, 0);
	ck_assert_str_ne(requests(), "");
}
END_TEST

START_TEST(other_root)
{
	serve(
		(const struct answer[]){
			{ "GET /v1/leader", "404 Not Found", PROBLEM,
			  "{\"type\":\"urn:kanband:problem:no-root\",\"status\":404,"
			  "\"detail\":\"this process does not serve it\",\"remedy\":null}" },
			{ NULL, NULL, NULL, NULL } },
		geteuid());
	refused(69, "does not serve it", "workers");
}
END_TEST

/* ---- what comes back ----------------------------------------------------------------------
 */

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
	ck_assert_str_eq(ok("metrics", "--socket", socket_path), "a 1");
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
		strstr(ok("--socket", socket_path, "pause", "b"), "2 ready left"));
	(void)ok("--socket", socket_path, "--board", "b", "tick");
	(void)ok("--socket", socket_path, "pause");
	ck_assert_ptr_nonnull(strstr(ok("--socket", socket_path, "resume"), "no pause"));
	ck_assert_int_eq(with("drain", "--timeout", "5")->exit, 1);
	ck_assert_int_eq(with("drain", "--no-wait")->exit, 0);
	ck_assert_ptr_nonnull(
		strstr(ok("--socket", socket_path, "notify", "retry", "t_\"1"), "3 subscr"));
	text = requests();
	ck_assert_ptr_nonnull(strstr(text, "POST /v1/boards/b/pause?root=%2F"));
	ck_assert_ptr_nonnull(strstr(text, "POST /v1/boards/b/tick?root=%2F"));
	ck_assert_ptr_nonnull(strstr(text, "/v1/drain HTTP/1.1 {\"wait\":false}"));
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

/* ---- events -------------------------------------------------------------------------------
 */

#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

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
		(const char *const[]){ "--socket", socket_path, "events", "-f", NULL });
	for (int i = 0; i < 1000 && !strstr(requests(), "/v1/events"); i++)
		usleep(10000);
	for (int i = 0; i < 1000; i++) {
		const char *first = strstr(requests(), "/v1/events");

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
	child = world_start((const char *const[]){ "--socket", socket_path, "events",
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

/* ---- top ----------------------------------------------------------------------------------
 */

static pid_t top_pid;
static int top_fd;
static struct termios top_before;
static char top_out[1 << 18];
static size_t top_used;

/* kanbanctl @verb on a terminal of its own. */
static void terminal_start(const char *verb)
{
	struct winsize size = { .ws_col = 90, .ws_row = 20 };
	char home[300];
	int slave;

	ck_assert_int_eq(openpty(&top_fd, &slave, NULL, NULL, &size), 0);
	ck_assert_int_eq(tcgetattr(slave, &top_before), 0);
	(void)snprintf(home, sizeof(home), "HERMES_KANBAN_HOME=%s", world_root);
	top_used = 0;
	top_pid = fork();
	ck_assert_int_ge(top_pid, 0);
	if (top_pid == 0) {
		const char *const argv[] = { "kanbanctl", "--socket", socket_path, verb, NULL };
		const char *const env[] = { home, "TERM=xterm", "TZ=UTC", NULL };

		(void)signal(SIGTERM, SIG_DFL);
		close(top_fd);
		if (login_tty(slave) < 0)
			_exit(126);
		(void)execve(world_binary(), (char *const *)(uintptr_t)argv,
			     (char *const *)(uintptr_t)env);
		_exit(127);
	}
	close(slave);
}

static void top_start(void)
{
	terminal_start("top");
}

/* Read until @text was drawn. */
static void top_until(const char *text)
{
	while (!memmem(top_out, top_used, text, strlen(text))) {
		ssize_t n = read(top_fd, top_out + top_used, sizeof(top_out) - 1 - top_used);

		ck_assert_msg(n > 0, "no \"%s\" in %.*s", text, (int)top_used, top_out);
		top_used += (size_t)n;
	}
}

/* It ended by itself, and the terminal is as it was. */
static void top_over(int want)
{
	struct termios after;
	int status;

	top_until("\033[?1049l"); /* back on the first screen, cursor and wrap before it */
	ck_assert_ptr_nonnull(memmem(top_out, top_used, "\033[?7h\033[?25h", 11));
	ck_assert_int_eq(waitpid(top_pid, &status, 0), top_pid);
	ck_assert_msg((WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)) == want,
		      "%x", status);
	ck_assert_int_eq(tcgetattr(top_fd, &after), 0);
	ck_assert_uint_eq(after.c_lflag, top_before.c_lflag);
	close(top_fd);
}

#define TOP_STATUS                                                                             \
	"{\"version\":\"9.9\",\"uptime_s\":90061,\"sentence\":\"all is well\","                \
	"\"limits\":{\"in_progress\":1,\"max_in_progress\":4},\"roots\":[{\"root\":\"ROOT\","  \
	"\"epoch\":5,\"tasks\":{\"ready\":2},\"boards\":[{\"slug\":\"bo\\u001b[2J\","          \
	"\"state\":\"healthy\",\"tasks\":{\"ready\":2}}]}]}"
#define TOP_WORK "{\"workers\":[{\"board\":\"b\",\"task\":\"t_77\",\"run\":1,\"pid\":9}]}"

static void top_daemon(void)
{
	daemon({ "GET /v1/status", "200 OK", JSON, TOP_STATUS },
	       { "GET /v1/workers", "200 OK", JSON, TOP_WORK },
	       { "GET /v1/events?follow=no", "200 OK", JSON,
		 "{\"last\":\"3\",\"events\":[{\"at\":1,\"kind\":\"spawned\",\"message\":"
		 "\"long "
		 "ago\"}]}" },
	       { "GET /v1/events", NULL, NULL, STREAM });
}

START_TEST(top_quits)
{
	top_daemon();
	top_start();
	top_until("\033[?1049h");
	top_until("kanband 9.9");
	top_until("1 d 1 h");
	top_until("in progress 1 of 4");
	top_until("bo\\x1b[2J"); /* not the sequence itself */
	top_until("t_77");
	top_until("long ago");
	ck_assert_int_eq(write(top_fd, "q", 1), 1);
	top_over(0);
}
END_TEST

START_TEST(top_signals)
{
	static const int signals[] = { SIGTERM, SIGHUP };

	top_daemon();
	for (size_t i = 0; i < 2; i++) {
		top_start();
		top_until("t_77");
		ck_assert_int_eq(kill(top_pid, signals[i]), 0);
		top_over(-signals[i]);
	}
	top_start();
	top_until("t_77");
	ck_assert_int_eq(write(top_fd, "\003", 1), 1); /* Ctrl-C */
	top_over(128 + SIGINT);
	/* a crash gives the terminal back too */
	top_start();
	top_until("t_77");
	ck_assert_int_eq(kill(top_pid, SIGABRT), 0);
	top_over(-SIGABRT);
}
END_TEST

START_TEST(top_resizes)
{
	struct winsize narrow = { .ws_col = 30, .ws_row = 8 };
	int status;

	top_daemon();
	top_start();
	top_until("t_77");
	ck_assert_int_eq(ioctl(top_fd, TIOCSWINSZ, &narrow), 0);
	top_used = 0;
	top_until("\033[H");
	top_until("\033[J");
	/* stopped and continued: the screen is given back and taken again */
	ck_assert_int_eq(kill(top_pid, SIGTSTP), 0);
	ck_assert_int_eq(waitpid(top_pid, &status, WUNTRACED), top_pid);
	ck_assert(WIFSTOPPED(status));
	top_until("\033[?1049l");
	top_used = 0;
	ck_assert_int_eq(kill(top_pid, SIGCONT), 0);
	top_until("\033[?1049h");
	top_until("kanband 9.9");
	ck_assert_int_eq(write(top_fd, "q", 1), 1);
	top_over(0);
}
END_TEST

/* The daemon goes away: said, and the picture stays; it comes back. */
START_TEST(top_waits)
{
	top_daemon();
	top_start();
	top_until("t_77");
	ck_assert_int_eq(kill(server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
	top_used = 0;
	top_until("the daemon is gone");
	top_until("t_77");
	top_daemon();
	top_used = 0;
	top_until("all is well");
	ck_assert_int_eq(write(top_fd, "q", 1), 1);
	top_over(0);
}
END_TEST

/* No terminal: one picture, or one JSON. */
START_TEST(top_once)
{
	json_t *j;

	top_daemon();
	ck_assert_ptr_nonnull(strstr(ok("--socket", socket_path, "top"), "t_77"));
	j = parsed(0, "--socket", socket_path, "top");
	ck_assert_ptr_nonnull(json_object_get(j, "status"));
	ck_assert_uint_eq(json_array_size(json_object_get(j, "workers")), 1);
	json_decref(j);
}
END_TEST

/* Work that takes long is shown, and the line is gone before the result. */
START_TEST(long_work)
{
	const struct ctl_result *r;
	int status;

	daemon({ "POST /v1/boards/default/check", SLOW, JSON,
		 "{\"well\":true,\"state\":\"healthy\",\"what\":\"sound\"}" });
	terminal_start("check");
	top_until("check … 1 s");
	top_until("\r\033[Kdefault: healthy: sound");
	ck_assert_int_eq(waitpid(top_pid, &status, 0), top_pid);
	ck_assert_int_eq(status, 0);
	close(top_fd);
	/* not where nobody looks */
	r = with("check");
	ck_assert_int_eq(r->exit, 0);
	ck_assert_str_eq(r->err, "");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		nobody,        stranger,      other_root,  problems,      rubbish,
		requests_made, hostile_texts, follow,      follow_closed, sse_pieces,
		sse_limits,    top_quits,     top_signals, top_resizes,   top_waits,
		top_once,      long_work,
	};
	Suite *s = suite_create("ctl_client");
	SRunner *r;
	int failed;

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		TCase *tc = tcase_create(tests[i]->name);

		tcase_set_timeout(tc, 30);
		tcase_add_checked_fixture(tc, setup, teardown);
		tcase_add_test(tc, tests[i]);
		suite_add_tcase(s, tc);
	}
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
