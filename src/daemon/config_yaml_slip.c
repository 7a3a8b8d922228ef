/*
 * Keys of config.yaml with a slip in them: max_in_progres, dispatch_profile, Kanban.
 *
 * The file belongs to Hermes, which passes over what it does not know, and so do we; but a key
 * that is nearly one of ours was meant to be it, and was meant to limit something. So it counts
 * as that key with a bad value, unless the key itself is there too: a cap is 1, no profile is
 * dispatched, nothing is decomposed; elsewhere the default holds. A block that is nearly called
 * `kanban` makes the file one that cannot be read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config_yaml.h"
#include "util/suggest.h"
#include "util/text.h"

/* Which was meant, or NULL. Return: 0; -ENOMEM */
static int slip_option(const char *name, const struct config_option **option)
{
	CLEANUP(freep) const char **names = calloc(config_option_count, sizeof(*names));
	const char *near = NULL;
	size_t n = 0;

	*option = NULL;
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < config_option_count; i++)
		if (config_options[i].yaml)
			names[n++] = config_options[i].name;
	for (size_t i = 0; !near && i < n; i++)
		if (strcasecmp(name, names[i]) == 0)
			near = names[i];
	if (!near)
		near = suggest(name, names, n);
	/* the begin of one may be a key of its own: `review`, but not `dispatch_interval` */
	if (near && strlen(name) * 3 <= strlen(near) * 2)
		near = NULL;
	if (near)
		*option = config_option_find(near);
	return 0;
}

static void slip_set(struct yaml_slip *slip, const struct config_option *option,
		     const yaml_event_t *key)
{
	const char *name = config_yaml_event_text(key);

	slip->option = option;
	slip->line = config_yaml_event_line(key);
	(void)snprintf(slip->name, sizeof(slip->name), "%.*s",
		       (int)text_cut(name, strlen(name), 40), name);
}

int config_yaml_slip(struct yaml_file *f, const yaml_event_t *key)
{
	const struct config_option *option;
	int r = slip_option(config_yaml_event_text(key), &option);

	if (r < 0 || !option)
		return f->r = r;
	if (f->n_slips == YAML_SLIPS_MAX)
		return config_yaml_event_broken(f, config_yaml_event_line(key),
						"kanban: too many keys are nearly ours; "
						"kanband.conf(5) has their names");
	slip_set(&f->slips[f->n_slips++], option, key);
	return 0;
}

void config_yaml_slip_top(struct yaml_file *f, const yaml_event_t *key)
{
	if (f->top.line == 0 && suggest_slips(config_yaml_event_text(key), "kanban") == 1)
		slip_set(&f->top, NULL, key);
}

/* What the key that was meant is now. */
static int slip_value(struct yaml_file *f, const struct yaml_slip *slip)
{
	const struct config_option *option = slip->option;
	struct config_value *slot = &f->values[config_option_index(option)];
	struct config_value value = { .set = true, .number = option->cap ? 1 : 0 };
	bool off = strcmp(option->name, "auto_decompose") == 0;
	const char *what = "the default holds";
	int r = 0;

	if (slip->beside)
		return config_yaml_event_warn(
			f, slip->line,
			"kanban.%s: there is no such key, and %s is there "
			"too; remove one of the two",
			slip->name, option->name);
	if (option->cap) {
		what = "1 holds until that is mended";
	} else if (option->kind == KIND_PROFILES) {
		what = "nothing is claimed until that is mended";
		value.list = calloc(1, sizeof(*value.list));
		if (!value.list)
			return f->r = -ENOMEM;
	} else if (off) {
		what = "it is off until that is mended";
	}
	config_value_clear(slot); /* of another slip for the same key */
	if (option->cap || value.list || off)
		r = config_value_put(slot, &value, "%s:%zu", f->path, slip->line);
	config_value_clear(&value);
	if (r < 0)
		return f->r = r;
	return config_yaml_event_warn(f, slip->line,
				      "kanban.%s: there is no such key; did you mean %s? %s",
				      slip->name, option->name, what);
}

int config_yaml_slips(struct yaml_file *f)
{
	char text[240];

	for (size_t i = 0; i < f->n_slips; i++) {
		size_t option = config_option_index(f->slips[i].option);

		f->slips[i].beside = f->values[option].source != NULL;
	}
	for (size_t i = 0; i < f->n_slips; i++)
		if (slip_value(f, &f->slips[i]) < 0)
			return f->r;
	if (f->blocks > 0 || f->top.line == 0)
		return 0;
	(void)snprintf(text, sizeof(text), "there is no key %s; did you mean kanban?",
		       f->top.name);
	return config_yaml_event_broken(f, f->top.line, text);
}
