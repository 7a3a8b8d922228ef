/*
 * Whose turn it is. A simulation of 100,000 tasks on 200 boards, with priorities, pools,
 * weights, workers of all lengths, failures that are tried again after a pause and boards that
 * do not answer, runs on the real decision: no place is idle while something may start, nothing
 * of a lower priority goes first, nobody starves. The same load on a queue where each board
 * takes what is free shows what that is worth; the figures are printed.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/suite.h"
#include "tick/turns.h"

#define BOARDS     200
#define TASKS      100000
#define PLACES     32
#define POOLS      3
#define PRIORITIES 4
#define OFFER      (PLACES + 16)

struct task {
	int64_t arrives, starts, lasts;
	int64_t waited; /* over all its tries */
	int tries;
	int64_t priority;
	uint64_t pools;
	int board;
};

struct queue {
	struct turns_board turn;
	int *waiting; /* indices of tasks, best first */
	size_t n;
	int64_t away_until; /* it does not answer before */
};

struct sim {
	struct turns turns;
	struct queue q[BOARDS];
	struct task *tasks;
	int running[PLACES + 1]; /* tasks */
	size_t n_running;
	int *failed; /* tasks that wait for their next try, which `arrives` then */
	size_t n_failed;
	int64_t now;
	bool naive;
	unsigned seed;
	long inversions, idle, retries;
};

static unsigned rnd(struct sim *s, unsigned n)
{
	s->seed = s->seed * 1664525U + 1013904223U;
	return (s->seed >> 8) % n;
}

static void sim_load(struct sim *s)
{
	int64_t at = 0;

	s->tasks = calloc(TASKS, sizeof(*s->tasks));
	s->failed = calloc(TASKS, sizeof(*s->failed));
	ck_assert(s->tasks && s->failed);
	for (int i = 0; i < TASKS; i++) {
		struct task *t = &s->tasks[i];

		at += rnd(s, 100) < 63; /* about 0.95 of what the places can do */
		/* a fifth of the boards have most of the work */
		t->board = (int)(rnd(s, 100) < 70 ? rnd(s, BOARDS / 5) : rnd(s, BOARDS));
		t->arrives = at;
		t->starts = -1;
		t->lasts = 1 + rnd(s, 36);
		t->priority = rnd(s, 100) < 70 ? 0 : 1 + rnd(s, PRIORITIES - 1);
		t->pools = rnd(s, 100) < 15 ? UINT64_C(1) << rnd(s, POOLS) : 0;
	}
}

static void sim_wait(struct sim *s, int task)
{
	struct queue *q = &s->q[s->tasks[task].board];
	size_t i;

	q->waiting = reallocarray(q->waiting, q->n + 1, sizeof(*q->waiting));
	ck_assert_ptr_nonnull(q->waiting);
	for (i = q->n; i > 0 && s->tasks[q->waiting[i - 1]].priority < s->tasks[task].priority;
	     i--)
		q->waiting[i] = q->waiting[i - 1];
	q->waiting[i] = task;
	q->n++;
}

static void sim_start(struct sim *s, struct queue *q, size_t at)
{
	int task = q->waiting[at];

	memmove(&q->waiting[at], &q->waiting[at + 1], (q->n - at - 1) * sizeof(*q->waiting));
	q->n--;
	s->tasks[task].starts = s->now;
	s->tasks[task].waited += s->now - s->tasks[task].arrives;
	s->running[s->n_running++] = task;
}

static bool sim_room(const struct sim *s, uint64_t pools)
{
	for (size_t i = 0; i < POOLS; i++)
		if ((pools >> i & 1) && s->turns.pools[i].running >= s->turns.pools[i].limit)
			return false;
	return true;
}

/* A board that is back has asked again before the end of the step in which it came. */
static bool sim_away(const struct sim *s, const struct queue *q)
{
	return (!s->naive && q->turn.absent) || (q->away_until && q->away_until >= s->now);
}

/* The best that waits anywhere and has room; INT64_MIN none. */
static int64_t sim_best(const struct sim *s)
{
	int64_t best = INT64_MIN;

	for (int b = 0; b < BOARDS; b++)
		for (size_t i = 0; !sim_away(s, &s->q[b]) && i < s->q[b].n; i++) {
			const struct task *t = &s->tasks[s->q[b].waiting[i]];

			if (!sim_room(s, t->pools))
				continue;
			best = t->priority > best ? t->priority : best;
			break;
		}
	return best;
}

