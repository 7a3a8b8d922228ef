/*
 * The command line of a worker. It is a vector from the first word to the last: no text of a
 * task is ever quoted, joined or given to a shell, so nothing in it can mean anything but
 * itself.
 *
 * `skills` is a column that anybody may have written. What is not a JSON list counts as none;
 * what is falsy in the list is dropped; numbers and the like become the text that Hermes makes
 * of them.
 */
#include "launch.h"
#include "util/strv.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* What a placeholder stands for, or NULL if @name (of @len bytes) is none. */
static const char *argv_placeholder(const struct launch_spec *spec, const char *run,
				    const char *name, size_t len)
{
	const struct {
		const char *name;
		const char *value;
	} known[] = {
		{ "board", spec->board },
		{ "task", spec->task },
		{ "run", run },
		{ "profile", spec->profile },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len && memcmp(known[i].name, name, len) == 0)
			return known[i].value;
	return NULL;
}

/* A word of the command prefix that is a value from its first byte on: may that be an option?
 */
static bool argv_word_turns(const struct launch_spec *spec, const char *word)
{
	const char *end = *word == '{' ? strchr(word, '}') : NULL;
	const char *value = NULL;
	char run[24];

	(void)snprintf(run, sizeof(run), "%lld", (long long)spec->run);
	if (end)
		value = argv_placeholder(spec, run, word + 1, (size_t)(end - word - 1));
	return value && *value == '-';
}

const char *argv_turns_option(const struct launcher *launcher, const struct launch_spec *spec)
{
	for (size_t i = 0; launcher->command && launcher->command[i]; i++)
		if (argv_word_turns(spec, launcher->command[i]))
			return launcher->command[i];
	return NULL;
}

/* One word of the command prefix. Braces that are no placeholder of ours stay as they are. */
static void argv_add_prefix_word(struct strv *list, const struct launch_spec *spec,
				 const char *word)
{
	CLEANUP(freep) char *text = NULL;
	char run[24];
	size_t len = 0;
	FILE *f;

	if (!strchr(word, '{')) {
		launch_strv_add(list, word);
		return;
	}
	(void)snprintf(run, sizeof(run), "%lld", (long long)spec->run);
	f = open_memstream(&text, &len);
	if (!f) {
		list->failed = true;
		return;
	}
	for (const char *p = word; *p;) {
		const char *end = *p == '{' ? strchr(p, '}') : NULL;
		const char *value = NULL;

		if (end)
			value = argv_placeholder(spec, run, p + 1, (size_t)(end - p - 1));
		if (value) {
			(void)fputs(value, f);
			p = end + 1;
		} else {
			(void)fputc(*p++, f);
		}
	}
	/* a failed write shows here: the stream is memory, only memory can be short */
	if (fclose(f) != 0 || !text) {
		list->failed = true;
		return;
	}
	launch_strv_add(list, text);
}

/* Shortest text that reads back as the same number, with a point or an exponent in it. */
static void argv_real_text(double value, char *buf, size_t size)
{
	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(buf, size, "%.*g", digits, value);
		if (strtod(buf, NULL) == value)
			break;
	}
	if (!strpbrk(buf, ".en") && strlen(buf) + 3 <= size)
		(void)strncat(buf, ".0", 3);
}

static void argv_add_skill(struct strv *list, const char *skill)
{
	launch_strv_add(list, "--skills");
	launch_strv_add(list, skill);
}

static void argv_add_json_skill(struct strv *list, const json_t *item)
{
	CLEANUP(freep) char *dump = NULL;
	char number[40];

	switch (json_typeof(item)) {
	case JSON_STRING:
		if (json_string_length(item) > 0)
			argv_add_skill(list, json_string_value(item));
		return;
	case JSON_INTEGER:
		if (json_integer_value(item) == 0)
			return;
		(void)snprintf(number, sizeof(number), "%lld",
			       (long long)json_integer_value(item));
		argv_add_skill(list, number);
		return;
	case JSON_REAL:
		if (json_real_value(item) == 0.0)
			return;
		argv_real_text(json_real_value(item), number, sizeof(number));
		argv_add_skill(list, number);
		return;
	case JSON_TRUE:
		argv_add_skill(list, "True");
		return;
	case JSON_FALSE:
	case JSON_NULL:
		return;
	case JSON_ARRAY:
	case JSON_OBJECT:
		if (json_array_size(item) == 0 && json_object_size(item) == 0)
			return;
		/* no skill has such a name; said as it is, hermes will refuse it by name */
		dump = json_dumps(item, JSON_COMPACT);
		if (dump)
			argv_add_skill(list, dump);
		else
			list->failed = true;
		return;
	}
}

static void argv_add_skills(struct strv *list, const struct launch_spec *spec)
{
	bool have_extra = false;
	json_t *skills = NULL;
	size_t before = list->count;

	if (spec->row.skills)
		skills = json_loads(spec->row.skills, 0, NULL);
	if (json_is_array(skills))
		for (size_t i = 0; i < json_array_size(skills); i++)
			argv_add_json_skill(list, json_array_get(skills, i));
	json_decref(skills);
	if (!spec->extra_skill || !*spec->extra_skill)
		return;
	for (size_t i = before + 1; i < list->count; i += 2)
		have_extra |= strcmp(list->items[i], spec->extra_skill) == 0;
	if (!have_extra)
		argv_add_skill(list, spec->extra_skill);
}

char **argv_build(const struct launcher *launcher, const struct launch_spec *spec)
{
	CLEANUP(freep)
	char *toolsets = spec->profile_home ? toolsets_of(spec->profile_home) : NULL;
	CLEANUP(freep) char *prompt = NULL;
	struct strv list = { 0 };

	for (size_t i = 0; launcher->command && launcher->command[i]; i++)
		argv_add_prefix_word(&list, spec, launcher->command[i]);
	launch_strv_add(&list, launcher->hermes);
	launch_strv_add(&list, "-p");
	launch_strv_add(&list, spec->profile);
	launch_strv_add(&list, "--cli");
	launch_strv_add(&list, "--accept-hooks");
	argv_add_skills(&list, spec);
	if (toolsets) {
		launch_strv_add(&list, "--toolsets");
		launch_strv_add(&list, toolsets);
	}
	if (spec->row.model_override && *spec->row.model_override) {
		launch_strv_add(&list, "-m");
		launch_strv_add(&list, spec->row.model_override);
		if (spec->row.provider_override && *spec->row.provider_override) {
			launch_strv_add(&list, "--provider");
			launch_strv_add(&list, spec->row.provider_override);
		}
	}
	if (spec->row.reasoning_effort && *spec->row.reasoning_effort) {
		launch_strv_add(&list, "--reasoning");
		launch_strv_add(&list, spec->row.reasoning_effort);
	}
	launch_strv_add(&list, "chat");
	launch_strv_add(&list, "-q");
	if (asprintf(&prompt, "work kanban task %s", spec->task) < 0) {
		prompt = NULL;
		list.failed = true;
	} else {
		launch_strv_add(&list, prompt);
	}
	if (spec->row.goal_mode && spec->goal_quiet)
		launch_strv_add(&list, "-Q");
	if (list.failed)
		return strv_free(list.items);
	return list.items;
}
