/*
 * A board from a stranger: what may stand beside its file, what its header and its schema say,
 * how long it takes, and what others do to its files while it is open. Nothing but the board's
 * own files is touched, and nothing of it ends or holds up the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/db_guard.h"
#include "db/db_open.h"
#include "db/db_probe.h"
#include "db/db_registry.h"
#include "kit/board.h"
#include "util/clock.h"

static int try_open(int statement_ms)
{
	kit.e = (struct error)ERROR_NULL;
	kit.db = db_free(kit.db);
	return db_open(&kit.db,
		       &(struct db_options){ .path = kit.path,
					     .busy_timeout_ms = 50,
					     .statement_ms = statement_ms },
		       &kit.e);
}

static void put(const char *path, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
	ck_assert_int_eq(close(fd), 0);
}

static void poke(long at, const void *bytes, size_t n)
{
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
	ck_assert_int_eq(close(fd), 0);
}

static void put32(unsigned char *p, uint32_t v)
{
	p[0] = (unsigned char)(v >> 24);
	p[1] = (unsigned char)(v >> 16);
	p[2] = (unsigned char)(v >> 8);
	p[3] = (unsigned char)v;
}

/* ---- what stands beside it ----------------------------------------------------------- */

static const unsigned char magic[8] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };

/* A hot journal that names @super; @segments: headers before the end; @zero: not hot yet. */
static void hot_journal(const char *super, int segments, bool zero)
{
	static unsigned char buf[65536];
	size_t at = 0, n = strlen(super);
	uint32_t sum = 0;
	struct stat st;

	ck_assert_int_eq(stat(kit.path, &st), 0);
	memset(buf, 0, sizeof(buf));
	for (int i = 0; i < segments; i++, at += 512) {
		memcpy(buf + at, magic, sizeof(magic));
		put32(buf + at + 12, 1);
		put32(buf + at + 16, (uint32_t)(st.st_size / 4096));
		put32(buf + at + 20, 512);
		put32(buf + at + 24, 4096);
	}
	if (zero)
		buf[0] = 0;
	put32(buf + at, 0x40000000 / 4096 + 1);
	memcpy(buf + at + 4, super, n);
	for (size_t i = 0; i < n; i++)
		sum += (unsigned char)super[i];
	put32(buf + at + 4 + n, (uint32_t)n);
	put32(buf + at + 8 + n, sum);
	memcpy(buf + at + 12 + n, magic, sizeof(magic));
	put(kit_printf("%s-journal", kit.path), buf, at + 20 + n);
}

START_TEST(a_super_journal_is_damage)
{
	const char *precious = kit_printf("%s/precious-journal", kit.dir);
	struct sqlite3 *db = NULL;

	kit_board(0);
	kit_task("a", "ready", NULL);
	put(precious, "keep", 4);
	for (int segments = 1; segments <= 3; segments++)
		for (int zero = 0; zero < 2; zero++) {
			hot_journal(precious, segments, zero);
			ck_assert_int_eq(try_open(0), DB_CORRUPT);
			ck_assert_ptr_nonnull(strstr(kit.e.text, "super-journal"));
			ck_assert_int_ne(db_open_plain(&db, kit.path, DB_OPEN_WRITE),
					 SQLITE_OK);
			db_open_close(&db);
			ck_assert_int_eq(access(precious, F_OK), 0);
		}
	/* one that appears after the look */
	ck_assert_int_eq(unlink(kit_printf("%s-journal", kit.path)), 0);
	ck_assert_int_eq(db_open_plain(&db, kit.path, DB_OPEN_WRITE), SQLITE_OK);
	hot_journal(precious, 1, false);
	ck_assert_int_ne(sqlite3_exec(db, "SELECT count(*) FROM tasks", NULL, NULL, NULL),
			 SQLITE_OK);
	db_open_close(&db);
	ck_assert_int_eq(access(precious, F_OK), 0);
}
END_TEST

/* What one-line journals of other lengths look like is no super-journal. */
START_TEST(a_journal_without_one_is_played_back)
{
	static unsigned char buf[512];
	struct stat st;

	kit_board(0);
	kit_task("a", "ready", NULL);
	ck_assert_int_eq(stat(kit.path, &st), 0);
	memcpy(buf, magic, sizeof(magic));
	put32(buf + 12, 1);
	put32(buf + 16, (uint32_t)(st.st_size / 4096));
	put32(buf + 20, 512);
	put32(buf + 24, 4096);
	put(kit_printf("%s-journal", kit.path), buf, sizeof(buf));
	ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
	ck_assert_int_eq(access(kit_printf("%s-journal", kit.path), F_OK), -1);
}
END_TEST

