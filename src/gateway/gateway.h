/* Between the files of ctl/gate*.c only: which units start which gateway. */
#pragma once

#include <sys/types.h>

#include "gateway/gateway_scan.h"

#define GATE_VARIABLE "HERMES_KANBAN_DISPATCH_IN_GATEWAY"

/* The units that may start a gateway, of the system and of up to two people. */
struct gate_units {
	char *root, *real; /* the root, as given and without symbolic links */
	char *owner;       /* account that owns the root, or NULL */
	struct unit_path paths[3];
	size_t n_paths;
	struct unit_list all;
};

/** gate_units_find() - 0 or -ENOMEM */
MUST_CHECK int gate_units_find(struct gate_units *units, const struct ctl *ctl,
			       const char *root, uid_t owner);

/** gate_units_of() - move those of @gate's profile to it, with the one that its process runs
 * in; fills units, units_say, pid_unit, pid_user and known; 0 or -ENOMEM */
MUST_CHECK int gate_units_of(struct gate_units *units, struct gate *gate);
void gate_units_deinit(struct gate_units *units);

/** gate_word_of() - what a value of GATE_VARIABLE means: GATE_OFF, GATE_ON, or GATE_UNSET */
enum gate_word gate_word_of(const char *value);
