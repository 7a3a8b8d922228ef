/* The clock is set, to what it is: that is a jump to the kernel, and to nobody else. */
#include "daemon/clockwatch.h"

#include <check.h>
#include <errno.h>
#include <time.h>

#include "kit/suite.h"

static unsigned told;

static void on_set(void *arg)
{
	(void)arg;
	told++;
}

static void on_guard(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Turn the loop until it was told @n times, or nothing came for a second. */
static void turn(uv_loop_t *loop, uv_timer_t *guard, unsigned n)
{
	bool over = false;

	guard->data = &over;
	ck_assert_int_eq(uv_timer_start(guard, on_guard, 1000, 0), 0);
	while (told < n && !over)
		(void)uv_run(loop, UV_RUN_ONCE);
	ck_assert_int_eq(uv_timer_stop(guard), 0);
}

START_TEST(a_jump_is_told)
{
	struct clockwatch cw;
	struct timespec now;
	uv_loop_t loop;
	uv_timer_t guard;

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(uv_timer_init(&loop, &guard), 0);
	ck_assert_int_eq(clockwatch_init(&cw, &loop, on_set, NULL), 0);
	for (unsigned i = 1; i < 3; i++) {
		ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
		if (clock_settime(CLOCK_REALTIME, &now) < 0) {
			ck_assert_int_eq(errno, EPERM); /* only root may */
			break;
		}
		turn(&loop, &guard, i);
		ck_assert_uint_ge(told, i);
	}
	uv_close((uv_handle_t *)&guard, NULL);
	clockwatch_close(&cw);
	clockwatch_close(&cw);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("clockwatch");
	TCase *tc = tcase_create("clockwatch");

	tcase_add_test(tc, a_jump_is_told);
	suite_add_tcase(suite, tc);
	return suite;
}
