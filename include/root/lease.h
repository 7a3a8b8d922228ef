/*
 * The lease: exactly one owner per kanban root, by flock(2) on
 * `<root>/kanban/.dispatcher.lock`, the same file that Hermes gateways lock (CONTRACT §2). The
 * kernel gives it back however the owner ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "util/error.h"

/* Positive outcomes */
enum lease_outcome {
	LEASE_HELD = 1, /* another process has it */
	LEASE_LOST,     /* the lock file was removed or replaced: we own nothing any more */
};

struct lease;

/* What the owner file `<root>/kanban/.dispatcher.owner.json` says. */
struct lease_owner {
	int64_t epoch;    /* generation counter: one more at each acquisition */
	int64_t pid;      /* of the owner */
	char host[256];   /* gethostname() of the owner */
	char boot_id[40]; /* /proc/sys/kernel/random/boot_id */
	char unit[256];   /* systemd unit, "" if none */
	char version[32]; /* of kanband */
	char socket[256]; /* control socket, "" if none */
	int64_t since;    /* Unix seconds of the acquisition */
};

#define LEASE_HISTORY_MAX 30

/* One who owned it, from its acquisition to its end. */
struct lease_term {
	int64_t epoch, pid;
	int64_t since, until; /* Unix seconds; until 0: not known, or it goes on */
	char host[256], unit[256];
	char version[32]; /* of kanband */
	char why[96];     /* it ended: a sentence; "" it goes on */
};

/* Who we are, for the owner file. Borrowed until lease_close(). */
struct lease_identity {
	const char *host;
	const char *unit;   /* or NULL */
	const char *socket; /* or NULL */
};

/* News for the root, on the loop thread. */
struct lease_events {
	void (*acquired)(void *arg, int64_t epoch); /* we own it; the owner file is written */
	void (*standby)(void *arg,
			const char *holder);      /* held elsewhere; @holder is a sentence part
						   * such as "pid 12 (kanband.service on h)" or
						   * "pid 12, which is not a kanband" */
	void (*lost)(void *arg, const char *why); /* we owned it and do no more */
	void (*failed)(void *arg,
		       const struct error *e); /* cannot be tried (no folder, no right …);
						* tried again every 5 s, told on change */
};

/**
 * lease_try() - take the lease once, without a loop: --once
 * @root: kanban root; `<root>/kanban` is made if missing, the root itself is not
 * @lease: out; owned by the caller, released by lease_free()
 * @epoch: out
 * Return: 0; LEASE_HELD (@e names the holder); -errno.
 */
MUST_CHECK int lease_try(struct lease **lease, const char *root,
			 const struct lease_identity *who, int64_t *epoch, struct error *e);

/** lease_free() - release a lease of lease_try(); takes NULL, returns NULL */
struct lease *lease_free(struct lease *lease);
DEFINE_FREEP(struct lease, lease_free)

/**
 * lease_open() - compete for the lease from now on: at once if it is free, else standby with a
 * thread blocked in flock(2), which costs no wake-ups and owns within milliseconds of the end
 * of the holder. After lease_lost() it competes again by itself.
 * @events, @arg: called on @loop's thread, never from inside lease_open()
 * Return: 0 or -errno.
 */
MUST_CHECK int lease_open(struct lease **lease, uv_loop_t *loop, const char *root,
			  const struct lease_identity *who, const struct lease_events *events,
			  void *arg);

/**
 * lease_close() - release, end the waiter, free the lease, then call @done once, from the loop
 * No job may use the lease any more. May be called from within an event.
 */
void lease_close(struct lease *lease, void (*done)(void *arg), void *arg);

/**
 * lease_check() - does the path still name the inode that we hold
 * Thread: any, until lease_close() or lease_free(): one stat call, nothing shared is written.
 * Return: 0; LEASE_LOST (@e says how), also when not owner and when the path cannot be seen.
 */
MUST_CHECK int lease_check(const struct lease *lease, struct error *e);

/**
 * lease_step_down() - the loop side of LEASE_LOST: give up the orphaned lock, call lost(), and
 * compete for the new file. Does nothing when not owner, nor when the path names our lock file
 * after all: a late report of a loss that is over does not cost the new lease.
 */
void lease_step_down(struct lease *lease, const char *why);

/**
 * lease_claimants() - claim locks ("host:pid") that earlier kanbands of this root used and that
 * may have been cut off between claim and spawn; kept in the owner file so that a chain of
 * kills loses none. Owner only; borrowed from the lease.
 * @count: out
 */
const char *const *lease_claimants(const struct lease *lease, size_t *count);

/**
 * lease_claimants_settled() - all boards were adopted: forget them (rewrites the owner file)
 * @epoch: in which they were: another one has other claimants
 * Thread: any but the loop's.  Blocks: two fsyncs.
 * Return: 0; LEASE_LOST; -errno. In both cases they stay for the next owner to settle.
 */
MUST_CHECK int lease_claimants_settled(struct lease *lease, int64_t epoch, struct error *e);

/**
 * lease_read_owner() - read the owner file, for kanbanctl and messages
 * Return: 0; -ENOENT; -EBADMSG if it is not what we write; other -errno.
 */
MUST_CHECK int lease_read_owner(const char *root, struct lease_owner *owner);

/**
 * lease_leave() - write into the owner file why this term ends, right before it is given back
 * Thread: any but the loop's.  Return: 0; LEASE_LOST; -errno: then the history lacks the
 * reason.
 */
MUST_CHECK int lease_leave(struct lease *lease, const char *why);

/**
 * lease_read_history() - who owned the root, the newest first: the one that owns it now or did
 * last, and up to LEASE_HISTORY_MAX before it
 * @terms: out, malloc'd.  Return: as lease_read_owner().
 */
MUST_CHECK int lease_read_history(const char *root, struct lease_term **terms, size_t *n);

/**
 * lease_awaited() - is somebody blocked waiting for the lease, as a standby is; nothing is made
 * Seen in /proc/locks: a waiter in a pid namespace outside of ours is not seen.
 * @pid: out, may be NULL: one that waits. Return: 1; 0 nobody; -errno.
 */
MUST_CHECK int lease_awaited(const char *root, pid_t *pid);

/**
 * lease_is_held() - is `.dispatcher.lock` held by anybody; nothing is made or written
 * @pid: out, may be NULL: the holder; 0 if free, or held by somebody whose pid is not seen
 * Seen in /proc/locks, without taking the lock and without privileges. Inside a pid namespace,
 * where a holder outside has no line there, a shared lock is tried, which needs the right to
 * read the file. A holder on another host is not seen.
 * Return: 1 held; 0 free; -ENOENT no such root; other -errno.
 */
MUST_CHECK int lease_is_held(const char *root, pid_t *pid);

/**
 * lease_holder_find() - the pid that holds an exclusive flock on this inode, from /proc/locks
 * Return: 1 found (@pid is set, 0 unknown), 0 none, -errno.
 */
MUST_CHECK int lease_holder_find(dev_t dev, ino_t ino, pid_t *pid);