static void make_side(int kind, const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd;

	switch (kind) {
	case 0:
		ck_assert_int_eq(mkfifo(path, 0644), 0);
		break;
	case 1:
		ck_assert_int_eq(mkdir(path, 0755), 0);
		break;
	case 2:
		put(kit_printf("%s/elsewhere", kit.dir), "keep", 4);
		ck_assert_int_eq(symlink(kit_printf("%s/elsewhere", kit.dir), path), 0);
		break;
	case 3:
		ck_assert_int_eq(symlink("/dev/zero", path), 0);
		break;
	default:
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		(void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
		ck_assert_int_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
		ck_assert_int_eq(close(fd), 0);
	}
}

START_TEST(sidecars_that_are_no_files)
{
	static const char *const suffixes[] = { "-wal", "-journal", "-shm" };
	char *elsewhere = kit_printf("%s/elsewhere", kit.dir);

	for (int wal = 0; wal < 2; wal++) {
		kit_board(wal ? KIT_WAL : 0);
		for (size_t i = 0; i < 3; i++)
			for (int kind = 0; kind < 5; kind++) {
				char *path = kit_printf("%s%s", kit.path, suffixes[i]);

				make_side(kind, path);
				ck_assert_int_eq(try_open(0), DB_CORRUPT);
				ck_assert_ptr_nonnull(strstr(kit.e.text, suffixes[i]));
				ck_assert_int_eq(remove(path), 0);
			}
		ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
		kit.db = db_free(kit.db);
		ck_assert_int_eq(unlink(kit.path), 0);
	}
	ck_assert_int_eq(access(elsewhere, F_OK), 0);
}
END_TEST

/* What SQLite would write to, cut or remove is somebody's file as well, by its other name. */
START_TEST(sidecars_that_are_hard_links)
{
	static const char *const suffixes[] = { "-wal", "-journal", "-shm" };
	static const char keep[] = "a file of its own, which nobody may write to";
	const char *victim = kit_printf("%s/victim", kit.dir);
	struct error e = ERROR_NULL;
	char got[sizeof(keep)];
	struct sqlite3 *db;

	for (int wal = 0; wal < 2; wal++) {
		kit_board(wal ? KIT_WAL : 0);
		for (size_t i = 0; i < 3; i++) {
			char *path = kit_printf("%s%s", kit.path, suffixes[i]);
			int fd;

			put(victim, keep, sizeof(keep));
			ck_assert_int_eq(link(victim, path), 0);
			ck_assert_int_eq(try_open(0), -EMLINK);
			ck_assert_ptr_nonnull(strstr(kit.e.text, suffixes[i]));
			ck_assert_int_ne(db_open_plain(&db, kit.path, DB_OPEN_WRITE),
					 SQLITE_OK);
			db_open_close(&db);
			ck_assert_int_eq(unlink(path), 0);
			/* one that appears after the look */
			ck_assert_int_eq(db_open_plain(&db, kit.path, DB_OPEN_WRITE),
					 SQLITE_OK);
			ck_assert_int_eq(link(victim, path), 0);
			(void)sqlite3_exec(db, "UPDATE tasks SET title = 'x'", NULL, NULL,
					   NULL);
			db_open_close(&db);
			fd = open(victim, O_RDONLY | O_CLOEXEC);
			ck_assert_int_eq(read(fd, got, sizeof(got)), sizeof(got));
			ck_assert_mem_eq(got, keep, sizeof(keep));
			ck_assert_int_eq(close(fd), 0);
			(void)unlink(
				path); /* a -journal may be gone: its name is the board's */
		}
		ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
		/* its own have one name each, */
		db_leave_wal(kit.db, true);
		ck_assert_int_eq(db_run(kit.db, &e, "UPDATE tasks SET title = 'y'", ""), 0);
		kit.db = db_free(kit.db);
		ck_assert_int_eq(unlink(kit.path), 0);
		(void)unlink(kit_printf("%s-wal", kit.path)); /* only in WAL mode */
		(void)unlink(kit_printf("%s-shm", kit.path)); /* … */
	}
}
END_TEST

START_TEST(the_file_itself)
{
	char *real = kit_printf("%s/real.db", kit.dir);

	kit_board(0);
	/* a link of our own is followed, and its sidecars are where it leads to */
	ck_assert_int_eq(rename(kit.path, real), 0);
	ck_assert_int_eq(symlink(real, kit.path), 0);
	ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
	kit.db = db_free(kit.db);
	ck_assert_int_eq(mkfifo(kit_printf("%s-wal", real), 0644), 0);
	ck_assert_int_eq(try_open(0), DB_CORRUPT);
	ck_assert_int_eq(unlink(kit_printf("%s-wal", real)), 0);
	/* one of somebody else to what is not theirs is not; only root can show it */
	if (geteuid() == 0) {
		ck_assert_int_eq(lchown(kit.path, 54321, 54321), 0);
		ck_assert_int_eq(try_open(0), -ELOOP);
		ck_assert_int_eq(chown(real, 54321, 54321), 0);
		ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
		kit.db = db_free(kit.db);
	}
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(mkfifo(kit.path, 0644), 0);
	ck_assert_int_eq(try_open(0), -EINVAL);
	ck_assert_int_eq(unlink(kit.path), 0);
}
END_TEST

/* ---- the header ---------------------------------------------------------------------- */

START_TEST(header_bytes)
{
	static const struct {
		long at;
		unsigned char value;
	} wrong[] = { { 0, 's' }, { 15, 1 },   { 16, 0x11 }, { 17, 3 },  { 18, 0 }, { 18, 3 },
		      { 18, 2 },  { 18, 255 }, { 19, 0 },    { 19, 3 },  { 19, 2 }, { 20, 255 },
		      { 21, 0 },  { 21, 65 },  { 22, 31 },   { 23, 33 }, { 23, 0 } };

	kit_board(0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		unsigned char was;
		int fd = open(kit.path, O_RDONLY | O_CLOEXEC);

		/* 4096 - 255 bytes are room enough for pages */
		if (wrong[i].at == 20)
			poke(16, "\x02\x00", 2);
		ck_assert_int_eq(pread(fd, &was, 1, wrong[i].at), 1);
		ck_assert_int_eq(close(fd), 0);
		poke(wrong[i].at, &wrong[i].value, 1);
		ck_assert_msg(try_open(0) == DB_CORRUPT, "byte %ld = %d", wrong[i].at,
			      wrong[i].value);
		poke(wrong[i].at, &was, 1);
		poke(16, "\x10\x00", 2);
		ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
		kit.db = db_free(kit.db);
	}
}
END_TEST

/* With a WAL beside it the header is SQLite's to judge; but not that it cannot be written. */
START_TEST(header_of_a_wal_board)
{
	kit_board(KIT_WAL);
	kit_open();
	db_leave_wal(kit.db, true);
	kit_task("a", "ready", NULL);
	kit_close();
	ck_assert_int_eq(access(kit_printf("%s-wal", kit.path), F_OK), 0);
	poke(18, "\x03", 1);
	if (try_open(0) == 0) { /* the WAL has page 1 */
		ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
		db_rollback(kit.db);
	} else {
		ck_assert_ptr_nonnull(strstr(kit.e.text, "header"));
	}
}
END_TEST

/* ---- the schema ---------------------------------------------------------------------- */

START_TEST(what_is_no_table)
{
	static const char *const stands_for[] = {
		"CREATE VIEW %s AS SELECT 1 AS id",
		"CREATE VIRTUAL TABLE %s USING fts5(id, title)",
		"CREATE VIRTUAL TABLE %s USING rtree(id, a, b)",
		"CREATE VIEW %s AS WITH RECURSIVE r(id) AS (SELECT 1 UNION ALL SELECT id + 1 "
		"FROM r)"
		" SELECT * FROM r",
	};
	static const char *const names[] = { "tasks", "task_runs", "task_links",
					     "kanban_notify_subs" };

	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < sizeof(stands_for) / sizeof(stands_for[0]); k++) {
			kit_board(0);
			kit_sql("DROP TABLE %s", names[i]);
			kit_sql(stands_for[k], names[i]);
			ck_assert_int_eq(try_open(0), DB_SCHEMA_BAD);
			ck_assert_ptr_nonnull(strstr(kit.e.text, names[i]));
			ck_assert_int_eq(unlink(kit.path), 0);
		}
}
END_TEST

