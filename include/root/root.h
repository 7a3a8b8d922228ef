/*
 * One kanban root: its lease, the set of its boards, and when they are swept.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "board/discover.h"
#include "launch/launch.h"
#include "launch/terminate.h"
#include "root/lease.h"
#include "root/stats.h"
#include "tick/caps.h"
#include "tick/tick.h"
#include "util/job.h"
#include "util/settings.h"

struct root;
struct dispatch;
struct observer;
struct worker;

/* What all roots of a process share. Filled by the daemon; read-only for jobs but the caps. */
struct root_env {
	uv_loop_t *loop;
	struct jobs *jobs;
	struct caps *caps;
	const char *host;        /* gethostname() */
	const char *claim_lock;  /* "host:pid" */
	const char *hermes_home; /* HERMES_HOME that we were started with, or NULL */
	struct lease_identity who;
	unsigned open_boards;  /* connections that are open now */
	unsigned open_max;     /* and how many may stay open */
	unsigned uncounted;    /* roots and boards whose running tasks are not known yet:
				* nothing is claimed before */
	unsigned asked;        /* boards that have not said yet what they would start, of
				* places.c: no place is given before */
	unsigned slow_running; /* launches that may take long, on the pool now */
	struct launch_batch *slow_waiting; /* those that wait for a thread of the pool */
	bool once, dry_run;
	const char *only; /* --board: this slug alone, or NULL */
	/* --dry-run: point a place at a copy of its database, in the scan job; NULL otherwise
	 */
	int (*redirect)(void *arg, const char *root, struct board_place *place,
			struct error *e);
	void *redirect_arg;
	/* settings of a board (slug NULL: of the root) */
	void (*settings)(void *arg, const char *root, const char *slug, struct settings *out);
	/* … for a worker of @profile; NULL: as for its board */
	void (*worker_settings)(void *arg, const char *root, const char *slug,
				const char *profile, struct settings *out);
	/* how workers of a root are started; stays valid until no job runs */
	const struct launcher *(*launcher)(void *arg, const char *root);
	/* something worth a new status sentence happened */
	void (*changed)(void *arg);
	/* what runs on all boards is known: claims may begin */
	void (*counted)(void *arg);
	/* a worker ended: what it left behind may have become our child */
	void (*worker_ended)(void *arg);
	bool held;   /* drained by the operator: nothing is claimed on any board */
	bool paused; /* so, because a pause was asked for and no drain */
	struct observer *observers; /* who looks on, see observer.h; NULL: nobody */
	uint64_t ends_late_ms; /* uv_now() when a launcher could not tell an end yet; 0 never */
	struct terminate_queue terminating; /* workers that are being ended */
	struct root_stats stats;
	struct inotify *inotify; /* of watchdir.c: the one of all roots, or NULL */
	unsigned watchers;       /* roots that use it, or try to */
	void *arg;               /* of settings(), changed() … */
};

/* What goes up to root.c from whoever has a board or a part of a root in hand. */
struct root_hooks {
	void (*visit_ended)(struct root *root);
	void (*lease_lost)(struct root *root, const char *why);
	void (*close_oldest)(struct root *root);
	void (*scan)(struct root *root); /* boards may have come or gone */
	void (*arm)(struct root *root);  /* how often to sweep may have changed */
};

enum root_role { ROOT_STARTING, ROOT_OWNER, ROOT_STANDBY, ROOT_FAILED };

