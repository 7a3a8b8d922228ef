/* What reaches the service manager: a datagram socket of our own stands in for it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/service.h"
#include "kit/suite.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

#define WAIT_MS 10000

static struct {
	uv_loop_t loop;
	struct service service;
	char *folder;
	char *path;
	int manager;   /* the manager's end */
	int log;       /* what we logged, a memfd in place of stderr */
	int stderr_fd; /* the real one */
	bool well;
	unsigned asked; /* times that the gate was asked */
	unsigned yes;   /* of them answered with yes, not yet seen as pings */
	bool closed;
} fix;

static void fix_setup(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *tmp = getenv("TMPDIR");

	fix.folder = fs_path("%s/service.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(fix.folder));
	fix.path = fs_path("%s/notify", fix.folder);
	ck_assert_uint_lt(strlen(fix.path), sizeof(addr.sun_path));
	memcpy(addr.sun_path, fix.path, strlen(fix.path));
	fix.manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fix.manager, 0);
	ck_assert_int_eq(bind(fix.manager, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", fix.path, 1), 0);
	ck_assert_int_eq(unsetenv("WATCHDOG_USEC"), 0);
	ck_assert_int_eq(unsetenv("WATCHDOG_PID"), 0);
	ck_assert_int_eq(uv_loop_init(&fix.loop), 0);
	fix.log = memfd_create("log", MFD_CLOEXEC);
	fix.stderr_fd = dup(STDERR_FILENO);
	ck_assert_int_ge(fix.stderr_fd, 0);
	ck_assert_int_eq(dup2(fix.log, STDERR_FILENO), STDERR_FILENO);
	(void)unsetenv("JOURNAL_STREAM");
	log_open(LOG_INFO);
	fix.well = true;
	fix.asked = 0;
	fix.yes = 0;
	fix.closed = false;
}

static void fix_teardown(void)
{
	ck_assert_int_eq(dup2(fix.stderr_fd, STDERR_FILENO), STDERR_FILENO);
	ck_assert_int_eq(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&fix.loop), 0);
	(void)close(fix.stderr_fd);
	(void)close(fix.log);
	(void)close(fix.manager);
	ck_assert_int_eq(unlink(fix.path), 0);
	ck_assert_int_eq(rmdir(fix.folder), 0);
	free(fix.path);
	free(fix.folder);
}

static bool gate(void *arg, const char **why)
{
	ck_assert_ptr_eq(arg, &fix);
	fix.asked++;
	if (fix.well)
		fix.yes++;
	else
		*why = "job tick of board demo is 40 s overdue";
	return fix.well;
}

static void start(void)
{
	ck_assert_int_eq(service_init(&fix.service, &fix.loop, gate, &fix), 0);
}

static void on_closed(void *arg)
{
	ck_assert_ptr_eq(arg, &fix);
	fix.closed = true;
}

static void stop(void)
{
	service_close(&fix.service, on_closed, &fix);
	ck_assert(!fix.closed);
	ck_assert_int_eq(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
	ck_assert(fix.closed);
}

/* The next message, "" when there is none: they arrive within the call that sends them. */
static const char *next(void)
{
	static char message[2048];
	ssize_t n = recv(fix.manager, message, sizeof(message) - 1, MSG_DONTWAIT);

	ck_assert_msg(n >= 0 || errno == EAGAIN, "recv: %s", strerror(errno));
	message[n < 0 ? 0 : n] = '\0';
	return message;
}

static char *logged(void)
{
	static char text[8192];
	ssize_t n = pread(fix.log, text, sizeof(text) - 1, 0);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	return text;
}

static unsigned logged_lines(void)
{
	unsigned n = 0;

	for (const char *c = logged(); *c; c++)
		n += *c == '\n';
	return n;
}

static void run_until_asked(unsigned times)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (fix.asked < times && clock_mono_ms() < end)
		(void)uv_run(&fix.loop, UV_RUN_ONCE);
	ck_assert_uint_ge(fix.asked, times);
}

/* One ping for each yes of the gate, and nothing else. A slow machine may ask more often than
 * was waited for. */
static void expect_pings(void)
{
	for (; fix.yes > 0; fix.yes--)
		ck_assert_str_eq(next(), "WATCHDOG=1");
	ck_assert_str_eq(next(), "");
}

START_TEST(without_a_manager_nothing_happens)
{
	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	start();
	service_ready(&fix.service);
	service_status(&fix.service, "idle");
	service_reloading(&fix.service);
	service_extend_timeout(&fix.service, 1);
	service_stopping(&fix.service);
	ck_assert_uint_eq(service_watchdog_period_ms(&fix.service), 0);
	ck_assert_int_eq(uv_run(&fix.loop, UV_RUN_NOWAIT), 0); /* no timer either */
	ck_assert_str_eq(next(), "");
	ck_assert_str_eq(logged(), "");
	stop();
}
END_TEST

START_TEST(the_life_of_a_service)
{
	uint64_t stamp = 0, before;
	const char *message;

	start();
	service_ready(&fix.service);
	ck_assert_str_eq(next(), "READY=1");
	before = clock_mono_us();
	service_reloading(&fix.service);
	message = next();
	ck_assert_int_eq(sscanf(message, "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &stamp), 1);
	ck_assert_uint_ge(stamp, before);
	ck_assert_uint_le(stamp, clock_mono_us());
	service_ready(&fix.service);
	ck_assert_str_eq(next(), "READY=1");
	service_extend_timeout(&fix.service, 30000000);
	ck_assert_str_eq(next(), "EXTEND_TIMEOUT_USEC=30000000");
	service_stopping(&fix.service);
	ck_assert_str_eq(next(), "STOPPING=1");
	ck_assert_str_eq(next(), "");
	ck_assert_str_eq(getenv("NOTIFY_SOCKET"), fix.path);
	stop();
}
END_TEST

START_TEST(status_is_sent_on_change)
{
	start();
	service_status(&fix.service, "owner of %s, epoch %d", "/r", 4);
	ck_assert_str_eq(next(), "STATUS=owner of /r, epoch 4");
	service_status(&fix.service, "owner of %s, epoch %d", "/r", 4);
	ck_assert_str_eq(next(), "");
	service_status(&fix.service, "owner of /r, epoch 5");
	ck_assert_str_eq(next(), "STATUS=owner of /r, epoch 5");
	service_status(&fix.service, "%s", "");
	ck_assert_str_eq(next(), "STATUS=");
	stop();
}
END_TEST

/* A manager that reads nothing has a full queue: nothing blocks, the last sentence arrives, and
 * everything else in its order. */
START_TEST(a_busy_manager_holds_nothing_up)
{
	const unsigned n = 2000; /* more than any queue has room for */
	char last[512] = "", want[64];
	unsigned got = 0, stopping = 0;
	const char *message;

	start();
	for (unsigned i = 0; i < n; i++)
		service_status(&fix.service, "sentence %u", i);
	service_stopping(&fix.service);
	service_status(&fix.service, "bye");
	ck_assert_str_eq(logged(), "");
	(void)snprintf(want, sizeof(want), "STATUS=sentence %u", n - 1);
	for (int turns = 0; turns < 1000 && strcmp(last, "STATUS=bye") != 0; turns++) {
		while (*(message = next())) {
			got++;
			if (strcmp(message, "STOPPING=1") == 0) {
				ck_assert_str_eq(last, want);
				stopping++;
			}
			(void)snprintf(last, sizeof(last), "%s", message);
		}
		(void)uv_run(&fix.loop, UV_RUN_ONCE);
	}
	ck_assert_str_eq(last, "STATUS=bye");
	ck_assert_uint_eq(stopping, 1);
	ck_assert_uint_lt(got, n);
	service_status(&fix.service, "and on");
	ck_assert_str_eq(next(), "STATUS=and on");
	stop();
}
END_TEST

START_TEST(status_is_one_clean_line)
{
	char long_text[2 * SERVICE_STATUS_MAX];
	const char *message;

	start();
	service_status(&fix.service, "root %s", "/a\nSTOPPING=1\nMAINPID=1\x1b[2J\xff/é");
	ck_assert_str_eq(next(), "STATUS=root /a?STOPPING=1?MAINPID=1?[2J?/é");
	memset(long_text, 'x', sizeof(long_text));
	memcpy(long_text + SERVICE_STATUS_MAX - 3, "€", 3); /* the cut falls into it */
	long_text[sizeof(long_text) - 1] = '\0';
	service_status(&fix.service, "%s", long_text);
	message = next();
	ck_assert_uint_eq(strlen(message), strlen("STATUS=") + SERVICE_STATUS_MAX - 3);
	ck_assert_int_eq(message[strlen(message) - 1], 'x');
	service_status(&fix.service, "%s", long_text);
	ck_assert_str_eq(next(), "");
	stop();
}
END_TEST

START_TEST(the_watchdog_is_pinged_at_half_its_interval)
{
	uint64_t began;

	ck_assert_int_eq(setenv("WATCHDOG_USEC", "80000", 1), 0);
	uv_update_time(&fix.loop); /* timers count from the cached clock */
	began = clock_mono_ms();
	start();
	ck_assert_uint_eq(service_watchdog_period_ms(&fix.service), 40);
	run_until_asked(3);
	ck_assert_uint_ge(clock_mono_ms() - began, 3 * 40 - 2);
	expect_pings();
	ck_assert_str_eq(getenv("WATCHDOG_USEC"), "80000");
	ck_assert_str_eq(logged(), "");
	stop();
}
END_TEST

START_TEST(the_gate_stops_the_pings)
{
	char *first, *second;

	ck_assert_int_eq(setenv("WATCHDOG_USEC", "20000", 1), 0);
	start();
	run_until_asked(1);
	expect_pings();
	fix.well = false;
	run_until_asked(fix.asked + 3);
	expect_pings();
	ck_assert_uint_eq(logged_lines(), 1);
	ck_assert_str_eq(logged(), "kanband: critical: job tick of board demo is 40 s overdue: "
				   "no more pings to the watchdog, which ends this process in "
				   "at most 1 s unless that changes\n");
	fix.well = true;
	run_until_asked(fix.asked + 2);
	ck_assert_uint_ge(fix.yes, 2);
	expect_pings();
	ck_assert_uint_eq(logged_lines(), 2);
	first = logged();
	second = strchr(first, '\n') + 1;
	ck_assert_str_eq(second,
			 "kanband: notice: all is well again, the watchdog is pinged as "
			 "before\n");
	fix.well = false; /* the next time is told again */
	run_until_asked(fix.asked + 1);
	ck_assert_uint_eq(logged_lines(), 3);
	stop();
}
END_TEST

START_TEST(whose_watchdog)
{
	char pid[32];

	/* the variables were meant for our parent */
	ck_assert_int_eq(setenv("WATCHDOG_USEC", "80000", 1), 0);
	ck_assert_int_eq(setenv("WATCHDOG_PID", "1", 1), 0);
	start();
	ck_assert_uint_eq(service_watchdog_period_ms(&fix.service), 0);
	stop();
	fix.closed = false;
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	ck_assert_int_eq(setenv("WATCHDOG_PID", pid, 1), 0);
	start();
	ck_assert_uint_eq(service_watchdog_period_ms(&fix.service), 40);
	stop();
	fix.closed = false;
	ck_assert_int_eq(setenv("WATCHDOG_USEC", "1000", 1), 0); /* never a busy loop */
	start();
	ck_assert_uint_eq(service_watchdog_period_ms(&fix.service), 1);
	stop();
	fix.closed = false;
	ck_assert_str_eq(logged(), "");
	ck_assert_int_eq(setenv("WATCHDOG_USEC", "soon", 1), 0);
	start();
	ck_assert_uint_eq(service_watchdog_period_ms(&fix.service), 0);
	ck_assert_ptr_nonnull(strstr(logged(), "warning: no watchdog: $WATCHDOG_USEC"));
	stop();
}
END_TEST

START_TEST(a_deaf_manager_is_one_warning)
{
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1), 0);
	start();
	service_ready(&fix.service);
	service_status(&fix.service, "idle");
	service_stopping(&fix.service);
	ck_assert_uint_eq(logged_lines(), 1);
	ck_assert_ptr_nonnull(strstr(logged(), "warning: cannot tell the service manager"));
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", fix.path, 1), 0);
	service_ready(&fix.service);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1), 0);
	service_ready(&fix.service);
	ck_assert_uint_eq(logged_lines(), 2);
	ck_assert_str_eq(next(), "READY=1");
	stop();
}
END_TEST

