/* Moments and spans as people write them: the timestamps of systemd.time(7), in seconds. */
#pragma once

#include <stdint.h>

#include "util/error.h"

/**
 * moment_parse() - a moment
 * @text: "[Thu] 2026-12-24 [18:30[:15]] [ZONE]", "2026-12-24T18:30[:15][Z]"; "today",
 *        "tomorrow" or "yesterday" for the date; "18:30", today or, if that is over, tomorrow;
 *        "now"; a span from now, "+90min"; Unix seconds, "@1790000000" or without the @.
 *        Without a time of day it is midnight, without a zone the local one.
 * @at: out; Unix seconds
 * @e:  why not, with the remedy
 * Blocks: reads the file of a time zone.
 * Return: 0, -EINVAL, -ENOMEM.
 */
MUST_CHECK int moment_parse(const char *text, int64_t now, int64_t *at, struct error *e);

/** moment_span_s() - seconds of a time span ("30", "2min", "1h 30m", "infinity"); -1 if it is
 * none */
double moment_span_s(const char *text);