struct root {
	struct root_env *env;           /* borrowed */
	const struct root_hooks *hooks; /* of root.c */
	char *path;
	struct settings set; /* of the root itself */
	struct lease *lease;
	enum root_role role;
	char holder[ERROR_TEXT_MAX]; /* standby: who has the lease; failed: why */
	int64_t epoch;
	int64_t owned_at;  /* Unix seconds of the begin of the epoch */
	atomic_bool owner; /* read by jobs: false stops them before their next write */
	_Atomic(const struct launcher *) launcher; /* who knows how workers ended; for visits */
	bool collecting;                           /* collect_sweep() is at work */
	atomic_bool first_scratch_done;
	struct dispatch **boards; /* in discovery's order */
	size_t n_boards;
	struct discovery disc; /* owned by the scan job while scanning */
	struct job scan;
	const char *scan_pinned; /* its set.pinned_db; borrowed as that is */
	bool scanning, rescan, scanned;
	bool place_again; /* news of a board that was busy: scan again when a visit has ended */
	bool scanned_once;        /* a scan has come to its end, well or not */
	struct fs_stamp profiles; /* of `<root>/profiles` at the last scan; the scan job's */
	bool profiles_changed;    /* and whether it differs from the one before */
	int scan_result;
	struct error scan_error;
	bool scan_told; /* the error was logged */
	uv_timer_t sweep;
	uv_timer_t barrier_timer;      /* of barrier.c */
	struct identity_found *living; /* of barrier.c: workers at the begin of the epoch */
	size_t n_living;
	bool look, scan_looks; /* the next scan looks for them; the one that runs does */
	struct job settled;    /* lease_claimants_settled() of settled_epoch */
	int64_t settled_epoch;
	bool settling, settled_done;
	char **claimants; /* copy of lease_claimants() for jobs, NULL-terminated */
	bool uncounted;   /* not scanned yet in this epoch */
	bool handles, stopping, lease_closing;
	const char *leave_why; /* for the history of the lease; static text */
	struct job leaving;    /* writes it down */
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct watchdir *watchdir;   /* of watchdir.c; NULL while it is not ours */
	bool watch_anew;             /* its folders are not what they were */
	struct hostfault *hostfault; /* of hostfault.c; NULL: workers can be started */
	struct decompose *decompose; /* the child for triage tasks, or NULL */
	struct ends *ends;           /* of ends.c: how our children ended */
	struct notices *notices;     /* of notices.c; NULL unless it is ours */
	char *estop; /* why nothing is started, as the last tick saw it, or NULL */
	struct tick_host host;
};

/** root_new() - @env and @path (copied) for one root. Return: 0 or -errno. */
MUST_CHECK int root_new(struct root **out, struct root_env *env, const char *path);

/** root_start() - compete for the lease; the sweep begins when it is ours. 0 or -errno. */
MUST_CHECK int root_start(struct root *root);

/** root_start_owned() - with a lease that is ours already (NULL: a dry run), for --once */
MUST_CHECK int root_start_owned(struct root *root, struct lease *lease, int64_t epoch);

/**
 * root_stop() - stop claiming, let visits end, checkpoint and close every board, give up the
 * lease, then call @done. Workers run on.
 */
void root_stop(struct root *root, void (*done)(void *arg), void *arg);

/** root_yield() - root_stop() of one that another process is to own next: until it is freed it
 * is nobody's */
void root_yield(struct root *root, void (*done)(void *arg), void *arg);

/** root_free() - after root_stop()'s @done, or after root_new() alone; NULL is fine */
struct root *root_free(struct root *root);

/** root_reload() - settings may have changed */
void root_reload(struct root *root);

/** root_sweep() - look at every board now */
void root_sweep(struct root *root);

/** root_release() - claims are made again after a drain: look at every board */
void root_release(struct root *root);

/** root_stopped() - what a tick saw: why nothing is started (ESTOP), or NULL */
void root_stopped(struct root *root, const char *why);

/** root_clock() - the wall clock was set: every deadline is looked at again */
void root_clock(struct root *root);

/** root_counted() - the barrier is open: visit every board that it held back */
void root_counted(struct root *root);

/** root_lease_lost() - a job found that the lease is gone */
static inline void root_lease_lost(struct root *root, const char *why)
{
	root->hooks->lease_lost(root, why);
}

/** root_visit_ended() - bookkeeping after each visit of a board */
static inline void root_visit_ended(struct root *root)
{
	root->hooks->visit_ended(root);
}

/** root_idle() - no scan, no visit, no launch, no ending in flight */
bool root_idle(const struct root *root);

/** root_close_oldest() - close the connection of the board that was not visited for longest */
static inline void root_close_oldest(struct root *root)
{
	root->hooks->close_oldest(root);
}
