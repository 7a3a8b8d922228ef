/*
 * /v1/events: as it happens, again after a reconnect, and never at the cost of the daemon.
 * test-timeout: 240
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kit/rig.h"
#include "kit/web.h"

static int listen_from(const char *id)
{
	int fd = web_open(web_socket());

	web_send(fd, "GET /v1/events HTTP/1.1\r\nHost: x\r\n");
	if (id)
		web_send(fd, "Last-Event-ID: %s\r\n", id);
	web_send(fd, "\r\n");
	return fd;
}

/* The id of the last event in @text that is complete. */
static char *last_id(char *text)
{
	char *at = NULL;

	for (char *p = text; (p = strstr(p, "id: ")); p++)
		if (strstr(p, "\n\n"))
			at = p + 4;
	ck_assert_msg(at != NULL, "%s", text);
	return rig_printf("%.*s", (int)strcspn(at, "\n"), at);
}

static void poke(void)
{
	(void)web_json(web_post("/v1/boards/default/pause", NULL), 200);
	(void)web_json(web_post("/v1/boards/default/resume", NULL), 200);
}

/* @n pauses and as many resumes, fast. */
static void storm(unsigned n)
{
	int fd = web_open(web_socket());

	for (unsigned i = 0; i < n; i += 20) {
		for (unsigned k = 0; k < 20; k++)
			web_send(fd,
				 "POST /v1/boards/default/pause HTTP/1.1\r\nHost: x\r\n"
				 "Content-Length: 0\r\n\r\n"
				 "POST /v1/boards/default/resume HTTP/1.1\r\nHost: x\r\n"
				 "Content-Length: 0\r\n%s\r\n",
				 k == 19 ? "X: y\r\n" : "");
		(void)web_read_on(fd, "", "200 OK", 40, 10000);
	}
	(void)close(fd);
}

