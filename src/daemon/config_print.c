/*
 * --check-config: every value that holds, and where it came from.
 *
 * What is one for the whole process comes first, then each root with what holds for its boards,
 * then each [board SLUG] with the keys that it sets. As text, one line per value, so that grep
 * finds a value together with its place; as JSON, numbers in the unit that stands beside them.
 */
#include "daemon/config.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "util/json.h"
#include "util/memory.h"
#include "util/printable.h"

/* Does it have one per root? What only a board may say is told with the boards. */
static bool print_is_root(const struct config_option *option)
{
	return !config_is_process(option) && option->sections != IN_BOARD &&
	       !config_is_named(option);
}

/* ---- text ---- */

static void print_clean(FILE *out, const char *text)
{
	printable_put(out, text, strlen(text), 0);
}

static int print_line(FILE *out, const char *section, const char *name,
		      const struct config_option *option, const struct config_value *value)
{
	CLEANUP(freep) char *text = config_value_text(option, value);

	if (!text)
		return -ENOMEM;
	(void)fprintf(out, "[%s", section);
	if (name) {
		(void)fputc(' ', out);
		print_clean(out, name);
	}
	(void)fprintf(out, "] %s =%s", option->name, *text ? " " : "");
	print_clean(out, text);
	(void)fputs("   # ", out);
	print_clean(out, value->source);
	if (strcmp(option->name, "max_in_progress") == 0 && value->number < 0)
		(void)fprintf(out, ", here %ld", memory_default_in_progress());
	(void)fputc('\n', out);
	return 0;
}

static const char *print_where(const struct config_section *s)
{
	return s->where == IN_BOARD  ? "board"
	       : s->where == IN_POOL ? "pool"
	       : s->where == IN_HOOK ? "hook"
				     : "profile";
}

/* What holds of @option for the board or the profile of a section. */
static const struct config_value *print_value(const struct config *config,
					      const struct config_section *s,
					      const struct config_option *option)
{
	if (s->where == IN_POOL || s->where == IN_HOOK)
		return &s->values[config_option_index(option)];
	return s->where == IN_BOARD ? config_lookup(config, option, NULL, s->name)
				    : config_lookup_profile(config, option, s->name);
}

/* The map of config.yaml, where the root has one. */
static void print_caps(const struct config *config, FILE *out, const char *root)
{
	for (size_t i = 0; i < config->yaml_count; i++)
		for (size_t k = 0;
		     strcmp(config->yaml[i].name, root) == 0 && k < config->yaml[i].n_own;
		     k++) {
			const struct settings_cap *cap = &config->yaml[i].caps[k];

			(void)fputs("# max_in_progress_per_profile of ", out);
			print_clean(out, cap->profile);
			(void)fprintf(out, ": %lld\n", (long long)cap->limit);
		}
}

static int print_text(const struct config *config, FILE *out)
{
	int r = 0;

	for (size_t i = 0; i < config->files.n; i++) {
		(void)fputs("# read: ", out);
		print_clean(out, config->files.v[i]);
		(void)fputc('\n', out);
	}
	for (size_t i = 0; r == 0 && i < config_option_count; i++)
		if (config_is_process(&config_options[i]))
			r = print_line(out,
				       config_options[i].sections & IN_KANBAND ? "kanband"
									       : "worker",
				       NULL, &config_options[i],
				       config_lookup(config, &config_options[i], NULL, NULL));
	for (size_t n = 0; r == 0 && n < config->roots.n; n++) {
		const char *root = config->roots.v[n];

		(void)fputc('\n', out);
		for (size_t i = 0; r == 0 && i < config_option_count; i++)
			if (print_is_root(&config_options[i]))
				r = print_line(
					out, "root", root, &config_options[i],
					config_lookup(config, &config_options[i], root, NULL));
		print_caps(config, out, root);
	}
	for (size_t n = 0; r == 0 && n < config->section_count; n++) {
		const struct config_section *s = &config->sections[n];

		if (s->where == IN_ROOT)
			continue;
		(void)fputc('\n', out);
		for (size_t i = 0; r == 0 && i < config_option_count; i++)
			if (s->values[i].set)
				r = print_line(out, print_where(s), s->name, &config_options[i],
					       print_value(config, s, &config_options[i]));
	}
	return r;
}

/* ---- JSON ---- */

