/* kanbanctl top against a false daemon: keys, signals, sizes, what it shows and how it leaves
 * the terminal; what works long. */
#include <check.h>
#include <jansson.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "ctl/sse.h"
#include "kit/answers.h"
#include "kit/ctl.h"
#include "kit/suite.h"
#include "util/fs.h"

/* ---- top ----------------------------------------------------------------------------- */

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
		const char *const argv[] = { "kanbanctl", "--socket", answers_socket, verb,
					     NULL };
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
	ck_assert_ptr_nonnull(memmem(top_out, top_used, "\033[?25h", 6)); /* the cursor */
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
	"\"role\":\"owner\",\"epoch\":5,\"tasks\":{\"ready\":2},\"boards\":[{\"slug\":"        \
	"\"bo\\u001b[2J\","                                                                    \
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
	top_until("1d 1h");
	top_until("1 of 4 workers");
	top_until("bo\\x1b[2J"); /* not the sequence itself */
	top_until("t_77");
	top_until("long ago");
	ck_assert_int_eq(write(top_fd, "q", 1), 1);
	top_over(0);
}
END_TEST

/* Keys: filter, help, detail and the question before a worker is ended. */
START_TEST(top_keys)
{
	top_daemon();
	top_start();
	top_until("t_77");
	ck_assert_int_eq(write(top_fd, "?", 1), 1);
	top_until("end the worker (asked)");
	ck_assert_int_eq(write(top_fd, "q/zzz\r", 6), 6);
	top_until("filter zzz");
	ck_assert_int_eq(write(top_fd, "/\033", 2), 2);
	top_used = 0;
	top_until("t_77");
	ck_assert_int_eq(write(top_fd, "k", 1), 1);
	top_until("end the worker of t_77?");
	ck_assert_int_eq(write(top_fd, "n", 1), 1);
	top_until("help");
	ck_assert_ptr_null(strstr(answers_requests(), "POST"));
	ck_assert_int_eq(write(top_fd, "q", 1), 1);
	top_over(0);
}
END_TEST

static void top_type(const char *keys)
{
	ck_assert_int_eq(write(top_fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* @button as xterm numbers them, at the line @y from 1 on, in what the terminal was asked for.
 */
static void top_mouse(int button, int y)
{
	char text[32];

	if (memmem(top_out, top_used, "\033[?1006", 7))
		(void)snprintf(text, sizeof(text), "\033[<%d;3;%dM", button, y);
	else
		(void)snprintf(text, sizeof(text), "\033[M%c#%c", 32 + button, 32 + y);
	top_type(text);
}

/* A row is chosen by mouse, wheel and keys; the workers are sorted, one kind of rows is shown.
 */
START_TEST(top_chooses)
{
	top_daemon();
	top_start();
	top_until("long ago");
	top_mouse(0,
		  8); /* the board: three lines and a blank one, the worker, each with a head */
	top_type("\r");
	top_until("tasks");
	top_type("q\033OF\r"); /* End: the event */
	top_until("\"at\"");
	top_type("q");
	top_mouse(64, 5);
	top_mouse(64, 5);
	top_type("k");
	top_until("end the worker of t_77?");
	top_type("ns");
	top_until("by memory");
	top_type("\t\t\t"); /* only workers, only boards, only events */
	top_mouse(0, 6);
	top_type("k");
	top_until("choose a worker");
	top_type("q");
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
	ck_assert_int_eq(write(top_fd, "?", 1), 1);
	top_until("top: keys");
	ck_assert_int_eq(write(top_fd, "q", 1), 1);
	top_until("t_77");
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
	top_daemon();
	/* the picture stays; only what changes is drawn: the words go, and what follows is
	 * there */
	ck_assert_int_eq(write(top_fd, "?", 1), 1);
	top_until("top: keys");
	ck_assert_int_eq(write(top_fd, "qq", 2), 2);
	top_over(0);
}
END_TEST

/* No terminal: one picture, or one JSON. */
START_TEST(top_once)
{
	json_t *j;

	top_daemon();
	ck_assert_ptr_nonnull(strstr(ok("--socket", answers_socket, "top"), "t_77"));
	j = parsed(0, "--socket", answers_socket, "top");
	ck_assert_ptr_nonnull(json_object_get(j, "status"));
	ck_assert_uint_eq(json_array_size(json_object_get(j, "workers")), 1);
	json_decref(j);
}
END_TEST

/* Work that takes long is shown, and the line is gone before the result. */
#define DRAIN "{\"draining\":{},\"drained\":false,\"workers\":1,\"launching\":1}"

/* Who still works is shown, again and again. */
START_TEST(drain_shows)
{
	static const char still[] = "{\"draining\":{},\"roots\":[{\"boards\":[{"
				    "\"workers\":1,\"launching\":1}]}]}";
	int status;

	daemon({ "POST /v1/drain", "200 OK", JSON, DRAIN },
	       { "GET /v1/workers", "200 OK", JSON, TOP_WORK },
	       { "GET /v1/status", "200 OK", JSON, still });
	terminal_start("drain");
	top_until("draining: 2 still run");
	top_until("t_77");
	top_until("\033[3A\033[J"); /* drawn over: a line, a heading, a worker */
	ck_assert_int_eq(kill(top_pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(top_pid, &status, 0), top_pid);
	close(top_fd);
}
END_TEST

/* Somebody else's resume is not undone by waiting on. */
START_TEST(drain_resumed)
{
	static const char resumed[] = "{\"draining\":null,\"roots\":[{\"boards\":[{"
				      "\"workers\":1,\"launching\":0}]}]}";
	int status;

	daemon({ "POST /v1/drain", "200 OK", JSON, DRAIN },
	       { "GET /v1/workers", "200 OK", JSON, TOP_WORK },
	       { "GET /v1/status", "200 OK", JSON, resumed });
	terminal_start("drain");
	top_until("not drained: somebody");
	ck_assert_int_eq(waitpid(top_pid, &status, 0), top_pid);
	ck_assert_int_eq(WEXITSTATUS(status), 1);
	close(top_fd);
}
END_TEST

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

Suite *test_suite(void)
{
	const TTest *const tests[] = { top_quits,     top_chooses, top_keys, top_signals,
				       top_resizes,   top_waits,   top_once, drain_shows,
				       drain_resumed, long_work };

	return SUITE_EACH("ctl_top", 30, answers_setup, answers_teardown, tests);
}
