/* What files of this module share among themselves, the lease first; only a test includes it
 * from outside. */
#pragma once

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "root/lease.h"
#include "util/log.h"

#define LEASE_CLAIMANTS_MAX 512 /* killed in a row before one settled; so many fit the file */
#define LEASE_HOLDER_MAX    640
#define LEASE_EPOCH_MAX     (INT64_MAX / 2) /* more is not an epoch that we wrote */

/* The names of the files of one root; all malloc'd. */
struct lease_paths {
	char *root;
	char *folder; /* <root>/kanban */
	char *lock;   /* <root>/kanban/.dispatcher.lock */
	char *owner;  /* <root>/kanban/.dispatcher.owner.json */
};

/* Claim locks of earlier owners, newest first: an owned, NULL-free list. */
struct lease_claimants {
	char *lock[LEASE_CLAIMANTS_MAX];
	size_t count;
};

/* A lock that we hold, or are about to hold. */
struct lease_hold {
	int fd; /* of the lock file; -1 = none */
	dev_t dev;
	ino_t ino;
	struct lease_owner owner; /* what the owner file says of us; epoch 0 = not owner */
	struct lease_claimants claimants;
};

#define LEASE_HOLD_NULL                                                                        \
	{                                                                                      \
		.fd = -1                                                                       \
	}

enum lease_state {
	LEASE_STATE_COMPETING, /* the waiter runs and has said nothing yet */
	LEASE_STATE_STANDBY,   /* the waiter is blocked: somebody else holds the lock */
	LEASE_STATE_OWNER,     /* the lock is ours, no waiter */
	LEASE_STATE_FAILED,    /* it cannot be tried; the timer tries again */
	LEASE_STATE_CLOSING,
	LEASE_STATE_COUNT,
};

/* What the waiter tells the loop; guarded by lease.mutex. */
struct lease_news {
	bool standby;                  /* holder, pidfd and unsure are new */
	char holder[LEASE_HOLDER_MAX]; /* sentence part */
	int pidfd;                     /* of the holder, owned; -1 = none */
	bool unsure;   /* it looks like a kanband that has not yet said who it is */
	bool finished; /* the last thing that the thread says */
	int result;    /* 0 owner; -ECANCELED; other -errno, then error says it */
	struct error error;
};

/* Who owned it before, and how the last term ended. Large: on the heap. */
struct lease_past {
	struct lease_term terms[LEASE_HISTORY_MAX]; /* newest first */
	size_t n;
	int64_t ended_at;   /* of who the owner file names; 0 and "": nothing is said */
	char ended_why[96]; /* … */
};

struct lease_watch;

struct lease {
	struct lease_paths paths; /* constant while open */
	struct lease_owner self;  /* constant while open: what we write, less epoch and since */

	pthread_mutex_t mutex;       /* guards hold and news; held for a copy, never for I/O */
	pthread_mutex_t owner_mutex; /* one writer of the owner file in this process; held
				      * over I/O, therefore never taken by the loop */
	struct lease_hold hold;      /* written by the loop (lease_try: its caller) */
	struct lease_news news;      /* waiter → loop */
	atomic_bool settled;         /* claimants were dealt with */
	int64_t last_epoch;          /* newest epoch of ours; loop, read by the waiter */

	/* the rest only of lease_open(), loop thread */
	uv_loop_t *loop;            /* borrowed; NULL after lease_try() */
	struct lease_events events; /* copied */
	void *arg;                  /* borrowed */
	enum lease_state state;
	uv_async_t async;          /* the waiter has news */
	uv_timer_t timer;          /* FAILED: next try; STANDBY: name again; CLOSING: kick */
	struct lease_watch *watch; /* on the holder's end, or NULL */
	uint64_t retry_ms;         /* FAILED → COMPETING; the tests shorten it */
	unsigned handles;          /* uv handles not yet closed */
	unsigned unsure_left;      /* more tries at naming the holder */
	bool renaming;             /* the waiter was asked to name the holder again */
	char told_holder[LEASE_HOLDER_MAX];
	struct error told_error;
	void (*close_done)(void *arg);
	void *close_arg;

	pthread_t thread; /* the waiter */
	bool thread_runs;
	struct lease_hold next; /* the waiter's until it has finished, then the loop's */
	atomic_bool stop;       /* loop → waiter: end */
	atomic_bool name_again; /* loop → waiter: cleared by it */
};

/* lease_lock.c: the lock file */

/** lease_paths_init() - 0 or -ENOMEM; lease_paths_deinit() releases also after a failure */
MUST_CHECK int lease_paths_init(struct lease_paths *paths, const char *root);
void lease_paths_deinit(struct lease_paths *paths);

