/*
 * Message texts. Pure functions: they run on pool threads, inside a claim, as well as on the
 * loop.
 */
#include "notify/notify_text.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "notice/kind.h"
#include "util/text.h"

#define NAME_CHARS     80 /* of task ids and assignees: none is longer */
#define DIGEST_LINES   40
#define DIGEST_RESERVE 64 /* characters kept for the last line of a digest */

/* ---- hostile text -------------------------------------------------------------------- */

/* Where Python's str.splitlines() ends a line. */
static bool text_ends_line(uint32_t cp)
{
	return (cp >= '\n' && cp <= '\r') || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 ||
	       cp == 0x2028 || cp == 0x2029;
}

/* Characters that steer the reader's screen instead of being read. */
static bool text_is_control(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || (cp >= 0x202A && cp <= 0x202E) ||
	       (cp >= 0x2066 && cp <= 0x2069);
}

/*
 * Write @s to @out: at most @chars characters, on one line; of several lines the first that has
 * something on it (@first), or all joined by blanks.
 */
static void text_put(FILE *out, const char *s, size_t len, size_t chars, bool first)
{
	size_t blanks = 0; /* seen, and written before the next character if there is one */
	bool any = false;
	uint32_t cp;

	for (size_t i = 0; i < len && chars > 0;) {
		const char *from = s + i;
		size_t n = text_decode(from, len - i, &cp);

		i += n;
		if (any && first && text_ends_line(cp))
			return;
		if (text_ends_line(cp) || cp == '\t' || cp == ' ') {
			blanks += any && (cp == ' ' || blanks == 0);
			continue;
		}
		if (cp != TEXT_INVALID && text_is_control(cp))
			continue;
		for (; blanks > 0 && chars > 1; blanks--, chars--)
			(void)fputc(' ', out);
		if (blanks > 0)
			return;
		any = true;
		chars--;
		if (cp == TEXT_INVALID)
			(void)fputs("\xEF\xBF\xBD", out);
		else
			(void)fwrite(from, 1, n, out);
	}
}

static void text_puts(FILE *out, const char *s, size_t chars)
{
	text_put(out, s, strlen(s), chars, false);
}

/* ---- payloads ------------------------------------------------------------------------ */

static json_t *text_payload(const char *payload)
{
	CLEANUP(freep) char *fixed = NULL;
	size_t len = 0;
	json_t *json;

	if (!payload)
		return NULL;
	fixed = text_repair(payload, strlen(payload), &len);
	json = fixed ? json_loadb(fixed, len, JSON_ALLOW_NUL, NULL) : NULL;
	if (!json_is_object(json)) {
		json_decref(json);
		return NULL;
	}
	return json;
}

/* Write @before and @text, if it says anything. Return: did it. */
static bool text_piece_n(FILE *out, const char *before, const char *s, size_t len, size_t chars,
			 bool first)
{
	char *shown = NULL;
	size_t size = 0;
	FILE *one = open_memstream(&shown, &size);

	if (!one)
		return false;
	text_put(one, s, len, chars, first);
	if (fclose(one) != 0)
		size = 0;
	if (size > 0)
		(void)fprintf(out, "%s%s", before, shown);
	free(shown);
	return size > 0;
}

static bool text_piece(FILE *out, const char *before, const char *s, size_t chars, bool first)
{
	return s && text_piece_n(out, before, s, strlen(s), chars, first);
}

/*
 * Write @before and the member @key, if it says anything (what is true in Python).
 * Return: was there something.
 */
static bool text_member(FILE *out, const char *before, const json_t *payload, const char *key,
			size_t chars, bool first)
{
	const json_t *v = json_object_get(payload, key);
	CLEANUP(freep) char *dump = NULL;
	const char *s = json_string_value(v);
	size_t len = s ? json_string_length(v) : 0;

	if (json_is_integer(v) ? json_integer_value(v) != 0
	    : json_is_real(v)  ? json_real_value(v) != 0.0
			       : json_is_true(v) || json_object_size(v) || json_array_size(v)) {
		dump = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
		s = dump;
		len = dump ? strlen(dump) : 0;
	}
	return len > 0 && text_piece_n(out, before, s, len, chars, first);
}

