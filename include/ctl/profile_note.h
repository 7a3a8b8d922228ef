/* What is said of a profile that is not there. */
#pragma once

struct ctl;

/**
 * profile_note() - a line on stderr when the root has no profile of the name @assignee
 * A task for it waits for whoever pulls it: likely a slip, so the profile that was meant is
 * named. Nothing is said where a board is given by HERMES_KANBAN_DB, which knows no root.
 */
void profile_note(struct ctl *ctl, const char *assignee);
