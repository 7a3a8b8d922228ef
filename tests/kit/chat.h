/* Chats of a daemon: hermes as a script that notes what arrives, subscriptions, and what is
 * left of them. */
#pragma once

#include "rig.h"

/*
 * What stands in for hermes: `send` does as $RIG_DIR/mood says (take, fail, refuse, hang, wild:
 * now this, now that; or a number N: every N-th fails), writing what it takes to
 * $RIG_DIR/arrived in one write; anything else is the worker's.
 */
void chat_hermes(const char *mood);

char *chat_arrived(void);
unsigned chat_count(const char *text, const char *word);
void chat_subscribe(const char *slug, const char *task, const char *chat, const char *profile);