static int64_t text_seconds(const json_t *payload, const char *key)
{
	const json_t *v = json_object_get(payload, key);

	if (json_is_real(v) && json_real_value(v) > -1e15 && json_real_value(v) < 1e15)
		return (int64_t)json_real_value(v);
	if (json_is_string(v))
		return strtoll(json_string_value(v), NULL, 10);
	return json_integer_value(v);
}

/* ---- messages ------------------------------------------------------------------------ */

/* What "=NAME" stands for. */
static const char *text_of_task(const struct notify_about *a, const char *name)
{
	if (strcmp(name, "=title") == 0)
		return a->title && *a->title ? a->title : a->task;
	return strcmp(name, "=result") == 0 ? a->result : a->status;
}

/* Return: did it say anything. */
static bool text_part(FILE *out, const struct notify_about *a, const struct notice_part *part,
		      const json_t *payload)
{
	const bool first = part->flags & NOTICE_FIRST;
	bool said = true;

	if (part->flags & NOTICE_NUMBER)
		(void)fprintf(out, "%s%" PRId64, part->before,
			      text_seconds(payload, part->member));
	else if (part->member[0] == '=')
		said = text_piece(out, part->before, text_of_task(a, part->member), part->chars,
				  first);
	else
		said = text_member(out, part->before, payload, part->member, part->chars,
				   first);
	if (said && part->after)
		(void)fputs(part->after, out);
	return said;
}

static void text_body(FILE *out, const struct notify_about *a, const struct notice_kind *kind,
		      const json_t *payload)
{
	bool said = false;

	(void)fputs(kind->words, out);
	for (size_t i = 0; i < NOTICE_PARTS && kind->parts[i].member; i++)
		if (!(kind->parts[i].flags & NOTICE_ELSE) || !said)
			said = text_part(out, a, &kind->parts[i], payload);
	if (kind->tail)
		(void)fputs(kind->tail, out);
}

/* Close a memory stream. Return: 0 with *text, or -ENOMEM. */
static int text_close(FILE *out, char **text, char **made)
{
	bool bad = ferror(out) != 0;

	if (fclose(out) != 0 || bad) {
		free(*made);
		return -ENOMEM;
	}
	*text = *made;
	return 0;
}

int notify_text_event(const struct notify_about *a, const char *kind, const char *payload,
		      char **text)
{
	const struct notice_kind *k = notice_kind(kind);
	char *made = NULL;
	size_t size = 0;
	json_t *json;
	FILE *out;

	*text = NULL;
	if (!k || k->flags & NOTICE_QUIET)
		return 0;
	out = open_memstream(&made, &size);
	if (!out)
		return -ENOMEM;
	(void)fprintf(out, "%s [%s] ", k->glyph, a->board);
	if (!text_is_blank(a->assignee)) {
		(void)fputc('@', out);
		text_puts(out, a->assignee, NAME_CHARS);
		(void)fputc(' ', out);
	}
	(void)fputs("Kanban ", out);
	text_puts(out, a->task, NAME_CHARS);
	json = text_payload(payload);
	text_body(out, a, k, json);
	json_decref(json);
	return text_close(out, text, &made);
}

/* A span of time in one number: "3 min", "5 h", "2 d". */
static void text_span(char buf[static 32], int64_t s)
{
	if (s < 0)
		s = 0;
	if (s < 3600)
		(void)snprintf(buf, 32, "%" PRId64 " min", s / 60);
	else if (s < 2 * 86400)
		(void)snprintf(buf, 32, "%" PRId64 " h", s / 3600);
	else
		(void)snprintf(buf, 32, "%" PRId64 " d", s / 86400);
}

int notify_text_fold(char **text, unsigned count, int64_t span_s)
{
	size_t head = strcspn(*text, "\n");
	char span[32], *made = NULL;

	if (count < 2)
		return 0;
	text_span(span, span_s < 60 ? 60 : span_s + 59);
	if (asprintf(&made, "%.*s (%u times in %s)%s", (int)head, *text, count, span,
		     *text + head) < 0)
		return -ENOMEM;
	free(*text);
	*text = made;
	return 0;
}

