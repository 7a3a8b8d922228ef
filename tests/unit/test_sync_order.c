/*
 * What must survive a power cut is on the disk before it has its name, and its name before
 * anybody relies on it. Seen at the calls themselves: this program's own fsync(), rename() and
 * unlink() stand before those of libc, and note what they were asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kit/board.h"
#include "notify/outbox.h"
#include "recovery/evidence.h"
#include "recovery/snapshot.h"
#include "util/fs.h"

enum call { CALL_FSYNC, CALL_RENAME };

static struct {
	enum call what;
	char path[300]; /* fsync: what it is called now; rename: the old name */
	char to[300];
	off_t size; /* of a file that was synced */
} calls[256];
static size_t n_calls;
static bool noting;

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int fsync(int fd)
{
	char link[64], path[300] = { 0 };
	struct stat st = { 0 };

	if (noting && n_calls < 256) {
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		(void)!readlink(link, path, sizeof(path) - 1);
		(void)fstat(fd, &st);
		calls[n_calls].what = CALL_FSYNC;
		calls[n_calls].size = st.st_size;
		(void)snprintf(calls[n_calls++].path, 300, "%s", path);
	}
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return fsync(fd);
}

int rename(const char *from, const char *to)
{
	if (noting && n_calls < 256) {
		calls[n_calls].what = CALL_RENAME;
		(void)snprintf(calls[n_calls].path, 300, "%s", from);
		(void)snprintf(calls[n_calls++].to, 300, "%s", to);
	}
	return (int)syscall(SYS_rename, from, to);
}

static void note(bool on)
{
	noting = on;
	if (on)
		n_calls = 0;
}

/* Was @path synced between calls @from and @upto */
static bool synced(const char *path, size_t from, size_t upto)
{
	for (size_t i = from; i < upto; i++)
		if (calls[i].what == CALL_FSYNC && strcmp(calls[i].path, path) == 0)
			return true;
	return false;
}

/* Every name that was given: its file was synced before, its folder after. Return: how many. */
static unsigned check_names(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < n_calls; i++) {
		char folder[300];

		if (calls[i].what != CALL_RENAME)
			continue;
		n++;
		(void)snprintf(folder, sizeof(folder), "%.*s",
			       (int)(base(calls[i].to) - calls[i].to - 1), calls[i].to);
		ck_assert_msg(synced(calls[i].path, 0, i),
			      "%s was not synced before it got its name", calls[i].path);
		ck_assert_msg(synced(folder, i + 1, n_calls),
			      "%s was not synced after %s got its name", folder, calls[i].to);
	}
	return n;
}

/* The sidecars are whole, with their names, before the database has its own. */
START_TEST(evidence)
{
	static char path[HEALTH_PATH_MAX];
	struct health_print print;
	size_t last = 0;

	kit_board(KIT_WAL);
	kit_open();
	db_leave_wal(kit.db, true);
	kit_task("a", "ready", NULL);
	kit_close();
	note(true);
	ck_assert_msg(evidence_keep(kit.path, 0, &print, path, &kit.e) == 0, "%s", kit.e.text);
	note(false);
	ck_assert_uint_ge(check_names(), 2);
	for (size_t i = 0; i < n_calls; i++)
		if (calls[i].what == CALL_RENAME)
			last = i;
	ck_assert_str_eq(calls[last].to, path);
	ck_assert(synced(kit.dir, 0, last)); /* the names of the sidecars */
}
END_TEST

START_TEST(snapshot)
{
	struct snapshot_limits limits = { 24, 7, INT64_MAX };
	static char path[HEALTH_PATH_MAX];

	kit_board(0);
	kit_task("a", "ready", NULL);
	kit_open();
	note(true);
	ck_assert_msg(snapshot_take(kit.db, kit.dir, &limits, NULL, path, &kit.e) == 0, "%s",
		      kit.e.text);
	note(false);
	ck_assert_uint_eq(check_names(), 1);
}
END_TEST

/* The health record, the owner file, the outbox: all of them are written by this. */
START_TEST(small_files)
{
	char *path = kit_printf("%s/small", kit.dir);

	note(true);
	ck_assert_int_eq(fs_write_atomic(path, "whole", 5, 0644), 0);
	note(false);
	ck_assert_uint_eq(check_names(), 1);
	ck_assert_uint_eq(n_calls, 3);
	ck_assert_int_eq(calls[0].size, 5); /* not before it was written */
}
END_TEST

/* What is about to be sent is on the disk before the cursor moves, which is what follows. */
START_TEST(written_outbox)
{
	char *path = kit_printf("%s/outbox", kit.dir);
	struct outbox_change change = { .key = "i1", .value = json_pack("{s:i}", "a", 1) };
	struct outbox *box = NULL;
	struct stat st;

	ck_assert_int_eq(outbox_open(&box, path, NULL, &kit.e), 0);
	for (int i = 0; i < 2; i++) { /* the first may write the file anew */
		note(true);
		ck_assert_int_eq(outbox_write(box, &change, 1, true, &kit.e), 0);
		note(false);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_ge(n_calls, 1);
		ck_assert(synced(path, 0, n_calls));
		ck_assert_int_eq(calls[n_calls - 1].size, st.st_size);
	}
	json_decref((json_t *)change.value);
	outbox_free(box);
}
END_TEST

KIT_SUITE("sync_order", evidence, snapshot, small_files, written_outbox)
