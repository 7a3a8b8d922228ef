/* Watching a process, by pidfd, until it ends. */
#pragma once

#include <sys/types.h>
#include <uv.h>

#include "launch/ending.h"
#include "util/error.h"

struct watch;
typedef void (*watch_fn)(void *arg, struct watch *watch, struct ending ending);

/**
 * watch_open() - call @fn once on the loop thread when @pid ends; reaps it if it is our child
 * @pidfd: taken over (closed with the watch); -1 opens one, which is only safe for our own
 *         unreaped child or after identity_check(). A pid that is gone already reports at once,
 *         from the loop.
 * Return: 0 or -errno (-ESRCH: gone already and not our child).
 */
MUST_CHECK int watch_open(struct watch **watch, uv_loop_t *loop, pid_t pid, int pidfd,
			  watch_fn fn, void *arg);

/** watch_close() - stop watching; frees itself. Takes NULL, returns NULL. */
struct watch *watch_close(struct watch *watch);
