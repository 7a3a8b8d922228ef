/* What the lease leaves on disk: the owner file with its epoch and claimants, and who asks. */
#include <check.h>
#include <sys/syscall.h>

#include "kit/lease.h"
#include "util/clock.h"

/* The library finds this one in place of libc's. */
static unsigned syncs;

int fsync(int fd)
{
	(void)fd;
	syncs++;
	return 0;
}

/* … and this one. */
static const char *unlinked_meanwhile; /* at the next rename */

int rename(const char *from, const char *to)
{
	if (unlinked_meanwhile)
		(void)unlink(unlinked_meanwhile);
	unlinked_meanwhile = NULL;
	return (int)syscall(SYS_rename, from, to);
}

/* The owner file: epoch and claimants */

/* Whoever makes the lock file anew then has it as well: what was got is nothing. */
START_TEST(the_lock_file_goes_while_the_owner_is_written)
{
	struct lease_identity who = { "host-a", NULL, NULL };
	CLEANUP(lease_freep) struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	unlinked_meanwhile = fix.lock;
	ck_assert_int_eq(lease_try(&lease, fix.root, &who, &epoch, &e), 0);
	ck_assert_ptr_null(unlinked_meanwhile);
	ck_assert_msg(lease_check(lease, &e) == 0, "%s", e.text);
	ck_assert_int_eq(epoch, 2);
}
END_TEST

/* A busy disk makes a sync seconds: none stands between a lock and dispatch. */
START_TEST(a_takeover_waits_for_no_disk)
{
	struct lease_identity who = { "host-a", NULL, NULL };
	CLEANUP(lease_freep) struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	ck_assert_int_eq(lease_try(&lease, fix.root, &who, &epoch, &e), 0);
	ck_assert_uint_eq(syncs, 0);
	ck_assert_int_eq(lease_claimants_settled(lease, epoch, &e), 0);
	ck_assert_uint_eq(syncs, 2); /* the file and its folder */
}
END_TEST

START_TEST(try_writes_the_owner_file)
{
	struct lease_identity who = { "host-a", "my unit \n\xff", "/run/ä b.sock" };
	CLEANUP(freep) char *boot = files_read("/proc/sys/kernel/random/boot_id");
	CLEANUP(freep) char *text = NULL;
	CLEANUP(lease_freep) struct lease *lease = NULL;
	struct lease_owner owner;
	struct error e = ERROR_NULL;
	int64_t epoch, before = clock_wall_s();
	char expect[1024];

	ck_assert_int_eq(lease_try(&lease, fix.root, &who, &epoch, &e), 0);
	boot[strcspn(boot, "\n")] = '\0';
	ck_assert_int_eq(lease_read_owner(fix.root, &owner), 0);
	ck_assert_int_eq(owner.epoch, epoch);
	ck_assert_int_eq(owner.pid, getpid());
	ck_assert_str_eq(owner.host, "host-a");
	ck_assert_str_eq(owner.boot_id, boot);
	ck_assert_str_eq(owner.unit, "my unit ??");
	ck_assert_str_eq(owner.version, KANBAND_VERSION);
	ck_assert_str_eq(owner.socket, "/run/ä b.sock");
	ck_assert_int_ge(owner.since, before);
	ck_assert_int_le(owner.since, clock_wall_s());
	text = files_read(fix.owner);
	(void)snprintf(expect, sizeof(expect),
		       "{\"epoch\":1,\"pid\":%d,\"host\":\"host-a\",\"boot_id\":\"%s\","
		       "\"unit\":\"my unit ??\",\"version\":\"%s\","
		       "\"socket\":\"/run/ä b.sock\",\"since\":%" PRId64 ",\"claimants\":[]}\n",
		       (int)getpid(), boot, KANBAND_VERSION, owner.since);
	ck_assert_str_eq(text, expect);
}
END_TEST

static int64_t epoch_with_owner_file(const char *text)
{
	struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	files_write(fix.owner, text);
	ck_assert_msg(try_root(&lease, &epoch, &e) == 0, "%s", e.text);
	lease_free(lease);
	return epoch;
}

