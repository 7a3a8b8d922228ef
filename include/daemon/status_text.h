/* The status in a sentence. */
#pragma once

#include <stdio.h>

struct root;

/** status_text_root() - what there is to say of @root; @out's error flag tells of failures */
void status_text_root(const struct root *root, FILE *out);
