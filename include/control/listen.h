/* The socket: made or handed over, and taken away again. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "util/error.h"

struct listener {
	int fd;    /* -1: none */
	bool ours; /* made by us: to be removed */
	dev_t dev; /* of the file … */
	ino_t ino; /* … that we made */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]; /* "" if it has no name */
};

/**
 * listener_open() - make the socket at @path: mode 0660, close-on-exec, non-blocking
 * A socket file that nobody listens on is replaced; its folder is made (0750) if only that is
 * missing. Return: 0; -EADDRINUSE somebody listens there, or it is no socket; other -errno.
 */
MUST_CHECK int listener_open(struct listener *l, const char *path, struct error *e);

/** listener_adopt() - @fd was handed over; taken over also on error. Return: 0 or -errno. */
MUST_CHECK int listener_adopt(struct listener *l, int fd, struct error *e);

/** listener_adopt_scrape() - the same of a stream socket of any kind: for
 * kanband-metrics.socket, which is one of TCP */
MUST_CHECK int listener_adopt_scrape(struct listener *l, int fd, struct error *e);

/** listener_close() - close it, and remove the file if it is the one that we made */
void listener_close(struct listener *l);