/* Names that double with each level: expanding the last would take for ever. */
START_TEST(views_of_views)
{
	kit_board(0);
	kit_sql("CREATE VIEW v0 AS SELECT 1 AS a, 2 AS b");
	for (int i = 1; i < 40; i++)
		kit_sql("CREATE VIEW v%d AS SELECT x.*, y.* FROM v%d x, v%d y", i, i - 1,
			i - 1);
	ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
	kit.db = db_free(kit.db);
	kit_sql("DROP TABLE tasks");
	kit_sql("CREATE VIEW tasks AS SELECT * FROM v39");
	ck_assert_int_eq(try_open(0), DB_SCHEMA_BAD);
}
END_TEST

START_TEST(triggers_do_not_run)
{
	struct error e = ERROR_NULL;

	kit_board(0);
	kit_task("a", "ready", NULL);
	kit_sql("CREATE TRIGGER t AFTER UPDATE ON tasks BEGIN DELETE FROM tasks; END");
	ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
	ck_assert_int_eq(db_run(kit.db, &e, "UPDATE tasks SET priority = 1", ""), 0);
	kit.db = db_free(kit.db);
	ck_list("1", "SELECT priority FROM tasks");
}
END_TEST

START_TEST(functions_without_end)
{
	static const struct {
		const char *sql, *found;
	} cases[] = {
		{ "CREATE TABLE t(a CHECK(instr(a, 'x')))", "instr" },
		{ "CREATE TABLE t(a, b AS (REPLACE /* x */ (a, 'x', 'y')))", "replace" },
		{ "CREATE INDEX i ON t(\"trim\" (a, 'x'))", "trim" },
		{ "CREATE INDEX i ON t([ltrim](a))", "ltrim" },
		{ "CREATE INDEX i ON t(`RTrim`--\n(a))", "rtrim" },
		{ "CREATE TABLE t(a CHECK(json_patch(a, a)))", "json_patch" },
		{ "CREATE TABLE t(a CHECK(unhex(a, 'x')))", "unhex" },
		{ "CREATE TABLE t(instructions, a UNIQUE ON CONFLICT REPLACE, replaced(1))",
		  NULL },
		{ "CREATE TABLE t(a DEFAULT 'instr(1)', \"x\" /* trim( */, \"unfinished",
		  NULL },
		{ "CREATE TABLE t(trim)", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *found = db_guard_endless(cases[i].sql);

		ck_assert_msg(cases[i].found ? found && !strcmp(found, cases[i].found) : !found,
			      "%s: %s", cases[i].sql, found ? found : "none");
	}
	kit_board(0);
	kit_sql("CREATE INDEX slow ON tasks(instr(title, zeroblob(30000000)))");
	ck_assert_int_eq(try_open(0), DB_SCHEMA_BAD);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "instr"));
}
END_TEST