/* What a tick of a board does: ask for what could start, start what has a place. */
static void sim_tick(struct sim *s, struct queue *q)
{
	struct turns_want wants[OFFER];
	size_t n = 0, kept = 0, which[OFFER];
	int64_t chosen[POOLS] = { 0 };

	if (q->away_until > s->now)
		return;
	for (size_t i = 0; i < q->n && n < OFFER; i++) {
		const struct task *t = &s->tasks[q->waiting[i]];
		bool full = false;

		for (size_t k = 0; k < POOLS; k++)
			full |= (t->pools >> k & 1) && chosen[k] >= s->turns.pools[k].limit;
		if (full)
			continue;
		for (size_t k = 0; k < POOLS; k++)
			chosen[k] += t->pools >> k & 1;
		wants[n] = (struct turns_want){ t->priority, t->pools, false };
		which[n++] = i;
	}
	ck_assert_int_eq(turns_ask(&s->turns, &q->turn, wants, n), 0);
	if (s->naive) /* it takes what is free, whoever else waits */
		for (struct turns_board *b = s->turns.first; b; b = b->next)
			b->absent = b != &q->turn;
	(void)turns_take(&s->turns, &q->turn, wants);
	for (size_t i = 0; i < n; i++)
		if (wants[i].given) {
			s->inversions += wants[i].priority < sim_best(s);
			sim_start(s, q, which[i] - kept++);
		}
}

static void sim_pass(struct sim *s)
{
	while (!s->naive && turns_due(&s->turns)) {
		struct turns_board *due[BOARDS];
		size_t n = 0;

		for (struct turns_board *b = s->turns.first; b; b = b->next)
			if (b->trial_given)
				due[n++] = b;
		for (size_t i = 0; i < n; i++) {
			struct queue *q = due[i]->owner;

			if (q->away_until > s->now)
				turns_absent(&s->turns, due[i]);
			else
				sim_tick(s, q);
		}
	}
}

/* One in twenty fails, and is tried again after a pause that doubles. */
static void sim_fail(struct sim *s, int task)
{
	struct task *t = &s->tasks[task];

	if (t->tries >= 3 || rnd(s, 100) >= 5)
		return;
	t->arrives = s->now + (int64_t)(20 << t->tries++);
	s->failed[s->n_failed++] = task;
	s->retries++;
}

static void sim_retry(struct sim *s)
{
	for (size_t i = s->n_failed; i-- > 0;) {
		int task = s->failed[i];

		if (s->tasks[task].arrives > s->now)
			continue;
		s->failed[i] = s->failed[--s->n_failed];
		sim_wait(s, task);
		sim_tick(s, &s->q[s->tasks[task].board]);
		sim_pass(s);
	}
}

static void sim_end(struct sim *s, size_t at)
{
	const struct task *t = &s->tasks[s->running[at]];
	struct queue *q = &s->q[t->board];

	sim_fail(s, s->running[at]);
	turns_back(&s->turns, &q->turn, t->pools);
	s->running[at] = s->running[--s->n_running];
	sim_tick(s, q);
	sim_pass(s);
}

static void sim_run(struct sim *s)
{
	static const int64_t limits[POOLS] = { 2, 3, 6 };
	int next = 0;

	turns_pools(&s->turns, limits, POOLS);
	for (int b = 0; b < BOARDS; b++) {
		s->q[b].turn.owner = &s->q[b];
		s->q[b].turn.weight = 1 + b % 3;
	}
	for (s->now = 0; next < TASKS || s->n_running > 0 || s->n_failed > 0; s->now++) {
		for (size_t i = s->n_running; i-- > 0;)
			if (i < s->n_running &&
			    s->tasks[s->running[i]].starts + s->tasks[s->running[i]].lasts <=
				    s->now)
				sim_end(s, i);
		sim_retry(s);
		for (; next < TASKS && s->tasks[next].arrives <= s->now; next++) {
			struct queue *q = &s->q[s->tasks[next].board];

			sim_wait(s, next);
			if (rnd(s, 2000) == 0) /* locked, slow or stuck for a while */
				q->away_until = s->now + 50;
			sim_tick(s, q);
			sim_pass(s);
		}
		for (int b = 0; b < BOARDS; b++) /* the sweep; those that are back */
			if (s->q[b].n && (s->naive || s->q[b].away_until == s->now))
				sim_tick(s, &s->q[b]);
		sim_pass(s);
		s->idle += turns_left(&s->turns) > 0 && sim_best(s) != INT64_MIN;
	}
}

