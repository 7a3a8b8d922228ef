/*
 * Options, by getopt_long(3): `--name value`, `--name=value`, cut short while one is meant, or
 * a letter; anywhere behind the verb, until `--`. A word that begins with a dash and is no
 * option is a mistake, never a text: a forgotten quote must not become a task. `-` alone is a
 * word.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/edit.h"
#include "ctl.h"
#include "util/suggest.h"
#include "util/text.h"

#define CTL_OPTION_COLUMNS 30 /* of the options in a help text */
#define CTL_OPTIONS_MAX    40 /* of a verb, with those that all have */

/* What a letter stands for, the same for every verb that has the option. */
static const struct {
	char letter;
	const char *name;
} ctl_letters[] = {
	{ 'r', "root" },    { 'b', "board" },   { 's', "socket" },   { 'j', "json" },
	{ 'h', "help" },    { 'V', "version" }, { 'f', "follow" },   { 'n', "limit" },
	{ 'a', "all" },     { 'o', "output" },  { 'p', "assignee" }, { 'y', "yes" },
	{ 't', "timeout" }, { 'm', "reason" },
};

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

/* ---- help ---------------------------------------------------------------------------- */

static char ctl_letter(const char *name)
{
	for (size_t i = 0; i < sizeof(ctl_letters) / sizeof(ctl_letters[0]); i++)
		if (strcmp(ctl_letters[i].name, name) == 0)
			return ctl_letters[i].letter;
	return '\0';
}

void ctl_help_line(FILE *out, const char *left, const char *right)
{
	int gap = CTL_OPTION_COLUMNS - (int)strlen(left);

	/* whoever closes @out looks at its error flag */
	(void)fprintf(out, "  %s%*s%s\n", left, gap > 1 ? gap : 2, "", right);
}

static void ctl_help_options(const struct ctl_arg *options, FILE *out)
{
	for (; options && options->name; options++) {
		char letter = ctl_letter(options->name), left[96];

		(void)snprintf(left, sizeof(left), letter ? "-%c, --%s%s%s" : "%c   --%s%s%s",
			       letter ? letter : ' ', options->name, options->value ? " " : "",
			       options->value ? options->value : "");
		ctl_help_line(out, left, options->what);
	}
}

/* What every verb takes, those that print no table also a table's options; @to of a help text
 * is not written through. */
