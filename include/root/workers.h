/* The workers of one board that run, and how those ended that do no longer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "launch/ending.h"
#include "tick/tick.h"
#include "util/error.h"

struct collect;
struct dispatch;
struct ending_watch;
struct watch;
struct question;

/* A worker of this host that we watch. */
struct worker {
	struct worker *next;
	struct dispatch *dispatch;
	struct watch *watch;
	char *task;
	char *started;     /* worker_started_at or NULL */
	char *title;       /* as the last visit read it, or NULL */
	char profile[72];  /* canonical name, "" not known */
	int64_t heartbeat; /* the last of its run, Unix seconds; -1 none */
	int64_t run;
	pid_t pid;
	int64_t run_started_at; /* Unix seconds */
	uint64_t watched_ms;    /* uv_now() when we began to watch it */
	uint64_t left_ms; /* uv_now() when its run was seen not to be running any more; 0 */
	struct question *question; /* its launcher is asked how it ended, or NULL */
	bool asked;                /* it was asked: it keeps the end until it is collected */
	bool child;                /* our own child: its exit status is to be had */
	bool ending;               /* a terminator is at it */
};

struct workers {
	struct worker *list;
	struct ending_watch *ending; /* victims being ended */
	struct plan_victim *ended;   /* what came of it, for the next visit */
	size_t n_ended;
	struct plan_victim *ended_taken; /* the visit took these along */
	size_t n_ended_taken;
	struct tick_exit *exits; /* how watched ones ended */
	uint64_t *exits_ms;      /* uv_now() of each, to forget them after 10 min */
	size_t n_exits;
	struct collect *collect; /* whose launcher keeps the end until that is booked */
};

/** workers_watch() - watch a worker that runs; @pidfd taken over, -1 to open one. Return: 0 or
 * -errno */
MUST_CHECK int workers_watch(struct dispatch *d, const struct plan_worker *w, int pidfd,
			     bool child);

/** workers_seen() - a visit saw the row of a worker that is watched */
void workers_seen(struct dispatch *d, const struct plan_worker *w);

/** workers_gone() - one that ended before it could be watched: its launcher is asked how */
void workers_gone(struct dispatch *d, const struct plan_worker *w);

/** workers_exit() - an end as a tick takes it */
struct tick_exit workers_exit(int64_t run, pid_t pid, struct ending ending);

/** workers_has() - is a worker of that run watched */
bool workers_has(const struct dispatch *d, int64_t run);

/** workers_end() - end a victim's worker; what came of it goes along with the next visit */
void workers_end(struct dispatch *d, struct plan_victim *v);

/** workers_overdue() - end the watched whose run ended 120 s ago */
void workers_overdue(struct dispatch *d);

/** workers_ending() - the runs whose workers are being ended, into @list unless NULL. Return:
 * how many */
size_t workers_ending(const struct dispatch *d, int64_t *list);

/** workers_living() - those that live, into @list unless NULL. Return: how many */
size_t workers_living(const struct dispatch *d, struct tick_living *list);

/** workers_forget() - ends that nobody will ask for any more */
void workers_forget(struct dispatch *d);

/** workers_take_ended() - a visit takes along what is to be settled */
void workers_take_ended(struct dispatch *d);

/** workers_booked() - the visit is over: @ok frees what it took along, else it waits again */
void workers_booked(struct dispatch *d, bool ok);

/** workers_close() - watch none any more; they run on */
void workers_close(struct dispatch *d);