START_TEST(no_gate_is_always_well)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;
	struct pollfd p = { .fd = fix.manager, .events = POLLIN };

	ck_assert_int_eq(setenv("WATCHDOG_USEC", "4000", 1), 0);
	ck_assert_int_eq(service_init(&fix.service, &fix.loop, NULL, NULL), 0);
	while (poll(&p, 1, 0) == 0 && clock_mono_ms() < end)
		(void)uv_run(&fix.loop, UV_RUN_ONCE);
	ck_assert_str_eq(next(), "WATCHDOG=1");
	stop();
}
END_TEST

/* ---- patience ------------------------------------------------------------------------ */

static bool working;

static bool busy(void *arg)
{
	ck_assert_ptr_eq(arg, &fix);
	return working;
}

/* The next request comes with the timer; @n of them. */
static void extended(int n)
{
	uint64_t until = clock_mono_ms() + WAIT_MS;

	while (n > 0) {
		ck_assert_uint_lt(clock_mono_ms(), until);
		(void)uv_run(&fix.loop, UV_RUN_ONCE);
		for (const char *m; *(m = next());) {
			ck_assert_str_eq(m, "EXTEND_TIMEOUT_USEC=15000000");
			n--;
		}
	}
}

START_TEST(work_is_waited_for)
{
	start();
	working = true;
	service_patience(&fix.service, busy);
	ck_assert_str_eq(next(), "EXTEND_TIMEOUT_USEC=15000000"); /* at once */
	extended(2);
	working = false; /* no work, no request */
	for (int i = 0; i < 2; i++)
		(void)uv_run(&fix.loop, UV_RUN_ONCE);
	ck_assert_str_eq(next(), "");
	working = true;
	extended(1);
	service_patience(&fix.service, NULL);
	ck_assert(!uv_is_active((uv_handle_t *)&fix.service.extend));
	ck_assert_str_eq(next(), "");
	stop();
}
END_TEST

/* A job past its deadline is not waited for. */
START_TEST(what_hangs_is_not_waited_for)
{
	start();
	working = true;
	fix.well = false;
	service_patience(&fix.service, busy);
	(void)uv_run(&fix.loop, UV_RUN_ONCE);
	ck_assert_str_eq(next(), "");
	fix.well = true;
	extended(1);
	stop();
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("service");
	TCase *tc = tcase_create("service");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, without_a_manager_nothing_happens);
	tcase_add_test(tc, the_life_of_a_service);
	tcase_add_test(tc, status_is_sent_on_change);
	tcase_add_test(tc, a_busy_manager_holds_nothing_up);
	tcase_add_test(tc, status_is_one_clean_line);
	tcase_add_test(tc, the_watchdog_is_pinged_at_half_its_interval);
	tcase_add_test(tc, the_gate_stops_the_pings);
	tcase_add_test(tc, whose_watchdog);
	tcase_add_test(tc, a_deaf_manager_is_one_warning);
	tcase_add_test(tc, no_gate_is_always_well);
	tcase_add_test(tc, work_is_waited_for);
	tcase_add_test(tc, what_hangs_is_not_waited_for);
	suite_add_tcase(s, tc);
	return s;
}
