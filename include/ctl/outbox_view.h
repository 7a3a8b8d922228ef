/* What the outbox of a root says, without a daemon. */
#pragma once

#include <jansson.h>

#include "notify/outbox.h"
#include "util/error.h"

/** outbox_view_path() - malloc'd; NULL when out of memory */
MUST_CHECK char *outbox_view_path(const char *root);

/**
 * outbox_view() - the subscriptions in trouble, in the form of the control API
 * @troubles: out, an array, also where there is no outbox
 * Return: 0; -EPROTONOSUPPORT written by a newer kanband; other -errno.
 */
MUST_CHECK int outbox_view(const char *root, json_t **troubles, struct error *e);
