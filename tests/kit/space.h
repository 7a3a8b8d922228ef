/* A workspace of the case to be made, and repositories to make it from. */
#pragma once

#include "../../src/launch/launch.h"
#include "launch.h"
#include "util/fs.h"

extern struct help_launch space;
extern struct environment *space_env;

void space_setup(void);
void space_teardown(void);
/* It must succeed at help_dir/@want (or @want where absolute), on @branch (NULL: none). */
void space_is(const char *want, const char *branch);

/* The whole sentence; up to a '*' at its end where the rest is git's own wording. */
void space_fails(const char *fmt, ...) PRINTF(1, 2);

/* The path of the task, below the case's folder where it does not begin with '/' or '~'. */
void space_set_path(const char *text);

void space_set_kind(const char *kind);