/* JSON is UTF-8; a path need not be. */
static char *print_utf8(const char *text)
{
	CLEANUP(json_decrefp) json_t *probe = json_string(text);
	char *copy = strdup(text);

	for (char *p = copy; !probe && p && *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return copy;
}

static json_t *print_json_string(const char *text)
{
	CLEANUP(freep) char *clean = print_utf8(text);

	return clean ? json_string(clean) : NULL;
}

static json_t *print_json_list(char *const *list)
{
	CLEANUP(json_decrefp) json_t *array = json_array();

	for (size_t i = 0; array && list && list[i]; i++)
		if (json_array_append_new(array, print_json_string(list[i])) < 0)
			return NULL;
	return STEAL(array);
}

static json_t *print_json_plain(const struct config_option *option,
				const struct config_value *value)
{
	CLEANUP(freep) char *text = NULL;

	switch (option->kind) {
	case KIND_BOOL:
		return json_boolean(value->number != 0);
	case KIND_PROFILES:
	case KIND_COMMAND:
	case KIND_EVENTS:
		return value->list ? print_json_list(value->list) : json_null();
	case KIND_CHOICE:
		text = config_value_text(option, value);
		return text ? json_string(text) : NULL;
	case KIND_PROFILE:
	case KIND_PATH:
	case KIND_SOCKET:
	case KIND_PROGRAM:
	case KIND_SLICE:
		return value->text ? print_json_string(value->text) : json_null();
	default:
		return option->unset && value->number == -1 ? json_null()
							    : json_integer(value->number);
	}
}

static const char *print_unit(enum config_kind kind)
{
	switch (kind) {
	case KIND_SECONDS:
		return "s";
	case KIND_MS:
		return "ms";
	case KIND_BYTES:
		return "bytes";
	default:
		return NULL;
	}
}

/* {"value":…,"unit":…,"source":…} into @group under the option's name */
static int print_json_value(json_t *group, const struct config_option *option,
			    const struct config_value *value)
{
	CLEANUP(json_decrefp) json_t *entry = json_object();
	const char *unit = print_unit(option->kind);

	/* the setters refuse NULL, so a failed constructor is noticed there */
	if (json_object_set_new(entry, "value", print_json_plain(option, value)) < 0)
		return -ENOMEM;
	if (unit && json_object_set_new(entry, "unit", json_string(unit)) < 0)
		return -ENOMEM;
	if (strcmp(option->name, "max_in_progress") == 0 && value->number < 0 &&
	    json_object_set_new(entry, "here", json_integer(memory_default_in_progress())) < 0)
		return -ENOMEM;
	if (json_object_set_new(entry, "source", print_json_string(value->source)) < 0)
		return -ENOMEM;
	return json_object_set(group, option->name, entry) < 0 ? -ENOMEM : 0;
}

static int print_json_roots(const struct config *config, json_t *all)
{
	json_t *roots = json_object();

	if (json_object_set_new(all, "roots", roots) < 0)
		return -ENOMEM;
	for (size_t n = 0; n < config->roots.n; n++) {
		const char *root = config->roots.v[n];
		CLEANUP(freep) char *key = print_utf8(root);
		json_t *group = json_object();

		if (!key) {
			json_decref(group);
			return -ENOMEM;
		}
		if (json_object_set_new(roots, key, group) < 0)
			return -ENOMEM;
		for (size_t i = 0; i < config_option_count; i++)
			if (print_is_root(&config_options[i]) &&
			    print_json_value(
				    group, &config_options[i],
				    config_lookup(config, &config_options[i], root, NULL)) < 0)
				return -ENOMEM;
	}
	return 0;
}

/* "boards" or "profiles": what their sections set. */
static int print_json_sections(const struct config *config, json_t *all, const char *key,
			       unsigned where)
{
	json_t *sections = json_object();

	if (json_object_set_new(all, key, sections) < 0)
		return -ENOMEM;
	for (size_t n = 0; n < config->section_count; n++) {
		const struct config_section *s = &config->sections[n];
		json_t *group;

		if (s->where != where)
			continue;
		group = json_object();
		if (json_object_set_new(sections, s->name, group) < 0)
			return -ENOMEM;
		for (size_t i = 0; i < config_option_count; i++)
			if (s->values[i].set &&
			    print_json_value(group, &config_options[i],
					     print_value(config, s, &config_options[i])) < 0)
				return -ENOMEM;
	}
	return 0;
}

static int print_json(const struct config *config, FILE *out)
{
	CLEANUP(json_decrefp) json_t *all = json_object();
	CLEANUP(freep) char *text = NULL;
	json_t *process = json_object();

	if (json_object_set_new(all, "process", process) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < config_option_count; i++)
		if (config_is_process(&config_options[i]) &&
		    print_json_value(process, &config_options[i],
				     config_lookup(config, &config_options[i], NULL, NULL)) < 0)
			return -ENOMEM;
	if (print_json_roots(config, all) < 0 ||
	    print_json_sections(config, all, "boards", IN_BOARD) < 0 ||
	    print_json_sections(config, all, "profiles", IN_PROFILE) < 0 ||
	    print_json_sections(config, all, "pools", IN_POOL) < 0 ||
	    print_json_sections(config, all, "hooks", IN_HOOK) < 0 ||
	    json_object_set_new(all, "files", print_json_list(config->files.v)) < 0 ||
	    json_object_set_new(all, "warnings", print_json_list(config->warnings.v)) < 0)
		return -ENOMEM;
	text = isatty(fileno(out)) ? json_plain(all, JSON_INDENT(2))
				   : json_dumps(all, JSON_INDENT(2));
	if (!text || fputs(text, out) == EOF || fputc('\n', out) == EOF)
		return -EIO;
	return 0;
}

int config_print(const struct config *config, FILE *out, bool json)
{
	int r = json ? print_json(config, out) : print_text(config, out);

	if (r < 0)
		return r;
	errno = 0;
	if (fflush(out) == EOF)
		return errno ? -errno : -EIO;
	return ferror(out) ? -EIO : 0;
}
