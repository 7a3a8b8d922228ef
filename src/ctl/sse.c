/*
 * The event stream format of the HTML standard (9.2.6): lines end in LF, CR or both; `data`
 * lines are joined by newlines; a blank line ends an event, one without data is none; a line
 * that begins with a colon is a comment. `retry` is not obeyed.
 */
#include "ctl/sse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sse_init(struct sse *s, sse_fn fn, void *arg)
{
	*s = (struct sse){ .fn = fn, .arg = arg };
}

void sse_deinit(struct sse *s)
{
	free(s->line);
	free(s->data);
	*s = (struct sse){ 0 };
}

/* Append to a buffer that is always NUL-terminated. */
static int sse_put(char **buf, size_t *len, size_t *room, const char *bytes, size_t n)
{
	if (*len + n > SSE_MAX)
		return -EMSGSIZE;
	if (!*buf || *len + n + 1 > *room) {
		size_t more = (*len + n + 1) * 2;
		char *bigger = realloc(*buf, more);

		if (!bigger)
			return -ENOMEM;
		*buf = bigger;
		*room = more;
	}
	if (n > 0)
		memcpy(*buf + *len, bytes, n);
	*len += n;
	(*buf)[*len] = '\0';
	return 0;
}

static int sse_dispatch(struct sse *s)
{
	int r = 0;

	if (s->data_len > 0) {
		s->data[--s->data_len] = '\0'; /* the newline behind the last data line */
		r = s->fn(s->arg, s->id, s->event[0] ? s->event : "message", s->data,
			  s->data_len);
	}
	s->data_len = 0;
	s->event[0] = '\0';
	return r;
}

static int sse_line(struct sse *s)
{
	const char *name = s->line ? s->line : "";
	const char *colon = memchr(name, ':', s->line_len);
	size_t n = colon ? (size_t)(colon - name) : s->line_len;
	const char *value = colon ? colon + 1 : name + s->line_len;
	size_t len;
	int r = 0;

	if (s->line_len == 0)
		return sse_dispatch(s);
	value += *value == ' ';
	len = s->line_len - (size_t)(value - name);
	if (n == 4 && memcmp(name, "data", 4) == 0) {
		r = sse_put(&s->data, &s->data_len, &s->data_room, value, len);
		if (r == 0)
			r = sse_put(&s->data, &s->data_len, &s->data_room, "\n", 1);
	} else if (n == 2 && memcmp(name, "id", 2) == 0 && !memchr(value, '\0', len)) {
		(void)snprintf(s->id, sizeof(s->id), "%s", value);
	} else if (n == 5 && memcmp(name, "event", 5) == 0) {
		(void)snprintf(s->event, sizeof(s->event), "%s", value);
	}
	return r;
}

int sse_feed(struct sse *s, const char *bytes, size_t len)
{
	int r = 0;

	while (r == 0 && len > 0) {
		size_t n = 0;

		if (s->cr && *bytes == '\n') {
			s->cr = false;
			bytes++;
			len--;
			continue;
		}
		s->cr = false;
		while (n < len && bytes[n] != '\n' && bytes[n] != '\r')
			n++;
		r = sse_put(&s->line, &s->line_len, &s->line_room, bytes, n);
		bytes += n;
		len -= n;
		if (r == 0 && len > 0) {
			s->cr = *bytes == '\r';
			bytes++;
			len--;
			r = sse_line(s);
			s->line_len = 0;
			if (s->line)
				s->line[0] = '\0';
		}
	}
	return r;
}
