/* Whose adapters deliver a notification. */
#pragma once

#include "util/error.h"

/** notify_profile() - the canonical name of a stored profile, else as it stands; "default" for
 * none; malloc'd, NULL out of memory */
MUST_CHECK char *notify_profile(const char *profile);
