/*
 * What is put right where it stands: a header of which the first bytes are wrong, a journal
 * that names a super-journal. And what a rebuild must not lose without saying so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/files.h"
#include "recovery/evidence.h"
#include "recovery/repair.h"
#include "recovery/snapshot.h"

#define N_TASKS 60

static char evidence[HEALTH_PATH_MAX];
static struct health_print print;
static struct repair_report rep;

static void fill_board(unsigned flags)
{
	kit_board(flags);
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(400)), 'done',"
		" 1770000000+i FROM n",
		N_TASKS);
	kit_sql("INSERT INTO task_events(task_id, kind, created_at)"
		" SELECT id, 'created', created_at FROM tasks");
}

static void poke(const char *path, int64_t at, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
	ck_assert_int_eq(close(fd), 0);
}

static void run(const char *fmt, ...) PRINTF(1, 2);
static void run(const char *fmt, ...)
{
	CLEANUP(freep) char *command = NULL;
	va_list ap;

	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&command, fmt, ap), 0);
	va_end(ap);
	ck_assert_msg(system(command) == 0, "%s", command);
}

static int repair(bool dry_run)
{
	struct repair_options opt = { .db_path = kit.path,
				      .evidence = evidence,
				      .print = &print,
				      .policy = REPAIR_LOSSLESS,
				      .dry_run = dry_run };

	kit.e = (struct error)ERROR_NULL;
	return repair_run(&opt, &rep, &kit.e);
}

static void keep(void)
{
	ck_assert_msg(evidence_keep(kit.path, 0, &print, evidence, &kit.e) == 0, "%s",
		      kit.e.text);
}

/* ---- the header ---------------------------------------------------------------------- */

START_TEST(header_is_put_right)
{
	static const struct {
		int64_t at;
		const char *bytes;
		size_t n;
	} hurt[] = { { 0, "garbage", 7 },   { 16, "\x11\x11", 2 },
		     { 16, "\x02\x00", 2 }, { 18, "\x03", 1 },
		     { 18, "\x00\x00", 2 }, { 19, "\x09", 1 },
		     { 20, "\x20", 1 },     { 21, "\x00", 1 },
		     { 22, "\xff\xff", 2 }, { 0, "0123456789abcdefghijklmn", 24 } };
	char *whole = kit_printf("%s/whole", kit.dir);

	for (int wal = 0; wal < 2; wal++) {
		fill_board(wal ? KIT_WAL : 0);
		kit_sql("CREATE VIRTUAL TABLE ft USING fts5(x)");
		kit_sql("INSERT INTO ft VALUES('nothing of it is made anew')");
		kit_sql("PRAGMA wal_checkpoint(TRUNCATE)");
		run("cp '%s' '%s'", kit.path, whole);
		for (size_t i = 0; i < sizeof(hurt) / sizeof(hurt[0]); i++) {
			/* a WAL board without its -wal does not say what it was */
			if (wal && hurt[i].n != 1)
				continue;
			poke(kit.path, hurt[i].at, hurt[i].bytes, hurt[i].n);
			keep();
			ck_assert_msg(repair(true) == 0, "%zu: %s", i, kit.e.text);
			ck_assert_str_eq(rep.method, "header");
			run("cmp -s '%s' '%s'", kit.path, evidence);
			ck_assert_msg(repair(false) == 0, "%zu: %s", i, kit.e.text);
			ck_assert_str_eq(rep.method, "header");
			ck_assert(rep.written);
			run("cmp '%s' '%s'", kit.path, whole);
		}
		ck_list("ok", "PRAGMA integrity_check");
		run("rm -f '%s'*", kit.path);
	}
}
END_TEST

