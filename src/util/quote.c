/*
 * Quoting for POSIX shells. What is made here is only printed, never run by us; but an operator
 * pastes it, so a folder with a blank, a quote or a `$(…)` in its name must stay a name. A
 * control character cannot be pasted at all: it is shown as what it is by whoever prints.
 */
#include "util/quote.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void quote_word(FILE *out, const char *s)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_@%+=:,./-";

	/* failures show when the stream is closed */
	if (*s && strspn(s, plain) == strlen(s)) {
		(void)fputs(s, out);
		return;
	}
	(void)fputc('\'', out);
	for (; *s; s++) {
		if (*s == '\'')
			(void)fputs("'\\''", out);
		else
			(void)fputc(*s, out);
	}
	(void)fputc('\'', out);
}

static char *quote_end(FILE *out, char **text)
{
	if (fclose(out) == 0)
		return *text;
	free(*text);
	return NULL;
}

char *quote_command(const char *fmt, ...)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	va_list ap;

	if (!out)
		return NULL;
	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			(void)fputc(*fmt, out);
			continue;
		}
		fmt++;
		if (*fmt == 'q')
			quote_word(out, va_arg(ap, const char *));
		else if (*fmt == 's')
			(void)fputs(va_arg(ap, const char *), out);
		else if (*fmt == 'd')
			(void)fprintf(out, "%d", va_arg(ap, int));
		else
			(void)fputc(*fmt, out);
	}
	va_end(ap);
	return quote_end(out, &text);
}

char *quote_words(const char *const *words)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (size_t i = 0; words[i]; i++) {
		if (i > 0)
			(void)fputc(' ', out);
		quote_word(out, words[i]);
	}
	return quote_end(out, &text);
}
