/*
 * Repairing a damaged board so that nothing is lost, or not at all.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "recovery/health.h"
#include "util/error.h"

enum repair_policy {
	REPAIR_LOSSLESS, /* written back only if no row of any table is lost */
	REPAIR_SALVAGE,  /* written back with what could be saved */
	REPAIR_NEVER,    /* nothing is tried */
};

/* Positive outcomes of repair_run() */
enum repair_outcome {
	REPAIR_WOULD_LOSE = 1, /* rows would be lost: nothing was written */
	REPAIR_IMPOSSIBLE,     /* nothing could be saved, or the result is not sound */
	REPAIR_BUSY,           /* another process holds the board, or wrote to it: soon again */
};

#define REPAIR_TABLES 64 /* told one by one; of more, the last stands for all others */
/*
 * Who writes to a board waits for SQLite's lock, two minutes by Hermes's default, then fails.
 * So a rebuild is made without the lock. Only when the board is found changed, it is made once
 * more while the lock is kept; that takes about as long as the first time, and if that was
 * longer than this, it is not done: the board is repaired when it is written to less often.
 */
#define REPAIR_LOCKED_MS 30000

struct repair_table {
	char name[64];
	int64_t saved;  /* rows that the repaired board has */
	int64_t filled; /* of these, from the newest good snapshot */
	int64_t lost;   /* rows known to be missing; -1 = cannot be told */
};

struct repair_report {
	char method[16]; /* "header", "reindex", "rebuild", "check": sound after all, "":
			    nothing */
	struct repair_table tables[REPAIR_TABLES];
	unsigned n_tables;
	unsigned objects_lost; /* tables, indexes, views, triggers that could not be made again
				*/
	bool written;          /* the live file was changed */
	char text[ERROR_TEXT_MAX]; /* one sentence for the log and for kanbanctl */
};

struct repair_options {
	const char *db_path;
	char *evidence;             /* kept already by evidence_keep() */
	struct health_print *print; /* … or NULL; both are in/out: where others have written to
				     * the board meanwhile its bytes are kept anew, as long as
				     * it is locked. NULL: then it is REPAIR_BUSY */
	const struct health_good *good; /* what was known to be good; snapshot path in it */
	enum repair_policy policy;
	int64_t max_bytes;         /* of evidence, as in evidence_keep() */
	bool dry_run;              /* say what would be saved and lost, write nothing */
	const atomic_bool *cancel; /* or NULL */
	/* asked at last before anything is written, or NULL: may this process still do it? */
	bool (*owner)(void *owner_arg, struct error *why);
	void *owner_arg;
	void (*progress)(void *arg, int64_t done, int64_t total); /* bytes; or NULL */
	void *arg;
};

/**
 * repair_run() - try, in this order: nothing where a second look, with the board locked, finds
 * no damage; REINDEX where only indexes are damaged; a rebuild from the evidence copy by our
 * own reader (salvage.h), gaps filled from the newest good snapshot Each result is verified by
 * integrity_check and compared with @good, then written back into the same file through SQLite
 * (repair_write_back()). The caller holds the lease,
 * `<db>.dispatch.lock` and `<db>.init.lock`, and has no connection to the board. Killable at
 * any instant: then the board is as damaged as before or repaired, and the evidence stays.
 * Where another process wrote to the board since @evidence was kept, and @print is NULL or the
 * rebuild takes too long (REPAIR_LOCKED_MS), it is REPAIR_BUSY: keep it anew. Thread: pool.
 * Return: 0 repaired; an outcome (@e and report->text say why); -errno.
 */
MUST_CHECK int repair_run(const struct repair_options *opt, struct repair_report *report,
			  struct error *e);

/**
 * repair_write_back() - replace the content of a live database by that of a sound one, through
 * SQLite, so that other processes' open connections stay valid
 * @live: the board; may be damaged, truncated or have a wrong header; if missing it is made
 * @source: a sound database; not modified
 * @evidence: of evidence_keep(), or NULL: @live and its WAL are compared with it once the
 *            exclusive lock is held, so that a commit that another process made since then is
 *            never overwritten. One that is not there stands for an empty or missing @live
 * One transaction under SQLite's exclusive lock. Page size, auto_vacuum, encoding,
 * user_version, application_id and sqlite_sequence become those of @source; the journal mode
 * stays that of
 * @live where its header can be read, else it is DELETE. What was written is read back and
 * checked, and written once more if it is not sound.
 * Return: 0; REPAIR_BUSY, also when @live has other bytes; -errno.
 */
MUST_CHECK int repair_write_back(const char *live, const char *source, const char *evidence,
				 struct error *e);

/** repair_forget() - remove what a killed repair of @db_path left beside it; under both locks
 */
void repair_forget(const char *db_path);
