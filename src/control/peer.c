/* Who is at the other end, by what the kernel says. */
#include "control/peer.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int peer_get(int fd, struct peer *peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*peer = (struct peer){ .uid = cred.uid, .pid = cred.pid };
	return 0;
}

bool peer_may_change(const struct peer *peer)
{
	return peer->uid == 0 || peer->uid == geteuid();
}

bool peer_room(const struct peer *peer, unsigned all, unsigned others, unsigned same)
{
	if (all >= PEER_ALL)
		return false;
	if (peer_may_change(peer))
		return peer->uid == 0 || same < PEER_OURS;
	return others < PEER_OTHERS && same < PEER_OTHER;
}
