/* Who dispatches a root: what the kernel says about the lock, and the name that the owner file
 * adds to the number. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "root/lease.h"
#include "util/error.h"

struct leader {
	bool held;
	pid_t pid;     /* 0 unknown */
	bool kanband;  /* the holder is the one that wrote the owner file */
	bool unseen;   /* the holder is in another pid namespace or on another host; then
			* @kanband means: so says the owner file, which may be old */
	bool has_file; /* there is an owner file */
	struct lease_owner owner;
};

/** leader_look() - nothing is made; see lease_is_held(). Blocks: small files.
 * Return: 0, also when nobody leads; -errno when it cannot be seen. */
MUST_CHECK int leader_look(const char *root, struct leader *l);
