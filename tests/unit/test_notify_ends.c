/* Delivery when the process ends between any two steps: nothing is lost, and twice only what
 * was on its way. */
#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/chats.h"
#include "kit/delivery.h"
#include "kit/suite.h"
#include "util/fs.h"

/* ---- the end between any two steps --------------------------------------------------- */

/* Chats for the sweep: 42 is moody about one message, once; the others take all. */
static enum delivery_answer sweep_answer(const char *target, const char *text)
{
	(void)target;
	if (strstr(text, "t_2 blocked") && access(folder_path("failed-once"), F_OK) < 0) {
		folder_write("failed-once", "", 0);
		return WORLD_FAIL;
	}
	return WORLD_TAKE;
}

static void sweep_fill(void)
{
	add_task(0, "t_1", "done", "42");
	add_task(0, "t_2", "ready", "42");
	add_task(1, "t_3", "done", "43");
	add_event(0, "t_1", "blocked");
	add_event(0, "t_2", "blocked");
	add_event(0, "t_1", "completed");
	add_event(1, "t_3", "completed");
	sql_on(0, "INSERT INTO kanban_notify_subs (task_id, platform, chat_id, created_at)"
		  " VALUES ('t_1', 'telegram', '44', 1)");
}

/* In a process of its own: up to the step, or to the end. Return: did it get to the end? */
static bool sweep_life(int die_at)
{
	int st = 0;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		world.steps = 0;
		world.die_at = die_at;
		world.answer = sweep_answer;
		delivery_open();
		delivery_pass(30);
		delivery_step();
		delivery_close();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &st, 0), pid);
	ck_assert(WIFEXITED(st));
	ck_assert_msg(WEXITSTATUS(st) == 0 || WEXITSTATUS(st) == 77, "step %d", die_at);
	return WEXITSTATUS(st) == 0;
}

static unsigned count_lines(const char *text, const char *line)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, line)); p++)
		n++;
	return n;
}

/* How many messages the ends so far may have cut off. */
static unsigned sweep_cut(void)
{
	char *data = NULL;
	size_t len = 0;

	if (fs_read_file(folder_path("cut"), 1000, &data, &len) < 0)
		return 0;
	free(data);
	return (unsigned)len;
}

static void sweep_check(int step)
{
	static const char *const want[] = {
		MSG("42", "⏸ [b] Kanban t_1 blocked"),
		MSG("42", "⏸ [b] Kanban t_2 blocked"),
		MSG("42", "✔ [b] Kanban t_1 done — t_1"),
		MSG("43", "✔ [c] Kanban t_3 done — t_3"),
		MSG("44", "⏸ [b] Kanban t_1 blocked"),
		MSG("44", "✔ [b] Kanban t_1 done — t_1"),
	};
	char *got = delivery_take();
	unsigned doubles = 0;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		unsigned n = count_lines(got, want[i]);

		ck_assert_msg(n >= 1, "step %d: lost: %sof\n%s", step, want[i], got);
		doubles += n - 1;
	}
	ck_assert_msg(doubles <= sweep_cut(), "step %d: %u doubles, %u cut off, in\n%s", step,
		      doubles, sweep_cut(), got);
	delivery_open();
	delivery_pass(30);
	ck_assert_uint_eq(delivery_entries(), 0);
	ck_assert(chats_idle());
	ck_assert_int_eq(value_on(0, "SELECT count(*) FROM kanban_notify_subs"), 1);
	ck_assert_int_eq(cursor_of(0, "t_2"), 2);
	ck_assert_int_eq(value_on(1, "SELECT count(*) FROM kanban_notify_subs"), 0);
	chats_got("");
	delivery_close();
}

static void sweep_fresh(void)
{
	static const char *const names[] = { "b.db", "c.db", "outbox", "failed-once", "cut" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)remove(folder_path(names[i]));
	world.die_at = 0;
	delivery_open();
	sweep_fill();
	delivery_close();
}

START_TEST(test_end_anywhere)
{
	bool over = false;
	int step = 1;

	delivery_close();
	for (; !over; step++) {
		ck_assert_int_lt(step, 1000);
		sweep_fresh();
		over = sweep_life(step);
		if (!over)
			ck_assert(sweep_life(0));
		sweep_check(step);
	}
	ck_assert_int_gt(step, 30); /* it did go through the whole of it */
	delivery_open();
}
END_TEST

/* Several ends in a row. */
START_TEST(test_end_often)
{
	unsigned seed = 1;

	delivery_close();
	for (int round = 0; round < 40; round++) {
		int lives = 0;

		sweep_fresh();
		for (; lives < 6; lives++) {
			seed = seed * 1103515245 + 12345;
			if (sweep_life(1 + (int)(seed >> 16) % 25))
				break;
		}
		ck_assert(sweep_life(0));
		sweep_check(round);
	}
	delivery_open();
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("notify_ends");
	TCase *t = tcase_create("notify");

	tcase_add_checked_fixture(t, delivery_setup, delivery_teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, test_end_anywhere);
	tcase_add_test(t, test_end_often);
	suite_add_tcase(s, t);
	return s;
}