START_TEST(a_statement_has_its_time)
{
	static const char endless[] =
		"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"
		" SELECT count(*) FROM r WHERE n < 0";
	uint64_t begun = clock_mono_ms();
	struct error e = ERROR_NULL;
	int64_t n;

	kit_board(0);
	ck_assert_msg(try_open(200) == 0, "%s", kit.e.text);
	ck_assert_int_eq(db_one_int(kit.db, &e, &n, 0, endless, ""), DB_OVERRUN);
	ck_assert_uint_lt(clock_mono_ms() - begun, 5000);
	ck_assert_ptr_nonnull(strstr(e.text, "longer"));
	/* the next one has its own */
	ck_assert_int_eq(db_one_int(kit.db, &e, &n, 0, "SELECT count(*) FROM tasks", ""), 0);
}
END_TEST

START_TEST(a_huge_value_is_not_read)
{
	struct error e = ERROR_NULL;
	struct sqlite3_stmt *stmt;

	kit_board(0);
	kit_task("a", "ready", NULL);
	kit_sql("UPDATE tasks SET body = zeroblob(80000000)");
	ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
	ck_assert_int_eq(db_query(kit.db, &e, &stmt, "SELECT body FROM tasks", ""), 0);
	ck_assert_int_lt(db_step(kit.db, stmt, &e), 0);
}
END_TEST

/* ---- what others do to its files ----------------------------------------------------- */

/* Has this process a lock on @path, as another process sees it? */
static bool locked(const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		int fd = open(path, O_RDWR | O_CLOEXEC);

		_exit(fd < 0 || fcntl(fd, F_GETLK, &l) < 0 ? 2 : l.l_type != F_UNLCK);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 1;
}

/* What was meant for a network connection lies in the header: that is said, with and without a
 * WAL beside it. */
static void tls_record(unsigned flags)
{
	static const char *const shapes[] = { "\x17\x03\x03\x01\x10", "\x16\x03\x01\x02\x00" };

	kit_board(flags);
	kit_task("a", "ready", NULL);
	ck_assert_int_eq(try_open(0), 0);
	db_leave_wal(kit.db, true);
	kit_close();
	for (int at = 5; at >= 0; at -= 5) {
		const char *want =
			at ? "a TLS record begins at byte 5" : "a TLS record begins at byte 0";

		poke(at, shapes[at == 0], 5);
		ck_assert_int_eq(try_open(0), DB_CORRUPT);
		ck_assert_msg(strstr(kit.e.text, want), "%s", kit.e.text);
	}
	poke(0, "nothing known", 13);
	ck_assert_int_eq(try_open(0), DB_CORRUPT);
	ck_assert_ptr_null(strstr(kit.e.text, "TLS"));
}

