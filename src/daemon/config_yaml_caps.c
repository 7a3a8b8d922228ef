/*
 * max_in_progress_per_profile of config.yaml as a map: {PROFILE: limit}, "*" for all others. A
 * bad limit is 1, as that of the plain value is; a name that is no profile limits nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_yaml.h"

void config_yaml_caps_clear(struct yaml_file *f)
{
	for (size_t i = 0; i < f->section->n_own; i++)
		free((char *)f->section->caps[i].profile);
	f->section->n_caps = f->section->n_own = 0;
}

/* The limit of @given, which is taken over; @ev has the value. A bad one is 1; null is none. */
static int config_yaml_cap(struct yaml_file *f, const struct config_option *option, char *given,
			   const yaml_event_t *ev, struct config_value *all)
{
	CLEANUP(freep) char *name = given;
	struct config_section *s = f->section;
	struct config_value value = { 0 }, names = { 0 };
	struct settings_cap *more;
	struct error e = ERROR_NULL;
	size_t line = config_yaml_event_line(ev);
	int r = 0;

	if (ev->type != YAML_SCALAR_EVENT)
		r = error_set(&e, -EINVAL, "%.80s: not a plain value", name);
	else if (!config_yaml_event_is_null(ev))
		r = config_yaml_event_scalar(option, ev, &value, &e);
	if (r == -EINVAL)
		r = config_yaml_event_bad(f, option, line, &e, &value);
	if (r == 0 && f->r == 0 && strcmp(name, "*") == 0) {
		if (all->set && !(value.set && value.number < all->number))
			value = *all;
		if (all->set)
			r = config_yaml_event_warn(
				f, line, "kanban.%s: * is given twice; the lower limit holds",
				option->name);
		*all = value;
		return r;
	}
	if (r == 0 && f->r == 0 && value.set)
		r = config_value_profile(&names, name, &e);
	if (r == -EINVAL) /* a limit of nobody */
		r = config_yaml_event_warn(f, line, "kanban.%s: %s; it is left out",
					   option->name, e.text);
	for (size_t i = 0; r == 0 && f->r == 0 && names.list && i < s->n_own; i++) {
		if (strcmp(s->caps[i].profile, names.list[0]) != 0)
			continue;
		if (value.number < s->caps[i].limit)
			s->caps[i].limit = value.number;
		config_value_clear(&names);
		r = config_yaml_event_warn(
			f, line, "kanban.%s: %s is given twice; the lower limit holds",
			option->name, s->caps[i].profile);
	}
	if (r == 0 && names.list && names.list[0]) {
		more = reallocarray(s->caps, s->n_own + 1, sizeof(*more));
		if (more) {
			s->caps = more;
			more = &s->caps[s->n_own++];
			*more = (struct settings_cap){ names.list[0], value.number };
			names.list[0] = NULL;
			s->n_caps = s->n_own;
		} else {
			f->r = -ENOMEM;
		}
	}
	config_value_clear(&value);
	config_value_clear(&names);
	if (r == -ENOMEM)
		f->r = r;
	return f->r;
}

int config_yaml_caps(struct yaml_file *f, const struct config_option *option, yaml_event_t *ev,
		     struct config_value *all)
{
	for (;;) {
		char *name = NULL;

		if (config_yaml_event_next(f) < 0)
			return f->r;
		if (ev->type == YAML_MAPPING_END_EVENT)
			return 0;
		if (ev->type == YAML_SCALAR_EVENT &&
		    strlen(config_yaml_event_text(ev)) == ev->data.scalar.length)
			name = strdup(config_yaml_event_text(ev));
		if (!name)
			name = strdup("?");
		if (!name)
			return f->r = -ENOMEM;
		if (config_yaml_event_skip(f) < 0 || config_yaml_event_next(f) < 0) {
			free(name);
			return f->r;
		}
		if (config_yaml_cap(f, option, name, ev, all) < 0 ||
		    config_yaml_event_skip(f) < 0)
			return f->r;
	}
}
