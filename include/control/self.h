/* What this process uses, by /proc: never waits for a disk. */
#pragma once

#include <stdint.h>

struct self {
	int64_t rss, virtual_bytes; /* bytes */
	double cpu_s;               /* user and system */
	int64_t open_fds, max_fds;
	int64_t threads;
};

/** self_rss() - resident memory in bytes, 0 unknown */
int64_t self_rss(void);

/** self_look() - what cannot be had is 0 */
void self_look(struct self *self);
