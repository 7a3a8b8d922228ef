/*
 * The outbox: what was written is there after any kind of end, what was not is not, and nothing
 * that stands in the file can do more harm than cost itself.
 */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/folder.h"
#include "kit/suite.h"
#include "notify/outbox.h"
#include "util/fs.h"

/* In place of libc's: what the file held when it was made durable, and whether that fails. */
static off_t synced; /* its size then; -1: it was not */
static int sync_errno;

int fsync(int fd)
{
	struct stat st;

	if (sync_errno) {
		errno = sync_errno;
		return -1;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		synced = st.st_size;
	return (int)syscall(SYS_fsync, fd);
}

static struct outbox *box;
static struct outbox_found found;
static struct error err;

static void reopen(void)
{
	box = outbox_free(box);
	err = (struct error)ERROR_NULL;
	ck_assert_msg(outbox_open(&box, folder_path("outbox"), &found, &err) == 0, "%s",
		      err.text);
}

static void setup(void)
{
	folder_setup();
	reopen();
}

static void teardown(void)
{
	box = outbox_free(box);
	folder_teardown();
}

static bool unsynced; /* a test with thousands of writes */

static int write_one(const char *key, const char *value)
{
	json_t *json = value ? json_pack("{s:s}", "v", value) : NULL;
	struct outbox_change c = { key, json };
	int r = outbox_write(box, &c, 1, !unsynced, &err);

	json_decref(json);
	return r;
}

static void put(const char *key, const char *value)
{
	ck_assert_msg(write_one(key, value) == 0, "%s", err.text);
}

static int list_one(void *arg, const char *key, const json_t *value)
{
	char *out = arg;
	size_t n = strlen(out);

	(void)snprintf(out + n, 4000 - n, "%s=%s ", key,
		       json_string_value(json_object_get(value, "v")));
	return 0;
}

/* Everything that holds, as text. */
static const char *all(void)
{
	static char out[4000];

	out[0] = '\0';
	ck_assert_int_eq(outbox_each(box, list_one, out), 0);
	return out;
}

static char *file(size_t *len)
{
	char *data = NULL;

	ck_assert_int_eq(fs_read_file(folder_path("outbox"), 1 << 24, &data, len), 0);
	return data;
}

static off_t file_size(void)
{
	struct stat st;

	ck_assert_int_eq(stat(folder_path("outbox"), &st), 0);
	return st.st_size;
}

START_TEST(test_keeps)
{
	struct stat st;

	ck_assert_str_eq(all(), "");
	put("i1", "a");
	put("i2", "b");
	put("p1", "c");
	put("i1", NULL);
	put("i2", "b2");
	put("i9", NULL); /* never was: nothing happens */
	ck_assert_str_eq(all(), "p1=c i2=b2 ");
	reopen();
	ck_assert_str_eq(all(), "p1=c i2=b2 ");
	ck_assert_uint_eq(found.entries, 2);
	ck_assert(!found.torn && !found.bad && !found.set_aside);
	ck_assert_int_eq(stat(folder_path("outbox"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	/* numbers of keys that were there are not given out again */
	ck_assert_uint_gt(outbox_next(box), 9);
}
END_TEST

/* What is about to be sent is on the disk, all of it, when its write returns: only then may a
 * cursor move. What may wait does not make the disk work. */
START_TEST(test_durable)
{
	const off_t before = file_size();

	synced = -1;
	put("i1", "a");
	ck_assert_int_gt(synced, before);
	ck_assert_int_eq(synced, file_size());
	unsynced = true;
	synced = -1;
	put("p1", "b");
	ck_assert_int_eq(synced, -1);
	unsynced = false;
	put("i2", "c");
	ck_assert_int_eq(synced, file_size());
	/* a disk that does not take it: the write failed, and nothing of it holds */
	sync_errno = EIO;
	ck_assert_int_eq(write_one("i3", "d"), -EIO);
	sync_errno = 0;
	ck_assert_str_eq(all(), "i1=a p1=b i2=c ");
	put("i4", "e");
	reopen();
	ck_assert_str_eq(all(), "i1=a p1=b i2=c i4=e ");
}
END_TEST

START_TEST(test_text)
{
	put("i1", "quotes \" back \\ newline \n tab \t nul-free ünïcödé 😀 \x7f");
	reopen();
	ck_assert_str_eq(all(),
			 "i1=quotes \" back \\ newline \n tab \t nul-free ünïcödé 😀 \x7f ");
	ck_assert_int_eq(
		write_one("key that is much longer than the sixty-four bytes that a key "
			  "may have",
			  "x"),
		-EINVAL);
	ck_assert_int_eq(write_one("bad\xff", "x"), -EINVAL);
	put("i2", "fine");
	ck_assert_ptr_nonnull(strstr(all(), "i2=fine"));
}
END_TEST

/* Cut at every byte of the last write: as if it had not begun, and all before it holds. */
START_TEST(test_torn)
{
	size_t before, after;
	char *data;

	put("i1", "first");
	before = (size_t)file_size();
	put("i2", "second");
	data = file(&after);
	for (size_t cut = before; cut < after; cut++) {
		folder_write("outbox", data, cut);
		reopen();
		ck_assert_str_eq(all(), "i1=first ");
		ck_assert(found.torn == (cut > before));
		put("i3", "third");
		reopen();
		ck_assert_str_eq(all(), "i1=first i3=third ");
		ck_assert(!found.torn && !found.bad);
	}
	free(data);
}
END_TEST

/* Any byte of any line changed: that line is lost, no other. */
START_TEST(test_damaged)
{
	size_t len;
	char *data;

	put("i1", "first");
	put("i2", "second");
	put("i3", "third");
	data = file(&len);
	for (size_t at = 0; at < len; at++) {
		char saved = data[at];

		for (int bit = 0; bit < 8; bit += 3) {
			unsigned lost;
			const char *rest;

			data[at] = (char)(saved ^ 1 << bit);
			folder_write("outbox", data, len);
			reopen();
			rest = all();
			lost = !strstr(rest, "i1=first ") + !strstr(rest, "i2=second ") +
			       !strstr(rest, "i3=third ");
			/* a newline gone makes one line of two */
			ck_assert_msg(lost <= (saved == '\n' ? 2 : 1), "byte %zu: %s", at,
				      rest);
			ck_assert(found.bad || found.torn || lost == 0);
			if (bit > 0)
				continue;
			put("i4", "after");
			reopen();
			ck_assert_ptr_nonnull(strstr(all(), "i4=after "));
		}
		data[at] = saved;
	}
	free(data);
}
END_TEST

START_TEST(test_planted)
{
	static const char garbage[] = "\0\xff{\"nothing\":1}\n\n\nSQLite format 3\n";
	char *data;
	size_t len;

	folder_write("outbox", garbage, sizeof(garbage));
	reopen();
	ck_assert(found.set_aside);
	ck_assert_str_eq(all(), "");
	ck_assert_int_eq(fs_read_file(folder_path("outbox.bad"), 1000, &data, &len), 0);
	ck_assert_uint_eq(len, sizeof(garbage));
	free(data);
	put("i1", "x");
	/* ours, with something in it that is not */
	data = file(&len);
	data = realloc(data, len + 100);
	memcpy(data + len, "0123456789abcdef [\"i2\",{}]\n", 27);
	folder_write("outbox", data, len + 27);
	free(data);
	reopen();
	ck_assert(!found.set_aside);
	ck_assert_uint_eq(found.bad, 1);
	ck_assert_str_eq(all(), "i1=x ");
}
END_TEST

START_TEST(test_no_file)
{
	box = outbox_free(box);
	ck_assert_int_eq(remove(folder_path("outbox")), 0);
	ck_assert_int_eq(mkdir(folder_path("outbox"), 0700), 0);
	ck_assert_int_eq(outbox_open(&box, folder_path("outbox"), NULL, &err), -EISDIR);
	ck_assert_int_eq(rmdir(folder_path("outbox")), 0);
	ck_assert_int_eq(mkfifo(folder_path("outbox"), 0600), 0);
	ck_assert_int_eq(outbox_open(&box, folder_path("outbox"), NULL, &err), -EINVAL);
	ck_assert_int_eq(remove(folder_path("outbox")), 0);
	ck_assert_int_eq(outbox_open(&box, folder_path("no/outbox"), NULL, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "outbox"));
	/* an empty file is an outbox with nothing in it */
	folder_write("outbox", "", 0);
	reopen();
	ck_assert(!found.set_aside);
	put("i1", "x");
}
END_TEST

/* A newer format is not touched. */
START_TEST(test_newer)
{
	/* the checksum is that of the rest of the line */
	static const char line[] = "75f9c17b91a3cc97 [\"format\",2]\n";
	size_t len;
	char *data;
	int r;

	box = outbox_free(box);
	folder_write("outbox", line, sizeof(line) - 1);
	r = outbox_open(&box, folder_path("outbox"), &found, &err);
	ck_assert_msg(r == -EPROTONOSUPPORT, "%d %s (set aside: %d)", r, err.text,
		      found.set_aside);
	data = file(&len);
	ck_assert_uint_eq(len, sizeof(line) - 1);
	free(data);
}
END_TEST

START_TEST(test_batch)
{
	json_t *v = json_pack("{s:s}", "v", "x");
	const struct outbox_change list[] = {
		{ "i1", v }, { "i2", v }, { "i1", NULL }, { "i3", v }
	};
	const struct outbox_change bad[] = { { "i4", v }, { "i\xff", v } };

	ck_assert_int_eq(outbox_write(box, list, 4, true, &err), 0);
	ck_assert_str_eq(all(), "i2=x i3=x ");
	ck_assert_int_eq(outbox_write(box, bad, 2, true, &err), -EINVAL);
	ck_assert_str_eq(all(), "i2=x i3=x ");
	ck_assert_int_eq(outbox_write(box, NULL, 0, true, &err), 0);
	reopen();
	ck_assert_str_eq(all(), "i2=x i3=x ");
	json_decref(v);
}
END_TEST

/* It does not grow without end, and what holds survives being written anew. */
START_TEST(test_compaction)
{
	char key[16], big[2000];
	struct stat st;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	unsynced = true;
	put("i0", "kept");
	for (int i = 1; i < 2000; i++) {
		(void)snprintf(key, sizeof(key), "i%d", i);
		put(key, big);
		put(key, NULL);
	}
	ck_assert_uint_lt((size_t)file_size(), 400 * 1024);
	ck_assert_int_eq(stat(folder_path("outbox"), &st), 0);
	ck_assert_str_eq(all(), "i0=kept ");
	reopen();
	ck_assert_str_eq(all(), "i0=kept ");
	ck_assert_uint_lt((size_t)file_size(), 200);
}
END_TEST

/* A disk that is full in the middle of a write: the write is undone, and comes back. */
START_TEST(test_full)
{
	struct rlimit old, small;
	size_t len, before;
	char *data;

	put("i1", "first");
	before = (size_t)file_size();
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	small = old;
	small.rlim_cur = before + 20;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	ck_assert_int_eq(write_one("i2", "second"), -EFBIG);
	ck_assert_ptr_nonnull(strstr(err.text, "cannot write the outbox"));
	ck_assert_str_eq(all(), "i1=first ");
	data = file(&len);
	ck_assert_uint_eq(len, before);
	free(data);
	ck_assert_int_eq(write_one("i2", "second"), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	put("i3", "third");
	reopen();
	ck_assert_str_eq(all(), "i1=first i3=third ");
	ck_assert(!found.bad && !found.torn);
}
END_TEST

/* Killed at any moment: each write that returned is there. */
START_TEST(test_killed)
{
	for (int round = 0; round < 20; round++) {
		int fds[2], status;
		char last = 0, c;
		pid_t pid;

		ck_assert_int_eq(pipe(fds), 0);
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			for (char k = 'a'; k <= 'z'; k++) {
				const char key[] = { k, '1', '\0' };

				if (write_one(key, "x") < 0 || write(fds[1], &k, 1) != 1)
					_exit(1);
			}
			_exit(0);
		}
		ck_assert_int_eq(close(fds[1]), 0);
		for (int i = 0; i < round && read(fds[0], &c, 1) == 1; i++)
			last = c;
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		while (read(fds[0], &c, 1) == 1)
			last = c;
		ck_assert_int_eq(close(fds[0]), 0);
		reopen();
		for (char k = 'a'; k <= last; k++) {
			const char want[] = { k, '1', '=', 'x', '\0' };

			ck_assert_msg(strstr(all(), want), "%s after %c: %s", want, last,
				      all());
		}
		box = outbox_free(box);
		ck_assert_int_eq(remove(folder_path("outbox")), 0);
		reopen();
	}
}
END_TEST

static void *write_many(void *arg)
{
	char key[24];
	struct error e = ERROR_NULL;
	json_t *v = json_pack("{s:s}", "v", "x");

	for (int i = 0; i < 100; i++) {
		struct outbox_change c = { key, v };

		(void)snprintf(key, sizeof(key), "%c%llu", *(char *)arg,
			       (unsigned long long)outbox_next(box));
		ck_assert_int_eq(outbox_write(box, &c, 1, i % 10 == 0, &e), 0);
	}
	json_decref(v);
	return NULL;
}

static int count_one(void *arg, const char *key, const json_t *value)
{
	(void)key;
	(void)value;
	++*(unsigned *)arg;
	return 0;
}

START_TEST(test_threads)
{
	pthread_t t[4];
	char letters[] = "abcd";
	unsigned n = 0, peeked = 0;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, write_many, &letters[i]), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	ck_assert_int_eq(outbox_each(box, count_one, &n), 0);
	ck_assert_uint_eq(n, 400);
	/* somebody else may look meanwhile */
	ck_assert_int_eq(outbox_peek(folder_path("outbox"), count_one, &peeked, &err), 0);
	ck_assert_uint_eq(peeked, 400);
	ck_assert_int_eq(outbox_peek(folder_path("nothing"), count_one, &peeked, &err), 0);
	reopen();
	n = 0;
	ck_assert_int_eq(outbox_each(box, count_one, &n), 0);
	ck_assert_uint_eq(n, 400);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("notify_outbox");
	TCase *t = tcase_create("outbox");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_keeps);
	tcase_add_test(t, test_durable);
	tcase_add_test(t, test_text);
	tcase_add_test(t, test_torn);
	tcase_add_test(t, test_damaged);
	tcase_add_test(t, test_planted);
	tcase_add_test(t, test_no_file);
	tcase_add_test(t, test_newer);
	tcase_add_test(t, test_batch);
	tcase_add_test(t, test_compaction);
	tcase_add_test(t, test_full);
	tcase_add_test(t, test_killed);
	tcase_add_test(t, test_threads);
	suite_add_tcase(s, t);
	return s;
}
