/*
 * Options: `--name value`, `--name=value`, anywhere behind the verb, until `--`. A word that
 * begins with a dash and is no option is a mistake, never a text: a forgotten quote must not
 * become a task. `-` alone is a word.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/edit_txn.h"
#include "ctl.h"
#include "util/text.h"

#define CTL_OPTION_COLUMNS 26 /* of the options in a help text */

bool ctl_int(const char *text, int64_t min, int64_t max, int64_t *out)
{
	const char *digits = text + (*text == '-');
	long long value;

	if (!*digits || strspn(digits, "0123456789") != strlen(digits))
		return false;
	errno = 0;
	value = strtoll(text, NULL, 10);
	if (errno != 0 || value < min || value > max)
		return false;
	*out = value;
	return true;
}

/* ---- help ---------------------------------------------------------------------------------
 */

static void ctl_help_line(FILE *out, const char *left, const char *right)
{
	int gap = CTL_OPTION_COLUMNS - (int)strlen(left);

	/* whoever closes @out looks at its error flag */
	(void)fprintf(out, "  %s%*s%s\n", left, gap > 1 ? gap : 2, "", right);
}

static void ctl_help_globals(FILE *out)
{
	ctl_help_line(out, "--root FOLDER", "the kanban root (else from the environment)");
	ctl_help_line(out, "--board SLUG",
		      "the board (else HERMES_KANBAN_BOARD, else default)");
	ctl_help_line(out, "--socket PATH",
		      "the control socket (else that of the root's owner)");
	ctl_help_line(out, "--json", "machine-readable output");
	ctl_help_line(out, "--help", "this text");
}

static void ctl_help_all(FILE *out)
{
	const struct ctl_verb *v = ctl_verbs();
	char left[96];

	(void)fputs(
		"usage: kanbanctl [--root FOLDER] [--board SLUG] [--json] VERB [argument …]\n"
		"\nverbs:\n",
		out);
	for (; v->name; v++) {
		(void)snprintf(left, sizeof(left), "%s%s%s", v->name, *v->args ? " " : "",
			       v->args);
		ctl_help_line(out, left, v->what);
	}
	(void)fputs("\noptions:\n", out);
	ctl_help_globals(out);
	ctl_help_line(out, "--version", "the version");
	(void)fputs("\n\"kanbanctl VERB --help\" tells more; so does kanbanctl(1).\n", out);
}

void ctl_help(const struct ctl *ctl, const struct ctl_arg *options, FILE *out)
{
	const struct ctl_verb *v = ctl_verbs();
	char left[96];

	while (v->name && strcmp(v->name, ctl->verb) != 0)
		v++;
	if (!v->name) {
		ctl_help_all(out);
		return;
	}
	(void)fprintf(out, "usage: kanbanctl %s%s%s%s\n%s\n\noptions:\n", v->name,
		      options ? " [option …]" : "", *v->args ? " " : "", v->args, v->what);
	for (; options && options->name; options++) {
		(void)snprintf(left, sizeof(left), "--%s%s%s", options->name,
			       options->value ? " " : "", options->value ? options->value : "");
		ctl_help_line(out, left, options->what);
	}
	ctl_help_globals(out);
}

/* ---- texts --------------------------------------------------------------------------------
 */

static int ctl_read_stdin(struct ctl *ctl, const char *what, char **out)
{
	size_t used = 0, cap = 65536;
	CLEANUP(freep) char *text = malloc(cap);

	if (ctl->stdin_used)
		return ctl_say(ctl, CTL_USAGE, "standard input can be one text only");
	ctl->stdin_used = true;
	while (text) {
		ssize_t n = read(STDIN_FILENO, text + used, cap - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ctl_say(ctl, CTL_IO, "cannot read standard input: %s",
				       strerror(errno));
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > EDIT_TEXT_MAX)
			return ctl_say(ctl, CTL_USAGE, "the %s is too long: at most %zu bytes",
				       what, EDIT_TEXT_MAX);
		if (used == cap) {
			char *more = realloc(text, cap * 2);

			if (!more)
				return ctl_say(ctl, CTL_IO, "out of memory");
			text = more;
			cap *= 2;
		}
	}
	if (!text)
		return ctl_say(ctl, CTL_IO, "out of memory");
	if (memchr(text, '\0', used) || !text_is_utf8(text, used))
		return ctl_say(ctl, CTL_USAGE, "the %s on standard input is not UTF-8 text",
			       what);
	while (used > 0 && text[used - 1] == '\n')
		used--;
	text[used] = '\0'; /* used < cap: a full buffer was enlarged */
	*out = STEAL(text);
	return 0;
}

int ctl_long_text(struct ctl *ctl, const char *what, const char *text, char **out)
{
	if (strcmp(text, "-") == 0)
		return ctl_read_stdin(ctl, what, out);
	*out = strdup(text);
	return *out ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
}

/* ---- parsing ------------------------------------------------------------------------------
 */

