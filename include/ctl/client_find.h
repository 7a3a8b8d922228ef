/* Which daemon: of the sockets where one may listen, the one that serves the root. */
#pragma once

#include <jansson.h>

#include "util/error.h"

struct client;
struct ctl;

/**
 * client_open() - the daemon that serves @root; ctl->no_daemon says why there is none to ask
 * Asked are --socket, or else the socket that the owner file of the root names, that of the
 * person's own daemon, that of the host's. One that is served by a stranger (neither root, nor
 * the owner of the root, nor ourselves) is not asked anything.
 * @client: out; NULL when there is none. With --socket a failure is told.
 * Return: 0, also without a daemon; an exit code after telling why.
 */
MUST_CHECK int client_open(struct ctl *ctl, const char *root, struct client **client);

/** client_find() - client_open() that tells nothing. Return: 0, also without one; -ENOMEM. */
MUST_CHECK int client_find(const struct ctl *ctl, const char *root, struct client **client);
/** client_need() - the same for a verb that cannot do without: 69 after telling why */
MUST_CHECK int client_need(const struct ctl *ctl, const char *root, struct client **client);

/**
 * client_roots() - the roots that the daemon at @socket serves
 * @roots: out; an array of what GET /v1/leader says of each, a new reference
 * Return: 0; -EACCES who listens there is a stranger; -EPERM we may not talk to it; -ETIMEDOUT
 * it hangs; other -errno nobody listens. @e says so.
 */
MUST_CHECK int client_roots(const struct ctl *ctl, const char *socket, json_t **roots,
			    struct error *e);

/**
 * client_sockets_host() - sockets of the host's daemons: RUN/kanband/control.sock and those of
 * instances, RUN/kanband-NAME/control.sock, that are there
 * Return: malloc'd array of malloc'd paths, NULL-terminated (util/strv.h); NULL when out of
 * memory.
 */
MUST_CHECK char **client_sockets_host(const struct ctl *ctl);
