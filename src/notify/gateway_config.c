/*
 * A gateway that runs with its notifier off holds gateway.lock and delivers nothing:
 * HERMES_KANBAN_NOTIFY_IN_GATEWAY in the profile's .env, else `kanban.notify_in_gateway` in its
 * config.yaml. Read whenever a gateway's lock is looked at, which is seldom: both may change
 * while it runs, and what it does follows at its next start.
 *
 * libyaml reads events only, to a depth and a size; aliases are not followed, tags not obeyed.
 */
#include "notify/gateway_config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "util/fs.h"
#include "util/text.h"

#define MUTE_FILE_MAX  ((size_t)1 << 20)
#define MUTE_DEPTH_MAX 100 /* libyaml is quadratic in the depth */

static bool mute_word(const char *s, size_t len)
{
	static const char *const words[] = { "0", "false", "no", "off" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i]) == len && strncasecmp(s, words[i], len) == 0)
			return true;
	return false;
}

/* ---- .env ----------------------------------------------------------------------------------
 */

/* What @line sets the variable to: the length, and *value; 0: nothing, or it is about another.
 */
static size_t mute_env_value(const char *line, size_t len, const char **value)
{
	static const char name[] = "HERMES_KANBAN_NOTIFY_IN_GATEWAY";
	const size_t n = sizeof(name) - 1;
	const char *hash;

	text_strip(&line, &len);
	if (len > 7 && strncmp(line, "export ", 7) == 0) {
		line += 7;
		len -= 7;
		text_strip(&line, &len);
	}
	if (len <= n || strncmp(line, name, n) != 0)
		return 0;
	line += n;
	len -= n;
	text_strip(&line, &len);
	if (len == 0 || line[0] != '=')
		return 0;
	line++;
	len--;
	hash = memmem(line, len, " #", 2);
	if (hash)
		len = (size_t)(hash - line);
	text_strip(&line, &len);
	if (len >= 2 && (line[0] == '"' || line[0] == '\'') && line[len - 1] == line[0]) {
		line++;
		len -= 2;
	}
	*value = line;
	return len;
}

/* Return: 1 off, 0 on, -1 it says nothing; of several lines the last one holds. */
static int mute_env(const char *home)
{
	CLEANUP(freep) char *path = fs_path("%s/.env", home);
	CLEANUP(freep) char *data = NULL;
	size_t len = 0;
	int says = -1;

	if (!path || fs_read_file(path, MUTE_FILE_MAX, &data, &len) < 0)
		return -1;
	for (const char *at = data, *end = data + len; at < end;) {
		const char *nl = memchr(at, '\n', (size_t)(end - at)), *value = NULL;
		size_t n = mute_env_value(at, (size_t)((nl ? nl : end) - at), &value);

		if (n > 0)
			says = mute_word(value, n);
		at = nl ? nl + 1 : end;
	}
	return says;
}

/* ---- config.yaml ---------------------------------------------------------------------------
 */

/* Where in the file: the keys that lead here, for the first two levels of mappings. */
struct mute_walk {
	unsigned depth;    /* of nodes that have begun */
	bool is_key;       /* the next scalar of the mapping at this depth is a key */
	bool map_at[2];    /* is the node at that depth a mapping */
	bool kanban, mine; /* the last key of the first level, of the second below it */
	int says;
};

static void mute_begin(struct mute_walk *w, bool map)
{
	if (w->depth < 2)
		w->map_at[w->depth] = map;
	w->depth++;
	w->is_key = map;
}

static void mute_end(struct mute_walk *w)
{
	w->depth--;
	w->is_key = true; /* used only where the one around it is a mapping */
}

static void mute_scalar(struct mute_walk *w, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	bool in_map = w->depth >= 1 && w->depth <= 2 && w->map_at[w->depth - 1];

	if (!in_map)
		return;
	if (w->is_key && w->depth == 1)
		w->kanban = strcmp(text, "kanban") == 0;
	else if (w->is_key)
		w->mine = w->kanban && w->map_at[0] && strcmp(text, "notify_in_gateway") == 0;
	else if (w->depth == 2 && w->mine)
		w->says = mute_word(text, strlen(text));
	w->is_key = !w->is_key;
}

/* Return: go on. */
static bool mute_event(struct mute_walk *w, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		mute_begin(w, ev->type == YAML_MAPPING_START_EVENT);
		return w->depth <= MUTE_DEPTH_MAX;
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		mute_end(w);
		return true;
	case YAML_SCALAR_EVENT:
		mute_scalar(w, ev);
		return true;
	case YAML_ALIAS_EVENT:
		w->is_key = !w->is_key;
		return true;
	default:
		return ev->type != YAML_STREAM_END_EVENT && ev->type != YAML_DOCUMENT_END_EVENT;
	}
}

static int mute_yaml(const char *home)
{
	CLEANUP(freep) char *path = fs_path("%s/config.yaml", home);
	CLEANUP(freep) char *data = NULL;
	struct mute_walk w = { .says = -1 };
	yaml_parser_t parser;
	yaml_event_t ev;
	size_t len = 0;
	bool more = true;

	if (!path || fs_read_file(path, MUTE_FILE_MAX, &data, &len) < 0 ||
	    !yaml_parser_initialize(&parser))
		return -1;
	yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
	while (more && yaml_parser_parse(&parser, &ev)) {
		more = mute_event(&w, &ev);
		yaml_event_delete(&ev);
	}
	if (more) /* damaged: Hermes reads nothing of it */
		w.says = -1;
	yaml_parser_delete(&parser);
	return w.says;
}

bool gateway_config_mute(const char *home)
{
	int says = mute_env(home);

	return (says >= 0 ? says : mute_yaml(home)) == 1;
}
