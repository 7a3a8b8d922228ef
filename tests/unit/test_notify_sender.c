/* The child that sends: how it is started, what its end means, and that none is left behind. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "kit/folder.h"
#include "kit/suite.h"
#include "notify/sender.h"
#include "util/fs.h"

static uv_loop_t loop;
static struct jobs jobs;
static struct environment *environment;
static struct sender *sender;
static struct notify_sender seam;
static struct notify_ending ending;
static unsigned ends;
static struct notify_message message;
static void *handle;

static const char *const environ_of_ours[] = { "PATH=/usr/bin:/bin",
					       "HOME=/nowhere",
					       "LANG=C",
					       "HERMES_HOME=/wrong",
					       "HERMES_KANBAN_HOME=/wrong",
					       "HERMES_KANBAN_TASK=t_9",
					       "HERMES_SESSION_KEY=secret",
					       "NOTIFY_SOCKET=/run/systemd/notify",
					       "WATCHDOG_USEC=1",
					       "LISTEN_FDS=1",
					       NULL };

static void ended(void *arg, const struct notify_ending *e)
{
	ck_assert_ptr_eq(arg, &ending);
	ending = *e;
	ends++;
	handle = NULL;
}

/* A program that stands in for hermes. */
static void hermes(const char *body)
{
	char text[2000];

	(void)snprintf(text, sizeof(text), "#!/bin/sh\ncd '%s'\n%s\n", folder_dir, body);
	folder_write("hermes", text, strlen(text));
	ck_assert_int_eq(chmod(folder_path("hermes"), 0700), 0);
}

static void setup(void)
{
	folder_setup();
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	jobs_init(&jobs, &loop);
	ck_assert_int_eq(environ_new(&environment, (char *const *)environ_of_ours, NULL), 0);
	ck_assert_int_eq(sender_new(&sender, &loop, &jobs, folder_dir, folder_path("hermes"),
				    environment),
			 0);
	seam = sender_seam(sender);
	message = (struct notify_message){ .profile = "jimmy",
					   .platform = "telegram",
					   .chat = "-100123",
					   .thread = "",
					   .text = "hello\nworld" };
}

static void teardown(void)
{
	sender = sender_free(sender);
	environment = environ_free(environment);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
	ck_assert_int_eq(errno, ECHILD);
	folder_teardown();
}

static void start(void)
{
	ck_assert_int_eq(seam.start(seam.arg, &message, ended, &ending, &handle), 0);
	ck_assert_uint_eq(ends, 0); /* never from inside */
}

static void deliver(void)
{
	ends = 0;
	start();
	while (!ends)
		(void)uv_run(&loop, UV_RUN_ONCE);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(ends, 1);
}

static char *content(const char *name)
{
	static char text[4000];
	char *data = NULL;

	ck_assert_msg(fs_read_file(folder_path(name), 3999, &data, NULL) == 0, "no %s", name);
	(void)snprintf(text, sizeof(text), "%s", data);
	free(data);
	return text;
}

START_TEST(test_delivered)
{
	hermes("printf '%s|' \"$@\" > argv; cat > text");
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_DELIVERED);
	ck_assert_str_eq(content("argv"), "-p|jimmy|send|--to|telegram:-100123|--file|-|");
	ck_assert_str_eq(content("text"), "hello\nworld");
	message.thread = "7";
	message.text = "";
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_DELIVERED);
	ck_assert_str_eq(content("argv"), "-p|jimmy|send|--to|telegram:-100123:7|--file|-|");
	ck_assert_str_eq(content("text"), "");
}
END_TEST

/* Nothing in a row reaches a shell, and nothing is cut or changed on the way. */
START_TEST(test_verbatim)
{
	hermes("printf '%s|' \"$@\" > argv; cat > text");
	message.chat = "$(touch oops) `touch oops`; 'x' \"y\" *";
	message.text = "$(touch oops) `touch oops` %s \\n 😀";
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_DELIVERED);
	ck_assert_str_eq(content("argv"),
			 "-p|jimmy|send|--to|telegram:$(touch oops) `touch oops`; "
			 "'x' \"y\" *|--file|-|");
	ck_assert_str_eq(content("text"), message.text);
	ck_assert_int_lt(access(folder_path("oops"), F_OK), 0);
}
END_TEST

