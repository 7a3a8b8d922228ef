/*
 * A walk over the events of a YAML file, which remembers where things stand, so that one line
 * can be changed by sed and everything else in the file stays as its owner wrote it. libyaml
 * reads it; nothing is built from it, aliases are not followed, tags are not obeyed.
 *
 * Hermes takes the value as Python takes a YAML 1.1 value: a text in quotes is a text, and any
 * text but "" is true.
 */
#include "gateway/gateway_yaml.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "util/fs.h"
#include "util/quote.h"

#define GATEWAY_FILE_MAX ((size_t)1 << 20)
#define GATEWAY_DEPTH_MAX                                                                      \
	100 /* as the daemon's own reader; libyaml is quadratic in the depth */

struct walk {
	yaml_parser_t parser;
	yaml_event_t ev;
	struct gateway_yaml *out;
	unsigned depth; /* of nodes that have begun and not ended */
	bool deep;      /* more than is read */
	bool failed;
};

static unsigned walk_begins(const struct walk *w)
{
	return w->ev.type == YAML_MAPPING_START_EVENT ||
	       w->ev.type == YAML_SEQUENCE_START_EVENT;
}

static unsigned walk_ends(const struct walk *w)
{
	return w->ev.type == YAML_MAPPING_END_EVENT || w->ev.type == YAML_SEQUENCE_END_EVENT;
}

static bool walk_next(struct walk *w)
{
	yaml_event_delete(&w->ev);
	memset(&w->ev, 0, sizeof(w->ev));
	if (!w->failed && !yaml_parser_parse(&w->parser, &w->ev))
		w->failed = true;
	if (!w->failed)
		w->depth += walk_begins(w) - walk_ends(w);
	if (w->depth > GATEWAY_DEPTH_MAX)
		w->deep = w->failed = true;
	return !w->failed;
}

/* The event is the first of a node: go to its last. */
static bool walk_skip(struct walk *w)
{
	int depth = 0;

	for (;;) {
		depth += (int)walk_begins(w) - (int)walk_ends(w);
		if (depth <= 0)
			return true;
		if (!walk_next(w))
			return false;
	}
}

static const char *walk_text(const struct walk *w)
{
	return w->ev.type == YAML_SCALAR_EVENT ? (const char *)w->ev.data.scalar.value : NULL;
}

static bool walk_plain(const struct walk *w)
{
	return w->ev.type == YAML_SCALAR_EVENT &&
	       w->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !w->ev.data.scalar.tag;
}

static enum gateway_word walk_value(const struct walk *w)
{
	static const char *const off[] = {
		"false", "no", "off", "~", "null", "0", "0x0", "0.0"
	};
	const char *text = walk_text(w);

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

	y->flow = w->ev.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
	if (y->flow)
		y->block = w->ev.start_mark.line + 1;
	y->empty = true;
	while (walk_next(w) && w->ev.type != YAML_MAPPING_END_EVENT) {
		size_t line = w->ev.start_mark.line + 1;
		const char *key = walk_text(w);
		bool ours = key && strcmp(key, "dispatch_in_gateway") == 0;
		bool plain = walk_plain(w);

		if (y->empty) {
			y->first = line;
			y->indent = w->ev.start_mark.column;
			y->empty = false;
		}
		if (!walk_skip(w) || !walk_next(w))
			return false;
		if (ours) {
			/* of two, the last one holds: that is the one to change */
			y->word = walk_value(w);
			y->line = plain && w->ev.type == YAML_SCALAR_EVENT &&
						  w->ev.start_mark.line + 1 == line &&
						  w->ev.end_mark.line + 1 == line
					  ? line
					  : 0;
			y->awkward = y->line == 0;
			y->quoted = !walk_plain(w);
		}
		if (!walk_skip(w))
			return false;
	}
	return !w->failed;
}

/* Everything below the top level; the event is the start of the mapping. */
static bool walk_top(struct walk *w)
{
	struct gateway_yaml *y = w->out;

	if (w->ev.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE)
		y->awkward = true;
	while (walk_next(w) && w->ev.type != YAML_MAPPING_END_EVENT) {
		const char *key = walk_text(w);
		bool ours = key && strcmp(key, "kanban") == 0;
		size_t line = w->ev.start_mark.line + 1;

		if (!walk_skip(w) || !walk_next(w))
			return false;
		if (ours) { /* the last block is the block */
			y->word = GATEWAY_UNSET;
			y->line = y->first = 0;
			y->block = line;
			y->flow = false;
			y->empty = true;
			if (w->ev.type == YAML_MAPPING_START_EVENT) {
				if (!walk_block(w))
					return false;
				continue;
			}
			if (w->ev.type != YAML_SCALAR_EVENT)
				y->awkward = true;
		}
		if (!walk_skip(w))
			return false;
	}
	return !w->failed;
}

static bool walk_file(struct walk *w)
{
	/* the stream, the document, its node */
	for (int i = 0; i < 2; i++)
		if (!walk_next(w))
			return false;
	if (w->ev.type == YAML_STREAM_END_EVENT)
		return true;
	if (!walk_next(w))
		return false;
	if (w->ev.type == YAML_SCALAR_EVENT && *walk_text(w))
		return false;
	if (w->ev.type != YAML_SCALAR_EVENT && w->ev.type != YAML_MAPPING_START_EVENT)
		return false;
	if (w->ev.type == YAML_MAPPING_START_EVENT && !walk_top(w))
		return false;
	if (!walk_next(w))
		return false;
	if (!w->ev.data.document_end.implicit)
		w->out->awkward = true; /* `...`: nothing may be put behind it */
	return walk_next(w) && w->ev.type == YAML_STREAM_END_EVENT;
}

static int gateway_yaml_parse(struct gateway_yaml *yaml, const char *text, size_t len)
{
	struct walk w = { .out = yaml };

	if (!yaml_parser_initialize(&w.parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&w.parser, (const unsigned char *)text, len);
	if (!walk_file(&w)) {
		bool memory = w.parser.error == YAML_MEMORY_ERROR;

		yaml->why =
			w.deep ? fs_path("it is nested more than %d deep", GATEWAY_DEPTH_MAX)
			: w.parser.problem
				? fs_path("line %zu: %s", w.parser.problem_mark.line + 1,
					  w.parser.problem)
				: strdup("it is not a mapping of keys");
		yaml->word = GATEWAY_BROKEN;
		yaml->awkward = true;
		if (memory || !yaml->why) {
			yaml_event_delete(&w.ev);
			yaml_parser_delete(&w.parser);
			return -ENOMEM;
		}
	}
	yaml_event_delete(&w.ev);
	yaml_parser_delete(&w.parser);
	return 0;
}

int gateway_yaml_read(const char *home, struct gateway_yaml *out)
{
	CLEANUP(freep) char *text = NULL;
	size_t len = 0;
	int r;

	*out = (struct gateway_yaml){ .path = fs_path("%s/config.yaml", home) };
	r = out->path ? fs_read_file(out->path, GATEWAY_FILE_MAX, &text, &len) : -ENOMEM;
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r == 0) {
		r = gateway_yaml_parse(out, text, len);
	} else if (r != -ENOMEM) {
		out->word = GATEWAY_BROKEN;
		out->awkward = true;
		out->why = strdup(strerror(-r));
		r = out->why ? 0 : -ENOMEM;
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
