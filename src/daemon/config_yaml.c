/*
 * The `kanban:` block of a root's config.yaml, through libyaml's events.
 *
 * The file belongs to Hermes and may hold anything. We read it as a stream and keep only the
 * keys that we know, so that its size (1 MiB at most) bounds the work: no tree is built, no
 * alias is followed, and what is nested is skipped by counting. Scalars are read as PyYAML
 * (YAML 1.1) reads them, because Hermes does.
 *
 * Nothing here is an error, and nothing here lets more run than was meant. A bad value is one
 * warning and the default holds, but 1 for a cap; and in
 * dispatch_profiles, where that would start workers that somebody excluded, what is no profile
 * is left out: null, a blank and a value of another type are the empty list, which claims
 * nothing. Of keys with a slip in them see config_yaml_slip.c. A file that cannot be read or is
 * not YAML gives one warning and no value at all, whatever stood above the fault; nothing is
 * claimed then, and auto_decompose, which costs money, is off, as the board contract wants it
 * (§10, §13.8).
 */
#include "config_yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/fs.h"

/* One name of dispatch_profiles; what is none is left out. */
static int yaml_profile(struct yaml_file *f, const struct config_option *option, size_t line,
			const char *name, struct config_value *value, bool *full)
{
	struct error e = ERROR_NULL;
	int r = 0;

	if (!name)
		r = error_set(&e, -EINVAL, "an entry is not a plain name");
	else if (!*full)
		r = config_value_profile(value, name, &e);
	if (r == -ENOMEM)
		return f->r = r;
	*full = *full || r == -E2BIG;
	if (r < 0)
		r = config_yaml_event_warn(f, line, "kanban.%s: %s; it is left out",
					   option->name, e.text);
	return r;
}

/* Would PyYAML make something else than a text of it? */
static bool yaml_is_other(const yaml_event_t *ev)
{
	static const char *const words[] = { "true", "false", "yes", "no", "on", "off" };
	const char *s = config_yaml_event_text(ev);

	if (config_yaml_event_is_string(ev))
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(s, words[i]) == 0)
			return true;
	return ev->data.scalar.tag || s[strspn(s, "+-.0123456789_:")] == '\0';
}

/* dispatch_profiles: "a, b", a null, a blank, or what is no text at all. */
static int yaml_profiles_text(struct yaml_file *f, const struct config_option *option,
			      const yaml_event_t *ev, struct config_value *value)
{
	CLEANUP(freep) char *copy = strdup(config_yaml_event_text(ev));
	char *rest = copy, *name;
	size_t line = config_yaml_event_line(ev);
	bool full = false;

	value->set = true;
	value->list = calloc(1, sizeof(*value->list));
	if (!copy || !value->list)
		return f->r = -ENOMEM;
	if (config_yaml_event_is_null(ev) || !copy[strspn(copy, " \t\n,")])
		return config_yaml_event_warn(
			f, line, "kanban.%s: no profile is named, so nothing is claimed",
			option->name);
	if (yaml_is_other(ev) || strlen(copy) != ev->data.scalar.length)
		return config_yaml_event_warn(
			f, line, "kanban.%s: neither a list nor a text, so nothing is claimed",
			option->name);
	while (f->r == 0 && (name = strsep(&rest, ",")))
		if (name[strspn(name, " \t\n")] &&
		    yaml_profile(f, option, line, name, value, &full) < 0)
			return f->r;
	return f->r;
}

/* dispatch_profiles: {a: b}, or an alias. */
static int yaml_profiles_none(struct yaml_file *f, const struct config_option *option,
			      size_t line, struct config_value *value)
{
	value->set = true;
	value->list = calloc(1, sizeof(*value->list));
	if (!value->list)
		return f->r = -ENOMEM;
	return config_yaml_event_warn(
		f, line, "kanban.%s: neither a list nor a text, so nothing is claimed",
		option->name);
}

/* dispatch_profiles: [a, b].  @ev is the start of the sequence, at the end its end. */
static int yaml_profiles(struct yaml_file *f, const struct config_option *option,
			 yaml_event_t *ev, struct config_value *value)
{
	bool full = false; /* no room for the rest, which was said once */

	value->set = true;
	value->list = calloc(1, sizeof(*value->list));
	if (!value->list)
		return f->r = -ENOMEM;
	for (;;) {
		bool plain;

		if (config_yaml_event_next(f) < 0)
			return f->r;
		if (ev->type == YAML_SEQUENCE_END_EVENT)
			return 0;
		plain = ev->type == YAML_SCALAR_EVENT &&
			strlen(config_yaml_event_text(ev)) == ev->data.scalar.length;
		if (yaml_profile(f, option, config_yaml_event_line(ev),
				 plain ? config_yaml_event_text(ev) : NULL, value, &full) < 0 ||
		    config_yaml_event_skip(f) < 0)
			return f->r;
	}
}

