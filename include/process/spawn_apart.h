/* Starting a process from a thread that has hardly a descriptor open. */
#pragma once

#include "process/spawn.h"

/**
 * spawn_apart() - have @start called in a thread with a table of descriptors of its own
 * A process begins with a copy of the table of the thread that starts it, and each descriptor
 * in it is closed before the exec: milliseconds where ten thousand boards are held.
 * @how: its descriptors are sent along; @start gets them under numbers of that thread
 * @pid: out, a child of this process as any other
 * Return: what @start returned; -EOPNOTSUPP: there is no such thread, and nothing was started.
 */
MUST_CHECK int spawn_apart(const struct spawn *how,
			   int (*start)(const struct spawn *how, pid_t *pid), pid_t *pid);
