/*
 * Values: from text to number, list or path with its range and unit, and back to text. The
 * messages here say only what is wrong with the value; the readers put the file, the line and
 * the key before it.
 */
#include "daemon.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "hook/hook_kind.h"
#include "util/fs.h"
#include "util/quote.h"
#include "util/strv.h"

#define PROFILES_MAX 1024

struct value_unit {
	const char *suffix; /* NULL ends the list; "" when the number stands alone */
	int64_t factor;     /* to the unit of the kind */
};

/* Each in rising order; the plain number's own factor is value_plain_factor(). */
static const struct value_unit units_s[] = {
	{ "s", 1 }, { "min", 60 }, { "h", 3600 }, { "d", 86400 }, { NULL, 0 }
};
static const struct value_unit units_ms[] = { { "ms", 1 },       { "s", 1000 },
					      { "min", 60000 },  { "h", 3600000 },
					      { "d", 86400000 }, { NULL, 0 } };
static const struct value_unit units_bytes[] = {
	{ "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 }
};
static const struct value_unit units_none[] = { { "", 1 }, { NULL, 0 } };

static const struct value_unit *value_units(enum config_kind kind)
{
	switch (kind) {
	case KIND_SECONDS:
		return units_s;
	case KIND_MS:
		return units_ms;
	case KIND_BYTES:
		return units_bytes;
	default:
		return units_none;
	}
}

/* The largest unit that says the number exactly. */
static void value_number_text(const struct config_option *option, int64_t number, char *buf,
			      size_t size)
{
	const struct value_unit *unit = value_units(option->kind), *best = unit;

	for (; unit->suffix; unit++)
		if (number != 0 && number % unit->factor == 0)
			best = unit;
	if (option->kind == KIND_MS && number == 0)
		best = &units_ms[1];
	(void)snprintf(buf, size, "%" PRId64 "%s", number / best->factor, best->suffix);
}

int config_value_number(const struct config_option *option, int64_t number,
			struct config_value *value, struct error *e)
{
	char said[32], min[32], max[32];

	if (number < option->min || number > option->max) {
		value_number_text(option, number, said, sizeof(said));
		value_number_text(option, option->min, min, sizeof(min));
		value_number_text(option, option->max, max, sizeof(max));
		return error_set(e, -EINVAL, "%s is out of range; allowed is %s to %s%s%s",
				 said, min, max, option->unset ? ", or " : "",
				 option->unset ? option->unset : "");
	}
	value->set = true;
	value->number = number;
	return 0;
}

/* What a number may look like, for the message. */
static const char *value_shape(const struct config_option *option, bool plain)
{
	if (plain)
		return option->kind == KIND_MS ? "a whole number of milliseconds"
					       : "a whole number of seconds";
	switch (option->kind) {
	case KIND_SECONDS:
		return "a duration such as 90, 90s, 15min, 2h or 1d";
	case KIND_MS:
		return "a duration such as 5, 500ms, 5s or 2min";
	case KIND_BYTES:
		return "a size such as 4096, 512K, 2M or 1G";
	default:
		return "a whole number";
	}
}

/* Digits with a sign, as far as they go. Return: 0; -EINVAL no number; -ERANGE too large. */
static int value_digits(const char *text, const char **end, int64_t *number)
{
	const char *first = text + (*text == '-' || *text == '+');
	char *stop = NULL;

	if (!isdigit((unsigned char)*first))
		return -EINVAL;
	errno = 0;
	*number = strtoll(text, &stop, 10);
	*end = stop;
	return errno == ERANGE ? -ERANGE : 0;
}

static int value_parse_number(const struct config_option *option,
			      const struct config_syntax *syntax, const char *text,
			      struct config_value *value, struct error *e)
{
	char buf[72];
	const char *end = text;
	int64_t number = 0, factor = 0;
	int r;

	if (option->unset && !syntax->plain_numbers && strcasecmp(text, option->unset) == 0) {
		value->set = true;
		value->number = -1;
		return 0;
	}
	r = value_digits(text, &end, &number);
	if (r == 0) {
		while (*end == ' ' || *end == '\t')
			end++;
		if (!*end)
			factor = option->kind == KIND_MS && !syntax->plain_numbers ? 1000 : 1;
		for (const struct value_unit *u = value_units(option->kind); u->suffix; u++)
			if (*end && !syntax->plain_numbers && strcasecmp(end, u->suffix) == 0)
				factor = u->factor;
		if (factor == 0)
			r = -EINVAL;
		else if (__builtin_mul_overflow(number, factor, &number))
			r = -ERANGE;
	}
	if (r == -ERANGE)
		return error_set(e, -EINVAL, "\"%s\" is too large a number",
				 config_short(text, buf));
	if (r < 0)
		return error_set(e, -EINVAL, "\"%s\" is not %s%s%s", config_short(text, buf),
				 value_shape(option, syntax->plain_numbers),
				 option->unset ? ", nor " : "",
				 option->unset ? option->unset : "");
	return config_value_number(option, number, value, e);
}

/* Yes, true, on, 1, … ; -EINVAL without a message */
static int config_value_bool(const char *text, int64_t *number)
{
	static const char *const words[][4] = { { "no", "false", "off", "0" },
						{ "yes", "true", "on", "1" } };

	for (int b = 0; b < 2; b++)
		for (int i = 0; i < 4; i++)
			if (strcasecmp(text, words[b][i]) == 0) {
				*number = b;
				return 0;
			}
	return -EINVAL;
}

static int value_parse_choice(const struct config_option *option, const char *text,
			      struct config_value *value, struct error *e)
{
	char buf[72], all[128] = "";
	size_t n = 0;

	for (const struct config_choice *c = option->choices; c->word; c++) {
		if (strcasecmp(text, c->word) == 0) {
			if (c->refused)
				return error_set(e, -EINVAL, "%s: %s", c->word, c->refused);
			value->set = true;
			value->number = c->number;
			return 0;
		}
		if (!c->refused && n < sizeof(all))
			n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", n ? ", " : "",
					      c->word);
	}
	return error_set(e, -EINVAL, "\"%s\" is not one of %s", config_short(text, buf), all);
}

