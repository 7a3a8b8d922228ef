/* A lease that cannot be had or is lost: lock files removed and replaced, jobs that ask while
 * it changes hands. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "../../src/root/root.h"
#include "kit/lease.h"
#include "util/clock.h"
#include "util/fs.h"

START_TEST(failed_is_told_once_and_tried_again)
{
	CLEANUP(freep) char *late = fs_path("%s/late", fix.folder);
	CLEANUP(freep) char *kanban = fs_path("%s/late/kanban", fix.folder);
	CLEANUP(freep) char *draft = fs_path("%s/kanban", fix.root);
	struct seen s = { 0 };
	struct lease *lease = open_root(late, &s);
	uint64_t until;

	ck_assert_uint_le(lease->retry_ms, 50); /* soon at first */
	lease->retry_ms = 5;
	RUN_UNTIL(s.failed);
	ck_assert_ptr_nonnull(strstr(s.error.text, "does not exist"));
	until = uv_now(&fix.loop) + 200; /* about 30 more tries */
	RUN_UNTIL(uv_now(&fix.loop) >= until);
	ck_assert_int_eq(s.failed, 1);
	files_write(draft, "not a folder");
	ck_assert_int_eq(rename(fix.root, late), 0);
	RUN_UNTIL(s.failed > 1);
	ck_assert_int_eq(s.failed, 2);
	ck_assert_ptr_nonnull(strstr(s.error.text, "Not a directory"));
	ck_assert_int_eq(unlink(kanban), 0);
	RUN_UNTIL(s.acquired);
	close_lease(lease, &s);
}
END_TEST

/* lease_check(), lease_step_down() */
START_TEST(removed_lock_file)
{
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);
	struct error e = ERROR_NULL;
	struct stat st;

	RUN_UNTIL(s.acquired);
	lease_step_down(lease, "nothing is wrong");
	ck_assert_int_eq(s.lost, 0);
	ck_assert_int_eq(unlink(fix.lock), 0);
	ck_assert_int_eq(lease_check(lease, &e), LEASE_LOST);
	ck_assert_int_eq(e.code, LEASE_LOST);
	ck_assert_ptr_nonnull(strstr(e.text, ".dispatcher.lock was removed"));
	lease_step_down(lease, e.text);
	ck_assert_int_eq(s.lost, 1);
	ck_assert_str_eq(s.why, e.text);
	ck_assert_int_eq(lease_check(lease, NULL), LEASE_LOST);
	lease_step_down(lease, "again"); /* while competing */
	ck_assert_int_eq(s.lost, 1);
	RUN_UNTIL(s.acquired == 2);
	ck_assert_int_eq(s.epoch, 2);
	ck_assert_int_eq(stat(fix.lock, &st), 0);
	ck_assert_int_eq(lease_check(lease, NULL), 0);
	lease_step_down(lease, "late report of the first loss");
	ck_assert_int_eq(s.lost, 1);
	ck_assert_int_eq(lease_check(lease, NULL), 0);
	close_lease(lease, &s);
}
END_TEST

START_TEST(replaced_lock_file)
{
	CLEANUP(freep) char *other = fs_path("%s/kanban/x", fix.root);
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);
	struct error e = ERROR_NULL;
	struct helper h;

	RUN_UNTIL(s.acquired);
	helper_start(&h, "gateway", other);
	ck_assert_int_eq(rename(other, fix.lock), 0);
	ck_assert_int_eq(lease_check(lease, &e), LEASE_LOST);
	ck_assert_ptr_nonnull(strstr(e.text, "was replaced by another"));
	lease_step_down(lease, e.text);
	RUN_UNTIL(s.standby); /* behind the holder of the new file */
	ck_assert_int_eq(s.acquired, 1);
	helper_kill(&h);
	RUN_UNTIL(s.acquired == 2);
	ck_assert_int_eq(s.epoch, 2);
	close_lease(lease, &s);
}
END_TEST

START_TEST(lost_with_the_whole_root)
{
	CLEANUP(freep) char *away = fs_path("%s/away", fix.folder);
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);

	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(rename(fix.root, away), 0);
	ck_assert_int_eq(lease_check(lease, NULL), LEASE_LOST);
	lease_step_down(lease, "moved");
	RUN_UNTIL(s.failed);
	ck_assert_int_eq(s.error.code, -ENOENT);
	close_lease(lease, &s);
}
END_TEST

START_TEST(standby_on_an_orphan_moves_on)
{
	struct seen s = { 0 };
	struct helper orphan, next;
	struct lease *lease;

	helper_start(&orphan, "hold", fix.root);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.standby == 1);
	ck_assert_int_eq(unlink(fix.lock), 0);
	helper_start(&next, "gateway", fix.lock);
	helper_kill(&orphan);
	RUN_UNTIL(s.standby == 2);
	ck_assert_ptr_nonnull(strstr(s.holder, "(python3)"));
	ck_assert_int_eq(s.acquired, 0);
	helper_kill(&next);
	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(s.epoch, 2);
	ck_assert_int_eq(lease_check(lease, NULL), 0);
	close_lease(lease, &s);
}
END_TEST

struct checker {
	struct lease *lease;
	atomic_bool stop;
	unsigned owned, lost;
};

static void *check_in_a_thread(void *arg)
{
	struct checker *c = arg;

	while (!atomic_load(&c->stop)) {
		if (lease_check(c->lease, NULL) == 0)
			c->owned++;
		else
			c->lost++;
		if (c->owned % 64 == 1)
			(void)!lease_claimants_settled(c->lease, 1, NULL); /* LOST is fine */
	}
	return NULL;
}

/* for ThreadSanitizer, and against a stale owner file of an earlier epoch */
START_TEST(jobs_check_while_the_lease_changes_hands)
{
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);
	struct checker c[2] = { { .lease = lease }, { .lease = lease } };
	pthread_t threads[2];
	struct lease_owner owner;

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, check_in_a_thread, &c[i]),
				 0);
	for (int i = 1; i <= 20; i++) {
		RUN_UNTIL(s.acquired == i);
		ck_assert_int_eq(s.epoch, i);
		ck_assert_int_eq(unlink(fix.lock), 0);
		lease_step_down(lease, "removed");
	}
	RUN_UNTIL(s.acquired == 21);
	for (int i = 0; i < 2; i++) {
		atomic_store(&c[i].stop, true);
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_uint_gt(c[i].owned + c[i].lost, 0);
	}
	ck_assert_int_eq(lease_read_owner(fix.root, &owner), 0);
	ck_assert_int_eq(owner.epoch, 21);
	close_lease(lease, &s);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_lost");
	TCase *tc = tcase_create("lease");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, failed_is_told_once_and_tried_again);
	tcase_add_test(tc, removed_lock_file);
	tcase_add_test(tc, replaced_lock_file);
	tcase_add_test(tc, lost_with_the_whole_root);
	tcase_add_test(tc, standby_on_an_orphan_moves_on);
	tcase_add_test(tc, jobs_check_while_the_lease_changes_hands);
	suite_add_tcase(s, tc);
	return s;
}
