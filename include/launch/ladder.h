/*
 * A worker and everything it started: who that is, and the signals and waits that end it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "launch/identity.h"
#include "launch/terminate.h"

#define LADDER_PASSES 16 /* of looking for what was started meanwhile */

/* A process of the run other than the worker. */
struct ladder_member {
	pid_t pid;
	uint64_t start; /* with pid: which process */
	int pidfd;      /* -1 when it is gone */
	bool in_group;  /* gets what the worker's group gets */
};

struct ladder {
	struct identity_claim claim; /* strings are ours */
	char *task, *started, *db;   /* the same strings, to free */
	uint64_t number;             /* proc_run_number() of the run, 0 unknown */
	int epoll;                   /* all pidfds that are not gone */
	int pidfd;                   /* of the worker; -1 gone, or never ours */
	int group;                   /* the same, kept when it is gone: its group may live on;
				      * -1 if it leads none */
	struct ladder_member *members;
	size_t count;              /* of members */
	size_t alive;              /* members that are not gone */
	bool unsure;               /* it lives, and may be another: left alone */
	struct termination result; /* so far */
};

/** ladder_init() - take a copy of @claim and a pidfd of the worker; cheap and without /proc
 * Return: 0, or -errno: too many open files, no memory; ladder_deinit() follows either way. */
int ladder_init(struct ladder *l, const struct identity_claim *claim);
void ladder_deinit(struct ladder *l);

/** ladder_gather() - look in /proc for what belongs to it and is not known yet
 * Return: how many were found; -errno. */
int ladder_gather(struct ladder *l);

/** ladder_signal() - @sig to all that are known and not gone */
void ladder_signal(struct ladder *l, int sig);

/** ladder_begin() - the first step: identity, SIGTERM. Reads /proc, which may block.
 * Return: 0 or -errno, then nothing was signalled. */
int ladder_begin(struct ladder *l);

/** ladder_kill() - the last step: SIGKILL. Reads /proc. What could not be looked at is left;
 * the worker is not. */
void ladder_kill(struct ladder *l);

/** ladder_collect() - look whose pidfd became readable, for at most @timeout_ms
 * Return: how many processes are not gone. */
size_t ladder_collect(struct ladder *l, int timeout_ms);

/** ladder_wait() - until all are gone, at most @ms */
void ladder_wait(struct ladder *l, unsigned ms);
