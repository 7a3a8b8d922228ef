/*
 * Boards that nobody can repair, under a daemon that goes on: a thousand sweeps and fifty
 * restarts cost one copy each, one line each, one try for each start, and the healthy board
 * never notices.
 *
 * test-timeout: 600
 */
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/rig.h"
#include "kit/rows.h"
#include "kit/web.h"

#define SWEEPS   1000
#define RESTARTS 50
#define PAGE     4096

static const char *const bad[] = { "text", "short", "leaf" };
#define N_BAD (sizeof(bad) / sizeof(bad[0]))

/* ---- boards ----------------------------------------------------------------------------- */

static void fill(const char *slug)
{
	rig_board(slug, 0);
	rig_sql(slug, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60)"
		      " INSERT INTO tasks(id, title, body, status, created_at)"
		      " SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(400)), 'done',"
		      " 1770000000+i FROM n");
}

static void break_leaf(const char *slug)
{
	rows_overwrite(rig_db(slug),
		       rig_int(slug, "SELECT pageno FROM dbstat WHERE name='tasks' AND "
				     "pagetype='leaf' ORDER BY path LIMIT 1 OFFSET 4"),
		       PAGE);
}

/* Three that cannot be repaired without a loss, and one that is well. */
static void make_boards(void)
{
	struct stat st;

	for (size_t i = 0; i < N_BAD; i++)
		fill(bad[i]);
	rig_shell("seq 9000 >'%s'", rig_db("text"));
	ck_assert_int_eq(stat(rig_db("short"), &st), 0);
	ck_assert_int_eq(truncate(rig_db("short"), st.st_size / 2), 0);
	break_leaf("leaf");
	for (size_t i = 0; i < N_BAD; i++)
		rig_shell("cp '%s' %s.original", rig_db(bad[i]), bad[i]);
	rig_board("default", 0);
	rig_profile("jimmy");
}

/* ---- what is looked at ------------------------------------------------------------------ */

static json_t *record(const char *slug)
{
	const char *text = rig_read(rig_printf("%s.health.json", rig_db(slug)));

	return text ? rig_json(text) : NULL;
}

static int64_t attempts(const char *slug)
{
	return json_integer_value(json_object_get(record(slug), "attempts"));
}

static bool quarantined(const char *slug)
{
	const char *state = json_string_value(json_object_get(record(slug), "state"));

	return state && !strcmp(state, "quarantined");
}

static bool healthy(const char *slug)
{
	const char *state = json_string_value(json_object_get(record(slug), "state"));

	return state && !strcmp(state, "healthy");
}

/* One set, and it has the damaged bytes; the board has them still. */
static void kept_once(const char *slug)
{
	glob_t g;

	ck_assert_int_eq(glob(rig_printf("%s.corrupt.*.bak", rig_db(slug)), 0, NULL, &g), 0);
	ck_assert_uint_eq(g.gl_pathc, 1);
	rig_shell("cmp '%s' %s.original && cmp '%s' %s.original", g.gl_pathv[0], slug,
		  rig_db(slug), slug);
	globfree(&g);
}

static unsigned count_of(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

static void told_once(struct rig_daemon *d)
{
	const char *err = rig_err(d);

	for (size_t i = 0; i < N_BAD; i++)
		ck_assert_msg(count_of(err, rig_printf("board %s is quarantined", bad[i])) == 1,
			      "of %s:\n%s", bad[i], err);
	ck_assert_msg(count_of(err, "quarantined") == N_BAD, "%s", err);
	ck_assert_msg(count_of(err, "corrupt") + count_of(err, "malformed") <= 2 * N_BAD, "%s",
		      err);
}

/*
 * Who opens the bad boards? The kernel tells of every open(2), whoever makes it; of the lock
 * files and the record it may be opened what likes.
 */
static int watch(void)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	for (size_t i = 0; i < N_BAD; i++)
		ck_assert_int_ge(
			inotify_add_watch(fd,
					  rig_path(rig_printf("root/kanban/boards/%s", bad[i])),
					  IN_OPEN),
			0);
	return fd;
}

static bool is_lock_or_record(const char *name)
{
	size_t n = strlen(name);

	return (n > 5 && !strcmp(name + n - 5, ".lock")) || strstr(name, ".health.json") ||
	       !strcmp(name, "board.json");
}

