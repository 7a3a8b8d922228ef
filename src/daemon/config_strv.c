/*
 * Lists of strings, and a command line split into words without a shell: what [worker] command
 * says becomes an argument vector here and is never seen by anything that would interpret it.
 */
#include "daemon.h"
#include "util/strv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int config_strv_push(struct config_strv *strv, char *owned)
{
	return strv_push(&strv->v, &strv->n, owned);
}

void config_strv_clear(struct config_strv *strv)
{
	strv->v = strv_free(strv->v);
	strv->n = 0;
}

static bool words_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* One word from *@at on into @word, which has room; *@at then stands behind it. */
static int words_take(const char **at, char *word, struct error *e)
{
	const char *p = *at;
	char quote = 0;

	for (; *p && (quote || !words_is_blank(*p)); p++) {
		if (quote == '\'' && *p != quote) {
			*word++ = *p;
		} else if (*p == quote) {
			quote = 0;
		} else if (!quote && (*p == '\'' || *p == '"')) {
			quote = *p;
		} else if (*p == '\\' && (!quote || (p[1] && strchr("\"\\$`", p[1])))) {
			if (!*++p)
				return error_set(e, -EINVAL,
						 "ends in a backslash that protects nothing");
			*word++ = *p;
		} else {
			*word++ = *p;
		}
	}
	if (quote)
		return error_set(e, -EINVAL, "the quote %c is not closed", quote);
	*word = '\0';
	*at = p;
	return 0;
}

int config_strv_split(const char *text, char ***words, struct error *e)
{
	struct config_strv strv = { NULL, 0 };
	CLEANUP(freep) char *word = malloc(strlen(text) + 1);
	int r = 0;

	if (!word)
		return error_set(e, -ENOMEM, "out of memory");
	while (r == 0) {
		while (words_is_blank(*text))
			text++;
		if (!*text)
			break;
		r = words_take(&text, word, e);
		if (r == 0 && config_strv_push(&strv, strdup(word)) < 0)
			r = error_set(e, -ENOMEM, "out of memory");
	}
	if (r == 0 && !strv.v) {
		strv.v = calloc(1, sizeof(*strv.v));
		if (!strv.v)
			r = error_set(e, -ENOMEM, "out of memory");
	}
	if (r < 0) {
		config_strv_clear(&strv);
		return r;
	}
	*words = strv.v;
	return 0;
}
