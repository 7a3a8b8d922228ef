/* Who is at the other end of a connection, and what he may do. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "util/error.h"

struct peer {
	uid_t uid;
	pid_t pid; /* at the time of its connect(2) */
};

/** peer_get() - by SO_PEERCRED. Return: 0 or -errno. */
MUST_CHECK int peer_get(int fd, struct peer *peer);

/** peer_may_change() - root, and whoever the daemon runs as */
bool peer_may_change(const struct peer *peer);

#define PEER_ALL    64 /* connections */
#define PEER_OTHERS 32 /* of these, all users but root and ours */
#define PEER_OTHER  16 /* one of them */
#define PEER_OURS   56 /* ours, unless we are root: some stay for root */

/**
 * peer_room() - may one more connection of @peer be taken
 * @all, @others, @same: open ones: of everybody, of users other than root and ours, of this one
 */
bool peer_room(const struct peer *peer, unsigned all, unsigned others, unsigned same);