static void ctl_globals(struct ctl *ctl, struct ctl_arg globals[CTL_GLOBALS])
{
	const struct ctl_arg all[CTL_GLOBALS] = {
		{ "root", CTL_ARG_TEXT, &ctl->root_arg, "FOLDER",
		  "the kanban root (else from the environment, else the host's)", 0, 0 },
		{ "board", CTL_ARG_TEXT, &ctl->board_arg, "BOARD",
		  "the board (else HERMES_KANBAN_BOARD, else default)", 0, 0 },
		{ "socket", CTL_ARG_TEXT, &ctl->socket_arg, "FILE",
		  "the control socket (else that of the root's daemon)", 0, 0 },
		{ "json", CTL_ARG_FLAG, &ctl->json, NULL, "machine-readable output", 0, 0 },
		{ "output", CTL_ARG_TEXT, &ctl->screen.columns, "COLUMNS",
		  "of a table: only these, in this order", 0, 0 },
		{ "noheadings", CTL_ARG_FLAG, &ctl->screen.no_headings, NULL,
		  "of a table: without its titles", 0, 0 },
		{ "raw", CTL_ARG_FLAG, &ctl->screen.raw, NULL,
		  "of a table: for scripts, blanks in cells as \\x20", 0, 0 },
		{ "help", CTL_ARG_FLAG, NULL, NULL, "this text", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};

	memcpy(globals, all, sizeof(all));
}

void ctl_help_globals(struct ctl *ctl, FILE *out)
{
	struct ctl_arg globals[CTL_GLOBALS];

	ctl_globals(ctl, globals);
	ctl_help_options(globals, out);
}

static bool ctl_is_of_tables(const struct ctl_arg *o)
{
	return strcmp(o->name, "output") == 0 || strcmp(o->name, "noheadings") == 0 ||
	       strcmp(o->name, "raw") == 0;
}

/* Of the options of every verb only those of tables that @ctl's verb has a use for, or only the
 * others. */
static void ctl_globals_some(struct ctl *ctl, bool tables, struct ctl_arg some[CTL_GLOBALS])
{
	unsigned flags = ctl->verb ? ctl->verb->flags : 0;
	struct ctl_arg all[CTL_GLOBALS];
	size_t n = 0;

	ctl_globals(ctl, all);
	for (const struct ctl_arg *o = all; o->name; o++) {
		bool used = flags & CTL_TABLE ||
			    (flags & CTL_TABLES && strcmp(o->name, "output") != 0);

		if (ctl_is_of_tables(o) ? tables && used : !tables)
			some[n++] = *o;
	}
	some[n] = (struct ctl_arg){ 0 };
}

static void ctl_help_verb(struct ctl *ctl, const struct ctl_arg *options)
{
	const struct ctl_verb *v = ctl->verb;
	struct ctl_arg some[CTL_GLOBALS];
	FILE *out = ctl->out;

	(void)fprintf(out, "usage: kanbanctl %s [option …]%s%s\n%c%s.\n", v->name,
		      *v->args ? " " : "", v->args,
		      v->what[0] >= 'a' && v->what[0] <= 'z' ? v->what[0] - 'a' + 'A'
							     : v->what[0],
		      v->what + 1);
	if (v->flags & CTL_NEEDS_DAEMON)
		(void)fputs("It needs a daemon.\n", out);
	ctl_globals_some(ctl, true, some);
	if (options || some[0].name) {
		(void)fputs("\noptions:\n", out);
		ctl_help_options(options, out);
		ctl_help_options(some, out);
	}
	ctl_globals_some(ctl, false, some);
	(void)fputs("\noptions of every verb:\n", out);
	ctl_help_options(some, out);
}

/* "--name=VALUE<TAB>what", one a line, for completion */
static void ctl_describe(const struct ctl *ctl, const struct ctl_arg *options)
{
	for (; options && options->name; options++)
		(void)fprintf(ctl->out, "--%s%s%s\t%s\n", options->name,
			      options->value ? "=" : "", options->value ? options->value : "",
			      options->what);
}

/* ---- texts --------------------------------------------------------------------------- */

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

/* ---- parsing ------------------------------------------------------------------------- */

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
	return ctl_stop(ctl, ctl_say(ctl, CTL_USAGE, "%s%s kanbanctl %s%s--help", text,
				     *text && text[strlen(text) - 1] == '?' ? " See" : "; see",
				     ctl->verb ? ctl->verb->name : "", ctl->verb ? " " : ""));
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
	if (o->max == INT64_MAX)
		return ctl_mistake(ctl, "--%s takes a whole number, %lld or more, not \"%s\"",
				   o->name, (long long)o->min, value);
	return ctl_mistake(ctl, "--%s takes a whole number from %lld to %lld, not \"%s\"",
			   o->name, (long long)o->min, (long long)o->max, value);
}

/* The options of the verb, and those that all have, as getopt_long(3) wants them. */
struct ctl_table {
	struct ctl_arg all[CTL_OPTIONS_MAX];
	struct option longs[CTL_OPTIONS_MAX];
	char letters[2 * CTL_OPTIONS_MAX + 3];
	size_t n;
};

static void ctl_table_add(struct ctl_table *t, const struct ctl_arg *o)
{
	char letter = ctl_letter(o->name), *end = t->letters + strlen(t->letters);

	if (t->n + 1 >= CTL_OPTIONS_MAX) /* a verb has fewer: the tests run them all */
		return;
	t->longs[t->n] = (struct option){ .name = o->name,
					  .has_arg = o->value ? required_argument : no_argument,
					  .val = 256 + (int)t->n };
	if (letter) {
		*end++ = letter;
		*end++ = o->value ? ':' : '\0';
		*end = '\0';
	}
	t->all[t->n++] = *o;
}

