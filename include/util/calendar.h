/*
 * Calendar expressions: "Mon..Fri 09:00", "*-*-01 04:30 Europe/Berlin", "hourly"; the syntax of
 * systemd.time(7), in whole seconds.
 */
#pragma once

#include <stdint.h>

#include "util/error.h"

struct calendar;

#define CALENDAR_NEVER    1   /* outcome of calendar_next(): no such time comes any more */
#define CALENDAR_TEXT_MAX 256 /* bytes of an expression; a longer one is refused */

/**
 * calendar_new() - read an expression
 * @text: what the user wrote
 * @e:    why not, with the part that is wrong and the remedy
 * Blocks: reads the file of a time zone.
 * Return: 0; -EINVAL; -ENOMEM.
 */
MUST_CHECK int calendar_new(struct calendar **out, const char *text, struct error *e);
struct calendar *calendar_free(struct calendar *c);
DEFINE_FREEP(struct calendar, calendar_free)

/**
 * calendar_next() - the first time after @after at which the clock on the wall shows what the
 * expression says. A local time that the clock jumps over is left out; of an hour that comes
 * twice the first is meant: the same as systemd's timers.
 * @after: Unix seconds
 * @next:  out; Unix seconds
 * Return: 0 or CALENDAR_NEVER.
 */
MUST_CHECK int calendar_next(const struct calendar *c, int64_t after, int64_t *next);
