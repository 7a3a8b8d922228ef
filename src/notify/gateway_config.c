/*
 * A gateway that runs with its notifier off holds gateway.lock and delivers nothing:
 * HERMES_KANBAN_NOTIFY_IN_GATEWAY in the profile's .env, else `kanban.notify_in_gateway` in its
 * config.yaml. Read whenever a gateway's lock is looked at, which is seldom: both may change
 * while it runs, and what it does follows at its next start.
 */
#include "notify/gateway_config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/fs.h"
#include "util/text.h"
#include "util/yamlwalk.h"

#define MUTE_FILE_MAX ((size_t)1 << 20)

static bool mute_word(const char *s, size_t len)
{
	static const char *const words[] = { "0", "false", "no", "off" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i]) == len && strncasecmp(s, words[i], len) == 0)
			return true;
	return false;
}

/* ---- .env ---------------------------------------------------------------------------- */

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

/* ---- config.yaml --------------------------------------------------------------------- */

/* Below `kanban:`; the event is the start of the mapping, at the end its end. */
static bool mute_block(struct yamlwalk *w, int *says)
{
	while (yamlwalk_next(w) && w->ev.type != YAML_MAPPING_END_EVENT) {
		bool mine = yamlwalk_is(w, "notify_in_gateway");
		const char *text;

		if (!yamlwalk_skip(w) || !yamlwalk_next(w))
			return false;
		text = yamlwalk_text(w);
		if (mine && text)
			*says = mute_word(text, strlen(text));
		if (!yamlwalk_skip(w))
			return false;
	}
	return !w->failed;
}

static bool mute_document(struct yamlwalk *w, int *says)
{
	if (!yamlwalk_root(w) || w->ev.type != YAML_MAPPING_START_EVENT)
		return false;
	while (yamlwalk_next(w) && w->ev.type != YAML_MAPPING_END_EVENT) {
		bool kanban = yamlwalk_is(w, "kanban");

		if (!yamlwalk_skip(w) || !yamlwalk_next(w))
			return false;
		if (kanban && w->ev.type == YAML_MAPPING_START_EVENT) {
			if (!mute_block(w, says))
				return false;
		} else if (!yamlwalk_skip(w)) {
			return false;
		}
	}
	return !w->failed;
}

static int mute_yaml(const char *home)
{
	CLEANUP(freep) char *path = fs_path("%s/config.yaml", home);
	struct yamlwalk w;
	int says = -1;

	if (!path || yamlwalk_open(&w, path) < 0)
		return -1;
	if (!mute_document(&w, &says)) /* damaged: Hermes reads nothing of it */
		says = -1;
	yamlwalk_close(&w);
	return says;
}

bool gateway_config_mute(const char *home)
{
	int says = mute_env(home);

	return (says >= 0 ? says : mute_yaml(home)) == 1;
}