static unsigned opened(int fd)
{
	char buf[sizeof(struct inotify_event) + NAME_MAX + 1]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	unsigned n = 0;
	ssize_t got;

	while ((got = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < got;) {
			const struct inotify_event *e = (const void *)(buf + at);

			ck_assert(!(e->mask & IN_Q_OVERFLOW));
			if (e->len > 0 && !is_lock_or_record(e->name))
				n++;
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	return n;
}

static int64_t sweeps(void)
{
	const char *line = strstr(web_get("/metrics")->body, "\nkanband_sweeps_total ");

	ck_assert_ptr_nonnull(line);
	return strtoll(strchr(line + 1, ' '), NULL, 10);
}

/* ---- a thousand sweeps ------------------------------------------------------------------ */

static void claims_another(int serial)
{
	char *task = rig_printf("t_c%07d", serial);

	rig_add("default", .id = task);
	RIG_UNTIL(!strcmp(rig_list("default", "SELECT status FROM tasks WHERE id=%Q", task),
			  "running"),
		  20000);
}

/* A reload sweeps as the interval does, without the wait. */
static void sweep_once(struct rig_daemon *d)
{
	const unsigned ready = d->ready;

	ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
	RIG_UNTIL((rig_notices(d), d->ready > ready), 20000);
}

START_TEST(test_thousand_sweeps)
{
	struct rig_daemon *d;
	int64_t from, tried[N_BAD];
	int fd;

	make_boards();
	d = rig_start();
	for (size_t i = 0; i < N_BAD; i++) {
		RIG_UNTIL(quarantined(bad[i]), 20000);
		tried[i] = attempts(bad[i]);
	}
	claims_another(0);
	told_once(d);
	fd = watch();
	from = sweeps();
	for (int i = 1; sweeps() < from + SWEEPS; i++) {
		for (int k = 0; k < SWEEPS / 10; k++)
			sweep_once(d);
		claims_another(i);
		ck_assert_msg(opened(fd) == 0, "a bad board was opened within %lld sweeps",
			      (long long)(sweeps() - from));
	}
	for (size_t i = 0; i < N_BAD; i++) {
		ck_assert(quarantined(bad[i]));
		ck_assert_int_eq(attempts(bad[i]), tried[i]);
	}
	told_once(d);
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert_uint_eq(opened(fd), 0);
	for (size_t i = 0; i < N_BAD; i++)
		kept_once(bad[i]); /* which opens it: */
	ck_assert_uint_gt(opened(fd), 0);
	ck_assert_int_eq(close(fd), 0);
}
END_TEST

/* ---- fifty restarts --------------------------------------------------------------------- */

START_TEST(test_fifty_restarts)
{
	make_boards();
	for (int i = 1; i <= RESTARTS; i++) {
		struct rig_daemon *d = rig_start();

		for (size_t k = 0; k < N_BAD; k++)
			RIG_UNTIL(attempts(bad[k]) >= i && quarantined(bad[k]), 20000);
		if (i % 10 == 0) {
			claims_another(i);
			sweep_once(d);
		}
		if (i % 2) {
			/* the record is written before it is told */
			RIG_UNTIL(count_of(rig_err(d), "is quarantined") == N_BAD, 20000);
			rig_kill9(d);
		} else {
			ck_assert_int_eq(rig_stop(d), 0);
		}
		told_once(d);
		for (size_t k = 0; k < N_BAD; k++)
			ck_assert_int_eq(attempts(bad[k]), i);
	}
	for (size_t k = 0; k < N_BAD; k++)
		kept_once(bad[k]);
}
END_TEST

/* A file that is written in place is judged in the middle, now and then: what comes after that
 * is no old news. No sweep is near that would find it. */
START_TEST(test_written_while_it_is_judged)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 3600");
	rig_write("kanband.conf", "[health]\nrepair_policy = never\n");
	fill("leaf");
	rig_shell("cp '%s' good", rig_db("leaf"));
	d = rig_start("--config", rig_path("kanband.conf"));
	for (int i = 0; i < 40; i++) {
		rig_shell("set -- '%s'; printf 'this is no database at all' | dd of=$1 "
			  "conv=notrunc "
			  "status=none",
			  rig_db("leaf"));
		RIG_UNTIL(!healthy("leaf"), 20000);
		rig_shell("set -- '%s'; : >$1; sleep 0.%03d; cat good >$1", rig_db("leaf"),
			  i % 8);
		RIG_UNTIL(healthy("leaf"), 20000);
	}
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *tcase = rig_tcase("quarantine", 290);

	tcase_add_test(tcase, test_thousand_sweeps);
	tcase_add_test(tcase, test_fifty_restarts);
	tcase_add_test(tcase, test_written_while_it_is_judged);
	return rig_suite("quarantine", tcase, NULL);
}
