/*
 * Whose subscriptions are ours: a row that names a profile belongs to the gateway of that
 * profile while it runs, which is seen by the flock(2) on its `gateway.lock`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

enum notify_mode {
	NOTIFY_AUTO, /* rows without an owner, and those whose gateway is gone for 30 s */
	NOTIFY_ALL,  /* every row */
	NOTIFY_OFF,  /* none */
};

enum gateway_state {
	GATEWAY_NONE,    /* no profile, or a name that no profile can have */
	GATEWAY_RUNNING, /* its lock is held */
	GATEWAY_MUTE,    /* it is, and that gateway was told to deliver nothing */
	GATEWAY_LEAVING, /* its lock is free, but not yet for long enough: it may be restarting
			  */
	GATEWAY_GONE,    /* free for GATEWAY_GRACE_MS */
};

struct gateways;

#define GATEWAY_GRACE_MS  30000
#define GATEWAY_PROBE_MS  1000 /* a lock is looked at once in so long */
#define GATEWAY_NAME_SIZE 66   /* of a canonical profile name, with its NUL */

/**
 * gateways_new() - the gateways of one root
 * @mono_ms: the clock, or NULL for the real one
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int gateways_new(struct gateways **out, const char *root, enum notify_mode mode,
			    uint64_t (*mono_ms)(void *arg), void *arg);
struct gateways *gateways_free(struct gateways *g);
DEFINE_FREEP(struct gateways, gateways_free)

/** gateways_set_mode() - after a reload. Thread: any. */
void gateways_set_mode(struct gateways *g, enum notify_mode mode);
enum notify_mode gateways_mode(const struct gateways *g);

/**
 * gateways_owns() - are the rows of that notifier_profile (as stored, NULL for none) ours now
 * Thread: any.  Blocks: at most one open(2) of a file that is there.
 */
bool gateways_owns(struct gateways *g, const char *profile);

/** gateways_state() - the same question without the mode. Thread: any. */
enum gateway_state gateways_state(struct gateways *g, const char *profile);

/** gateways_due() - when the next gateway that was said to be leaving counts as gone, mono ms,
 * maybe by now; 0: none */
uint64_t gateways_due(struct gateways *g);

/**
 * gateway_name() - trim and lower-case a stored profile name
 * @out: "" for none
 * Return: false if no profile can have that name (@out is cut then).
 */
bool gateway_name(const char *profile, char out[static GATEWAY_NAME_SIZE]);