/* In which encoding the texts are they tell themselves. */
START_TEST(another_encoding_in_the_header)
{
	static const char words[][4] = {
		"\0\0\0\2", "\0\0\0\3", "\0\0\0\7", { '\xff', '\xff', '\xff', '\xff' }
	};
	char *body;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		fill_board(i % 2 ? KIT_WAL : 0);
		body = kit_list("SELECT * FROM tasks ORDER BY rowid");
		kit_sql("PRAGMA wal_checkpoint(TRUNCATE)");
		kit_close();
		poke(kit.path, 56, words[i], 4);
		keep();
		ck_assert_msg(repair(false) == 0, "%zu: %s", i, kit.e.text);
		ck_list("ok", "PRAGMA integrity_check");
		ck_assert_str_eq(kit_list("SELECT * FROM tasks ORDER BY rowid"), body);
		kit_close();
		run("rm -f '%s'*", kit.path);
	}
}
END_TEST

/* Which mode it was in, its WAL tells; and what is in the WAL is not lost. */
START_TEST(header_of_a_board_with_a_wal)
{
	fill_board(KIT_WAL);
	kit_open();
	db_leave_wal(kit.db, true);
	kit_sql("UPDATE task_events SET kind = 'in the WAL' WHERE id = 7");
	kit_close();
	poke(kit.path, 0, "0123456789abcdefghijklmn", 24);
	keep();
	ck_assert_msg(repair(false) == 0, "%s", kit.e.text);
	ck_assert_str_eq(rep.method, "header");
	ck_list("wal", "PRAGMA journal_mode");
	ck_list("in the WAL", "SELECT kind FROM task_events WHERE id = 7");
	ck_list("60", "SELECT count(*) FROM tasks");
}
END_TEST

/* More is wrong than the header: that is for the rebuild, and counted. */
START_TEST(header_and_more)
{
	int64_t leaf;

	fill_board(0);
	leaf = kit_int("SELECT pageno FROM dbstat WHERE name = 'tasks' AND pagetype = 'leaf'"
		       " ORDER BY path LIMIT 1");
	poke(kit.path, 18, "\x03", 1);
	poke(kit.path, (leaf - 1) * 4096, kit_printf("%4000s", "x"), 4000);
	keep();
	ck_assert_int_eq(repair(false), REPAIR_WOULD_LOSE);
	run("cmp -s '%s' '%s'", kit.path, evidence);
}
END_TEST

/* A rebuild, too, leaves it in the mode that its WAL tells. */
START_TEST(rebuilt_with_a_wal)
{
	char *body;

	fill_board(KIT_WAL);
	body = kit_list("SELECT * FROM tasks");
	kit_open();
	db_leave_wal(kit.db, true);
	kit_sql("UPDATE task_links SET parent_id = 'x'");
	kit_close();
	run("touch '%s-wal'", kit.path);
	/* with nothing of the header left, and the file's first free page said to be there */
	poke(kit.path, 0, kit_printf("%100s", "x"), 100);
	keep();
	ck_assert_msg(repair(false) == 0, "%s", kit.e.text);
	ck_assert_str_eq(rep.method, "rebuild");
	ck_list("wal", "PRAGMA journal_mode");
	ck_assert_str_eq(kit_list("SELECT * FROM tasks"), body);
}
END_TEST

/* Others wrote since its bytes were kept. */
START_TEST(header_of_other_bytes)
{
	fill_board(0);
	poke(kit.path, 18, "\x03", 1);
	keep();
	poke(kit.path, 2000, "y", 1);
	ck_assert_int_eq(repair(false), REPAIR_BUSY);
	ck_assert(!rep.written);
}
END_TEST

/* ---- the journal --------------------------------------------------------------------- */

/* Append to the -journal the record that names @super. */
static void name_super(const char *super)
{
	static const unsigned char magic[8] = {
		0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7
	};
	unsigned char tail[600] = { 0, 4, 0, 1 };
	size_t n = strlen(super);
	uint32_t sum = 0;
	int fd = open(kit_printf("%s-journal", kit.path), O_WRONLY | O_APPEND | O_CLOEXEC);

	for (size_t i = 0; i < n; i++)
		sum += (unsigned char)super[i];
	memcpy(tail + 4, super, n);
	for (int i = 0; i < 4; i++) {
		tail[4 + n + (size_t)i] = (unsigned char)(n >> (24 - 8 * i));
		tail[8 + n + (size_t)i] = (unsigned char)(sum >> (24 - 8 * i));
	}
	memcpy(tail + 12 + n, magic, sizeof(magic));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, tail, n + 20), (ssize_t)(n + 20));
	ck_assert_int_eq(close(fd), 0);
}

