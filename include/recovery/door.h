/*
 * The one door: who wants to work with a board, and is not about to examine it, opens it here.
 */
#pragma once

#include "db/db.h"
#include "util/error.h"

/**
 * door_open() - db_open(), unless the board is known to be damaged
 * A board that its health record calls damaged, and whose bytes are still those, is refused
 * without opening a file of it.
 * Return: as db_open(); also DB_CORRUPT and DB_TRANSIENT with the recorded reason in @e.
 */
MUST_CHECK int door_open(struct db **out, const struct db_options *opt, struct error *e);
