/* The health record: what is written is read again, garbage stops nobody, when to try again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/files.h"
#include "recovery/health.h"

static struct health a, b; /* too big for a stack */

static char *record(void)
{
	return kit_printf("%s.health.json", kit.path);
}

static void healthy_again(void)
{
	memset(&b, 0x5A, sizeof(b));
	ck_assert_int_eq(health_read(kit.path, &b), 0);
	ck_assert_int_eq(b.state, HEALTH_HEALTHY);
	ck_assert_int_eq(b.good.event_seq, 0);
	ck_assert_int_eq(b.attempts, 0);
	ck_assert_int_eq(b.print.size, -1);
	ck_assert_str_eq(b.evidence, "");
}

START_TEST(test_round_trip)
{
	for (int s = HEALTH_HEALTHY; s <= HEALTH_SCHEMA; s++) {
		memset(&a, 0, sizeof(a));
		a = (struct health){ .state = (enum health_state)s,
				     .kind = "corrupt",
				     .reason = "it says \"no\"\n\xc3\xa9",
				     .print = { .size = 5,
						.mtime_ns = 6,
						.ctime_ns = 8,
						.inode = 9,
						.change_counter = 7,
						.sha256 = "abc" },
				     .evidence = "/x y/z.bak",
				     .first_seen = 8,
				     .last_seen = 9,
				     .attempts = 10,
				     .retry_at = 11,
				     .last_epoch = INT64_MAX,
				     .good = { 12, 13, 14, 15, 16, 17, "/snap.db" } };
		ck_assert_int_eq(health_write(kit.path, &a), 0);
		memset(&b, 0, sizeof(b));
		ck_assert_int_eq(health_read(kit.path, &b), 0);
		ck_assert_mem_eq(&a, &b, sizeof(a));
	}
}
END_TEST

START_TEST(test_garbage)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"null",
		"{\"state\":7,\"good\":[],\"print\":\"\"}",
		"\1\2\xff",
		"{\"state\":\"odd\"}",
		"{\"attempts\":\"many\",\"fingerprint\":{\"size\":\"x\"},\"evidence\":{}}"
	};

	healthy_again(); /* no record */
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		files_write(record(), texts[i]);
		healthy_again();
	}
	/* far too large */
	files_write(record(), kit_printf("{\"state\":\"lost\",\"x\":\"%0100000d\"}", 1));
	healthy_again();
}
END_TEST

START_TEST(test_print)
{
	struct health_print p;
	char text[64] = { 0 };

	ck_assert_int_eq(health_print_take(kit.path, true, &p), 0);
	ck_assert_int_eq(p.size, -1);
	files_write(kit.path, "hello");
	ck_assert_int_eq(health_print_take(kit.path, true, &p), 0);
	ck_assert_int_eq(p.size, 5);
	ck_assert_int_eq(p.change_counter, -1);
	ck_assert_str_eq(p.sha256,
			 "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
	memset(text, 'x', 28);
	memcpy(text + 24, "\1\2\3\4", 4);
	files_write(kit.path, text);
	ck_assert_int_eq(health_print_take(kit.path, false, &p), 0);
	ck_assert_int_eq(p.change_counter, 0x01020304);
	ck_assert_str_eq(p.sha256, "");
	ck_assert_int_eq(health_print_take(kit.dir, false, &p), -EINVAL);
}
END_TEST

START_TEST(test_due)
{
	const struct health h = {
		.print = { .size = 1,
			   .mtime_ns = 2,
			   .change_counter = 3,
			   .ctime_ns = 4,
			   .inode = 5 },
		.retry_at = 1000,
		.last_epoch = 5,
	};
	struct health_print p = h.print;
	int64_t *parts[] = { &p.size, &p.mtime_ns, &p.change_counter, &p.ctime_ns, &p.inode };

	ck_assert(!health_due(&h, &p, 5, 999));
	ck_assert(health_due(&h, &p, 5, 1000));
	ck_assert(health_due(&h, &p, 6, 0));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		++*parts[i];
		ck_assert(health_due(&h, &p, 5, 0));
		--*parts[i];
	}
	ck_assert(!health_due(&h, &p, 5, 0));
}
END_TEST

