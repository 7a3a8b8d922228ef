/*
 * Giving a root to the process that waits for it: what is in flight is brought home, workers
 * run on, the lease is given back, and this process waits for it in its turn.
 */
#pragma once

#include <uv.h>

#include "root/leader.h"
#include "root/root.h"

struct handing;

/* @r: 0, @now owns it; -ETIMEDOUT nobody took it in time, this process competes again;
 * -ECANCELED the daemon stops. */
typedef void (*handing_done_fn)(void *arg, int r, const struct leader *now);

/**
 * handing_start() - hand over the root in @slot, which is owned
 * @slot: where the daemon has it: holds another root of the same path when the old one is gone
 * @out: the handing, until @done
 * Return: 0; -ENOMEM or another -errno, then nothing happens and @done is not called.
 */
MUST_CHECK int handing_start(struct handing **out, struct root **slot, handing_done_fn done,
			     void *arg);

/**
 * handing_cancel() - the daemon stops: @done is called with -ECANCELED
 * @stopped: called once for the root that was to take the place of the one that stops, maybe at
 * once. The root in the slot is stopped by the caller, as any other.
 */
void handing_cancel(struct handing *h, void (*stopped)(void *arg), void *arg);
