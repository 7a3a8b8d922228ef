/*
 * A board and the only door to its database. The loop thread owns an idle board; a submitted
 * board_job owns it until its completion: connection, locks and stamps are touched by exactly
 * one thread at a time, so nothing here is locked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "board/discover.h"
#include "board/news.h"
#include "board/state.h"
#include "board/subs.h"
#include "tick/tick.h"
#include "util/error.h"
#include "util/job.h"

struct db;

struct board {
	struct board_place place; /* copy: where its parts are */
	enum board_state state;
	char reason[ERROR_TEXT_MAX]; /* why it is not healthy, "" otherwise */
	bool busy;                   /* a job has it */
	bool mode_waits;             /* its journal mode is not the one that it is to have */
	struct turns_board turn;     /* its place among those that share the caps */
	/* owned by the job while busy */
	struct db *db;                     /* NULL when closed */
	struct fs_stamp seen_db, seen_wal; /* the bytes that the last tick has seen */
	struct fs_stamp opened;            /* of the file that @db has open */
	int64_t data_version;              /* of the connection, at its last tick */
	struct fs_stamp full_db, full_wal; /* what the last tick that trusts nothing saw */
	bool full_racy;                    /* as seen_racy */
	bool seen_racy;     /* written so recently that an equal stamp proves nothing */
	bool checked;       /* integrity was checked since it was last in trouble */
	int64_t checked_at; /* Unix seconds of the last check */
	int64_t good_seq, good_tasks; /* as last recorded in its health record */
	int64_t seen_seq;             /* highest event sequence seen since it was examined */
	int64_t mode_tried_at; /* Unix seconds of the last try to change its journal mode */
	bool mode_told;        /* that it waits was logged */
	int64_t snapshot_at;   /* Unix seconds of the last snapshot or try; 0 not known yet */
	int64_t snapshot_seq;  /* event sequence in it */
	bool snapshot_told;    /* a failure was logged */
	unsigned ioerrs;       /* visits in a row that ended with an I/O error */
	bool open_ioerr;       /* the last opening did */
	bool open_busy;        /* the last opening ended with another's lock */
	uint64_t vanished_ms; /* monotonic; since when its file has been away, 0: it is there */
	uint64_t init_wait_ms; /* clock_mono_ms() until which its init.lock is waited for; 0 */
	bool slow;             /* the last visit took long */
	bool waits;            /* the last visit ended with BOARD_LOCKED */
	int own_fd;            /* holds its .dispatcher.lock; < 0: not, or there can be none */
	int64_t checkpointed_at; /* Unix seconds of the last checkpoint */
};

/* What a job came to. */
enum board_outcome {
	BOARD_DONE,      /* everything asked for was done */
	BOARD_UNCHANGED, /* only_if_changed, and nothing had changed */
	BOARD_LOCKED,    /* another process has one of its locks; job->error says which */
	BOARD_FAILED,    /* job->error says why; board->state says what it is now */
	BOARD_LEASE_LOST,
};

/* One visit to a board: ended, record, tick, subscriptions, checkpoint, close, in this order.
 */
struct board_job {
	struct job job;
	struct board *board; /* borrowed; stays while busy */
	/* what to do; arrays are owned by the submitter and must live until done */
	struct tick_request rq;
	const struct plan_victim *ended;
	size_t n_ended;
	const struct tick_launched *record;
	size_t n_record;
	bool only_if_changed;      /* a wake-up: skip the tick when the echo was our own */
	bool not_in_between;       /* and not while a rollback journal is there */
	bool checkpoint;           /* a WAL board's checkpoint, if due or @close */
	bool close;                /* close the connection at the end */
	bool last;                 /* and for good: leave no -wal behind */
	int64_t epoch;             /* of the lease: one try each for a board in trouble */
	bool dry_run;              /* never wait for locks of others */
	struct subs_request *subs; /* or NULL; borrowed */
	bool subs_must;            /* @subs also when nothing changed */
	bool wants_news;           /* rows of task_events behind @news_after */
	int64_t news_after;        /* < 0: begin now */
	int64_t news_since;        /* … with rows of that second, Unix seconds */
	/* what came of it */
	enum board_outcome outcome;
	bool ended_booked, recorded; /* those transactions are committed, whatever came later */
	bool pending;  /* UNCHANGED or DONE: somebody writes, or wrote, what it has not seen */
	bool read_all; /* the heap holds more than the next visit will need */
	struct plan plan;
	struct subs_result subs_result;
	bool subs_begun; /* it came to @subs */
	bool mode_waits; /* for @board */
	struct news news;
	bool news_read;          /* @news says what there is */
	char *snapshot;          /* path of one that was taken, malloc'd, or NULL */
	struct error subs_error; /* why @subs failed: not the board's trouble, unless it is
				  * damaged */
	struct error error;
	enum board_state state; /* what the board is now */
};

/** board_init() - @place is taken over */
void board_init(struct board *board, struct board_place *place);

/** board_close() - close the connection; the caller has the board. Blocks. */
void board_close(struct board *board);

/** board_forget() - nothing that was seen holds any more: examine it at the next visit.
 * The board is idle; its state stays what it is until then. */
void board_forget(struct board *board);

/** board_deinit() - close and free; the board is idle. Blocks: closes the database. */
void board_deinit(struct board *board);

/**
 * board_submit() - start a visit; the board is busy until @done
 * Return: 0 or -errno, then the board stays idle.
 */
MUST_CHECK int board_submit(struct jobs *jobs, struct board_job *bj, job_fn done);

/** board_publish() - loop side, first thing in @done: publish what the job found
 * @changed: out: the state or the reason is not what it was */
void board_publish(struct board_job *bj, bool *changed);

/** board_job_run() - the visit itself, on the calling thread; what board_submit() runs */
void board_job_run(struct board_job *bj);

/** board_changed() - do fresh stamps differ from what the last tick has seen */
bool board_changed(const struct board *board, const struct board_place *now);

/** board_swept() - are they those that the last tick that trusts nothing has seen */
bool board_swept(const struct board *board, const struct board_place *now);
