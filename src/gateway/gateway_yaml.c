/*
 * A walk over the events of a YAML file, which remembers where things stand, so that one line
 * can be changed by sed and everything else in the file stays as its owner wrote it.
 *
 * Hermes takes the value as Python takes a YAML 1.1 value: a text in quotes is a text, and any
 * text but "" is true.
 */
#include "gateway/gateway_yaml.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "util/fs.h"
#include "util/quote.h"
#include "util/yamlwalk.h"

struct walk {
	struct yamlwalk y;
	struct gateway_yaml *out;
};

static bool walk_plain(const struct walk *w)
{
	return w->y.ev.type == YAML_SCALAR_EVENT &&
	       w->y.ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !w->y.ev.data.scalar.tag;
}

static enum gateway_word walk_value(const struct walk *w)
{
	static const char *const off[] = {
		"false", "no", "off", "~", "null", "0", "0x0", "0.0"
	};
	const char *text = yamlwalk_text(&w->y);

	if (!text)
		return GATEWAY_ON; /* a list, a mapping, an alias: not nothing */
	if (!*text)
		return GATEWAY_OFF; /* null, or an empty text */
	if (!walk_plain(w))
		return GATEWAY_ON;
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		if (strcasecmp(text, off[i]) == 0)
			return GATEWAY_OFF;
	return GATEWAY_ON;
}

/* Below `kanban:`; the event is the start of the mapping, at the end its end. */
static bool walk_block(struct walk *w)
{
	struct gateway_yaml *y = w->out;

	y->flow = w->y.ev.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
	if (y->flow)
		y->block = w->y.ev.start_mark.line + 1;
	y->empty = true;
	while (yamlwalk_next(&w->y) && w->y.ev.type != YAML_MAPPING_END_EVENT) {
		size_t line = w->y.ev.start_mark.line + 1;
		bool ours = yamlwalk_is(&w->y, "dispatch_in_gateway");
		bool plain = walk_plain(w);

		if (y->empty) {
			y->first = line;
			y->indent = w->y.ev.start_mark.column;
			y->empty = false;
		}
		if (!yamlwalk_skip(&w->y) || !yamlwalk_next(&w->y))
			return false;
		if (ours) {
			/* of two, the last one holds: that is the one to change */
			y->word = walk_value(w);
			y->line = plain && w->y.ev.type == YAML_SCALAR_EVENT &&
						  w->y.ev.start_mark.line + 1 == line &&
						  w->y.ev.end_mark.line + 1 == line
					  ? line
					  : 0;
			y->awkward = y->line == 0;
			y->quoted = !walk_plain(w);
		}
		if (!yamlwalk_skip(&w->y))
			return false;
	}
	return !w->y.failed;
}

/* Everything below the top level; the event is the start of the mapping. */
static bool walk_top(struct walk *w)
{
	struct gateway_yaml *y = w->out;

	if (w->y.ev.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE)
		y->awkward = true;
	while (yamlwalk_next(&w->y) && w->y.ev.type != YAML_MAPPING_END_EVENT) {
		bool ours = yamlwalk_is(&w->y, "kanban");
		size_t line = w->y.ev.start_mark.line + 1;

		if (!yamlwalk_skip(&w->y) || !yamlwalk_next(&w->y))
			return false;
		if (ours) { /* the last block is the block */
			y->word = GATEWAY_UNSET;
			y->line = y->first = 0;
			y->block = line;
			y->flow = false;
			y->empty = true;
			if (w->y.ev.type == YAML_MAPPING_START_EVENT) {
				if (!walk_block(w))
					return false;
				continue;
			}
			if (w->y.ev.type != YAML_SCALAR_EVENT)
				y->awkward = true;
		}
		if (!yamlwalk_skip(&w->y))
			return false;
	}
	return !w->y.failed;
}

static bool walk_file(struct walk *w)
{
	if (!yamlwalk_root(&w->y))
		return false;
	if (w->y.ev.type == YAML_STREAM_END_EVENT)
		return true;
	if (w->y.ev.type == YAML_SCALAR_EVENT && *yamlwalk_text(&w->y))
		return false;
	if (w->y.ev.type != YAML_SCALAR_EVENT && w->y.ev.type != YAML_MAPPING_START_EVENT)
		return false;
	if (w->y.ev.type == YAML_MAPPING_START_EVENT && !walk_top(w))
		return false;
	if (!yamlwalk_next(&w->y))
		return false;
	if (!w->y.ev.data.document_end.implicit)
		w->out->awkward = true; /* `...`: nothing may be put behind it */
	return yamlwalk_next(&w->y) && w->y.ev.type == YAML_STREAM_END_EVENT;
}

static int gateway_yaml_broken(struct gateway_yaml *yaml, char *why)
{
	yaml->word = GATEWAY_BROKEN;
	yaml->awkward = true;
	yaml->why = why;
	return why ? 0 : -ENOMEM;
}

/* Why nothing was made of it; malloc'd, NULL: out of memory. */
static char *walk_why(const struct walk *w)
{
	const char *problem;
	size_t line;

	if (!w->y.failed)
		return strdup("it is not a mapping of keys");
	problem = yamlwalk_problem(&w->y, &line);
	return problem ? fs_path("line %zu: %s", line, problem) : NULL;
}

int gateway_yaml_read(const char *home, struct gateway_yaml *out)
{
	struct walk w = { .out = out };
	int r;

	*out = (struct gateway_yaml){ .path = fs_path("%s/config.yaml", home) };
	r = out->path ? yamlwalk_open(&w.y, out->path) : -ENOMEM;
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r == 0) {
		if (!walk_file(&w))
			r = gateway_yaml_broken(out, walk_why(&w));
		yamlwalk_close(&w.y);
	} else if (r != -ENOMEM) {
		r = gateway_yaml_broken(out, strdup(strerror(-r)));
	}
	if (r < 0)
		gateway_yaml_deinit(out);
	return r;
}

void gateway_yaml_deinit(struct gateway_yaml *yaml)
{
	free(yaml->path);
	free(yaml->why);
	*yaml = (struct gateway_yaml){ 0 };
}

char *gateway_yaml_fix(const struct gateway_yaml *y)
{
	CLEANUP(freep) char *text = NULL;

	if (y->awkward)
		return quote_command("${EDITOR:-vi} %q # kanban: dispatch_in_gateway: false",
				     y->path);
	if (!y->block) /* also where there is no file yet, or a last line without its end */
		return quote_command(
			"printf '\\nkanban:\\n  dispatch_in_gateway: false\\n' >>%q", y->path);
	if (y->line && y->flow)
		text = fs_path("%zus/dispatch_in_gateway:[^,}]*/dispatch_in_gateway: false/",
			       y->line);
	else if (y->line)
		text = fs_path("%zus/dispatch_in_gateway:.*/dispatch_in_gateway: false/",
			       y->line);
	else if (y->flow)
		text = fs_path("%zus/{/{dispatch_in_gateway: false, /", y->block);
	else if (y->first)
		text = fs_path("%zui\\%*sdispatch_in_gateway: false", y->first,
			       (int)(y->indent < 64 ? y->indent : 64), "");
	else
		text = fs_path("%zus/kanban:.*/kanban: {dispatch_in_gateway: false}/",
			       y->block);
	return text ? quote_command("sed -i --follow-symlinks %q %q", text, y->path) : NULL;
}
