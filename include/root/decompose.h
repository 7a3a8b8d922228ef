/* auto_decompose: triage tasks are handed to `hermes kanban decompose`, one at a time per root.
 */
#pragma once

#include "root/dispatch.h"

/** decompose_offer() - triage tasks that a tick of @d found; those tried lately are left out */
void decompose_offer(struct dispatch *d, const struct strings *triage);

/** decompose_idle() - is no child being started or running */
bool decompose_idle(const struct root *root);

/** decompose_close() - stop watching the child (it runs on) and forget what was tried */
void decompose_close(struct root *root);
