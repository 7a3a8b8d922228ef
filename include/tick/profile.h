/* Profiles as tasks name them. */
#pragma once

#include "tick/tick.h"

/** profile_name() - trim and lower-case an assignee; false when nothing is left, it is longer
 * than @size, or it could leave the profiles folder ('/', "." or "..") */
bool profile_name(const char *assignee, char *out, size_t size);

/** profile_spawnable() - is @assignee a profile that this dispatcher starts workers for */
bool profile_spawnable(const struct tick *t, const char *assignee);

/** profile_left_out() - does dispatch_profiles leave @assignee out, profile or not */
bool profile_left_out(const struct tick *t, const char *assignee);