START_TEST(events_as_they_happen)
{
	struct rig_daemon *d;
	char *text;
	int fd;

	rig_board("default", 0);
	rig_profile("jimmy");
	rig_do("t_1", "exit 3");
	d = rig_start();
	fd = listen_from(NULL);
	text = web_read(fd, ": kanband", 5000);
	ck_assert_ptr_nonnull(strstr(text, "Content-Type: text/event-stream"));
	rig_add("default", .id = "t_1");
	text = web_read(fd, "event: worker-ended\n", 10000);
	ck_assert_ptr_nonnull(strstr(text, "\"task\":\"t_1\""));
	ck_assert_ptr_nonnull(strstr(text, "\"run\":1"));
	(void)close(fd);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(events_again_after_a_reconnect)
{
	struct rig_daemon *d;
	char *text, *event, *id, *first;
	int fd;

	rig_board("default", 0);
	d = rig_start();
	fd = listen_from(NULL);
	(void)web_read(fd, ": kanband", 5000);
	poke();
	text = web_read(fd, "event: resumed", 5000);
	event = strstr(text, "event: resumed");
	text = rig_printf("%.*s%s", (int)(event - text), text,
			  web_read_on(fd, event, "\n\n", 1, 5000));
	id = last_id(text);
	(void)close(fd);
	for (int i = 0; i < 3; i++)
		poke();
	fd = listen_from(id);
	text = web_read_on(fd, "", "event: resumed", 3, 15000);
	ck_assert_uint_eq(web_count(text, "event: paused"), 3);
	ck_assert_uint_eq(web_count(text, "event: resumed"), 3);
	ck_assert_ptr_null(strstr(text, "event: gap"));
	ck_assert_msg(!strstr(text, rig_printf("id: %s\n", id)), "that one it had");
	first = strstr(text, "id: ") + 4;
	ck_assert_int_eq(atoi(strchr(first, '-') + 1), atoi(strchr(id, '-') + 1) + 1);
	(void)close(fd);
	/* another process: what was between is not known */
	ck_assert_int_eq(rig_stop(d), 0);
	d = rig_start();
	fd = listen_from(id);
	text = web_read(fd, "event: lease-owner", 5000);
	ck_assert_ptr_nonnull(strstr(text, "event: gap"));
	ck_assert_ptr_null(strstr(strstr(text, "event: gap") + 1, "event: gap"));
	(void)close(fd);
	/* and what is no id at all */
	fd = listen_from("nonsense");
	(void)web_read(fd, "event: gap", 5000);
	(void)close(fd);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(events_as_a_list)
{
	struct rig_daemon *d;
	json_t *e;
	char *id;

	rig_board("default", 0);
	d = rig_start();
	poke();
	e = web_json(web_get("/v1/events?follow=no"), 200);
	ck_assert_str_eq(web_text(e, "events.0.kind"), "lease-owner");
	id = rig_printf("%s", web_text(e, "last"));
	e = web_json(web_get(rig_printf("/v1/events?follow=no&since=%s", id)), 200);
	ck_assert_uint_eq(json_array_size(web_member(e, "events")), 0);
	poke();
	e = web_json(web_get(rig_printf("/v1/events?follow=no&since=%s", id)), 200);
	ck_assert_uint_eq(json_array_size(web_member(e, "events")), 2);
	ck_assert_str_eq(web_text(e, "events.1.kind"), "resumed");
	(void)web_problem(web_get("/v1/events?follow=no&since=x"), 400, "bad-request");
	(void)web_problem(web_get("/v1/events?follow=maybe"), 400, "bad-request");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(events_by_curl)
{
	struct rig_daemon *d;

	rig_board("default", 0);
	d = rig_start();
	rig_shell("timeout 20 curl -sN --unix-socket '%s' 'http://x/v1/events?since=0' >got & "
		  "echo $! >pid",
		  web_socket());
	RIG_UNTIL(rig_read("got") && strstr(rig_read("got"), "event: board\n"), 5000);
	poke();
	RIG_UNTIL(strstr(rig_read("got"), "event: resumed\n") != NULL, 5000);
	/* the end of the daemon ends the stream, in an orderly way */
	ck_assert_int_eq(rig_stop(d), 0);
	rig_shell("for i in $(seq 50); do kill -0 $(cat pid) 2>/dev/null || exit 0; "
		  "sleep 0.1; done; exit 1");
}
END_TEST

START_TEST(events_keep_alive)
{
	struct rig_daemon *d;
	int fd;

	rig_board("default", 0);
	d = rig_start();
	fd = listen_from(NULL);
	(void)web_read(fd, ": kanband", 5000);
	(void)web_read(fd, ": kanband", 17000); /* one more, although nothing happens */
	(void)close(fd);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

static long rss_kb(const struct rig_daemon *d)
{
	rig_shell("awk '/^VmRSS/ { print $2 }' /proc/%d/status >rss", (int)d->pid);
	return atol(rig_read("rss"));
}

START_TEST(events_slow_readers)
{
	struct rig_daemon *d;
	int late, never, small = 4096;
	char *text;
	long before;

	rig_board("default", 0);
	d = rig_start();
	late = listen_from(NULL);
	never = listen_from(NULL);
	ck_assert_int_eq(setsockopt(late, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	ck_assert_int_eq(setsockopt(never, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	(void)web_read(late, ": kanband", 5000);
	storm(600); /* fills the ring, which is the daemon's own */
	before = rss_kb(d);
	storm(1800);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	before = INT32_MAX; /* sanitizers keep what was freed */
#endif
	ck_assert_msg(rss_kb(d) - before < 512, "%ld KiB more", rss_kb(d) - before);
	/* who comes late is told so, and goes on with what there is */
	text = web_read(late, "event: gap", 10000);
	ck_assert_ptr_nonnull(strstr(text, "event: paused"));
	(void)web_read(late, "event: resumed", 5000);
	(void)close(late);
	/* who never comes is dropped */
	RIG_UNTIL(strstr(web_get("/metrics")->body, "\nkanband_event_streams 0\n") != NULL,
		  70000);
	ck_assert(web_closed(never, 1000));
	(void)close(never);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *c = rig_tcase("events", 150);

	tcase_add_test(c, events_as_they_happen);
	tcase_add_test(c, events_again_after_a_reconnect);
	tcase_add_test(c, events_as_a_list);
	tcase_add_test(c, events_by_curl);
	tcase_add_test(c, events_keep_alive);
	tcase_add_test(c, events_slow_readers);
	return rig_suite("control_events", c, NULL);
}
