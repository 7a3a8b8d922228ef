/* Waiting tasks without an unfinished parent, found for all tasks at once. */
#pragma once

#include "tick/plan.h"
#include "util/error.h"

struct db;

/**
 * antijoin_find() - every `todo` task of @db that no unfinished parent holds back; reads only
 * @ids: out, empty before; freed by the caller with strings_free()
 * Return: 0; -ERANGE, with @ids empty, when this board's row ids or the order of its ids
 * do not allow it (ask each task then); else as db_step().
 */
MUST_CHECK int antijoin_find(struct db *db, struct strings *ids, struct error *e);
