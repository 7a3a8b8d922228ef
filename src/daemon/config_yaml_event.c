/*
 * config.yaml event by event: what comes next, what is passed over, scalars as PyYAML
 * (YAML 1.1) reads them, and what is said about mistakes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config_yaml.h"

#define YAML_WARNINGS 16 /* of one file; the rest is counted */

size_t config_yaml_event_line(const yaml_event_t *ev)
{
	return ev->start_mark.line + 1;
}

int config_yaml_event_broken(struct yaml_file *f, size_t line, const char *what)
{
	f->r = -EINVAL;
	return error_set(&f->e, -EINVAL, "%s:%zu: %s", f->path, line, what);
}

static int yaml_unreadable(struct yaml_file *f)
{
	size_t line;
	const char *problem = yamlwalk_problem(&f->walk, &line);
	char what[200];

	if (!problem) {
		f->r = -ENOMEM;
		return error_set(&f->e, -ENOMEM, "%s: out of memory", f->path);
	}
	(void)snprintf(what, sizeof(what), "%s%s", f->walk.deep ? "" : "not YAML: ", problem);
	return config_yaml_event_broken(f, line, what);
}

int config_yaml_event_root(struct yaml_file *f)
{
	return yamlwalk_root(&f->walk) ? 0 : yaml_unreadable(f);
}

int config_yaml_event_next(struct yaml_file *f)
{
	return yamlwalk_next(&f->walk) ? 0 : yaml_unreadable(f);
}

int config_yaml_event_skip(struct yaml_file *f)
{
	return yamlwalk_skip(&f->walk) ? 0 : yaml_unreadable(f);
}

int config_yaml_event_warn(struct yaml_file *f, size_t line, const char *fmt, ...)
{
	struct error text = ERROR_NULL;
	char *what = NULL;
	va_list ap;
	int n;

	if (f->warnings.n >= YAML_WARNINGS) {
		f->more++;
		return 0;
	}
	va_start(ap, fmt);
	n = vasprintf(&what, fmt, ap);
	va_end(ap);
	if (n < 0)
		return f->r = -ENOMEM;
	/* the same tidying as every other sentence */
	(void)error_set(&text, -EINVAL, "%s:%zu: %s", f->path, line, what);
	free(what);
	if (config_strv_push(&f->warnings, strdup(text.text)) < 0)
		return f->r = -ENOMEM;
	if (!f->fault)
		f->fault = strdup(text.text);
	return 0;
}

/* ---- scalars as PyYAML reads them ---- */

const char *config_yaml_event_text(const yaml_event_t *ev)
{
	return (const char *)ev->data.scalar.value;
}

/* Quoted, or tagged !!str: a string whatever it looks like. */
bool config_yaml_event_is_string(const yaml_event_t *ev)
{
	const char *tag = (const char *)ev->data.scalar.tag;

	if (tag)
		return strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, "!") == 0;
	return ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
}

bool config_yaml_event_is_null(const yaml_event_t *ev)
{
	const char *s = config_yaml_event_text(ev);

	return ev->type == YAML_SCALAR_EVENT && !config_yaml_event_is_string(ev) &&
	       (!*s || strcmp(s, "~") == 0 || strcasecmp(s, "null") == 0);
}

/* ---- values ---- */

/* Tags of plain data. Others would make PyYAML build objects, or refuse. */
static bool yaml_tag_known(const char *tag)
{
	static const char *const known[] = { "!",           YAML_STR_TAG,  YAML_INT_TAG,
					     YAML_BOOL_TAG, YAML_NULL_TAG, YAML_FLOAT_TAG };

	for (size_t i = 0; tag && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(tag, known[i]) == 0)
			return true;
	return !tag;
}

/* Return: 0, or -EINVAL with the reason in @e, or -ENOMEM. */
int config_yaml_event_scalar(const struct config_option *option, const yaml_event_t *ev,
			     struct config_value *value, struct error *e)
{
	const struct config_syntax syntax = { NULL, false, true };
	const char *text = config_yaml_event_text(ev), *tag = (const char *)ev->data.scalar.tag;
	char buf[72];
	int64_t number = 0;
	int r;

	if (!yaml_tag_known(tag))
		return error_set(e, -EINVAL, "the tag %s is not known", config_short(tag, buf));
	if (strlen(text) != ev->data.scalar.length)
		return error_set(e, -EINVAL, "a NUL character does not belong there");
	switch (option->kind) {
	case KIND_BOOL:
		return config_value_parse(option, &syntax, text, value, e);
	case KIND_PROFILE:
		return config_value_parse(option, &syntax, text, value, e);
	default:
		r = config_yaml_integer(text, &number);
		if (r == -ENOMEM)
			return error_set(e, r, "out of memory");
		if (r < 0)
			return error_set(e, -EINVAL, "\"%s\" is %s", config_short(text, buf),
					 r == -ERANGE ? "too large a number"
						      : "not a whole number");
		return config_value_number(option, number, value, e);
	}
}

/* A bad value: the default holds, or where that might be more than was meant, 1. */
int config_yaml_event_bad(struct yaml_file *f, const struct config_option *option, size_t line,
			  const struct error *e, struct config_value *value)
{
	if (!option->cap)
		return config_yaml_event_warn(f, line, "kanban.%s: %s; the default (%s) holds",
					      option->name, e->text,
					      *option->def ? option->def : "none");
	*value = (struct config_value){ .set = true, .number = 1 };
	return config_yaml_event_warn(f, line, "kanban.%s: %s; 1 holds until that is mended",
				      option->name, e->text);
}
