/* A thread of this process that has hardly a descriptor open. */
#pragma once

#include "util/error.h"

#define APART_FDS 3

/**
 * apart_call() - have @fn called by a thread with a table of descriptors of its own
 * A process begins with a copy of the table of the thread that starts it, and each descriptor
 * in it is closed before the exec: milliseconds where ten thousand boards are held.
 * @fds: those that are sent along, which stay the caller's; < 0: none in this place
 * @fn: called once at the most, with @arg and what was sent, under numbers of that thread,
 * which are closed after it; -1 where none was sent or none could be had Return: what @fn
 * returned; -EOPNOTSUPP: there is no such thread, and @fn was not called.
 */
MUST_CHECK int apart_call(int (*fn)(void *arg, const int fds[APART_FDS]), void *arg,
			  const int fds[APART_FDS]);
