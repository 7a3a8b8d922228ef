/*
 * Fills and prefixes the one message that goes up with an error code; what it quotes is made
 * printable.
 */
#include "util/error.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/printable.h"
#include "util/text.h"

/*
 * Bytes of the well-formed UTF-8 sequence at @s: 0 if there is none, -1 if the end of the text
 * cuts it off. Overlong forms, surrogates and what lies above U+10FFFF are not well-formed.
 */
static int error_utf8(const unsigned char *s)
{
	int len = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;

	if (s[0] > 0xF4)
		return 0;
	for (int i = 1; i < len; i++) {
		if (s[i] == '\0')
			return -1;
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		if (i == 1 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
			       (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)))
			return 0;
	}
	return len;
}

void error_tidy(char *text, size_t size)
{
	size_t n = strnlen(text, size - 1);
	unsigned char *s = (unsigned char *)text;

	text[n] = '\0';
	for (size_t i = 0; i < n;) {
		int len = error_utf8(s + i);
		uint32_t c = 0;

		if (len < 0 && n == size - 1) {
			text[i] = '\0'; /* what was too long was cut inside a character */
			return;
		}
		if (len > 0)
			(void)text_decode(text + i, (size_t)len, &c);
		if (len > 0 && !printable_hidden(c)) {
			i += (size_t)len;
			continue;
		}
		s[i++] = '?'; /* the rest of a bad sequence follows, byte by byte */
	}
}

static void PRINTF(3, 0) error_vset(struct error *e, int code, const char *fmt, va_list ap)
{
	char text[ERROR_TEXT_MAX]; /* an argument may be the old e->text */

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	error_tidy(text, sizeof(text));
	e->code = code;
	if (code <= 0)
		e->cause = code;
	memcpy(e->text, text, strlen(text) + 1);
}

int(error_set)(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	error_vset(e, code, fmt, ap);
	va_end(ap);
	return code;
}

int error_errno(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!e)
		return code;
	va_start(ap, fmt);
	error_vset(e, code, fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	(void)snprintf(e->text + n, sizeof(e->text) - n, ": %s", strerror(-code));
	error_tidy(e->text, sizeof(e->text));
	return code;
}

int error_prefix(struct error *e, const char *fmt, ...)
{
	char old[ERROR_TEXT_MAX];
	va_list ap;
	size_t n;

	if (!e)
		return 0;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	error_vset(e, e->code, fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	(void)snprintf(e->text + n, sizeof(e->text) - n, "%s", old);
	error_tidy(e->text, sizeof(e->text));
	return e->code;
}