/* Trimmed, lower-cased and checked as the board contract reads profile names (§1). */
static int value_profile_name(const char *name, char **canonical, struct error *e)
{
	CLEANUP(freep) char *copy = NULL;
	char buf[72];
	size_t n = strlen(name);

	while (n > 0 && isspace((unsigned char)*name))
		name++, n--;
	while (n > 0 && isspace((unsigned char)name[n - 1]))
		n--;
	copy = strndup(name, n);
	if (!copy)
		return error_set(e, -ENOMEM, "out of memory");
	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (!fs_is_slug(copy))
		return error_set(e, -EINVAL,
				 "\"%s\" is not a profile name (a to z, 0 to 9, _ and -; at "
				 "most 64, the first a letter or digit)",
				 config_short(name, buf));
	*canonical = STEAL(copy);
	return 0;
}

int config_value_profile(struct config_value *value, const char *name, struct error *e)
{
	struct config_strv strv = { value->list, 0 };
	CLEANUP(freep) char *canonical = NULL;
	int r;

	while (strv.v && strv.v[strv.n])
		strv.n++;
	if (strv.n >= PROFILES_MAX)
		return error_set(e, -E2BIG, "more than %d names", PROFILES_MAX);
	r = value_profile_name(name, &canonical, e);
	if (r < 0)
		return r;
	r = config_strv_push(&strv, STEAL(canonical));
	value->list = strv.v;
	return r < 0 ? error_set(e, r, "out of memory") : 0;
}

