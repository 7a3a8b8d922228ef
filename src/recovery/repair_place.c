/*
 * What can be put right where it stands, without writing a page anew: the first 24 bytes of the
 * file, which are the same in every database but for the page size, the reserved bytes and the
 * journal mode (https://sqlite.org/fileformat.html, §1.3), and a journal that names a
 * super-journal.
 *
 * It is tried on a copy of the evidence. Only if that copy is sound then, with all that was
 * known to be good, the same bytes of the live file are changed, under SQLite's own locks and
 * only if the file is still what was kept. Nothing is lost by that, whatever else is in the
 * file.
 *
 * The super-journal itself is left alone: as SQLite would, a journal whose super-journal is
 * gone is taken for one that is over, and any other is played back.
 *
 * Failure modes: anything that does not fit is no failure; the rebuild is next. A kill between
 * the two changes leaves what was kept, or one of them done, and the next repair does the
 * other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db_file.h"
#include "db/db_probe.h"
#include "db/db_registry.h"
#include "recovery.h"
#include "recovery/evidence.h"
#include "salvage/page.h"
#include "util/clock.h"
#include "util/fs.h"

#define PLACE_HEAD 24

struct place {
	unsigned char head[PLACE_HEAD];
	bool set_head;
	bool journal;        /* it names a super-journal */
	bool journal_over;   /* … which is gone */
	uint64_t journal_at; /* where the name begins */
};

/* Byte 18 and 19: the one that can be right, and where none can, whether there is a WAL. */
static unsigned char place_version(const unsigned char *head, bool wal)
{
	for (int i = 19; i >= 18; i--)
		if (head[i] == 1 || head[i] == 2)
			return head[i];
	return wal ? 2 : 1;
}

static bool place_is_there(const char *db, enum db_part part)
{
	return db_file_stamp(db, part).ino != 0;
}

/* What the header should be. */
static int place_header(struct place *p, const char *evidence, struct error *e)
{
	CLEANUP(db_registry_closep) int fd = open(evidence, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	unsigned char is[PLACE_HEAD] = { 0 };
	struct page_file f = PAGE_FILE_NULL;
	unsigned char version;
	bool magic;
	int r;

	if (fd < 0 || pread(fd, is, sizeof(is), 0) < 0)
		return -errno;
	r = page_file_open(&f, evidence, true, e);
	if (r != 0) {
		page_file_close(&f);
		return r < 0 ? r : 0; /* no page of a database in it */
	}
	magic = memcmp(is, "SQLite format 3", 16) == 0;
	version = place_version(is, place_is_there(evidence, DB_WAL));
	if (!magic && place_is_there(evidence, DB_WAL))
		version = 2; /* the rest of a lost header may be anything */
	memcpy(p->head, "SQLite format 3", 16);
	p->head[16] = (unsigned char)(f.page_size >> 8);
	p->head[17] = (unsigned char)(f.page_size >> 16); /* 65536 is written as 1 */
	p->head[18] = p->head[19] = version;
	p->head[20] = (unsigned char)(f.page_size - f.usable);
	p->head[21] = 64;
	p->head[22] = p->head[23] = 32;
	/* one that can be right may be that of pages of another size */
	p->set_head = memcmp(p->head, is, PLACE_HEAD) != 0;
	page_file_close(&f);
	return 0;
}

static int place_journal(struct place *p, const char *evidence)
{
	CLEANUP(freep) char *path = db_file_path(evidence, DB_JOURNAL);
	CLEANUP(freep) char *name = NULL;
	CLEANUP(fs_closep) int fd = -1;
	struct stat st;
	int r;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = db_probe_super(fd, &name, &p->journal_at);
	if (r < 0)
		return r;
	p->journal = r == 1;
	p->journal_over = p->journal && lstat(name, &st) < 0 && errno == ENOENT;
	return 0;
}

static int place_set_journal(const struct place *p, const char *db)
{
	CLEANUP(freep) char *path = db_file_path(db, DB_JOURNAL);
	CLEANUP(fs_closep) int fd = -1;

	if (!path)
		return -ENOMEM;
	if (p->journal_over)
		return unlink(path) < 0 && errno != ENOENT ? -errno : fs_sync_parent(path);
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	if (fd < 0 || ftruncate(fd, (off_t)p->journal_at) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

/* @fd: of the database at @db */
static int place_set(const struct place *p, const char *db, int fd)
{
	if (p->set_head && (pwrite(fd, p->head, PLACE_HEAD, 0) != PLACE_HEAD || fsync(fd) < 0))
		return errno ? -errno : -EIO;
	return p->journal ? place_set_journal(p, db) : 0;
}

/* Is the copy sound with that, but perhaps for its indexes? */
static bool place_try(const struct place *p, const char *evidence, const char *copy,
		      int64_t max, struct error *e)
{
	CLEANUP(db_registry_closep) int fd = -1;
	enum reindex_verdict found = REINDEX_OTHER;

	if (evidence_copy(evidence, copy, max) < 0)
		return false;
	fd = open(copy, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	if (fd < 0 || place_set(p, copy, fd) < 0)
		return false;
	db_registry_closep(&fd); /* before SQLite has a lock on it */
	return repair_reindex(copy, true, &found, e) == 0 && found != REINDEX_OTHER;
}

static int place_live(const struct place *p, const struct repair_options *opt, struct error *e)
{
	CLEANUP(evidence_of_deinit) struct evidence_of of = EVIDENCE_OF_NULL;
	int r;

	of.path = opt->db_path;
	of.real = db_file_real(opt->db_path);
	of.fd = of.real ? open(of.real, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	if (of.fd < 0)
		return error_errno(e, -errno, "cannot write %s", opt->db_path);
	evidence_lock_exclusive(&of, clock_mono_ms() + REPAIR_WAIT_MS);
	if (!of.locked)
		return error_set(e, REPAIR_BUSY, "another process has the board open");
	r = evidence_same_set(&of, opt->evidence, false);
	if (r == 0)
		return error_set(
			e, REPAIR_BUSY,
			"another process wrote to the board since its bytes were kept");
	if (r == 1 && opt->owner && !opt->owner(opt->owner_arg, e))
		return error_set(e, -ECANCELED, "%s", e->text);
	r = r == 1 ? place_set(p, of.real, of.fd) : r;
	return r < 0 ? error_errno(e, r, "cannot write %s", opt->db_path) : 0;
}

int repair_place(const struct repair_options *opt, const char *copy, bool *done,
		 struct error *e)
{
	struct place p = { 0 };
	struct error why = ERROR_NULL;
	bool ok;
	int r;

	*done = false;
	r = place_header(&p, opt->evidence, &why);
	if (r == 0)
		r = place_journal(&p, opt->evidence);
	if (r < 0 || (!p.set_head && !p.journal))
		return r == -ENOMEM ? error_set(e, r, "out of memory") : 0;
	db_file_remove(copy);
	ok = place_try(&p, opt->evidence, copy, opt->max_bytes, &why) &&
	     (!opt->good || repair_verify_holds(copy, opt->good));
	db_file_remove(copy);
	if (!ok)
		return 0;
	r = opt->dry_run ? 0 : place_live(&p, opt, e);
	*done = r == 0;
	return r;
}

int repair_place_journal(const struct repair_options *opt, struct error *e)
{
	struct place p = { 0 };
	int r = place_journal(&p, opt->evidence);

	if (r < 0)
		return error_errno(e, r, "cannot read the journal of %s", opt->evidence);
	return p.journal ? place_live(&p, opt, e) : 0;
}
