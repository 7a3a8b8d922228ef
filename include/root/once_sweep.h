/* --once: one complete sweep of the boards of a root. */
#pragma once

struct root;

/** once_step() - the next board's turn, if the one before is done */
void once_step(struct root *root);
