/*
 * The gateways of a root: for each profile whether one runs, whether it would dispatch, and
 * why. A gateway dispatches unless one of these says no, the first that says anything of the
 * environment winning: the profile's `.env`, which Hermes puts over the environment that it was
 * started with; the unit's environment; `kanban.dispatch_in_gateway` of its config.yaml.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gateway/gateway_yaml.h"
#include "gateway/unit_file.h"
#include "util/error.h"

struct gateway {
	char *profile;            /* "default", … */
	char *home;               /* its folder */
	bool known;               /* a gateway ran here once, or a unit would start one */
	bool running;             /* gateway.lock is held */
	pid_t pid;                /* of the holder, 0 unknown */
	char *pid_unit;           /* the unit that it runs in, or NULL */
	bool pid_user;            /* … of a person's own manager */
	struct gateway_yaml yaml; /* config.yaml */
	enum gateway_word dotenv; /* .env */
	enum gateway_word
		units_say; /* GATEWAY_OFF: every unit says no; GATEWAY_UNSET otherwise */
	enum gateway_word
		pid_says;       /* its environment as it runs; GATEWAY_BROKEN: cannot be read */
	struct unit_list units; /* that start it */
	bool starts;            /* started now, it would dispatch if the lease were free */
	bool runs;              /* so would the one that runs, if it were asked again */
	char *why;              /* one sentence part: what decides that */
};

struct gateway_list {
	struct gateway *gates; /* default first, then by name */
	size_t count;
	char *owner; /* account that owns the root, or NULL */
	uid_t uid;   /* of it */
};

/**
 * gateway_scan() - look at every profile of @root
 * @env: environ(7) of who asks, borrowed
 * Nothing is changed and no lock is kept.
 * Return: 0; -ENOMEM; -errno when the root cannot be read.
 */
MUST_CHECK int gateway_scan(char *const *env, const char *root, struct gateway_list *list);
void gateway_list_deinit(struct gateway_list *list);

/** gateway_dispatches() - is there something to do about it */
static inline bool gateway_dispatches(const struct gateway *gate)
{
	return (gate->known && gate->starts) || (gate->running && gate->runs);
}

/** gateway_fix() - one command line that keeps this gateway from dispatching; malloc'd, NULL:
 * out of memory. @root: its kanban root; @uid: of our caller */
MUST_CHECK char *gateway_fix(const struct gateway *gate, const struct gateway_list *list,
			     const char *root);