static int value_parse_profiles(const char *text, struct config_value *value, struct error *e)
{
	CLEANUP(freep) char *copy = strdup(text);
	char *rest = copy, *name;

	if (!copy)
		return error_set(e, -ENOMEM, "out of memory");
	value->set = true;
	if (strcmp(text, "*") == 0)
		return 0;
	value->list = calloc(1, sizeof(*value->list));
	if (!value->list)
		return error_set(e, -ENOMEM, "out of memory");
	while ((name = strsep(&rest, ", \t"))) {
		int r = *name ? config_value_profile(value, name, e) : 0;

		if (r < 0)
			return r == -E2BIG ? -EINVAL : r;
	}
	return 0;
}

static int value_parse_command(const char *text, struct config_value *value, struct error *e)
{
	int r = config_strv_split(text, &value->list, e);

	if (r < 0)
		return r;
	value->set = true;
	if (!value->list[0])
		value->list = strv_free(value->list);
	else if (!value->list[0][0])
		return error_set(e, -EINVAL, "the first word is empty");
	return 0;
}

/* Words joined by -, as the manager would have it: it refuses any other when a worker starts.
 */
static int value_parse_slice(const char *text, struct config_value *value, struct error *e)
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		":_.\\-";
	size_t len = strlen(text), end = len < 6 ? 0 : len - 6;
	char buf[72];

	if (end == 0 || len > 255 || strcmp(text + end, ".slice") != 0 || text[0] == '-' ||
	    text[end - 1] == '-' || strstr(text, "--") || text[strspn(text, ok)])
		return error_set(e, -EINVAL,
				 "\"%s\" is no name of a slice; write kanban.slice, or "
				 "kanban-NAME.slice for one below it",
				 config_short(text, buf));
	value->text = strdup(text);
	return value->text ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static int value_parse_text(const struct config_option *option,
			    const struct config_syntax *syntax, const char *text,
			    struct config_value *value, struct error *e)
{
	int r = 0;

