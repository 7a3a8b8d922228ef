/*
 * Clients that misbehave, and a daemon that dispatches meanwhile.
 * test-timeout: 180
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/rig.h"
#include "kit/web.h"

static struct rig_daemon *d;
static unsigned tasks;

static void begin(void)
{
	rig_setup();
	rig_board("default", 0);
	rig_profile("jimmy");
	rig_do("default", "exit 0");
	d = web_start();
	tasks = 0;
}

static void end(void)
{
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
	rig_teardown();
}

/* A task that becomes ready now is started, soon. */
static void dispatches(void)
{
	const char *id = rig_printf("t_%u", ++tasks);

	rig_add("default", .id = id);
	RIG_UNTIL(rig_ran_count(id) >= 1, 5000);
}

static void serves(void)
{
	ck_assert_int_eq(web_int(web_json(web_get("/v1/status?tasks=no"), 200), "pid"), d->pid);
}

static unsigned open_files(void)
{
	rig_shell("ls /proc/%d/fd | wc -l >fds", (int)d->pid);
	return (unsigned)atoi(rig_read("fds"));
}

/* Once the board is open, the worker has ended, and nothing else is under way: what the daemon
 * has right after its start is less. */
static unsigned files_at_rest(void)
{
	unsigned n = 0;
	int same = 0;

	dispatches();
	RIG_UNTIL(json_array_size(
			  web_member(web_json(web_get("/v1/workers"), 200), "workers")) == 0,
		  10000);
	while (same < 5) {
		unsigned now = open_files();

		same = now == n ? same + 1 : 0;
		n = now;
		rig_pause();
	}
	return n;
}

/* ---- what is no request -------------------------------------------------------------- */

START_TEST(hostile_garbage)
{
	static const char *const texts[] = {
		"\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"GET / HTTP/9.9\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: "
		"99999999999999999999\r\n\r\n",
		"POST /v1/drain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
		"chunked\r\n\r\nzz\r\n",
		"GET /v1/status HTTP/1.1\r\n: \r\nHost x\r\n\r\n",
		"GET /v1/boards/%zz%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int fd = web_open(web_socket());

		(void)web_try_send(fd, texts[i], strlen(texts[i]));
		(void)shutdown(fd, SHUT_WR);
		ck_assert_msg(web_closed(fd, 12000), "%s", texts[i]);
		(void)close(fd);
		serves();
	}
	dispatches();
}
END_TEST

START_TEST(hostile_bytes)
{
	unsigned seed = 1;

	for (int i = 0; i < 200; i++) {
		char bytes[2048];
		int fd = web_open(web_socket());

		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (char)rand_r(&seed);
		if (i % 2)
			memcpy(bytes, "GET /v1/", 8);
		(void)web_try_send(fd, bytes, (size_t)(rand_r(&seed) % 2048));
		(void)close(fd);
	}
	serves();
	dispatches();
}
END_TEST

START_TEST(hostile_json)
{
	static const char *const bodies[] = {
		"{",
		"[]",
		"\"x\"",
		"null",
		"{\"wait\":1}",
		"{\"wait\":true,\"wait\":false}",
		"{\"timeout_s\":-1}",
		"{\"timeout_s\":1e99}",
		"{\"timeout_s\":99999999999999999999999}",
		"{\"timeout_s\":\"1\"}",
		"{\"unknown\":0}",
		"{\"wait\":true}x",
		"\xff\xfe{}",
		"{\"\xc0\xaf\":1}",
	};
	char *deep = rig_keep(malloc(60001));

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		(void)web_problem(web_post("/v1/drain", bodies[i]), 400, "bad-request");
	memset(deep, '[', 60000);
	deep[60000] = '\0';
	(void)web_problem(web_post("/v1/drain", deep), 400, "bad-request");
	(void)web_problem(web_post("/v1/boards/default/restore", "{\"from\":\"rel\"}"), 400,
			  "bad-request");
	(void)web_problem(web_post("/v1/boards/default/restore", "{\"from\":[]}"), 400,
			  "bad-request");
	(void)web_problem(web_post("/v1/boards/default/restore", "{\"from\":\"/dev/zero\"}"),
			  422, "not-well");
	ck_assert(json_is_null(web_member(web_json(web_get("/v1/status"), 200), "draining")));
	dispatches();
}
END_TEST

/* ---- too much ------------------------------------------------------------------------ */