START_TEST(a_corrupt_owner_file_does_not_turn_back_the_epoch)
{
	static const char *const bad[] = {
		"",
		"{",
		"null",
		"[]",
		"{\"epoch\":0,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":-7,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":1.5,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":9223372036854775807,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":99999999999999999999999,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":90,\"pid\":99999999999,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":90,\"pid\":1,\"host\":7,\"since\":1}",
		"{\"epoch\":90,\"pid\":1,\"host\":\"h\"}",
		"{\"epoch\":90,\"epoch\":91,\"pid\":1,\"host\":\"h\",\"since\":1}",
	};
	CLEANUP(freep) char *deep = calloc(1, 60001);
	struct lease_owner owner;
	int64_t epoch;

	fix_make_kanban();
	epoch = epoch_with_owner_file("{\"epoch\":41,\"pid\":1,\"host\":\"h\",\"since\":1}");
	ck_assert_int_eq(epoch, 42);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		files_write(fix.owner, bad[i]);
		ck_assert_int_eq(lease_read_owner(fix.root, &owner), -EBADMSG);
		ck_assert_int_eq(owner.epoch, 0);
		ck_assert_int_eq(epoch_with_owner_file(bad[i]), ++epoch);
	}
	ck_assert_ptr_nonnull(deep);
	memset(deep, '[', 60000);
	ck_assert_int_eq(epoch_with_owner_file(deep), ++epoch);
	ck_assert_int_eq(unlink(fix.owner), 0);
	ck_assert_int_eq(lease_read_owner(fix.root, &owner), -ENOENT);
	{
		struct seen s = { 0 };
		struct lease *lease = open_root(fix.root, &s);

		RUN_UNTIL(s.acquired);
		ck_assert_int_eq(s.epoch, ++epoch);
		close_lease(lease, &s);
	}
	/* the note in the lock file is only worth something when it is whole and ours */
	ck_assert_int_eq(unlink(fix.owner), 0);
	files_write(fix.lock, "kanband epoch 4");
	ck_assert_int_eq(epoch_with_owner_file("?"), 1);
	files_write(fix.lock, "kanband epoch 999999999999999999999999999\n");
	ck_assert_int_eq(epoch_with_owner_file("?"), 1);
	files_write(fix.lock, "12345\n");
	ck_assert_int_eq(epoch_with_owner_file("?"), 1);
	files_write(fix.lock, "kanband epoch 7\nmore");
	ck_assert_int_eq(epoch_with_owner_file("?"), 8);
	{
		CLEANUP(freep) char *text = files_read(fix.lock);

		ck_assert_str_eq(text, "kanband epoch 8\n");
	}
}
END_TEST

START_TEST(deep_nesting_does_not_reach_the_waiters_stack)
{
	CLEANUP(freep) char *deep = calloc(1, 60001);
	struct seen s = { 0 };
	struct lease *lease;

	ck_assert_ptr_nonnull(deep);
	memset(deep, '[', 60000);
	fix_make_kanban();
	files_write(fix.owner, deep);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.acquired);
	close_lease(lease, &s);
	memset(deep, '[', 64); /* the deepest that is parsed */
	deep[64] = '\0';
	files_write(fix.owner, deep);
	s = (struct seen){ 0 };
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.acquired);
	close_lease(lease, &s);
}
END_TEST

START_TEST(claimants_of_a_chain_of_kills)
{
	struct seen s = { 0 };
	struct helper h[3];
	struct lease *lease;
	struct lease_owner owner;
	const char *const *list;
	char expect[300];
	size_t n = 0;

	for (int i = 0; i < 3; i++) {
		helper_start(&h[i], "hold", fix.root);
		h[i].child = h[i].pid;
		helper_kill(&h[i]);
	}
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.acquired);
	list = lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 3);
	for (int i = 0; i < 3; i++) {
		(void)snprintf(expect, sizeof(expect), "%s:%d", role_host(),
			       (int)h[2 - i].child);
		ck_assert_str_eq(list[i], expect);
	}
	ck_assert_int_eq(lease_claimants_settled(lease, s.epoch - 1, NULL), LEASE_LOST);
	(void)lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(lease_claimants_settled(lease, s.epoch, NULL), 0);
	(void)lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(lease_read_owner(fix.root, &owner), 0);
	ck_assert_int_eq(owner.epoch, s.epoch);
	ck_assert_int_eq(owner.pid, getpid());
	{
		CLEANUP(freep) char *text = files_read(fix.owner);

		ck_assert_ptr_nonnull(strstr(text, "\"claimants\":[]"));
	}
	/* stepping down and back, this process does not suspect itself */
	ck_assert_int_eq(unlink(fix.lock), 0);
	lease_step_down(lease, "removed");
	RUN_UNTIL(s.acquired == 2);
	(void)lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(unlink(fix.lock), 0);
	ck_assert_int_eq(lease_claimants_settled(lease, s.epoch, NULL), LEASE_LOST);
	close_lease(lease, &s);
}
END_TEST

