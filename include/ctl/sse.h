/* Server-sent events: bytes in any pieces become events. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

/* Borrowed for the call. Return: 0, or anything else to stop. */
typedef int (*sse_fn)(void *arg, const char *id, const char *event, const char *data,
		      size_t len);

struct sse {
	sse_fn fn;
	void *arg;
	/* internal */
	char *line, *data; /* being collected */
	size_t line_len, line_room, data_len, data_room;
	char id[128], event[64];
	bool cr; /* the last byte was a CR: an LF now ends no line */
};

#define SSE_MAX ((size_t)1 << 20) /* of a line, and of the data of one event */

void sse_init(struct sse *sse, sse_fn fn, void *arg);
void sse_deinit(struct sse *sse);

/** sse_feed() - more bytes. Return: 0; -EMSGSIZE; -ENOMEM; what @fn said. */
MUST_CHECK int sse_feed(struct sse *sse, const char *bytes, size_t len);
