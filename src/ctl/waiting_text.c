/*
 * A rule says of one task "it has no assignee", and what releases it. Of several the same is
 * said in the plural; what is not about the task itself ("4 of 4 run …") is the reason why it
 * waits.
 */
#include "ctl/waiting_text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "util/json.h"
#include "util/printable.h"

#define WAITING_UNTIL_MAX 400

void waiting_text(const json_t *group, char *out, size_t size)
{
	static const struct {
		const char *it, *they;
	} verbs[] = {
		{ "it has ", "have" },
		{ "it is ", "are" },
		{ "it waits ", "wait" },
		{ "it runs ", "run" },
	};
	const char *text = json_text(group, "text");
	long long n = json_number(group, "count", 0);

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		size_t len = strlen(verbs[i].it);

		if (strncmp(text, verbs[i].it, len) != 0)
			continue;
		if (n == 1)
			(void)snprintf(out, size, "1 %s", text + strlen("it "));
		else
			(void)snprintf(out, size, "%lld %s %s", n, verbs[i].they, text + len);
		return;
	}
	(void)snprintf(out, size, "%lld wait%s because %s", n, n == 1 ? "s" : "", text);
}

void waiting_until(const json_t *rule, const char *task, char *out, size_t size)
{
	const char *release = json_text(rule, "release");
	const char *at = task ? strstr(release, " TASK") : NULL;

	if (!*release)
		out[0] = '\0';
	else if (at)
		(void)snprintf(out, size, ", until %.*s %s%s", (int)(at - release), release,
			       task, at + strlen(" TASK"));
	else
		(void)snprintf(out, size, ", until %s", release);
}

void waiting_put_until(const struct ctl *ctl, const json_t *rule, const char *task)
{
	int64_t at = json_number(rule, "at", 0);
	char text[WAITING_UNTIL_MAX], when[32];

	waiting_until(rule, task, text, sizeof(text));
	printable_put(ctl->out, text, strlen(text), 0);
	if (at <= 0)
		return;
	screen_time(at, when);
	(void)fprintf(ctl->out, " (%s)", when);
}