START_TEST(a_tls_record_in_the_header)
{
	tls_record(0);
}
END_TEST

START_TEST(a_tls_record_in_the_header_beside_a_wal)
{
	tls_record(KIT_WAL);
}
END_TEST

START_TEST(no_lock_is_dropped)
{
	char *link = kit_printf("%s/link.db", kit.dir), *shm = kit_printf("%s-shm", kit.path);
	struct db_probe look;
	struct sqlite3 *db = NULL;
	struct error e = ERROR_NULL;
	const char *const paths[] = { kit.path, link, shm };

	kit_board(KIT_WAL);
	kit_task("a", "ready", NULL);
	ck_assert_int_eq(symlink(kit.path, link), 0);
	ck_assert_int_eq(try_open(0), 0);
	db_leave_wal(kit.db, true);
	ck_assert(locked(kit.path) && locked(shm));
	ck_assert(db_registry_has(link) && db_registry_has(shm));
	for (size_t i = 0; i < 3; i++) {
		int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

		ck_assert_int_ge(fd, 0);
		db_registry_closep(&fd);
		ck_assert_int_eq(fd, -1);
	}
	ck_assert_int_eq(db_probe(link, &look, &e), 0);
	ck_assert_int_eq(db_open_plain(&db, link, DB_OPEN_IMMUTABLE), SQLITE_BUSY);
	db_open_close(&db);
	ck_assert_int_eq(db_open_plain(&db, link, DB_OPEN_READ), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "SELECT * FROM tasks", NULL, NULL, NULL), SQLITE_OK);
	db_open_close(&db);
	ck_assert(locked(kit.path) && locked(shm));
	kit.db = db_free(kit.db);
	ck_assert(!db_registry_has(kit.path)); /* teardown counts the descriptors */
}
END_TEST

START_TEST(a_shm_that_is_cut)
{
	char *shm = kit_printf("%s-shm", kit.path);
	struct error e = ERROR_NULL;
	int64_t n;
	int r = 0;

	kit_board(KIT_WAL);
	kit_task("a", "ready", NULL);
	for (int size = 0; size <= 4096; size += 4096) {
		ck_assert_int_eq(try_open(0), 0);
		db_leave_wal(kit.db, true);
		ck_assert_int_eq(db_run(kit.db, &e, "UPDATE tasks SET priority = 3", ""), 0);
		ck_assert_int_eq(truncate(shm, size), 0);
		for (int i = 0; i < 3 && r == 0; i++)
			r = db_one_int(kit.db, &e, &n, 0, "SELECT priority FROM tasks", "");
		if (size == 0) {
			ck_assert_int_eq(r, DB_TRANSIENT);
			ck_assert(db_is_torn(kit.db));
			ck_assert_int_eq(db_begin(kit.db, &e), DB_TRANSIENT);
		}
		r = 0;
		kit.db = db_free(kit.db);
		/* what was committed is there, with or without it */
		ck_assert_msg(try_open(0) == 0, "%s", kit.e.text);
		ck_assert_int_eq(
			db_one_int(kit.db, &e, &n, 0, "SELECT priority FROM tasks", ""), 0);
		ck_assert_int_eq(n, 3);
		kit.db = db_free(kit.db);
	}
}
END_TEST

/* Any other SIGBUS ends the process as before. */
START_TEST(another_sigbus)
{
	char *path = kit_printf("%s/mapped", kit.dir);
	volatile char *map;
	int fd, status;
	pid_t pid;

	kit_board(KIT_WAL);
	ck_assert_int_eq(try_open(0), 0); /* the handler is in place */
	pid = fork();
	if (pid == 0) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
		_exit(map[0]);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}
END_TEST

KIT_SUITE("db_hostile", a_tls_record_in_the_header, a_tls_record_in_the_header_beside_a_wal,
	  a_super_journal_is_damage, a_journal_without_one_is_played_back,
	  sidecars_that_are_no_files, sidecars_that_are_hard_links, the_file_itself,
	  header_bytes, header_of_a_wal_board, what_is_no_table, views_of_views,
	  triggers_do_not_run, functions_without_end, a_statement_has_its_time,
	  a_huge_value_is_not_read, no_lock_is_dropped, a_shm_that_is_cut, another_sigbus)
