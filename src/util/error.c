#include "util/error.h"

#include <stdio.h>
#include <string.h>

/* Cut at a UTF-8 boundary and keep the text on one line: it ends in logs and status lines. */
static void error_tidy(char *text, size_t len)
{
	size_t n = strnlen(text, len);

	if (n >= len - 1) {
		while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80)
			n--;
		if (n > 0 && (unsigned char)text[n - 1] >= 0xC0)
			n--;
		text[n] = '\0';
	}
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
			text[i] = '?';
}

static void error_vset(struct error *e, int code, const char *fmt, va_list ap)
{
	e->code = code;
	if (vsnprintf(e->text, sizeof(e->text), fmt, ap) < 0)
		e->text[0] = '\0';
	error_tidy(e->text, sizeof(e->text));
}

int error_set(struct error *e, int code, const char *fmt, ...)
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
