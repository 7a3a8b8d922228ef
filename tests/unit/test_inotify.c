/* Who listens to a folder is told; in a rest nothing is, and nothing of it is lost. */
#include "root/inotify.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/folder.h"
#include "kit/suite.h"

/* One who listens. */
struct ear {
	struct inotify_watch watch;
	struct inotify *in;
	bool rests; /* each time it hears something */
	unsigned heard;
	uint32_t mask; /* of all that it heard */
};

static uv_loop_t loop;
static uv_timer_t guard;

static void on_event(struct inotify_watch *watch, uint32_t mask, const char *name)
{
	struct ear *ear = watch->arg;

	(void)name;
	ear->heard++;
	ear->mask |= mask;
	if (ear->rests)
		inotify_rest(ear->in);
}

static void on_guard(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Turn the loop until @ear heard @n events. Return: false, it did not within @ms. */
static bool hears(struct ear *ear, unsigned n, uint64_t ms)
{
	bool over = false;

	guard.data = &over;
	ck_assert_int_eq(uv_timer_start(&guard, on_guard, ms, 0), 0);
	while (ear->heard < n && !over)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ck_assert_int_eq(uv_timer_stop(&guard), 0);
	return ear->heard >= n;
}

static void write_file(const char *name)
{
	int fd = open(folder_path(name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	ck_assert_int_eq(close(fd), 0);
}

static void setup(void)
{
	folder_setup();
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(uv_timer_init(&loop, &guard), 0);
}

static void teardown(void)
{
	uv_close((uv_handle_t *)&guard, NULL);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	folder_teardown();
}

static struct ear ear_on(struct inotify *in)
{
	return (struct ear){ .watch = { .fn = on_event }, .in = in };
}

START_TEST(in_a_rest_nothing_is_told)
{
	struct inotify *in = NULL;
	struct ear ear;
	unsigned before = 0;

	ck_assert_int_eq(inotify_open(&in, &loop), 0);
	ear = ear_on(in);
	ear.watch.arg = &ear;
	ear.rests = true;
	ck_assert_int_eq(inotify_watch(in, &ear.watch, folder_dir), 0);
	write_file("a");
	/* a rest is short: on a machine that is busy it may be over before we look */
	for (int i = 0; i < 1000; i++) {
		before = ear.heard;
		write_file("a");
		ck_assert(hears(&ear, before + 1, 5000)); /* and with that turn it has begun */
		before = ear.heard;
		write_file("b");
		(void)uv_run(&loop, UV_RUN_NOWAIT);
		if (ear.heard == before)
			break;
	}
	ck_assert_uint_eq(ear.heard, before);

	/* its end is told at once, in the call */
	inotify_resume(in);
	ck_assert_uint_gt(ear.heard, before);
	/* without a rest it does nothing */
	before = ear.heard;
	ear.rests = false;
	inotify_resume(in);
	ck_assert_uint_eq(ear.heard, before);
	/* and who listens goes on to be told */
	write_file("c");
	ck_assert(hears(&ear, before + 1, 5000));
	inotify_unwatch(in, &ear.watch);
	in = inotify_close(in);
}
END_TEST

START_TEST(a_rest_ends_by_itself)
{
	struct inotify *in = NULL;
	struct ear ear;
	unsigned before;

	ck_assert_int_eq(inotify_open(&in, &loop), 0);
	ear = ear_on(in);
	ear.watch.arg = &ear;
	ear.rests = true;
	ck_assert_int_eq(inotify_watch(in, &ear.watch, folder_dir), 0);
	write_file("a");
	ck_assert(hears(&ear, 1, 5000));
	for (int i = 0; i < 5; i++) {
		before = ear.heard;
		write_file("b");
		ck_assert(hears(&ear, before + 1, 5000));
	}
	/* closed in the middle of one */
	inotify_unwatch(in, &ear.watch);
	in = inotify_close(in);
}
END_TEST

/* The kernel has one watch for a folder, whoever listens. */
START_TEST(two_listen_to_one_folder)
{
	struct inotify *in = NULL;
	struct ear one, two;
	unsigned before;

	ck_assert_int_eq(inotify_open(&in, &loop), 0);
	one = ear_on(in);
	two = ear_on(in);
	one.watch.arg = &one;
	two.watch.arg = &two;
	ck_assert_int_eq(inotify_watch(in, &one.watch, folder_dir), 0);
	ck_assert_int_eq(inotify_watch(in, &two.watch, folder_dir), 0);
	ck_assert_int_eq(one.watch.wd, two.watch.wd);
	write_file("a");
	ck_assert(hears(&one, 1, 5000));
	ck_assert_uint_eq(one.heard, two.heard);
	inotify_unwatch(in, &one.watch);
	before = one.heard;
	write_file("b");
	ck_assert(hears(&two, two.heard + 1, 5000));
	ck_assert_uint_eq(one.heard, before);
	inotify_unwatch(in, &two.watch);
	in = inotify_close(in);
}
END_TEST

START_TEST(a_folder_that_goes)
{
	struct inotify *in = NULL;
	const char *path = folder_path("sub");
	struct ear ear;

	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(inotify_open(&in, &loop), 0);
	ear = ear_on(in);
	ear.watch.arg = &ear;
	ck_assert_int_eq(inotify_watch(in, &ear.watch, path), 0);
	ck_assert_int_eq(rmdir(path), 0);
	while (!(ear.mask & IN_IGNORED))
		ck_assert(hears(&ear, ear.heard + 1, 5000));
	ck_assert_int_eq(ear.watch.wd, 0);
	/* one that is not there, or is none */
	ck_assert_int_eq(inotify_watch(in, &ear.watch, path), -ENOENT);
	write_file("file");
	ck_assert_int_eq(inotify_watch(in, &ear.watch, folder_path("file")), -ENOTDIR);
	in = inotify_close(in);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("inotify");
	TCase *tc = tcase_create("inotify");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, in_a_rest_nothing_is_told);
	tcase_add_test(tc, a_rest_ends_by_itself);
	tcase_add_test(tc, two_listen_to_one_folder);
	tcase_add_test(tc, a_folder_that_goes);
	suite_add_tcase(suite, tc);
	return suite;
}
