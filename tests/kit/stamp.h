/* A file whose times tell whether somebody wrote it, and a task that does. */
#pragma once

#include <stdbool.h>

#include "board.h"
#include "board/board.h"
#include "recovery/repair.h"
#include "util/clock.h"
#include "util/fs.h"
#include "visit.h"

bool kit_stamps_differ(void);
/* Make the files look older than the resolution of time stamps. */
void kit_age(void);

void kit_ready(const char *id);
