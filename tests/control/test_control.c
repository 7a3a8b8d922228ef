/* The control API's parts that need no daemon: the socket, who may connect, events. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/event_ring.h"
#include "control/listen.h"
#include "control/peer.h"
#include "kit/suite.h"

static char dir[64];
static char path[96];

static void setup(void)
{
	(void)strcpy(dir, "/tmp/kanband-control.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/run/control.sock", dir);
}

static void teardown(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

static bool connects(const char *to)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	strcpy(a.sun_path, to);
	r = connect(fd, (const struct sockaddr *)&a, sizeof(a));
	(void)close(fd);
	return r == 0;
}

/* ---- the socket -------------------------------------------------------------------------- */

START_TEST(listener_makes_folder_and_socket)
{
	struct error e = ERROR_NULL;
	struct listener l;
	struct stat st;
	mode_t old = umask(0);

	ck_assert_msg(listener_open(&l, path, &e) == 0, "%s", e.text);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_int_eq(st.st_mode & 07777, 0660);
	ck_assert(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
	ck_assert(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
	ck_assert(connects(path));
	listener_close(&l);
	ck_assert_int_ne(stat(path, &st), 0);
	(void)umask(old);
}
END_TEST

START_TEST(listener_mode_whatever_the_umask)
{
	struct error e = ERROR_NULL;
	struct listener l;
	struct stat st;
	mode_t old = umask(077);

	ck_assert_int_eq(listener_open(&l, path, &e), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0660);
	listener_close(&l);
	(void)umask(old);
}
END_TEST

START_TEST(listener_replaces_a_stale_one)
{
	struct error e = ERROR_NULL;
	struct listener killed, l;

	ck_assert_int_eq(listener_open(&killed, path, &e), 0);
	(void)close(killed.fd); /* as a kill leaves it */
	ck_assert(!connects(path));
	ck_assert_msg(listener_open(&l, path, &e) == 0, "%s", e.text);
	ck_assert(connects(path));
	/* the end of the first one, late, must not take the second one's file */
	killed.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	killed.ino = l.ino + 1; /* a number may have been used again */
	listener_close(&killed);
	ck_assert(connects(path));
	listener_close(&l);
}
END_TEST

START_TEST(listener_leaves_one_that_is_listened_on)
{
	struct error e = ERROR_NULL;
	struct listener first, second;

	ck_assert_int_eq(listener_open(&first, path, &e), 0);
	ck_assert_int_eq(listener_open(&second, path, &e), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(e.text, "another process listens on"));
	listener_close(&second);
	ck_assert(connects(path));
	listener_close(&first);
}
END_TEST

START_TEST(listener_leaves_what_is_no_socket)
{
	struct error e = ERROR_NULL;
	struct listener l;
	char other[128];
	int fd;

	(void)snprintf(other, sizeof(other), "%s/file", dir);
	fd = open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	(void)close(fd);
	ck_assert_int_eq(listener_open(&l, other, &e), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(e.text, "is no socket"));
	ck_assert_int_eq(access(other, F_OK), 0);
}
END_TEST

START_TEST(listener_refuses_what_cannot_be)
{
	struct error e = ERROR_NULL;
	struct listener l;
	char deep[160], longer[200];

	(void)snprintf(deep, sizeof(deep), "%s/a/b/c", dir);
	ck_assert_int_eq(listener_open(&l, deep, &e), -ENOENT);
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(listener_open(&l, longer, &e), -ENAMETOOLONG);
	ck_assert_int_eq(l.fd, -1);
}
END_TEST

START_TEST(listener_adopts_only_a_listening_socket)
{
	struct error e = ERROR_NULL;
	struct listener made, l;
	int pair[2];

	ck_assert_int_eq(listener_open(&made, path, &e), 0);
	ck_assert_int_eq(listener_adopt(&l, dup(made.fd), &e), 0);
	ck_assert_str_eq(l.path, path);
	ck_assert(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
	listener_close(&l);
	ck_assert_msg(connects(path), "what was handed over is not ours to remove");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(listener_adopt(&l, pair[0], &e), -EINVAL);
	ck_assert_int_eq(fcntl(pair[0], F_GETFD), -1); /* it was taken over */
	(void)close(pair[1]);
	listener_close(&made);
}
END_TEST

/* ---- who ----------------------------------------------------------------------------- */

START_TEST(peer_rights)
{
	const struct peer root = { .uid = 0 }, us = { .uid = geteuid() },
			  other = { .uid = 65533 };

	ck_assert(peer_may_change(&root));
	ck_assert(peer_may_change(&us));
	ck_assert(!peer_may_change(&other));
}
END_TEST

START_TEST(peer_shares)
{
	const struct peer root = { .uid = 0 }, other = { .uid = 65533 };

	ck_assert(peer_room(&root, 63, 0, 63));
	ck_assert(!peer_room(&root, 64, 0, 0));
	ck_assert(peer_room(&other, 20, 15, 15));
	ck_assert(!peer_room(&other, 20, 16, 16));
	ck_assert(!peer_room(&other, 40, 32, 0));
}
END_TEST

START_TEST(peer_of_a_pair)
{
	struct peer peer;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(peer_get(pair[0], &peer), 0);
	ck_assert_int_eq(peer.uid, geteuid());
	ck_assert_int_eq(peer.pid, getpid());
	(void)close(pair[0]);
	(void)close(pair[1]);
	ck_assert_int_lt(peer_get(pair[0], &peer), 0);
}
END_TEST

/* ---- events -------------------------------------------------------------------------- */

static struct event_ring events;

static void add(const char *text)
{
	const struct log_about about = {
		.id = LOG_ID_SPAWNED, .root = "/r", .board = "b", .task = "t_1", .run = 7
	};

	event_ring_add(&events, LOG_INFO, NULL, &about, text);
}

START_TEST(events_are_numbered_and_told)
{
	json_t *json;

	event_ring_init(&events, 0xabc);
	add("one");
	add("two");
	ck_assert_ptr_null(event_ring_get(&events, 0));
	ck_assert_ptr_null(event_ring_get(&events, 3));
	json = event_ring_json(&events, event_ring_get(&events, 2));
	ck_assert_int_eq(strncmp(json_string_value(json_object_get(json, "id")), "abc-2-", 6),
			 0);
	ck_assert_str_eq(json_string_value(json_object_get(json, "kind")), "spawned");
	ck_assert_str_eq(json_string_value(json_object_get(json, "message")), "two");
	ck_assert_str_eq(json_string_value(json_object_get(json, "task")), "t_1");
	ck_assert_int_eq(json_integer_value(json_object_get(json, "run")), 7);
	ck_assert(json_is_null(json_object_get(json, "epoch")));
	ck_assert_str_eq(json_string_value(json_object_get(json, "message_id")),
			 LOG_ID_SPAWNED);
	json_decref(json);
	event_ring_deinit(&events);
}
END_TEST

START_TEST(events_forget_the_oldest)
{
	char big[70000];

	event_ring_init(&events, 1);
	for (int i = 0; i < EVENT_RING_MAX + 5; i++)
		add("x");
	ck_assert_ptr_null(event_ring_get(&events, 5));
	ck_assert_str_eq(event_ring_get(&events, 6)->message, "x");
	/* bytes count, too */
	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	for (int i = 0; i < 10; i++)
		add(big);
	ck_assert_uint_le(events.bytes, EVENT_RING_BYTES);
	ck_assert_uint_eq(events.next - events.first, 3);
	event_ring_deinit(&events);
}
END_TEST

START_TEST(events_after_an_id)
{
	static const char *const bad[] = { "x",    "-",    "1-",    "-1",   "1-1x",
					   " 1-1", "1-+1", "1-0x1", "1 -1", "1-1\n2-2" };
	uint64_t next;
	int64_t since;
	bool gap;

	event_ring_init(&events, 0xabc);
	for (int i = 0; i < EVENT_RING_MAX + 10; i++)
		add("x");
	ck_assert(event_ring_after(&events, "", &next, &gap, &since));
	ck_assert(next == EVENT_RING_MAX + 11 && !gap);
	ck_assert(event_ring_after(&events, "0", &next, &gap, &since));
	ck_assert(next == 11 && !gap);
	ck_assert(event_ring_after(&events, "abc-20", &next, &gap, &since));
	ck_assert(next == 21 && !gap);
	ck_assert(event_ring_after(&events, "abc-10", &next, &gap, &since));
	ck_assert(next == 11 && !gap);
	ck_assert(event_ring_after(&events, "abc-9", &next, &gap, &since));
	ck_assert_msg(next == 11 && gap, "number 10 is forgotten");
	ck_assert(event_ring_after(&events, "def-20", &next, &gap, &since));
	ck_assert_msg(next == 11 && gap && since == 0, "an id of another process");
	ck_assert(event_ring_after(&events, "def-20-6a000000", &next, &gap, &since));
	ck_assert_msg(next == 11 && gap && since == 0x6a000000, "and of a time");
	ck_assert(event_ring_after(&events, "abc-20-6a000000", &next, &gap, &since));
	ck_assert_msg(next == 21 && !gap && since == 0, "of this one");
	ck_assert(event_ring_after(&events, "abc-5000", &next, &gap, &since));
	ck_assert_msg(next == 11 && gap, "an id of the future");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!event_ring_after(&events, bad[i], &next, &gap, &since), "%s",
			      bad[i]);
	event_ring_deinit(&events);
}
END_TEST

START_TEST(events_with_any_text)
{
	const struct log_about about = { .task = "\xff\xfe" };
	json_t *json;

	event_ring_init(&events, 1);
	event_ring_add(&events, LOG_ERR, "board", &about, "fine");
	json = event_ring_json(&events, event_ring_get(&events, 1));
	ck_assert_ptr_nonnull(json);
	ck_assert_str_eq(json_string_value(json_object_get(json, "level")), "error");
	json_decref(json);
	event_ring_deinit(&events);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("control");
	TCase *c = tcase_create("parts");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, listener_makes_folder_and_socket);
	tcase_add_test(c, listener_mode_whatever_the_umask);
	tcase_add_test(c, listener_replaces_a_stale_one);
	tcase_add_test(c, listener_leaves_one_that_is_listened_on);
	tcase_add_test(c, listener_leaves_what_is_no_socket);
	tcase_add_test(c, listener_refuses_what_cannot_be);
	tcase_add_test(c, listener_adopts_only_a_listening_socket);
	tcase_add_test(c, peer_rights);
	tcase_add_test(c, peer_shares);
	tcase_add_test(c, peer_of_a_pair);
	tcase_add_test(c, events_are_numbered_and_told);
	tcase_add_test(c, events_forget_the_oldest);
	tcase_add_test(c, events_after_an_id);
	tcase_add_test(c, events_with_any_text);
	suite_add_tcase(s, c);
	return s;
}
