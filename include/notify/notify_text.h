/*
 * What subscribers read. The shapes are those of the board contract, §9; everything that comes
 * from a board is hostile: it is cut, made valid UTF-8, and loses its control characters.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

/* What an event is about. Borrowed. */
struct notify_about {
	const char *board; /* slug */
	const char *task;
	const char *title;    /* or NULL: the task's id stands for it */
	const char *status;   /* or NULL */
	const char *assignee; /* or NULL */
	const char *result;   /* or NULL */
};

/* An event of a digest. Borrowed. */
struct notify_line {
	const char *kind;
	const char *text; /* its message */
	int64_t at;       /* Unix seconds */
	unsigned count;   /* events that were folded into it */
	bool last;        /* the newest of its task */
};

/**
 * notify_text_event() - the message of one event
 * @payload: JSON text as stored, or NULL; anything but an object counts as none
 * @text: out, malloc'd; NULL for a kind that is not sent
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int notify_text_event(const struct notify_about *about, const char *kind,
				 const char *payload, char **text);

/**
 * notify_text_fold() - say that @text happened @count times within @span_s seconds
 * @text: in and out; the old text is freed
 */
MUST_CHECK int notify_text_fold(char **text, unsigned count, int64_t span_s);

/**
 * notify_text_digest() - one message for many events that are no news any more
 * @now: Unix seconds
 * @text: out, malloc'd; at most NOTIFY_DIGEST_MAX characters
 */
MUST_CHECK int notify_text_digest(const struct notify_line *lines, size_t n, int64_t now,
				  char **text);

/**
 * notify_text_disarm() - `hermes send` acts on what stands in a message: MEDIA:PATH uploads
 * that file, and words in double brackets change how. A blank in each makes it text.
 * @out: malloc'd
 */
MUST_CHECK int notify_text_disarm(const char *text, char **out);

#define NOTIFY_DIGEST_MAX 3500 /* chats take 4,096 characters or more */
