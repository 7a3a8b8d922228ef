/* Time zones as values: local time and back without the process-wide TZ of the C library. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "util/error.h"

struct zone;

/* Outcomes of zone_instant(), beside 0. */
#define ZONE_SKIPPED 1 /* the clock jumps over this local time: it never shows */

/**
 * zone_new() - read a time zone
 * @name: "Europe/Berlin", "UTC"; NULL or "" for the local one: $TZ if it names a zone that can
 *        be read, else /etc/localtime, else UTC
 * Blocks: reads a small file.
 * Return: 0; -EINVAL it is no name of a zone, -ENOENT there is none of that name, -EBADMSG its
 * file is broken (each told in @e); -ENOMEM.
 */
MUST_CHECK int zone_new(struct zone **out, const char *name, struct error *e);
struct zone *zone_free(struct zone *zone);
DEFINE_FREEP(struct zone, zone_free)

/** zone_local() - what the clock on the wall shows at @at (Unix seconds); tm_gmtoff is filled
 */
void zone_local(const struct zone *zone, int64_t at, struct tm *local);

/**
 * zone_instant() - when the clock on the wall shows @local (its date and time of day)
 * @at: out; Unix seconds, the first of two when the hour comes twice
 * Return: 0 or ZONE_SKIPPED.
 */
MUST_CHECK int zone_instant(const struct zone *zone, const struct tm *local, int64_t *at);
