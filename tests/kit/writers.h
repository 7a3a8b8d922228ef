/*
 * Two processes that use a board through connections of their own while a test does something
 * to it. Each commits rows one after the other and notes outside the board, durably, what it
 * has committed; whatever fails it tries again through the same connection.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define WRITERS 2

/** writers_start() - returns when each has committed a row; @seed: of their pauses */
void writers_start(const char *db_path, uint64_t seed);

/** writers_pause() - let them stand between two transactions, connections open; or go on */
void writers_pause(bool pause);

/** writers_stop() - let them finish what they are at, and end */
void writers_stop(void);

/** writers_done() - how many rows both have committed so far */
unsigned writers_done(void);

/**
 * writers_missing() - is all there that they have committed
 * @db_paths: NULL-terminated: each row has to be in one of these databases, none of which is
 * damaged; both halves of it, or neither
 * @from: leave out the first so many of each
 * Return: NULL, or what is missing (the rig owns it).
 */
const char *writers_missing(const char *const *db_paths, unsigned from);

/** writers_least() - the smallest number of rows that one of them has committed */
unsigned writers_least(void);