	value->set = true;
	if (option->kind == KIND_SLICE)
		return value_parse_slice(text, value, e);
	if (!*text) {
		if (option->kind == KIND_PROGRAM)
			return error_set(e, -EINVAL, "a program is missing");
		return 0;
	}
	if (option->kind == KIND_PROFILE)
		return value_profile_name(text, &value->text, e);
	if (option->kind == KIND_PROGRAM && !strchr(text, '/')) {
		value->text = strdup(text);
		return value->text ? 0 : error_set(e, -ENOMEM, "out of memory");
	}
	r = config_path(text, syntax->home, syntax->relative, &value->text, e);
	if (r == 0 && option->kind == KIND_SOCKET &&
	    strlen(value->text) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return error_set(
			e, -EINVAL, "the path has %zu bytes, a socket may have %zu at most",
			strlen(value->text), sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	return r;
}

static int value_event(char *word, struct config_strv *list, struct error *e)
{
	const char *near = NULL;
	char buf[72];
	char *copy;

	for (size_t i = 0; !hook_kind_find(word) && hook_kind_at(i); i++)
		if (config_near(word, hook_kind_at(i)->name))
			near = hook_kind_at(i)->name;
	if (!hook_kind_find(word))
		return error_set(e, -EINVAL, "there is no event %s%s%s; see kanband.conf(5)",
				 config_short(word, buf), near ? "; did you mean " : "",
				 near ? near : "");
	copy = strdup(word);
	return copy && config_strv_push(list, copy) == 0 ? 0 : -ENOMEM;
}

/* Names of events, or * for all. */
static int value_parse_events(const char *text, struct config_value *value, struct error *e)
{
	CLEANUP(freep) char *copy = strdup(text);
	struct config_strv list = { NULL, 0 };
	char *save = NULL;
	int r = copy ? 0 : -ENOMEM;

	value->set = true;
	if (strcmp(text, "*") == 0)
		return 0;
	for (char *word = copy ? strtok_r(copy, ", \t\n", &save) : NULL; r == 0 && word;
	     word = strtok_r(NULL, ", \t\n", &save))
		r = value_event(word, &list, e);
	value->list = list.v ? list.v : calloc(1, sizeof(char *));
	if (r == -ENOMEM || !value->list)
		return error_set(e, -ENOMEM, "out of memory");
	return r;
}

static int value_parse_bool(const char *text, struct config_value *value, struct error *e)
{
	char buf[72];

	if (config_value_bool(text, &value->number) < 0)
		return error_set(e, -EINVAL, "\"%s\" is neither yes nor no",
				 config_short(text, buf));
	value->set = true;
	return 0;
}

int config_value_parse(const struct config_option *option, const struct config_syntax *syntax,
		       const char *text, struct config_value *value, struct error *e)
{
	int r = -EINVAL;

	switch (option->kind) {
	case KIND_NUMBER:
	case KIND_SECONDS:
	case KIND_MS:
	case KIND_BYTES:
		r = value_parse_number(option, syntax, text, value, e);
		break;
	case KIND_BOOL:
		r = value_parse_bool(text, value, e);
		break;
	case KIND_CHOICE:
		r = value_parse_choice(option, text, value, e);
		break;
	case KIND_PROFILES:
		r = value_parse_profiles(text, value, e);
		break;
	case KIND_EVENTS:
		r = value_parse_events(text, value, e);
		break;
	case KIND_COMMAND:
		r = value_parse_command(text, value, e);
		break;
	case KIND_PROFILE:
	case KIND_PATH:
	case KIND_SOCKET:
	case KIND_PROGRAM:
	case KIND_SLICE:
		r = value_parse_text(option, syntax, text, value, e);
		break;
	}
	if (r < 0)
		config_value_clear(value);
	return r;
}

int config_value_put(struct config_value *slot, struct config_value *value,
		     const char *source_fmt, ...)
{
	char *source = NULL;
	va_list ap;
	int n;

	va_start(ap, source_fmt);
	n = vasprintf(&source, source_fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	config_value_clear(slot);
	*slot = *value;
	slot->source = source;
	*value = (struct config_value){ 0 };
	return 0;
}

static char *value_list_text(char *const *list)
{
	size_t len = 1;
	char *text, *end;

	for (size_t i = 0; list[i]; i++)
		len += strlen(list[i]) + 1;
	text = end = calloc(1, len);
	for (size_t i = 0; text && list[i]; i++) {
		if (i > 0)
			*end++ = ' ';
		end = stpcpy(end, list[i]);
	}
	return text;
}

char *config_value_text(const struct config_option *option, const struct config_value *value)
{
	char buf[32];

	switch (option->kind) {
	case KIND_BOOL:
		return strdup(value->number ? "yes" : "no");
	case KIND_CHOICE:
		for (const struct config_choice *c = option->choices; c->word; c++)
			if (!c->refused && c->number == value->number)
				return strdup(c->word);
		return strdup("?");
	case KIND_PROFILES:
	case KIND_EVENTS:
		return value->list ? value_list_text(value->list) : strdup("*");
	case KIND_COMMAND:
		return value->list ? quote_words((const char *const *)value->list) : strdup("");
	case KIND_PROFILE:
	case KIND_PATH:
	case KIND_SOCKET:
	case KIND_PROGRAM:
	case KIND_SLICE:
		return strdup(value->text ? value->text : "");
	default:
		if (option->unset && value->number == -1)
			return strdup(option->unset);
		value_number_text(option, value->number, buf, sizeof(buf));
		return strdup(buf);
	}
}

void config_value_clear(struct config_value *value)
{
	free(value->text);
	free(value->source);
	(void)strv_free(value->list);
	*value = (struct config_value){ 0 };
}

struct config_value *config_values_new(void)
{
	return calloc(config_option_count, sizeof(struct config_value));
}

struct config_value *config_values_free(struct config_value *values)
{
	for (size_t i = 0; values && i < config_option_count; i++)
		config_value_clear(&values[i]);
	free(values);
	return NULL;
}