START_TEST(test_surroundings)
{
	char want[600];
	int fds[2];
	char *env;

	ck_assert_int_eq(pipe(fds), 0); /* not close-on-exec: must not reach it all the same */
	hermes("env > env; ls /proc/$$/fd > fds; ps -o sid= -p $$ > sid; echo $$ > pid;"
	       " grep -E '^Sig(Blk|Ign)' /proc/self/status > signals");
	(void)signal(SIGPIPE, SIG_IGN);
	deliver();
	(void)signal(SIGPIPE, SIG_DFL);
	ck_assert_int_eq(close(fds[0]) | close(fds[1]), 0);
	ck_assert_msg(ending.fate == NOTIFY_DELIVERED, "%s", ending.reason);
	env = content("env");
	(void)snprintf(want, sizeof(want), "HERMES_HOME=%s/profiles/jimmy\n", folder_dir);
	ck_assert_ptr_nonnull(strstr(env, want));
	(void)snprintf(want, sizeof(want), "HERMES_KANBAN_HOME=%s\n", folder_dir);
	ck_assert_ptr_nonnull(strstr(env, want));
	ck_assert_ptr_nonnull(strstr(env, "LANG=C\n"));
	ck_assert_ptr_nonnull(strstr(env, "HOME=/nowhere\n"));
	ck_assert_ptr_null(strstr(env, "wrong"));
	ck_assert_ptr_null(strstr(env, "HERMES_KANBAN_TASK"));
	ck_assert_ptr_null(strstr(env, "secret"));
	ck_assert_ptr_null(strstr(env, "NOTIFY_SOCKET"));
	ck_assert_ptr_null(strstr(env, "WATCHDOG"));
	ck_assert_ptr_null(strstr(env, "LISTEN"));
	/* 0, 1, 2, and the script itself */
	ck_assert_msg(strlen(content("fds")) <= strlen("0\n1\n2\n10\n255\n"), "%s",
		      content("fds"));
	ck_assert_int_eq(atoi(content("sid")), atoi(content("pid")));
	ck_assert_ptr_nonnull(strstr(content("signals"), "SigBlk:\t0000000000000000"));
	ck_assert_ptr_nonnull(strstr(content("signals"), "SigIgn:\t0000000000000000"));
	message.profile = "default";
	deliver();
	(void)snprintf(want, sizeof(want), "HERMES_HOME=%s\n", folder_dir);
	ck_assert_ptr_nonnull(strstr(content("env"), want));
}
END_TEST

START_TEST(test_failures)
{
	hermes("echo first >&2; echo 'chat not \033found' >&2; echo >&2; exit 1");
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_RETRY);
	ck_assert_str_eq(ending.reason, "hermes send: exit status 1: chat not ?found");
	hermes("echo 'usage: hermes'; exit 2");
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_HOPELESS);
	ck_assert_str_eq(ending.reason, "hermes send: exit status 2: usage: hermes");
	hermes("exit 75");
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_RETRY);
	ck_assert_str_eq(ending.reason, "hermes send: exit status 75");
	hermes("kill -TERM $$");
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_RETRY);
	ck_assert_str_eq(ending.reason, "hermes send: killed by signal 15");
}
END_TEST

START_TEST(test_not_started)
{
	deliver(); /* there is no such file */
	ck_assert_int_eq(ending.fate, NOTIFY_RETRY);
	ck_assert_ptr_nonnull(strstr(ending.reason, "No such file"));
	folder_write("hermes", "#!/bin/sh\n", 10);
	deliver(); /* may not be run */
	ck_assert_int_eq(ending.fate, NOTIFY_RETRY);
	ck_assert_ptr_nonnull(strstr(ending.reason, "Permission denied"));
	ck_assert_int_eq(sender_set_hermes(sender, "no-such-hermes"), 0);
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_RETRY);
	ck_assert_str_eq(ending.reason,
			 "there is no program no-such-hermes on PATH; set [worker] hermes");
	ck_assert_int_eq(sender_set_hermes(sender, "true"), 0);
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_DELIVERED);
}
END_TEST

