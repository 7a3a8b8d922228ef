/*
 * The outbox: what is about to be sent, and what is known of subscriptions that trouble us, on
 * disk before anything depends on it. A log of puts and deletes under short keys, each line
 * with its checksum; every write is one append and one fsync. Whatever is torn, damaged or
 * planted in it costs its own line and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct json_t; /* of jansson */
struct outbox;

/* A put, or with @value NULL a delete. Borrowed for the call. */
struct outbox_change {
	const char *key;            /* at most OUTBOX_KEY_MAX bytes of UTF-8 */
	const struct json_t *value; /* an object */
};

/* An entry: @key and @value are borrowed for the call. A negative result ends the round. */
typedef int (*outbox_fn)(void *arg, const char *key, const struct json_t *value);

/* What opening it found. */
struct outbox_found {
	size_t entries; /* that hold */
	size_t bad;     /* lines that are none: damaged in the middle */
	bool torn;      /* the last write was cut off: as if it had not begun */
	bool set_aside; /* the file was no outbox of ours and is now at `<path>.bad` */
};

#define OUTBOX_KEY_MAX  ((size_t)64)
#define OUTBOX_FILE_MAX ((size_t)256 << 20)

/**
 * outbox_open() - read @path, or begin an empty one
 * @found: out; may be NULL
 * Thread: any but the loop's.  Blocks: file system, fsync.
 * Return: 0; -EPROTONOSUPPORT written by a newer kanband; other -errno.
 */
MUST_CHECK int outbox_open(struct outbox **out, const char *path, struct outbox_found *found,
			   struct error *e);

/** outbox_free() - close; takes NULL, returns NULL. No other thread may still use it. */
struct outbox *outbox_free(struct outbox *outbox);
DEFINE_FREEP(struct outbox, outbox_free)

/**
 * outbox_write() - all changes, in order, in one append
 * @sync: and on the disk when this returns; else they get there with the next write that syncs,
 *        or when the system likes: a kill of this process does not lose them
 * On an error none of them holds: the file is as before, or is written anew by the next call.
 * Thread: any; calls wait for each other.  Blocks: write, fsync.
 * Return: 0; -EINVAL what cannot be written; other -errno.
 */
MUST_CHECK int outbox_write(struct outbox *outbox, const struct outbox_change *changes,
			    size_t n, bool sync, struct error *e);

/** outbox_next() - a number that no key of this outbox bears yet. Thread: any. */
uint64_t outbox_next(struct outbox *outbox);

/** outbox_each() - @fn for every entry, those put last at the end; no write meanwhile
 * Return: 0, or the negative result of @fn. */
MUST_CHECK int outbox_each(struct outbox *outbox, outbox_fn fn, void *arg);

/**
 * outbox_peek() - outbox_each() on a file that somebody else may be writing; nothing is changed
 * Return: 0 (also for no file); else as outbox_open() or @fn.
 */
MUST_CHECK int outbox_peek(const char *path, outbox_fn fn, void *arg, struct error *e);
