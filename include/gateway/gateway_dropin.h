/* The drop-in that keeps a gateway's unit from dispatching: made, written, taken away. */
#pragma once

#include <stdbool.h>

#include "util/error.h"

struct unit;

/** GATEWAY_DROPIN - name of the file in the unit's folder of drop-ins */
#define GATEWAY_DROPIN "kanband.conf"

/**
 * gateway_dropin_text() - what the drop-in says
 * @unit: of kanband, as the gateway's manager knows it; NULL: kanband.service; "": none, it is
 *        in another manager's hands
 * Return: malloc'd; NULL when out of memory.
 */
MUST_CHECK char *gateway_dropin_text(const char *unit);

/** gateway_dropin_path() - where it stands for that unit; malloc'd */
MUST_CHECK char *gateway_dropin_path(const struct unit *unit);

/** gateway_dropin_write() - write it; a file that says something else is kept as .old
 * Return: 0 or -errno. */
MUST_CHECK int gateway_dropin_write(const struct unit *unit, const char *kanband);

/** gateway_dropin_is_ours() - is there one, and did we make it */
bool gateway_dropin_is_ours(const struct unit *unit);

/** gateway_dropin_remove() - take ours away; what was kept as .old is there again
 * Return: 0; -ENOENT there is none of ours; other -errno. */
MUST_CHECK int gateway_dropin_remove(const struct unit *unit);
