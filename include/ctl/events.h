/* Events of the daemon, for people. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct ctl;

/** events_put() - one line on ctl->out */
void events_put(const struct ctl *ctl, const json_t *event);

/** events_about() - is it about @root (or about no root), and about @board unless NULL */
bool events_about(const json_t *event, const char *root, const char *board);
