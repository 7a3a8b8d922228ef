/* Running tasks of a board whose workers are past something, for the tests of that. */
#pragma once

#include <stdbool.h>

#include "board.h"
#include "tick/running.h"

/* What is over is no deadline: the loop would tick for ever. */
void kit_deadline_ahead(void);

void kit_reclaim(void);
void kit_ended_so(bool attempted, bool terminated, bool sigkill);