START_TEST(test_back_off)
{
	static const int64_t waits[] = {
		300, 600, 1200, 2400, 4800, 9600, 19200, 21600, 21600
	};

	memset(&a, 0, sizeof(a));
	for (int i = 0; i < 9; i++) {
		health_failed(&a, HEALTH_QUARANTINED, "corrupt", "why", 3, 1000 + i);
		ck_assert_int_eq(a.retry_at, 1000 + i + waits[i]);
		ck_assert_int_eq(a.attempts, i + 1);
		ck_assert_int_eq(a.first_seen, 1000);
		ck_assert_int_eq(a.last_seen, 1000 + i);
		ck_assert_int_eq(a.last_epoch, 3);
	}
	/* other trouble begins anew */
	health_failed(&a, HEALTH_LOST, "lost", "other", 4, 5000);
	ck_assert_int_eq(a.first_seen, 5000);
	ck_assert_int_eq(a.attempts, 1);
	ck_assert_int_eq(a.retry_at, 5300);
	ck_assert_str_eq(a.reason, "other");
	a.attempts = INT64_MAX - 1; /* of a hostile record */
	health_failed(&a, HEALTH_LOST, "lost", "other", 4, 5000);
	ck_assert_int_eq(a.retry_at, 5000 + 21600);
}
END_TEST

/* A repair that was begun and failed again goes on with the same back-off. */
START_TEST(test_back_off_over_repairs)
{
	memset(&a, 0, sizeof(a));
	health_failed(&a, HEALTH_QUARANTINED, "corrupt", "why", 3, 1000);
	a.state = HEALTH_REPAIRING;
	health_failed(&a, HEALTH_QUARANTINED, "corrupt", "why", 3, 2000);
	ck_assert_int_eq(a.attempts, 2);
	ck_assert_int_eq(a.retry_at, 2600);
	ck_assert_int_eq(a.first_seen, 1000);
}
END_TEST

START_TEST(test_went_back)
{
	struct health_good none = { 0 }, was = { .event_seq = 10, .tasks = 3 }, is = was;
	struct error e = ERROR_NULL;

	ck_assert(!health_went_back(&none, &none, &e));
	ck_assert(!health_went_back(&none, &was, &e));
	ck_assert(!health_went_back(&was, &is, &e));
	is.event_seq = 9;
	ck_assert(health_went_back(&was, &is, &e));
	ck_assert_ptr_nonnull(strstr(e.text, "10"));
	is = (struct health_good){ .event_seq = 11, .tasks = 0, .events = 1 };
	ck_assert(health_went_back(&was, &is, &e));
	is = (struct health_good){ .event_seq = 11, .tasks = 0, .runs = 1 };
	ck_assert(health_went_back(&was, &is, &e));
	was.event_seq = 0; /* nothing to go by */
	is = (struct health_good){ 0 };
	ck_assert(health_went_back(&was, &is, &e));
	was.event_seq = 10;
	is = (struct health_good){ .event_seq = 10 }; /* the last one may be deleted, too */
	ck_assert(!health_went_back(&was, &is, &e));
	is.tasks = 1; /* tasks may be deleted */
	ck_assert(!health_went_back(&was, &is, &e));
}
END_TEST

START_TEST(test_count)
{
	struct health_good g = { 0 };

	kit_board(0);
	kit_task("t_00000001", "done", NULL);
	kit_event("t_00000001", "note", NULL, KIT_NOW);
	kit_event("t_00000001", "note", NULL, KIT_NOW);
	kit_sql("DELETE FROM task_events WHERE id=2");
	ck_assert_int_eq(health_count(kit_open(), 77, &g, &kit.e), 0);
	ck_assert_int_eq(g.tasks, 1);
	ck_assert_int_eq(g.events, 1);
	ck_assert_int_eq(g.event_seq, 2);
	ck_assert_int_eq(g.at, 77);
}
END_TEST

static mode_t record_mode(void)
{
	struct stat st;

	ck_assert_int_eq(stat(kit_printf("%s.health.json", kit.path), &st), 0);
	return st.st_mode & 07777;
}

/* A record is for those who may read its board. */
START_TEST(test_mode)
{
	static const mode_t modes[][2] = {
		{ 0600, 0600 }, { 0640, 0640 }, { 0666, 0644 }, { 0400, 0600 }
	};
	struct health *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	(void)umask(022);
	ck_assert_int_eq(health_write(kit.path, h), 0);
	ck_assert_int_eq(record_mode(), 0600); /* no board yet */
	kit_board(0);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		ck_assert_int_eq(chmod(kit.path, modes[i][0]), 0);
		ck_assert_int_eq(health_write(kit.path, h), 0);
		ck_assert_int_eq(record_mode(), modes[i][1]);
	}
	/* it is gone: as it was */
	ck_assert_int_eq(chmod(kit.path, 0640), 0);
	ck_assert_int_eq(health_write(kit.path, h), 0);
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(health_write(kit.path, h), 0);
	ck_assert_int_eq(record_mode(), 0640);
	free(h);
}
END_TEST

KIT_SUITE("health", test_round_trip, test_garbage, test_print, test_due, test_back_off,
	  test_back_off_over_repairs, test_went_back, test_count, test_mode)