START_TEST(hostile_huge)
{
	const size_t size = 1 << 20;
	char *big = rig_keep(calloc(1, size + 1));
	int fd;

	memset(big, 'a', size);
	/* headers */
	fd = web_open(web_socket());
	web_send(fd, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ");
	(void)web_try_send(fd, big, size);
	ck_assert(web_closed(fd, 12000));
	(void)close(fd);
	/* a path */
	fd = web_open(web_socket());
	web_send(fd, "GET /");
	(void)web_try_send(fd, big, size);
	ck_assert(web_closed(fd, 12000));
	(void)close(fd);
	/* a body that says how long it is, and one that does not */
	big[65537] = '\0';
	(void)web_problem(web_post("/v1/drain", big), 413, "too-large");
	fd = web_open(web_socket());
	web_send(fd,
		 "POST /v1/drain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 80; i++) {
		const char *chunk = rig_printf("400\r\n%.1024s\r\n", big);

		if (!web_try_send(fd, chunk, strlen(chunk)))
			break; /* refused and closed by now */
	}
	(void)web_try_send(fd, "0\r\n\r\n", 5);
	(void)web_read(fd, "urn:kanband:problem:too-large", 5000);
	(void)close(fd);
	/* just small enough, and no JSON */
	big[65536] = '\0';
	(void)web_problem(web_post("/v1/drain", big), 400, "bad-request");
	/* what fits into the headers */
	big[14000] = '\0';
	fd = web_open(web_socket());
	web_send(fd, "GET /v1/workers HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", big);
	(void)web_read(fd, "200 OK", 5000);
	(void)close(fd);
	dispatches();
}
END_TEST

START_TEST(hostile_thousand)
{
	const unsigned n = 1000;
	int *fds = rig_keep(calloc(n, sizeof(*fds)));
	unsigned before = files_at_rest(), refused = 0;
	struct rlimit files;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (unsigned i = 0; i < n; i++) {
		fds[i] = web_open(web_socket());
		if (i == n / 2) /* once: who asks for nothing is let go after a while */
			dispatches();
	}
	for (unsigned i = 0; i < n; i++) {
		char text[512] = "";

		if (i >= 64) {
			ck_assert_int_gt(recv(fds[i], text, sizeof(text) - 1, 0), 0);
			ck_assert_ptr_nonnull(strstr(text, "503"));
			ck_assert_ptr_nonnull(strstr(text, "urn:kanband:problem:too-many"));
			refused++;
		}
	}
	ck_assert_uint_eq(refused, n - 64);
	ck_assert_uint_le(open_files(), before + 64 + 8);
	dispatches();
	for (unsigned i = 0; i < n; i++)
		(void)close(fds[i]);
	serves();
	RIG_UNTIL(open_files() <= before + 4, 5000);
	ck_assert_ptr_nonnull(
		strstr(web_get("/metrics")->body, "kanband_connections_refused_total 936\n"));
}
END_TEST

/* One user who may only read cannot keep out the one who may change. */
START_TEST(hostile_other_user_takes_his_share)
{
	pid_t child;
	int ready[2];
	char byte;

	if (geteuid() != 0)
		return;
	rig_shell("chmod 755 . && chmod 666 '%s'", web_socket());
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		if (setresuid(65534, 65534, 65534) < 0)
			_exit(1);
		for (int i = 0; i < 100; i++)
			(void)web_open(web_socket());
		(void)!write(ready[1], "x", 1);
		for (;;)
			(void)pause();
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	serves();
	ck_assert_ptr_nonnull(strstr(web_get("/metrics")->body, "\nkanband_connections 17\n"));
	dispatches();
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	(void)close(ready[0]);
	(void)close(ready[1]);
}
END_TEST

/* ---- too slow ------------------------------------------------------------------------ */

START_TEST(hostile_slow)
{
	int64_t since = rig_mono_us();
	int fd = web_open(web_socket()), quiet = web_open(web_socket());
	int body = web_open(web_socket());
	bool open = true;

	web_send(body, "POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
	web_send(fd, "GET /v1/status HTTP/1.1\r\n");
	/* a byte now and then keeps nobody waiting for ever */
	for (int i = 0; i < 60 && open; i++) {
		open = web_try_send(fd, "X", 1) && !web_closed(fd, 250);
		if (i % 10 == 0)
			dispatches();
	}
	ck_assert_msg(!open, "it may still send after %lld ms",
		      (long long)(rig_mono_us() - since) / 1000);
	ck_assert_int_ge((rig_mono_us() - since) / 1000, 9000);
	ck_assert(web_closed(quiet, 3000));
	ck_assert(web_closed(body, 3000));
	(void)close(fd);
	(void)close(quiet);
	(void)close(body);
	serves();
}
END_TEST

START_TEST(hostile_half_closed_and_pipelined)
{
	int fd = web_open(web_socket());
	char *text;

	web_send(fd, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
	(void)shutdown(fd, SHUT_WR);
	text = web_read(fd, "\"roots\"", 5000);
	ck_assert_ptr_nonnull(strstr(text, "200 OK"));
	(void)close(fd);
	/* three at once, the last one asks to close; in order */
	fd = web_open(web_socket());
	web_send(fd, "GET /v1/workers HTTP/1.1\r\nHost: x\r\n\r\n"
		     "GET /v1/status?tasks=no HTTP/1.1\r\nHost: x\r\n\r\n"
		     "POST /v1/resume HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		     "Content-Length: 2\r\n\r\n{}");
	text = web_read(fd, NULL, 5000);
	(void)close(fd);
	ck_assert_ptr_nonnull(strstr(text, "\"workers\""));
	ck_assert_ptr_nonnull(strstr(strstr(text, "\"workers\""), "\"roots\""));
	ck_assert_ptr_nonnull(strstr(strstr(text, "\"roots\""), "\"resumed\""));
	dispatches();
}
END_TEST

/* What comes while nothing is taken is taken in one turn of the loop: each has its own answer.
 */
START_TEST(hostile_all_in_one_turn)
{
	const unsigned n = 40; /* more than one turn takes */
	int fds[40];

	ck_assert_int_eq(kill(d->pid, SIGSTOP), 0);
	for (unsigned i = 0; i < n; i++) {
		fds[i] = web_open(web_socket());
		web_send(fds[i],
			 "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			 "Content-Length: 0\r\n\r\n",
			 i % 2 == 0 ? "POST /v1/boards/default/tick" : "GET /v1/workers");
	}
	ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
	for (unsigned i = 0; i < n; i++) {
		const char *text = web_read(fds[i], NULL, 5000);

		ck_assert_msg(strstr(text, "200 OK") != NULL, "request %u: %s", i, text);
		ck_assert_ptr_nonnull(strstr(text, i % 2 == 0 ? "\"slug\"" : "\"workers\""));
		(void)close(fds[i]);
	}
	dispatches();
}
END_TEST

/* The answer that nobody fetches, and the question that nobody waits for. */
START_TEST(hostile_gone_at_once)
{
	unsigned before = files_at_rest();

	for (int i = 0; i < 100; i++) {
		int fd = web_open(web_socket());
		const char *text =
			rig_printf("%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
				   i % 4 == 0   ? "GET /v1/status"
				   : i % 4 == 1 ? "POST /v1/boards/default/check"
				   : i % 4 == 2 ? "POST /v1/boards/default/tick"
						: "GET /v1/events");

		/* where many still wait for an answer it is refused, and closed already */
		(void)web_try_send(fd, text, strlen(text));
		(void)close(fd);
	}
	RIG_UNTIL(web_get("/v1/status?tasks=no")->status == 200, 10000);
	serves();
	dispatches();
	RIG_UNTIL(open_files() <= before + 6, 40000);
}
END_TEST

START_TEST(hostile_out_of_descriptors)
{
	struct rlimit files = { 0 }, few;
	int fds[40];
	size_t n = 0;
	char *text;

	ck_assert_int_eq(prlimit(d->pid, RLIMIT_NOFILE, NULL, &files), 0);
	serves(); /* so that everything is loaded */
	few = (struct rlimit){ .rlim_cur = files_at_rest(), .rlim_max = files.rlim_max };
	ck_assert_int_eq(prlimit(d->pid, RLIMIT_NOFILE, &few, NULL), 0);
	for (; n < 40; n++) {
		fds[n] = web_open(web_socket()); /* the backlog has room */
		web_send(fds[n], "GET /v1/workers HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	RIG_UNTIL(strstr(rig_err(d), "cannot take a connection") != NULL, 5000);
	ck_assert_int_eq(prlimit(d->pid, RLIMIT_NOFILE, &files, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		text = web_read(fds[i], "\r\n\r\n", 5000);
		ck_assert_ptr_nonnull(strstr(text, "200 OK"));
		(void)close(fds[i]);
	}
	text = strstr(rig_err(d), "cannot take a connection");
	ck_assert_msg(!strstr(text + 1, "cannot take a connection"), "told more than once");
	dispatches();
}
END_TEST

Suite *test_suite(void)
{
	TCase *c = tcase_create("hostile");

	tcase_add_checked_fixture(c, begin, end);
	tcase_set_timeout(c, 100);
	tcase_add_test(c, hostile_garbage);
	tcase_add_test(c, hostile_bytes);
	tcase_add_test(c, hostile_json);
	tcase_add_test(c, hostile_huge);
	tcase_add_test(c, hostile_thousand);
	tcase_add_test(c, hostile_other_user_takes_his_share);
	tcase_add_test(c, hostile_slow);
	tcase_add_test(c, hostile_half_closed_and_pipelined);
	tcase_add_test(c, hostile_all_in_one_turn);
	tcase_add_test(c, hostile_gone_at_once);
	tcase_add_test(c, hostile_out_of_descriptors);
	return rig_suite("control_hostile", c, NULL);
}