static int by_value(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Waits of a priority, in steps. */
struct figures {
	int64_t p50, p99, longest;
	size_t n;
};

static struct figures sim_figures(const struct sim *s, int64_t priority)
{
	int64_t *waits = calloc(TASKS, sizeof(*waits));
	struct figures f = { .n = 0 };

	ck_assert_ptr_nonnull(waits);
	for (int i = 0; i < TASKS; i++)
		if (s->tasks[i].priority == priority)
			waits[f.n++] = s->tasks[i].waited;
	qsort(waits, f.n, sizeof(*waits), by_value);
	f.p50 = waits[f.n / 2];
	f.p99 = waits[f.n * 99 / 100];
	f.longest = waits[f.n - 1];
	free(waits);
	return f;
}

/* Jain's index over what the boards' tasks of the lowest priority waited: 1 is equal. */
static double sim_fairness(const struct sim *s)
{
	double sum = 0, squares = 0;

	for (int b = 0; b < BOARDS; b++) {
		double total = 0, n = 0;

		for (int i = 0; i < TASKS; i++)
			if (s->tasks[i].board == b && s->tasks[i].priority == 0) {
				total += (double)s->tasks[i].waited;
				n++;
			}
		total = 1 / (1 + total / n);
		sum += total;
		squares += total * total;
	}
	return sum * sum / (BOARDS * squares);
}

/* Return: the longest wait of the lowest priority with turns. */
static int64_t sim_tell(const struct sim *fair, const struct sim *naive)
{
	int64_t longest = 0;

	printf("%d tasks on %d boards, %d places, %d pools, %ld tries again; waits in steps\n",
	       TASKS, BOARDS, PLACES, POOLS, fair->retries);
	printf("%-9s %7s   %8s %8s %8s   %8s %8s %8s\n", "priority", "tasks", "turns p50",
	       "p99", "longest", "naive p50", "p99", "longest");
	for (int p = PRIORITIES - 1; p >= 0; p--) {
		struct figures a = sim_figures(fair, p), b = sim_figures(naive, p);

		printf("%-9d %7zu   %8lld %8lld %8lld   %8lld %8lld %8lld\n", p, a.n,
		       (long long)a.p50, (long long)a.p99, (long long)a.longest,
		       (long long)b.p50, (long long)b.p99, (long long)b.longest);
		longest = a.longest;
	}
	printf("fairness of the boards' waits (Jain's index, 1 is equal): %.3f, naive %.3f\n",
	       sim_fairness(fair), sim_fairness(naive));
	printf("starts before something of a higher priority: %ld, naive %ld; idle places "
	       "while "
	       "something could start: %ld\n",
	       fair->inversions, naive->inversions, fair->idle);
	return longest;
}

static void sim_free(struct sim *s)
{
	for (int b = 0; b < BOARDS; b++) {
		turns_leave(&s->turns, &s->q[b].turn);
		free(s->q[b].waiting);
	}
	ck_assert_int_eq(s->turns.running, 0);
	ck_assert_ptr_null(s->turns.first);
	free(s->tasks);
	free(s->failed);
}

START_TEST(a_hundred_thousand_tasks)
{
	static struct sim fair, naive;
	int64_t longest;

	fair = (struct sim){ .turns.max = PLACES, .seed = 1 };
	naive = (struct sim){ .turns.max = PLACES, .seed = 1, .naive = true };
	sim_load(&fair);
	sim_load(&naive);
	sim_run(&fair);
	sim_run(&naive);
	longest = sim_tell(&fair, &naive);
	ck_assert_int_eq(fair.inversions, 0);
	ck_assert_int_eq(fair.idle, 0);
	for (int i = 0; i < TASKS; i++)
		ck_assert_int_ge(fair.tasks[i].starts, fair.tasks[i].arrives);
	/* the last of the lowest priority is not put off for ever */
	ck_assert_int_lt(longest, fair.now / 4);
	sim_free(&fair);
	sim_free(&naive);
}
END_TEST

START_TEST(among_equals)
{
	struct turns t = { .max = 3 };
	struct turns_board a = { .weight = 2 }, b = { .weight = 1 };
	struct turns_want w[3] = { { 0, 0, false }, { 0, 0, false }, { 0, 0, false } };

	/* with weight 2 a has twice as many as b */
	ck_assert_int_eq(turns_ask(&t, &b, w, 3), 0);
	ck_assert_int_eq(turns_ask(&t, &a, w, 3), 0);
	ck_assert(turns_due(&t));
	ck_assert_uint_eq(a.trial_given, 2);
	ck_assert_uint_eq(b.trial_given, 1);
	/* b does not answer: a need not wait for it */
	turns_absent(&t, &b);
	ck_assert_uint_eq(turns_take(&t, &a, w), 3);
	ck_assert(!turns_due(&t));
	/* it asks again, and the next place is its */
	ck_assert_int_eq(turns_ask(&t, &b, w, 1), 0);
	ck_assert_int_eq(turns_ask(&t, &a, w, 1), 0);
	turns_back(&t, &a, 0);
	ck_assert_uint_eq(turns_take(&t, &a, w), 0);
	ck_assert_uint_eq(turns_take(&t, &b, w), 1);
	/* who asks for nothing gets nothing, whatever it was due before */
	turns_back(&t, &a, 0);
	ck_assert(turns_due(&t));
	ck_assert_uint_eq(a.trial_given, 1);
	ck_assert_int_eq(turns_ask(&t, &a, NULL, 0), 0);
	ck_assert_uint_eq(turns_take(&t, &a, w), 0);
	ck_assert_int_eq(t.running, 2);
	turns_leave(&t, &a);
	turns_leave(&t, &b);
	ck_assert_int_eq(t.running, 0);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("turns");
	TCase *tcase = tcase_create("simulation"), *few = tcase_create("turns");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(few, among_equals);
	tcase_add_test(tcase, a_hundred_thousand_tasks);
	suite_add_tcase(suite, few);
	suite_add_tcase(suite, tcase);
	return suite;
}
