/*
 * What the files of a tick share: the transaction that a step writes in, and the rules of the
 * board contract, §6, that let running tasks go. Each rule is a file named after it.
 */
#pragma once

#include "tick/crash.h"
#include "tick/running.h"
#include "tick/tick.h"

/**
 * tick_newer() - is it a board of September 2026 or later (it has tasks.worker_started_at):
 * where the two ages of Hermes want different rows, that tells which (the board contract, §13)
 */
bool tick_newer(const struct tick *t);

/* What a step writes. Return: 0; else the transaction is undone. */
typedef int (*tick_write_fn)(const struct tick *t, void *arg);

/**
 * tick_transaction() - run @fn in a transaction and commit it if the lease is still ours
 * When it is not, or @fn or the commit fails, everything is undone, and with it what the plan
 * says of it; a lost lease is noted in the plan. Return: 0; what @fn returned; as db_commit().
 */
MUST_CHECK int tick_transaction(const struct tick *t, tick_write_fn fn, void *arg);

/**
 * tick_booking() - the same without asking for the lease: for what has happened already
 * A worker that was started or ended stays so whoever owns the root; were it not written down,
 * the next owner would find a claim without a worker, or a worker that nobody knows. Every
 * change is a compare-and-swap on our own claim, so it cannot undo what a new owner did.
 */
MUST_CHECK int tick_booking(const struct tick *t, tick_write_fn fn, void *arg);

/* One of the rules. A task that has no claim at all is rule_orphan's, whatever else it is. */
struct rule {
	/* is the running task this rule's now; reads nothing */
	bool (*due)(const struct tick *t, const struct running *row);
	/* book it, whether its worker lives or not; NULL: @ended does, after a live worker of
	 * this host was ended */
	int (*book)(const struct tick *t, struct running *row);
	int (*ended)(const struct tick *t, const struct plan_victim *v);
	/* reason of `reclaim_deferred` when the worker survived; NULL: nothing is held */
	const char *deferred;
};

extern const struct rule rule_cut_off;        /* claimed by a kanband that was then killed */
extern const struct rule rule_terminal;       /* 2; terminal_find() lists the victims */
extern const struct rule rule_expired;        /* 3 */
extern const struct rule rule_expired_extend; /* 3, the live and fresh ones */
extern const struct rule rule_orphan;         /* 4 */
extern const struct rule rule_stale;          /* 5 */
extern const struct rule rule_crash;          /* 6; crash_run() books all of a tick together */
extern const struct rule rule_timeout;        /* 7 */

/** timeout_after() - so many seconds after its start the time of a run that has a limit is over
 */
int64_t timeout_after(const struct tick *t, const struct running *row);

/** terminal_find() - rule 2: list the victims; reads only, and only in a tick that trusts
 * nothing */
MUST_CHECK int terminal_find(const struct tick *t);

/** leftover_run() - take dead claims off tasks that do not run; only in a tick that trusts
 * nothing */
MUST_CHECK int leftover_run(const struct tick *t);

/** reclaim_wanted() - does any row need reclaim_run(); reads nothing. Sets deadlines and lists
 * victims and workers in the plan. */
bool reclaim_wanted(const struct tick *t, struct running_set *set);
/** reclaim_run() - rules 3 to 7 and rule_cut_off on every row; inside the caller's transaction
 */
MUST_CHECK int reclaim_run(const struct tick *t, struct running_set *set);
/** reclaim_ended() - book one victim; inside the caller's transaction */
MUST_CHECK int reclaim_ended(const struct tick *t, const struct plan_victim *v);

/** budget_stopped() - is the starting of work stopped by hand; then plan.stopped says why */
bool budget_stopped(const struct tick *t);

/** record_launched() - book what came of one launch; inside the caller's transaction */
MUST_CHECK int record_launched(const struct tick *t, const struct tick_launched *l);