static bool ctl_stop(struct ctl *ctl, int exit)
{
	ctl->stop = true;
	ctl->exit = exit;
	return false;
}

static bool ctl_mistake(struct ctl *ctl, const char *fmt, ...) PRINTF(2, 3);
static bool ctl_mistake(struct ctl *ctl, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut is good enough */
	va_end(ap);
	return ctl_stop(ctl, ctl_say(ctl, CTL_USAGE, "%s; see kanbanctl %s%s--help", text,
				     ctl->verb, *ctl->verb ? " " : ""));
}

static bool ctl_append(struct ctl *ctl, struct ctl_list *list, const char *item)
{
	const char **more = reallocarray(list->items, list->n + 2, sizeof(*more));

	if (!more)
		return ctl_stop(ctl, ctl_say(ctl, CTL_IO, "out of memory"));
	list->items = more;
	more[list->n++] = item;
	more[list->n] = NULL;
	return true;
}

static bool ctl_take(struct ctl *ctl, const struct ctl_arg *o, const char *value)
{
	int r;

	switch (o->kind) {
	case CTL_ARG_FLAG:
		*(bool *)o->to = true;
		return true;
	case CTL_ARG_TEXT:
		*(const char **)o->to = value;
		return true;
	case CTL_ARG_LONG:
		free(*(char **)o->to);
		*(char **)o->to = NULL;
		r = ctl_long_text(ctl, o->name, value, o->to);
		return r == 0 || ctl_stop(ctl, r);
	case CTL_ARG_LIST:
		return ctl_append(ctl, o->to, value);
	case CTL_ARG_INT:
		break;
	}
	if (ctl_int(value, o->min, o->max, o->to))
		return true;
	return ctl_mistake(ctl, "--%s takes a whole number from %lld to %lld, not \"%s\"",
			   o->name, (long long)o->min, (long long)o->max, value);
}

/* The option at argv[*i], and its value. */
static bool ctl_option(struct ctl *ctl, const struct ctl_arg *options, int argc, char **argv,
		       int *i)
{
	const struct ctl_arg globals[] = {
		{ "root", CTL_ARG_TEXT, &ctl->root_arg, "FOLDER", "", 0, 0 },
		{ "board", CTL_ARG_TEXT, &ctl->board_arg, "SLUG", "", 0, 0 },
		{ "socket", CTL_ARG_TEXT, &ctl->socket_arg, "PATH", "", 0, 0 },
		{ "json", CTL_ARG_FLAG, &ctl->json, NULL, "", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	const char *word = argv[*i], *equals = strchr(word, '='), *value = NULL;
	size_t len = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
	const struct ctl_arg *found = NULL;

	for (const struct ctl_arg *o = options; o && o->name && !found; o++)
		if (strncmp(o->name, word + 2, len) == 0 && o->name[len] == '\0')
			found = o;
	for (const struct ctl_arg *o = globals; o->name && !found; o++)
		if (strncmp(o->name, word + 2, len) == 0 && o->name[len] == '\0')
			found = o;
	if (!found)
		return ctl_mistake(ctl, "there is no option %.*s", (int)len + 2, word);
	if (!found->value && equals)
		return ctl_mistake(ctl, "--%s takes no value", found->name);
	if (found->value) {
		if (equals)
			value = equals + 1;
		else if (*i + 1 < argc)
			value = argv[++*i];
		else
			return ctl_mistake(ctl, "--%s needs %s", found->name, found->value);
	}
	return ctl_take(ctl, found, value ? value : ""); /* a flag has none */
}

static const struct ctl_arg *ctl_has(const struct ctl_arg *o, const char *name)
{
	while (o && o->name && strcmp(o->name, name) != 0)
		o++;
	return o && o->name ? o : NULL;
}

bool ctl_args(struct ctl *ctl, const struct ctl_arg *options, int argc, char **argv, int min,
	      int max, char ***positional)
{
	int n = 0;
	bool literal = false;

	for (int i = 1; i < argc; i++) {
		char *word = argv[i];

		if (literal || word[0] != '-' || word[1] == '\0') {
			argv[n++] = word; /* never ahead of i: argv[0] was the verb */
		} else if (strcmp(word, "--") == 0) {
			literal = true;
		} else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			ctl_help(ctl, options, ctl->out);
			return ctl_stop(ctl, CTL_OK);
		} else if (strcmp(word, "-f") == 0 && ctl_has(options, "follow")) {
			*(bool *)ctl_has(options, "follow")->to = true;
		} else if (word[1] != '-') {
			return ctl_mistake(ctl, "there is no option %s", word);
		} else if (!ctl_option(ctl, options, argc, argv, &i)) {
			return false;
		}
	}
	argv[n] = NULL; /* n < argc, the verb's own place is free */
	if (n < min)
		return ctl_mistake(ctl, "an argument is missing");
	if (n > max)
		return ctl_mistake(ctl, "\"%s\" is one argument too many", argv[max]);
	*positional = argv;
	return true;
}
