/* The caps, by one board and by eight at a time. */
#include <pthread.h>
#include <stdlib.h>

#include "kit/board.h"
#include "tick/caps.h"

static void count(struct turns_board *board, int64_t n)
{
	const struct caps_running running = { .all = n };

	caps_count(&kit.caps, board, &running);
}

START_TEST(counting)
{
	struct turns_board a = { 0 }, b = { 0 };

	caps_set_max(&kit.caps, 3);
	ck_assert_int_eq(caps_left(&kit.caps), 3);
	count(&a, 2);
	count(&b, 4);
	ck_assert_int_eq(kit.caps.turns.running, 6);
	ck_assert_int_eq(caps_left(&kit.caps), 0); /* never negative */
	ck_assert(!caps_take(&kit.caps, &a));
	count(&b, 0);
	ck_assert_int_eq(caps_left(&kit.caps), 1);
	ck_assert(caps_take(&kit.caps, &a));
	ck_assert(!caps_take(&kit.caps, &b));
	ck_assert_int_eq(a.running, 3);
	count(&a, 3); /* counting what was taken changes nothing */
	ck_assert_int_eq(kit.caps.turns.running, 3);
	caps_set_max(&kit.caps, 0);
	ck_assert_int_eq(caps_left(&kit.caps), 0);
	ck_assert(!caps_take(&kit.caps, &b));
	caps_set_max(&kit.caps, -1);
	ck_assert_int_eq(caps_left(&kit.caps), INT64_MAX);
	ck_assert(caps_take(&kit.caps, &b));
	ck_assert_int_eq(kit.caps.turns.running, 4);
	count(&a, 0);
	count(&b, 0);
	ck_assert_int_eq(kit.caps.turns.running, 0);
}
END_TEST

#define THREADS 8
#define ROUNDS  20000

static atomic_long seen_over;

static void *one_board(void *arg)
{
	struct turns_board *mine = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int64_t had = mine->running;
		bool took = caps_take(&kit.caps, mine);

		if (mine->running != had + took || caps_left(&kit.caps) < 0 ||
		    caps_left(&kit.caps) > 20)
			atomic_fetch_add(&seen_over, 1);
		if (i % 3 == 0)
			count(mine, i % 4);
	}
	return NULL;
}

START_TEST(eight_boards_at_a_time)
{
	pthread_t threads[THREADS];
	struct turns_board mine[THREADS] = { 0 };
	int64_t sum = 0;

	caps_set_max(&kit.caps, 20);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, one_board, &mine[i]), 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (int i = 0; i < THREADS; i++)
		sum += mine[i].running;
	ck_assert_int_eq(kit.caps.turns.running, sum);
	ck_assert_int_eq(atomic_load(&seen_over), 0);
}
END_TEST

/* Only taking: however they race, never more than the cap is given out. */
static void *taker(void *arg)
{
	struct turns_board *mine = arg;

	for (int i = 0; i < ROUNDS; i++)
		(void)caps_take(&kit.caps, mine);
	return NULL;
}

START_TEST(never_more_than_the_cap)
{
	pthread_t threads[THREADS];
	struct turns_board mine[THREADS] = { 0 };
	int64_t sum = 0;

	caps_set_max(&kit.caps, 12345);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, taker, &mine[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		sum += mine[i].running;
	}
	ck_assert_int_eq(sum, 12345);
	ck_assert_int_eq(caps_left(&kit.caps), 0);
}
END_TEST

KIT_SUITE("caps", counting, eight_boards_at_a_time, never_more_than_the_cap)