START_TEST(claimants_are_checked_and_bounded)
{
	CLEANUP(lease_freep) struct lease *lease = NULL;
	static char text[65536];
	char expect[300];
	const char *const *list;
	struct error e = ERROR_NULL;
	int64_t epoch;
	size_t n, len;

	fix_make_kanban();
	/* of another host: nothing is added; what is no claim lock is dropped */
	files_write(fix.owner, "{\"epoch\":5,\"pid\":3,\"host\":\"elsewhere\",\"since\":1,"
			       "\"claimants\":[\"a:1\",7,\"\",\"b\",\":2\",\"c:\",\"d:x\","
			       "\"e\\n:4\",\"a:1\",\"f:5\"]}");
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	ck_assert_int_eq(epoch, 6);
	list = lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(list[0], "a:1");
	ck_assert_str_eq(list[1], "f:5");
	lease = lease_free(lease);
	/* a pid that came again after a reboot is an earlier owner all the same */
	len = (size_t)snprintf(text, sizeof(text),
			       "{\"epoch\":8,\"pid\":%d,\"host\":\"%s\",\"since\":1,"
			       "\"claimants\":[\"x:0\"",
			       (int)getpid(), role_host());
	for (int i = 1; i < 600; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ",\"x:%d\"", i);
	(void)snprintf(text + len, sizeof(text) - len, "]}");
	files_write(fix.owner, text);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	list = lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 512);
	(void)snprintf(expect, sizeof(expect), "%s:%d", role_host(), (int)getpid());
	ck_assert_str_eq(list[0], expect);
	ck_assert_str_eq(list[1], "x:0");
	ck_assert_str_eq(list[511], "x:510");
}
END_TEST

START_TEST(litter_of_killed_owners_is_removed)
{
	CLEANUP(freep) char *kanban = fs_path("%s/kanban", fix.root);
	CLEANUP(freep) char *old = fs_path("%s/..dispatcher.owner.json.77.tmp", kanban);
	CLEANUP(freep) char *other = fs_path("%s/..dispatcher.other.77.tmp", kanban);
	CLEANUP(lease_freep) struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	fix_make_kanban();
	files_write(old, "{");
	files_write(other, "{");
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	ck_assert_int_eq(access(old, F_OK), -1);
	ck_assert_int_eq(access(other, F_OK), 0);
}
END_TEST

/* lease_is_held() */

START_TEST(is_held_touches_nothing)
{
	CLEANUP(freep) char *kanban = fs_path("%s/kanban", fix.root);
	struct helper h;
	pid_t pid = 1;

	ck_assert_int_eq(lease_is_held("/nonexistent/root", &pid), -ENOENT);
	ck_assert_int_eq(pid, 0);
	ck_assert_int_eq(lease_is_held(fix.root, &pid), 0);
	ck_assert_int_eq(access(kanban, F_OK), -1);
	helper_start(&h, "hold", fix.root);
	ck_assert_int_eq(lease_is_held(fix.root, &pid), 1);
	ck_assert_int_eq(pid, h.pid);
	helper_kill(&h);
	ck_assert_int_eq(lease_is_held(fix.root, &pid), 0);
	ck_assert_int_eq(pid, 0);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_owner");
	TCase *tc = tcase_create("lease_owner");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, the_lock_file_goes_while_the_owner_is_written);
	tcase_add_test(tc, a_takeover_waits_for_no_disk);
	tcase_add_test(tc, try_writes_the_owner_file);
	tcase_add_test(tc, a_corrupt_owner_file_does_not_turn_back_the_epoch);
	tcase_add_test(tc, deep_nesting_does_not_reach_the_waiters_stack);
	tcase_add_test(tc, claimants_of_a_chain_of_kills);
	tcase_add_test(tc, claimants_are_checked_and_bounded);
	tcase_add_test(tc, litter_of_killed_owners_is_removed);
	tcase_add_test(tc, is_held_touches_nothing);
	suite_add_tcase(s, tc);
	return s;
}
