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

struct ctl;

struct gate {
	char *profile;            /* "default", … */
	char *home;               /* its folder */
	bool known;               /* a gateway ran here once, or a unit would start one */
	bool running;             /* gateway.lock is held */
	pid_t pid;                /* of the holder, 0 unknown */
	char *pid_unit;           /* the unit that it runs in, or NULL */
	bool pid_user;            /* … of a person's own manager */
	struct gate_yaml yaml;    /* config.yaml */
	enum gate_word dotenv;    /* .env */
	enum gate_word units_say; /* GATE_OFF: every unit says no; GATE_UNSET otherwise */
	enum gate_word pid_says;  /* its environment as it runs; GATE_BROKEN: cannot be read */
	struct unit_list units;   /* that start it */
	bool starts;              /* started now, it would dispatch if the lease were free */
	bool runs;                /* so would the one that runs, if it were asked again */
	char *why;                /* one sentence part: what decides that */
};

struct gate_list {
	struct gate *gates; /* default first, then by name */
	size_t count;
	char *owner; /* account that owns the root, or NULL */
	uid_t uid;   /* of it */
};

/**
 * gate_scan() - look at every profile of @root
 * Nothing is changed and no lock is kept.
 * Return: 0; -ENOMEM; -errno when the root cannot be read.
 */
MUST_CHECK int gate_scan(const struct ctl *ctl, const char *root, struct gate_list *list);
void gate_list_deinit(struct gate_list *list);

/** gate_dispatches() - is there something to do about it */
static inline bool gate_dispatches(const struct gate *gate)
{
	return (gate->known && gate->starts) || (gate->running && gate->runs);
}

/** GATE_DROPIN - name of the file in the unit's folder of drop-ins */
#define GATE_DROPIN "kanband.conf"

/**
 * gate_dropin_text() - what the drop-in says
 * @unit: of kanband, as the gateway's manager knows it; NULL: kanband.service
 * Return: malloc'd; NULL when out of memory.
 */
MUST_CHECK char *gate_dropin_text(const char *unit);

/** gate_fix() - one command line that keeps this gateway from dispatching; malloc'd, NULL: out
 * of memory. @root: its kanban root; @uid: of our caller */
MUST_CHECK char *gate_fix(const struct gate *gate, const struct gate_list *list,
			  const char *root);
