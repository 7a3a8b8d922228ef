/* kanbanctl as root on what another account owns: it works as that account, and nothing that
 * the account put there is followed with root's rights. */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/ctl.h"
#include "kit/suite.h"
#include "util/fs.h"

#define ALICE 54321
#define BOB   54322

static char victim[300]; /* a file of root's, in a folder of root's */

/* World_root belongs to alice; outside of it lies what is root's. */
static void setup(void)
{
	char folder[280];
	int fd;

	world_setup();
	if (getuid() != 0)
		return;
	ck_assert_int_eq(chown(world_root, ALICE, ALICE), 0);
	(void)snprintf(folder, sizeof(folder), "%s.root", world_root);
	ck_assert_int_eq(mkdir(folder, 0755), 0);
	(void)snprintf(victim, sizeof(victim), "%s/victim", folder);
	fd = open(victim, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, "root's", 6), 6);
	ck_assert_int_eq(close(fd), 0);
}

static void teardown(void)
{
	char folder[280];

	if (getuid() == 0) {
		(void)snprintf(folder, sizeof(folder), "%s.root", world_root);
		ck_assert_int_eq(unlink(victim), 0);
		ck_assert_int_eq(rmdir(folder), 0); /* and nothing else is in it */
	}
	world_teardown();
}

static uid_t owner_of(const char *name)
{
	struct stat st;

	ck_assert_msg(lstat(world_path(name), &st) == 0, "no %s", name);
	return st.st_uid;
}

static void untouched(void)
{
	char text[16] = "";
	int fd = open(victim, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(read(fd, text, sizeof(text)), 6);
	ck_assert_int_eq(memcmp(text, "root's", 6), 0);
	ck_assert_int_eq(close(fd), 0);
}

static void give(const char *path)
{
	ck_assert_int_eq(lchown(path, ALICE, ALICE), 0);
}

START_TEST(works_as_the_owner)
{
	static const char *const made[] = { "kanban",
					    "kanban/logs",
					    "kanban.db",
					    "kanban.db.init.lock",
					    "kanban/boards/two/kanban.db",
					    "kanban/boards/two/board.json",
					    "kanban/boards/default/snapshots",
					    "kanban/.dispatcher.lock" };

	if (getuid() != 0)
		return;
	(void)ok("init");
	(void)ok("--board", "two", "init");
	(void)ok("add", "x");
	(void)ok("snapshot");
	(void)ok("restore", "default", "--at", "now");
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		ck_assert_msg(owner_of(made[i]) == ALICE, "%s is not alice's", made[i]);
}
END_TEST

/* The database is a link to a file of root's. */
START_TEST(restore_through_a_link)
{
	char copy[PATH_MAX];

	if (getuid() != 0)
		return;
	(void)ok("init");
	(void)ok("add", "x");
	(void)snprintf(copy, sizeof(copy), "%s", ok("snapshot"));
	ck_assert_int_eq(unlink(world_path("kanban.db")), 0);
	ck_assert_int_eq(symlink(victim, world_path("kanban.db")), 0);
	give(world_path("kanban.db"));
	ck_assert_int_ne(kanbanctl("restore", "default", copy)->exit, 0);
	ck_assert_int_ne(kanbanctl("add", "y")->exit, 0);
	untouched();
}
END_TEST

/* A folder of the root, or the database, leads to a folder of root's. */
START_TEST(init_through_a_link)
{
	char target[320], folder[280];

	if (getuid() != 0)
		return;
	(void)snprintf(target, sizeof(target), "%s.new", victim);
	ck_assert_int_eq(symlink(target, world_path("kanban.db")), 0);
	give(world_path("kanban.db"));
	ck_assert_int_ne(kanbanctl("init")->exit, 0);
	ck_assert_int_eq(unlink(world_path("kanban.db")), 0);
	(void)snprintf(folder, sizeof(folder), "%s.root", world_root);
	(void)snprintf(target, sizeof(target), "rm -rf %s/kanban", world_root);
	ck_assert_int_eq(system(target), 0);
	ck_assert_int_eq(symlink(folder, world_path("kanban")), 0);
	give(world_path("kanban"));
	ck_assert_int_ne(kanbanctl("init")->exit, 0);
	/* teardown() says whether the folder has anything new in it */
}
END_TEST

/* The root is root's, one of its boards is not. */
START_TEST(a_board_of_another)
{
	if (getuid() != 0)
		return;
	ck_assert_int_eq(chown(world_root, 0, 0), 0);
	(void)ok("init");
	(void)ok("--board", "hers", "init");
	give(world_path("kanban/boards/hers"));
	ck_assert_int_eq(unlink(world_path("kanban/boards/hers/kanban.db")), 0);
	ck_assert_int_eq(symlink(victim, world_path("kanban/boards/hers/kanban.db")), 0);
	give(world_path("kanban/boards/hers/kanban.db"));
	ck_assert_int_ne(kanbanctl("--board", "hers", "init")->exit, 0);
	ck_assert_int_ne(kanbanctl("--board", "hers", "add", "x")->exit, 0);
	untouched();
}
END_TEST

/* Root works for one, not for two who could play against each other. */
START_TEST(two_owners)
{
	if (getuid() != 0)
		return;
	ck_assert_int_eq(mkdir(world_path("bob"), 0755), 0);
	ck_assert_int_eq(chown(world_path("bob"), BOB, BOB), 0);
	fails(77, "root does not work for two", "--root", world_path("bob"), "init");
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("ctl_account");
	TCase *tc = tcase_create("account");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, works_as_the_owner);
	tcase_add_test(tc, restore_through_a_link);
	tcase_add_test(tc, init_through_a_link);
	tcase_add_test(tc, a_board_of_another);
	tcase_add_test(tc, two_owners);
	suite_add_tcase(s, tc);
	return s;
}