/* A transaction that was cut off in the middle, its journal hot. */
static void cut_off(void)
{
	run("sqlite3 '%s' \"PRAGMA cache_size=2; BEGIN; UPDATE tasks SET body = "
	    "hex(randomblob(400));"
	    " UPDATE task_events SET kind = 'half';\" \".shell cp '%s' '%s.half'\""
	    " \".shell cp '%s-journal' '%s.half-journal'\" \"ROLLBACK\"",
	    kit.path, kit.path, kit.path, kit.path, kit.path);
	run("mv '%s.half' '%s' && mv '%s.half-journal' '%s-journal'", kit.path, kit.path,
	    kit.path, kit.path);
}

START_TEST(journal_is_played_back_without_its_super)
{
	char *super = kit_printf("%s/precious", kit.dir), *before;

	fill_board(0);
	before = kit_list("SELECT * FROM tasks");
	cut_off();
	run("echo keep >'%s'", super);
	name_super(super);
	keep();
	ck_assert_msg(repair(false) == 0, "%s", kit.e.text);
	ck_assert_str_eq(rep.method, "header");
	ck_assert_str_eq(kit_list("SELECT * FROM tasks"), before);
	ck_list("0", "SELECT count(*) FROM task_events WHERE kind = 'half'");
	ck_list("ok", "PRAGMA integrity_check");
	run("grep -q keep '%s'", super);
}
END_TEST

/* … also where more is damaged, so that all is rebuilt; one whose super-journal is gone is
 * over. */
START_TEST(journal_and_more)
{
	char *super = kit_printf("%s/precious", kit.dir);

	for (int there = 0; there < 2; there++) {
		fill_board(0);
		cut_off();
		if (there)
			run("echo keep >'%s'", super);
		name_super(super);
		poke(kit.path, 0, kit_printf("%100s", "x"), 100);
		keep();
		if (repair(false) == 0 && there)
			ck_list("0", "SELECT count(*) FROM task_events WHERE kind = 'half'");
		else
			ck_assert_msg(!there, "%s", kit.e.text);
		run("rm -f '%s'*", kit.path);
	}
	run("grep -q keep '%s'", super);
}
END_TEST

/* What names none is played back by SQLite, and no damage. */
START_TEST(journal_that_is_hot)
{
	char *before;

	fill_board(0);
	before = kit_list("SELECT * FROM tasks");
	cut_off();
	keep();
	ck_assert_msg(repair(false) == 0, "%s", kit.e.text);
	ck_assert_str_eq(rep.method, "check");
	ck_assert_str_eq(kit_list("SELECT * FROM tasks"), before);
}
END_TEST

/* ---- what a rebuild must not lose ---------------------------------------------------- */

static void break_leaf_of(const char *table)
{
	int64_t leaf = kit_int("SELECT pageno FROM dbstat WHERE name = %Q AND pagetype = 'leaf'"
			       " ORDER BY path DESC LIMIT 1",
			       table);

	ck_assert_int_gt(leaf, 1);
	poke(kit.path, (leaf - 1) * 4096, kit_printf("%4000s", "x"), 4000);
}

START_TEST(every_table_counts)
{
	for (int n = 8; n <= 80; n += 24) {
		fill_board(0);
		for (int i = 0; i < n; i++)
			kit_sql("CREATE TABLE x%d(a INTEGER PRIMARY KEY, b TEXT)", i);
		kit_sql("INSERT INTO x%d(b) SELECT hex(randomblob(300)) FROM tasks", n - 1);
		break_leaf_of(kit_printf("x%d", n - 1));
		keep();
		ck_assert_int_eq(repair(false), REPAIR_WOULD_LOSE);
		ck_assert_uint_le(rep.n_tables, REPAIR_TABLES);
		run("cmp -s '%s' '%s'", kit.path, evidence);
		run("rm -f '%s'*", kit.path);
	}
}
END_TEST

