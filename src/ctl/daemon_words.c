/*
 * The sentence of `systemctl status` stands alone there: "draining, …; owner of ROOT (epoch 3):
 * 2 boards, 1 running, 4 ready, 1 board not dispatched (ops); owner of …". Where owner, boards
 * and tasks have lines of their own, only what is around that is news.
 */
#include "ctl/daemon_words.h"

#include <stdio.h>
#include <string.h>

#include "util/fs.h"

/* Where the part about another root begins, or the end. */
static size_t daemon_words_end(const char *text)
{
	static const char *const begin[] = { "; owner of ", "; standby: ", "; starting on ",
					     "; not dispatching " };
	const char *end = text + strlen(text);

	for (size_t i = 0; i < sizeof(begin) / sizeof(begin[0]); i++) {
		const char *at = strstr(text, begin[i]);

		if (at && at < end)
			end = at;
	}
	return (size_t)(end - text);
}

/* What is said of the process, before the first root. */
static size_t daemon_words_process(const char *text)
{
	size_t n = daemon_words_end(text);

	return strncmp(text, "stopping", 8) == 0 || strncmp(text, "paused", 6) == 0 ||
			       strncmp(text, "draining", 8) == 0
		       ? n
		       : 0;
}

char *daemon_words(const char *sentence, const char *root)
{
	CLEANUP(freep) char *owner = fs_path("owner of %s (", root);
	const char *at = owner ? strstr(sentence, owner) : NULL;
	int process = (int)daemon_words_process(sentence);

	if (!owner)
		return NULL;
	at = at ? strstr(at, "): ") : NULL;
	if (!at)
		return strdup(sentence); /* it is no owner */
	at += strlen("): ");
	if (*at >= '0' && *at <= '9') { /* what it counts */
		at += strcspn(at, ";y");
		at += strspn(at, "y, ");
	}
	return fs_path("%.*s%s%.*s", process, sentence,
		       process > 0 && *at && *at != ';' ? "; " : "",
		       *at == ';' ? 0 : (int)daemon_words_end(at), at);
}