static bool yaml_is_map(const struct config_option *option, const yaml_event_t *ev)
{
	return ev->type == YAML_MAPPING_START_EVENT &&
	       strcmp(option->name, "max_in_progress_per_profile") == 0;
}

/* The value of a key that we know; @ev is its first event, at the end its last. */
static int yaml_value(struct yaml_file *f, const struct config_option *option, yaml_event_t *ev)
{
	struct config_value *slot = &f->values[config_option_index(option)];
	struct config_value value = { 0 };
	struct error e = ERROR_NULL;
	size_t line = config_yaml_event_line(ev);
	int r = 0;

	if (slot->source &&
	    config_yaml_event_warn(f, line, "kanban.%s is given twice; the last one holds",
				   option->name) < 0)
		return f->r;
	config_value_clear(slot);
	if (strcmp(option->name, "max_in_progress_per_profile") == 0)
		config_yaml_caps_clear(f);
	if (yaml_is_map(option, ev))
		r = config_yaml_caps(f, option, ev, &value);
	else if (ev->type == YAML_SEQUENCE_START_EVENT && option->kind == KIND_PROFILES)
		r = yaml_profiles(f, option, ev, &value);
	else if (ev->type == YAML_SCALAR_EVENT && option->kind == KIND_PROFILES)
		r = yaml_profiles_text(f, option, ev, &value);
	else if (option->kind == KIND_PROFILES)
		r = yaml_profiles_none(f, option, line, &value);
	else if (ev->type == YAML_ALIAS_EVENT)
		r = error_set(&e, -EINVAL, "an alias is not followed");
	else if (ev->type != YAML_SCALAR_EVENT)
		r = error_set(&e, -EINVAL, "a %s where a plain value is meant",
			      ev->type == YAML_SEQUENCE_START_EVENT ? "list" : "mapping");
	else if (!config_yaml_event_is_null(ev))
		r = config_yaml_event_scalar(option, ev, &value, &e);
	if (f->r == 0 && r == -EINVAL)
		r = config_yaml_event_bad(f, option, line, &e, &value);
	/* a null and a bad value leave the slot unset, but remember that the key was there */
	if (r == 0 && config_value_put(slot, &value, "%s:%zu", f->path, line) < 0)
		r = -ENOMEM;
	config_value_clear(&value);
	if (r == -ENOMEM)
		f->r = r;
	return f->r < 0 ? f->r : config_yaml_event_skip(f);
}

/* ---- the file ---- */

/* A key of the block is in @ev; on return its value has passed. */
static int yaml_block_key(struct yaml_file *f, yaml_event_t *ev)
{
	const struct config_option *option = NULL;
	bool merge = false;

	if (ev->type == YAML_SCALAR_EVENT) {
		option = config_option_find(config_yaml_event_text(ev));
		merge = !config_yaml_event_is_string(ev) &&
			strcmp(config_yaml_event_text(ev), "<<") == 0;
	}
	if (option && !option->yaml)
		option = NULL;
	if (!option && ev->type == YAML_SCALAR_EVENT && config_yaml_slip(f, ev) < 0)
		return f->r;
	if (config_yaml_event_skip(f) < 0 || config_yaml_event_next(f) < 0)
		return f->r;
	if (merge)
		return config_yaml_event_broken(f, config_yaml_event_line(ev),
						"kanban: a merge key (<<) is not followed");
	return option ? yaml_value(f, option, ev) : config_yaml_event_skip(f);
}

/* What `kanban:` holds; @ev is its first event. */
static int yaml_block(struct yaml_file *f, yaml_event_t *ev)
{
	size_t line = config_yaml_event_line(ev);

	if (f->blocks++ > 0) {
		/* as for PyYAML, the last block is the block */
		config_strv_clear(&f->warnings);
		free(STEAL(f->fault));
		f->more = 0;
		f->n_slips = 0;
		config_yaml_caps_clear(f);
		for (size_t i = 0; i < config_option_count; i++)
			config_value_clear(&f->values[i]);
		if (config_yaml_event_warn(f, line,
					   "kanban: is given twice; the last one holds") < 0)
			return f->r;
	}
	if (config_yaml_event_is_null(ev))
		return 0;
	if (ev->type == YAML_ALIAS_EVENT)
		return config_yaml_event_broken(f, line,
						"kanban: is an alias, which is not followed");
	if (ev->type != YAML_MAPPING_START_EVENT)
		return config_yaml_event_broken(f, line, "kanban: is not a mapping");
	for (;;) {
		if (config_yaml_event_next(f) < 0)
			return f->r;
		if (ev->type == YAML_MAPPING_END_EVENT)
			return 0;
		if (yaml_block_key(f, ev) < 0)
			return f->r;
	}
}

