/* What the outbox of a root says, without a daemon. */
#pragma once

#include <jansson.h>

#include "notify/outbox.h"
#include "util/error.h"

/** ctl_outbox_path() - malloc'd; NULL when out of memory */
MUST_CHECK char *ctl_outbox_path(const char *root);

/**
 * ctl_outbox() - the subscriptions in trouble, in the form of the control API
 * @troubles: out, an array, also where there is no outbox
 * Return: 0; -EPROTONOSUPPORT written by a newer kanband; other -errno.
 */
MUST_CHECK int ctl_outbox(const char *root, json_t **troubles, struct error *e);
