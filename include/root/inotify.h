/*
 * One inotify instance for the whole process (a user may have but 128), and who wants to hear
 * of which folder. libuv's own drops IN_Q_OVERFLOW, follows a folder that was renamed away, and
 * never says that a watch is dead; here all three are told.
 */
#pragma once

#include <stdint.h>
#include <sys/inotify.h>
#include <uv.h>

#include "util/error.h"

struct inotify;
struct inotify_watch;

/*
 * inotify_fn - something happened
 * @mask: IN_*; IN_Q_OVERFLOW: events were lost, look yourself; IN_IGNORED: the folder is gone
 *        and the watch with it
 * @name: of the file in the folder, or NULL
 * May add watches, and remove none.
 */
typedef void (*inotify_fn)(struct inotify_watch *watch, uint32_t mask, const char *name);

/* One who listens; embedded, zeroed before first use. */
struct inotify_watch {
	struct inotify_watch *next; /* of the same folder */
	int wd;                     /* 0: not watched */
	inotify_fn fn;
	void *arg;
};

/** inotify_open() - 0; -EMFILE where the instances of this user are used up; other -errno */
MUST_CHECK int inotify_open(struct inotify **out, uv_loop_t *loop);

/** inotify_close() - nobody listens any more; memory goes when libuv is done. Takes NULL. */
struct inotify *inotify_close(struct inotify *in);

/**
 * inotify_watch() - hear of @path from now on; again for one that is watched: look whether the
 * path leads to another folder by now, and watch that one instead
 * Return: 0; -ENOSPC where the watches of this user are used up; other -errno, then it is not
 * watched.
 */
MUST_CHECK int inotify_watch(struct inotify *in, struct inotify_watch *watch, const char *path);

/** inotify_unwatch() - no more of it; not from within an inotify_fn */
void inotify_unwatch(struct inotify *in, struct inotify_watch *watch);

/**
 * inotify_rest() - what comes next is likely to be of no use: from within an inotify_fn, that
 * nothing is read for two milliseconds, or until inotify_resume()
 */
void inotify_rest(struct inotify *in);

/** inotify_resume() - after a rest: tell at once what has come meanwhile, and read on */
void inotify_resume(struct inotify *in);