static int yaml_document(struct yaml_file *f, yaml_event_t *ev)
{
	if (ev->type == YAML_SCALAR_EVENT && config_yaml_event_is_null(ev))
		return 0;
	if (ev->type != YAML_MAPPING_START_EVENT)
		return config_yaml_event_broken(f, config_yaml_event_line(ev),
						"the file is not a mapping of keys");
	for (;;) {
		bool ours;

		if (config_yaml_event_next(f) < 0)
			return f->r;
		if (ev->type == YAML_MAPPING_END_EVENT)
			return 0;
		ours = ev->type == YAML_SCALAR_EVENT &&
		       strcmp(config_yaml_event_text(ev), "kanban") == 0;
		if (!ours && ev->type == YAML_SCALAR_EVENT)
			config_yaml_slip_top(f, ev);
		if (config_yaml_event_skip(f) < 0 || config_yaml_event_next(f) < 0)
			return f->r;
		if ((ours ? yaml_block(f, ev) : config_yaml_event_skip(f)) < 0)
			return f->r;
	}
}

static int yaml_stream(struct yaml_file *f)
{
	yaml_event_t *ev = &f->walk.ev;

	if (config_yaml_event_root(f) < 0)
		return f->r;
	if (ev->type == YAML_STREAM_END_EVENT)
		return 0;
	if (yaml_document(f, ev) < 0 || config_yaml_event_next(f) < 0 ||
	    config_yaml_event_next(f) < 0) /* end of the document, and what comes then */
		return f->r;
	if (ev->type != YAML_STREAM_END_EVENT)
		return config_yaml_event_broken(f, config_yaml_event_line(ev),
						"a second document begins here");
	return config_yaml_slips(f);
}

/* The file is of no use: one warning, no values, no decomposing. */
static int yaml_give_up(struct config *config, struct yaml_file *f)
{
	const struct config_option *option = config_option_find("auto_decompose");
	struct config_value off = { .set = true };
	int r;

	config_yaml_caps_clear(f);
	for (size_t i = 0; i < config_option_count; i++)
		config_value_clear(&f->values[i]);
	r = config_value_put(&f->values[config_option_index(option)], &off,
			     "%s, which cannot be read", f->path);
	config_value_clear(&off);
	if (r < 0)
		return r;
	return config_warn(config,
			   "%s; nothing is claimed until it can be read, auto_decompose is off",
			   f->e.text);
}

static int yaml_keep(struct config *config, struct yaml_file *f)
{
	for (size_t i = 0; i < f->warnings.n; i++)
		if (config_warn(config, "%s", f->warnings.v[i]) < 0)
			return -ENOMEM;
	if (f->more > 0)
		return config_warn(config, "%s: %u more faults are not listed", f->path,
				   f->more);
	return 0;
}

int config_yaml_load(struct config *config, const char *root)
{
	CLEANUP(freep) char *path = fs_path("%s/config.yaml", strcmp(root, "/") ? root : "");
	struct config_section *s;
	struct yaml_file f = { .path = path };
	int r;

	s = config_section_get(&config->yaml, &config->yaml_count, IN_ROOT, root, true);
	if (!path || !s)
		return -ENOMEM;
	f.values = s->values;
	f.section = s;
	r = yamlwalk_open(&f.walk, path);
	if (r == -ENOMEM)
		return r;
	if (r == -ENOENT)
		return 0; /* a root that was never configured: the defaults are what it wants */
	if (r == -EFBIG) {
		f.r = error_set(&f.e, -EINVAL, "%s: larger than %zu bytes", path,
				YAMLWALK_FILE_MAX);
	} else if (r < 0) {
		f.r = error_errno(&f.e, r, "%s: cannot be read", path);
	} else {
		(void)yaml_stream(&f); /* how it went is in f.r */
		yamlwalk_close(&f.walk);
	}
	if (f.r == -ENOMEM)
		r = f.r;
	else
		r = f.r < 0 ? yaml_give_up(config, &f) : yaml_keep(config, &f);
	s->unread = f.r < 0;
	if (f.r < 0) {
		free(f.fault);
		f.fault = strdup(f.e.text);
	}
	if (!config->fault)
		config->fault = STEAL(f.fault);
	free(f.fault);
	config_strv_clear(&f.warnings);
	return r;
}