START_TEST(test_no_names)
{
	static const struct {
		const char *profile, *platform, *chat, *thread, *reason;
	} bad[] = {
		{ "../x", "telegram", "1", "", "\"../x\" is no name of a profile" },
		{ "", "telegram", "1", "", "\"\" is no name of a profile" },
		{ "jimmy", "--help", "1", "", "\"--help\" is no name of a platform" },
		{ "jimmy", "", "1", "", "\"\" is no name of a platform" },
		{ "jimmy", "a b", "1", "", "\"a b\" is no name of a platform" },
		{ "jimmy", "telegram", "", "", "\"\" is no chat" },
		{ "jimmy", "telegram", "1\n2", "", "\"1?2\" is no chat" },
		{ "jimmy", "telegram", "1", "\x1b", "\"?\" is no thread" },
	};

	hermes("touch started");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		message = (struct notify_message){ bad[i].profile, bad[i].platform, bad[i].chat,
						   bad[i].thread, "x" };
		deliver();
		ck_assert_int_eq(ending.fate, NOTIFY_HOPELESS);
		ck_assert_str_eq(ending.reason, bad[i].reason);
	}
	ck_assert_int_lt(access(folder_path("started"), F_OK), 0);
}
END_TEST

static void until_file(const char *name)
{
	while (access(folder_path(name), F_OK) < 0) {
		(void)uv_run(&loop, UV_RUN_NOWAIT);
		(void)usleep(1000); /* one step of a poll */
	}
}

/* Killed with everything in its group, whether it reads its input or not. */
START_TEST(test_kill)
{
	pid_t child;

	hermes("(trap '' TERM; sleep 1000) & echo $! > child.new; mv child.new child; wait");
	ends = 0;
	start();
	until_file("child");
	child = atoi(content("child"));
	ck_assert_int_eq(kill(child, 0), 0);
	seam.kill(seam.arg, handle, "no answer");
	seam.kill(seam.arg, handle, "again");
	while (!ends)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ck_assert_int_eq(ending.fate, NOTIFY_RETRY);
	ck_assert_str_eq(ending.reason, "no answer");
	for (int i = 0; i < 5000 && kill(child, 0) == 0; i++) {
		char state[300] = "";
		FILE *f;

		(void)snprintf(state, sizeof(state), "/proc/%d/stat", (int)child);
		f = fopen(state, "re");
		if (f && fgets(state, sizeof(state), f) && strstr(state, ") Z"))
			i = 5000; /* a zombie: init has not looked yet */
		if (f)
			(void)fclose(f);
		(void)usleep(1000);
	}
}
END_TEST

/* Killed while it is being started. */
START_TEST(test_kill_early)
{
	hermes("sleep 1000");
	ends = 0;
	start();
	seam.kill(seam.arg, handle, "too late");
	while (!ends)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ck_assert_int_eq(ending.fate, NOTIFY_RETRY);
	ck_assert_str_eq(ending.reason, "too late");
}
END_TEST

/* A child that says a lot, and one whose own child keeps the pipe open. */
START_TEST(test_babble)
{
	hermes("yes 'something to say' | head -n 200000; echo 'the end'; exit 1");
	deliver();
	ck_assert_str_eq(ending.reason, "hermes send: exit status 1: the end");
	hermes("setsid sleep 1000 & echo $! > child; exit 0");
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_DELIVERED);
	ck_assert_int_eq(kill(atoi(content("child")), SIGKILL), 0);
}
END_TEST

START_TEST(test_long)
{
	char *text = malloc(200001);

	memset(text, 'x', 200000);
	text[200000] = '\0';
	message.text = text;
	hermes("exec true"); /* does not read it */
	deliver();
	ck_assert_int_eq(ending.fate, NOTIFY_DELIVERED);
	hermes("wc -c > size");
	deliver();
	ck_assert_int_eq(atoi(content("size")), 200000);
	free(text);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("notify_sender");
	TCase *t = tcase_create("sender");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_delivered);
	tcase_add_test(t, test_verbatim);
	tcase_add_test(t, test_surroundings);
	tcase_add_test(t, test_failures);
	tcase_add_test(t, test_not_started);
	tcase_add_test(t, test_no_names);
	tcase_add_test(t, test_kill);
	tcase_add_test(t, test_kill_early);
	tcase_add_test(t, test_babble);
	tcase_add_test(t, test_long);
	suite_add_tcase(s, t);
	return s;
}
