/*
 * The durable health record of a board, `<db>.health.json`: what is wrong, since when, what was
 * tried, when the next try is due, and what was known to be good. Written atomically; read also
 * by kanbanctl when no daemon runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/digest.h"
#include "util/error.h"

struct db;

enum health_state {
	HEALTH_HEALTHY,
	HEALTH_SUSPECT,     /* being examined */
	HEALTH_REPAIRING,   /* a repair was begun and has not ended: it is simply repeated */
	HEALTH_QUARANTINED, /* damaged, left alone */
	HEALTH_LOST,        /* sound, but it went back in time */
	HEALTH_SCHEMA,      /* a table or column that must be there is not */
};

#define HEALTH_HASH_MAX (DIGEST_HEX + 1)
#define HEALTH_PATH_MAX 4096

/* Which bytes a verdict is about. */
struct health_print {
	int64_t size;                 /* bytes of the database file, -1 = no file */
	int64_t mtime_ns;             /* its last write */
	int64_t ctime_ns, inode;      /* a good copy may bring size, mtime and counter along */
	int64_t change_counter;       /* header bytes 24..27, -1 unreadable */
	char sha256[HEALTH_HASH_MAX]; /* of the database file alone; "" not taken */
};

/* What was known to be good. event_seq 0: nothing is known. */
struct health_good {
	int64_t event_seq;                  /* sqlite_sequence of task_events */
	int64_t tasks, links, runs, events; /* rows */
	int64_t at;                         /* Unix seconds */
	char snapshot[HEALTH_PATH_MAX];     /* newest good snapshot, "" if none */
};

struct health {
	enum health_state state;
	char kind[32];               /* "corrupt", "schema", "lost", "" */
	char reason[ERROR_TEXT_MAX]; /* one sentence */
	struct health_print print;
	char evidence[HEALTH_PATH_MAX]; /* path of the evidence file, "" if none */
	int64_t first_seen, last_seen;  /* Unix seconds of this trouble */
	int64_t attempts;               /* examinations or repairs of it */
	int64_t retry_at;               /* Unix seconds of the next try */
	int64_t last_epoch;             /* in which the last try was made */
	int64_t begun;                  /* repairs in a row that did not come to an end */
	struct health_good good;
};

/**
 * health_read() - read the record of @db_path
 * Return: 0, also with a zeroed (healthy, nothing known) record when there is none or it is not
 * what we write (a damaged record must not stop a sound board); -errno when it cannot be read.
 */
MUST_CHECK int health_read(const char *db_path, struct health *health);

/** health_write() - replace the record durably. Blocks: two fsyncs. Return: 0 or -errno. */
MUST_CHECK int health_write(const char *db_path, const struct health *health);

/** health_state_name() - "healthy", "suspect", "repairing", "quarantined", "lost", "schema" */
const char *health_state_name(enum health_state state);

/**
 * health_print_take() - fingerprint the file; this process has no connection to it
 * @hash: also read it all for its SHA-256
 * Return: 0 (size -1 when there is no file) or -errno.
 */
MUST_CHECK int health_print_take(const char *db_path, bool hash, struct health_print *print);

/** health_print_fd() - the same of a file that is open and stays so. 0 or -errno. */
MUST_CHECK int health_print_fd(int fd, bool hash, struct health_print *print);

/** health_print_stat() - as health_print_take() without opening the file: change_counter is -1.
 * Return: 0 or -errno. */
MUST_CHECK int health_print_stat(const char *db_path, struct health_print *print);

/**
 * health_hash_set() - SHA-256 over the database, "-wal", the WAL, "-journal" and the journal,
 * one after the other
 * @fd:      of the database; stays open
 * @journal: false: as if there was no journal
 * Return: 0 or -errno.
 */
MUST_CHECK int health_hash_set(const char *db_path, int fd, bool journal,
			       char hex[HEALTH_HASH_MAX]);

/**
 * health_standing() - the state that the record gives the bytes that are there now
 * For whoever wants to open a board and is not about to examine it. No file of the board but
 * the record is opened.
 * @why: filled unless it is HEALTH_HEALTHY: the recorded reason
 * Return: HEALTH_HEALTHY also when there is no record or it is about other bytes.
 */
enum health_state health_standing(const char *db_path, struct error *why);

/** health_due() - may a board in trouble be tried again: its bytes changed, a new epoch began,
 * or its back-off ended. @now: Unix seconds; @print: taken without hash, or of
 * health_print_stat() */
bool health_due(const struct health *health, const struct health_print *print, int64_t epoch,
		int64_t now);

/** health_failed() - book a try that failed: attempts, last_seen, retry_at (5 min doubling to 6
 * h), last_epoch; first_seen when it is a new trouble */
void health_failed(struct health *health, enum health_state state, const char *kind,
		   const char *reason, int64_t epoch, int64_t now);

/** health_count() - what is in an open, sound board, for health->good */
MUST_CHECK int health_count(struct db *db, int64_t now, struct health_good *good,
			    struct error *e);

/** health_sequence() - event_seq of health_count() alone */
MUST_CHECK int health_sequence(struct db *db, int64_t *event_seq, struct error *e);

/**
 * health_went_back() - does what is there contradict what was known to be good: event sequence
 * below the recorded one, or no task where there were some and what belongs to tasks is there
 * still
 * @found: of health_count(), or zeroed for a missing or empty file
 * @e: filled when it does: both numbers, and since when
 */
bool health_went_back(const struct health_good *good, const struct health_good *found,
		      struct error *e);