START_TEST(virtual_tables_are_told)
{
	static const char *const kinds[] = { "fts4(x)", "fts5(x)", "rtree(a, b, c)" };

	for (size_t i = 0; i < 3; i++) {
		fill_board(0);
		kit_sql("CREATE VIRTUAL TABLE v USING %s", kinds[i]);
		kit_sql("DELETE FROM task_events WHERE id < 0");
		/* an index and a table: no REINDEX heals that, and no row of it is lost */
		poke(kit.path, 100, "\x55", 1);
		keep();
		ck_assert_int_eq(repair(false), REPAIR_WOULD_LOSE);
		ck_assert_ptr_nonnull(strstr(kit.e.text, "schema"));
		run("cmp -s '%s' '%s'", kit.path, evidence);
		run("rm -f '%s'*", kit.path);
	}
}
END_TEST

/* ---- what is kept -------------------------------------------------------------------- */

/* The sidecars of a symbolic link are where it leads to. */
START_TEST(evidence_of_a_link)
{
	char *real = kit_printf("%s/elsewhere.db", kit.dir);

	fill_board(KIT_WAL);
	kit_open();
	db_leave_wal(kit.db, true);
	kit_task("late", "ready", NULL);
	kit_close();
	run("cd '%s' && for s in '' -wal -shm; do mv kanban.db$s elsewhere.db$s; done",
	    kit.dir);
	ck_assert_int_eq(symlink(real, kit.path), 0);
	keep();
	run("cmp '%s-wal' '%s-wal'", real, evidence);
	ck_assert(files_same_set(real, evidence));
	poke(real, 0, "garbage", 7);
	keep();
	ck_assert_msg(repair(false) == 0, "%s", kit.e.text);
	ck_list("late", "SELECT id FROM tasks WHERE id = 'late'");
}
END_TEST

/* Nobody reads in a copy what they may not read in the board. */
START_TEST(copies_are_no_more_readable)
{
	struct snapshot_limits limits = { 24, 7, INT64_MAX };
	static char path[HEALTH_PATH_MAX];
	static const mode_t modes[] = { 0600, 0640, 0664 };
	struct stat st;

	fill_board(0);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(chmod(kit.path, modes[i]), 0);
		kit_sql("UPDATE tasks SET priority = %d", (int)i + 1);
		keep();
		ck_assert_int_eq(stat(evidence, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777, modes[i]);
		kit_open();
		ck_assert_msg(snapshot_take(kit.db, kit.dir, &limits, NULL, path, &kit.e) == 0,
			      "%s", kit.e.text);
		kit_close();
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777, modes[i]);
		ck_assert_int_eq(unlink(path), 0);
	}
}
END_TEST

START_TEST(holes_stay_holes)
{
	struct stat st;

	kit_board(0);
	poke(kit.path, 0, "garbage", 7);
	ck_assert_int_eq(truncate(kit.path, 200 << 20), 0);
	keep();
	ck_assert_int_eq(stat(evidence, &st), 0);
	ck_assert_int_eq(st.st_size, 200 << 20);
	ck_assert_int_lt(st.st_blocks * 512, 4 << 20);
	/* and what has no end is not even read */
	ck_assert_int_eq(truncate(kit.path, INT64_C(1) << 40), 0);
	ck_assert_int_eq(evidence_keep(kit.path, 0, &print, evidence, &kit.e), -EFBIG);
}
END_TEST

KIT_SUITE("repair_place", header_is_put_right, another_encoding_in_the_header,
	  header_of_a_board_with_a_wal, header_and_more, rebuilt_with_a_wal,
	  header_of_other_bytes, journal_is_played_back_without_its_super, journal_and_more,
	  journal_that_is_hot, every_table_counts, virtual_tables_are_told, evidence_of_a_link,
	  copies_are_no_more_readable, holes_stay_holes)
