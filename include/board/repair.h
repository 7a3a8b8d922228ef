/*
 * Repairing a damaged board so that nothing is lost, or not at all.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "board/health.h"
#include "util/error.h"

enum repair_policy { REPAIR_LOSSLESS, REPAIR_SALVAGE, REPAIR_NEVER };

/* Positive outcomes of repair_run() */
enum repair_outcome {
	REPAIR_WOULD_LOSE =
		1,         /* rows of tasks, links or runs would be lost: nothing was written */
	REPAIR_IMPOSSIBLE, /* nothing could be saved, or the result is not sound */
	REPAIR_BUSY,       /* another process holds the board: later */
};

#define REPAIR_TABLES 16

struct repair_table {
	char name[64];
	int64_t saved;  /* rows that the repaired board has */
	int64_t filled; /* of these, from the newest good snapshot */
	int64_t lost;   /* rows known to be missing; -1 = cannot be told */
};

struct repair_report {
	char method[16]; /* "reindex", "rebuild", "" nothing done */
	struct repair_table tables[REPAIR_TABLES];
	unsigned n_tables;
	bool written;              /* the live file was changed */
	char text[ERROR_TEXT_MAX]; /* one sentence for the log and for kanbanctl */
};

struct repair_options {
	const char *db_path;
	const char *evidence;           /* kept already by evidence_keep() */
	const struct health_good *good; /* what was known to be good; snapshot path in it */
	enum repair_policy policy;
	bool dry_run;              /* say what would be saved and lost, write nothing */
	const atomic_bool *cancel; /* or NULL */
	void (*progress)(void *arg, int64_t done, int64_t total); /* bytes; or NULL */
	void *arg;
};

/**
 * repair_run() - try, in this order: REINDEX where only indexes are damaged; a rebuild from the
 * evidence copy by our own reader (salvage.h), gaps filled from the newest good snapshot
 * Each result is verified by integrity_check and compared with @good, then written back into
 * the same file through SQLite (repair_write_back()). The caller holds the lease,
 * `<db>.dispatch.lock` and `<db>.init.lock`, and has no connection to the board. Killable at
 * any instant: then the board is as damaged as before or repaired, and the evidence stays.
 * Thread: pool.  Return: 0 repaired; an outcome (@e and report->text say why); -errno.
 */
MUST_CHECK int repair_run(const struct repair_options *opt, struct repair_report *report,
			  struct error *e);

/**
 * repair_write_back() - replace the content of a live database by that of a sound one, through
 * SQLite, so that other processes' open connections stay valid
 * @live: the board; may be damaged, truncated or have a wrong header; if missing it is made
 * @source: a sound database; not modified
 * Journal mode, page size, auto_vacuum, user_version and sqlite_sequence become those of
 * @source, except the journal mode, which stays that of @live where its header could be read,
 * else DELETE. (SQLITE_DBCONFIG_RESET_DATABASE and VACUUM, then the online backup API.) Return:
 * 0; REPAIR_BUSY; -errno.
 */
MUST_CHECK int repair_write_back(const char *live, const char *source, struct error *e);
