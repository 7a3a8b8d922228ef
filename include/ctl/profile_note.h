/* What is said of a profile that is not there. */
#pragma once

struct ctl;

/**
 * profile_note() - a line on stderr when the root has no profile of the name @assignee
 * A task for it waits for whoever pulls it: likely a slip, so the profile that was meant is
 * named. Nothing is said where a board is given by HERMES_KANBAN_DB, which knows no root.
 */
void profile_note(struct ctl *ctl, const char *assignee);

/** profile_near() - the profile of @root that is nearest to @name; malloc'd, or NULL */
char *profile_near(const char *root, const char *name);
