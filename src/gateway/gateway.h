/* What only the files of the folder share: which units start which gateway. */
#pragma once

#include <sys/types.h>

#include "gateway/gateway_scan.h"

#define GATEWAY_VARIABLE "HERMES_KANBAN_DISPATCH_IN_GATEWAY"

/* The units that may start a gateway, of the system and of up to two people. */
struct gateway_units {
	char *root, *real; /* the root, as given and without symbolic links */
	char *owner;       /* account that owns the root, or NULL */
	struct unit_path paths[3];
	size_t n_paths;
	struct unit_list all;
};

/** gateway_units_find() - 0 or -ENOMEM */
MUST_CHECK int gateway_units_find(struct gateway_units *units, char *const *env,
				  const char *root, uid_t owner);

/** gateway_units_of() - move those of @gate's profile to it, with the one that its process runs
 * in; fills units, units_say, pid_unit, pid_user and known; 0 or -ENOMEM */
MUST_CHECK int gateway_units_of(struct gateway_units *units, struct gateway *gate);
void gateway_units_deinit(struct gateway_units *units);

/** gateway_word_of() - what a value of GATEWAY_VARIABLE means: GATEWAY_OFF, GATEWAY_ON, or
 * GATEWAY_UNSET */
enum gateway_word gateway_word_of(const char *value);
