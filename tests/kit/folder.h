/* What the tests of the notifier share: a folder of the case. */
#pragma once

#include <stddef.h>

#include "suite.h"

extern char folder_dir[200];

void folder_setup(void);

void folder_teardown(void);

/* A path below the folder; one of eight buffers in turn. */
char *folder_path(const char *name);

void folder_write(const char *name, const char *data, size_t len);