static void ctl_table_fill(struct ctl_table *t, struct ctl *ctl, const struct ctl_arg *options)
{
	struct ctl_arg globals[CTL_GLOBALS];

	*t = (struct ctl_table){ .n = 0 };
	/* before the verb nothing is permuted: what stands behind it is its own */
	(void)strcpy(t->letters, ctl->verb ? ":" : "+:");
	for (; options && options->name; options++)
		ctl_table_add(t, options);
	ctl_globals(ctl, globals);
	for (const struct ctl_arg *o = globals; o->name; o++)
		ctl_table_add(t, o);
}

static const struct ctl_arg *ctl_table_find(const struct ctl_table *t, int code)
{
	if (code >= 256)
		return &t->all[code - 256];
	for (size_t i = 0; i < t->n; i++)
		if (ctl_letter(t->all[i].name) == code)
			return &t->all[i];
	return NULL;
}

/* The word that getopt_long() did not take. */
static bool ctl_unknown(struct ctl *ctl, const struct ctl_table *t, const char *word)
{
	size_t n = strcspn(word, "="), alike = 0;
	CLEANUP(freep) char *name = n > 2 ? strndup(word + 2, n - 2) : NULL;
	const char *names[CTL_OPTIONS_MAX], *near;
	char list[256] = "";

	if (word[1] != '-')
		return ctl_mistake(ctl, "there is no option -%c", optopt);
	for (size_t i = 0; i < t->n; i++) {
		size_t have = strlen(list);

		names[i] = t->all[i].name;
		if (!name || strncmp(names[i], name, n - 2) != 0)
			continue;
		if (strcmp(names[i], name) == 0)
			return ctl_mistake(ctl, "--%s takes no value", names[i]);
		(void)snprintf(list + have, sizeof(list) - have, "%s--%s", alike++ ? ", " : "",
			       names[i]);
	}
	if (alike > 1)
		return ctl_mistake(ctl, "--%s may be any of %s", name, list);
	if (alike == 1)
		return ctl_mistake(ctl, "%s takes no value", list);
	near = name ? suggest(name, names, t->n) : NULL;
	if (near)
		return ctl_mistake(ctl, "there is no option %.*s; did you mean --%s?", (int)n,
				   word, near);
	return ctl_mistake(ctl, "there is no option %.*s", (int)n, word);
}

bool ctl_args(struct ctl *ctl, const struct ctl_arg *options, int argc, char **argv, int min,
	      int max, char ***positional)
{
	struct ctl_table t;
	int code;

	if (ctl->describe) {
		struct ctl_arg some[CTL_GLOBALS];

		ctl_describe(ctl, options);
		ctl_globals_some(ctl, true, some);
		ctl_describe(ctl, some);
		return ctl_stop(ctl, CTL_OK);
	}
	ctl_table_fill(&t, ctl, options);
	opterr = 0;
	optind = 0; /* glibc: begin anew, with this order */
	while ((code = getopt_long(argc, argv, t.letters, t.longs, NULL)) != -1) {
		const struct ctl_arg *o = ctl_table_find(&t, code == ':' ? optopt : code);

		if (code == '?' || !o)
			return ctl_unknown(ctl, &t, argv[optind - 1]);
		if (code == ':')
			return ctl_mistake(ctl, "--%s needs %s", o->name, o->value);
		if (strcmp(o->name, "help") == 0 && ctl->verb) {
			ctl_help_verb(ctl, options);
			return ctl_stop(ctl, CTL_OK);
		}
		if (o->to && !ctl_take(ctl, o, optarg ? optarg : ""))
			return false;
	}
	if (!ctl->verb) {
		*positional = argv + optind;
		return true;
	}
	if (argc - optind < min)
		return ctl_mistake(ctl, "an argument is missing: kanbanctl %s %s",
				   ctl->verb->name, ctl->verb->args);
	if (argc - optind > max)
		return ctl_mistake(ctl, "\"%s\" is one argument too many", argv[optind + max]);
	*positional = argv + optind;
	return true;
}