void lease_claimants_clear(struct lease_claimants *claimants);

/** lease_hold_clear() - close the lock file (which gives the lock back) and forget everything
 */
void lease_hold_clear(struct lease_hold *hold);

/**
 * lease_lock_open() - open the lock file, making it and its folder if missing, without locking
 * @hold: out, empty before
 * Return: 0 or -errno with a sentence for the operator.
 */
MUST_CHECK int lease_lock_open(const struct lease_paths *paths, struct lease_hold *hold,
			       struct error *e);

/**
 * lease_lock_is() - does the path name this inode
 * Return: 0 or LEASE_LOST with the reason.
 */
MUST_CHECK int lease_lock_is(const struct lease_paths *paths, dev_t dev, ino_t ino,
			     struct error *e);

/** lease_check_copy() - lease_check(), and what the owner file says of exactly that hold */
MUST_CHECK int lease_check_copy(const struct lease *lease, struct lease_owner *owner,
				struct error *e);

/** lease_lock_epoch() - the epoch noted in the lock file, 0 if there is none */
int64_t lease_lock_epoch(int fd);

/** lease_lock_note() - note the epoch in the lock file: a hint, so failure is no failure */
void lease_lock_note(int fd, int64_t epoch);

/* lease_owner.c: the owner file */

/** lease_self_init() - the constant part of what we write about ourselves */
void lease_self_init(struct lease_owner *self, const struct lease_identity *who);

/** lease_owner_load() - lease_read_owner() with the claimants and the past; both may be NULL */
MUST_CHECK int lease_owner_load(const char *path, struct lease_owner *owner,
				struct lease_claimants *claimants, struct lease_past *past);

/** lease_owner_save() - write the owner file
 * @durable: blocks for two fsyncs.  Return: 0 or -errno. */
MUST_CHECK int lease_owner_save(const char *path, const struct lease_owner *owner,
				const struct lease_claimants *claimants,
				const struct lease_past *past, bool durable);

/**
 * lease_take() - what follows the flock: is it still the right file, which epoch is it, write
 * the owner file
 * Return: 0; LEASE_LOST: the file was removed or replaced meanwhile, try the new one; -errno.
 * In both cases @hold is cleared.
 */
MUST_CHECK int lease_take(struct lease *lease, struct lease_hold *hold, struct error *e);

/* lease_history.c: who owned it before */

struct json_t;

/** lease_history_load() - what an owner file says of the past; what does not read is left out
 */
void lease_history_load(const struct json_t *owner, struct lease_past *past);

/** lease_history_put() - into an owner file; @past NULL: none. 0 or -ENOMEM. */
MUST_CHECK int lease_history_put(struct json_t *owner, const struct lease_past *past);

/** lease_history_term() - the term of @owner, which goes on */
struct lease_term lease_history_term(const struct lease_owner *owner);

/** lease_history_push() - the term of @last is over, and @self begins the next */
void lease_history_push(struct lease_past *past, const struct lease_owner *last,
			const struct lease_owner *self);

/* lease_holder.c: who holds it */

struct lease_holder {
	pid_t pid;   /* 0 = unknown */
	bool unsure; /* it runs our program and has not written the owner file yet */
	char text[LEASE_HOLDER_MAX];
};

/** lease_holder_name() - say who holds the lock of @hold. Reads /proc and the owner file. */
void lease_holder_name(const struct lease *lease, const struct lease_hold *hold,
		       struct lease_holder *holder);

/* lease_wait.c: the waiter thread */

/** lease_wait_start() - start it. Return: 0 or -errno. Thread: loop. */
MUST_CHECK int lease_wait_start(struct lease *lease);

/** lease_wait_kick() - interrupt its flock(2); may come too early, so repeat it */
void lease_wait_kick(struct lease *lease);

/* lease_try.c: what both kinds of lease share */

/** lease_base_init() - the part that lease_try() and lease_open() share; 0 or -errno */
MUST_CHECK int lease_base_init(struct lease *lease, const char *root,
			       const struct lease_identity *who);
void lease_base_deinit(struct lease *lease);

/** lease_adopt() - @hold becomes what we own and is empty afterwards */
void lease_adopt(struct lease *lease, struct lease_hold *hold);

/** lease_release() - own nothing any more */
void lease_release(struct lease *lease);

struct root;

/* root_about.c */

/** root_about() - the fields of a log line about the root */
struct log_about root_about(const struct root *root, const char *id);

/* root_scan.c: the set of boards */

/** root_scan() - look which boards there are, now or right after the scan that runs */
void root_scan(struct root *root);

/** root_drop_gone() - let go of the boards that the last scan did not see and that are idle
 * Return: are there any. */
bool root_drop_gone(struct root *root);