/* ---- digests ------------------------------------------------------------------------- */

static void digest_head(FILE *out, const struct notify_line *lines, size_t n, int64_t now)
{
	unsigned total = 0, said = 0;
	int64_t oldest = INT64_MAX, newest = INT64_MIN;
	char from[32], to[32];

	for (size_t i = 0; i < n; i++) {
		total += lines[i].count;
		oldest = lines[i].at < oldest ? lines[i].at : oldest;
		newest = lines[i].at > newest ? lines[i].at : newest;
	}
	text_span(from, now - newest);
	text_span(to, now - oldest);
	if (strcmp(from, to) == 0)
		(void)fprintf(out, "📋 Kanban: %u updates that are %s old\n", total, to);
	else
		(void)fprintf(out, "📋 Kanban: %u updates that are %s to %s old\n", total, from,
			      to);
	for (size_t k = 0; k < notice_kind_count(); k++) {
		const struct notice_kind *kind = notice_kind_at(k);
		unsigned count = 0;

		for (size_t i = 0; i < n; i++)
			if (strcmp(lines[i].kind, kind->name) == 0)
				count += lines[i].count;
		if (count)
			(void)fprintf(out, "%s%s %u %s", said++ ? ", " : "", kind->glyph, count,
				      kind->many);
	}
}

/* The newest of each task, those first that wait for somebody. */
static void digest_body(FILE *out, const struct notify_line *lines, size_t n, size_t used)
{
	size_t left = 0, shown = 0;

	for (size_t i = 0; i < n; i++)
		left += lines[i].last;
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = n; i-- > 0 && shown < DIGEST_LINES;) {
			const struct notice_kind *k = notice_kind(lines[i].kind);
			size_t len = strcspn(lines[i].text, "\n"), chars;

			if (!lines[i].last || !k || !(k->flags & NOTICE_HUMAN) != (pass != 0))
				continue;
			chars = text_chars(lines[i].text, len) + 1;
			if (used + chars > NOTIFY_DIGEST_MAX - DIGEST_RESERVE) {
				pass = 2;
				break;
			}
			(void)fprintf(out, "\n%.*s", (int)len, lines[i].text);
			used += chars;
			shown++;
			left--;
		}
	if (left)
		(void)fprintf(out, "\n… and %zu more task%s", left, left == 1 ? "" : "s");
}

int notify_text_digest(const struct notify_line *lines, size_t n, int64_t now, char **text)
{
	char *made = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&made, &size);

	if (!out)
		return -ENOMEM;
	digest_head(out, lines, n, now);
	if (fflush(out) == 0)
		digest_body(out, lines, n, text_chars(made, size));
	return text_close(out, text, &made);
}

/* ---- on the way out ------------------------------------------------------------------ */

/* Is @s the end of "media", in any case? Python's re.IGNORECASE takes U+0130 and U+0131 for i.
 */
static bool disarm_is_media(const char *s, size_t len)
{
	static const char *const eyes[] = { "i", "I", "\xC4\xB0", "\xC4\xB1" };

	for (size_t k = 0; k < sizeof(eyes) / sizeof(eyes[0]); k++) {
		size_t n = strlen(eyes[k]);

		if (len >= n + 4 && strncasecmp(s + len - 1, "a", 1) == 0 &&
		    memcmp(s + len - 1 - n, eyes[k], n) == 0 &&
		    strncasecmp(s + len - 4 - n, "med", 3) == 0)
			return true;
	}
	return false;
}

int notify_text_disarm(const char *text, char **out)
{
	size_t len = strlen(text), n = 0;
	char *made = malloc(2 * len + 1);

	if (!made)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++) {
		if ((text[i] == ':' && disarm_is_media(text, i)) ||
		    (text[i] == '[' && i > 0 && text[i - 1] == '['))
			made[n++] = ' ';
		made[n++] = text[i];
	}
	made[n] = '\0';
	*out = made;
	return 0;
}
