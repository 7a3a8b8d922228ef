/*
 * The one reader of YAML. Happy path: the file is read, then one event after the other, until
 * the end of the stream. What cannot be read, and what is nested deeper than libyaml can take
 * in good time, ends the walk, and yamlwalk_problem() tells why.
 */
#include "util/yamlwalk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/fs.h"

static int walk_begin(struct yamlwalk *walk)
{
	if (!yaml_parser_initialize(&walk->parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&walk->parser, (const unsigned char *)walk->data,
				     walk->len);
	return 0;
}

int yamlwalk_open(struct yamlwalk *walk, const char *path)
{
	int r;

	*walk = (struct yamlwalk){ 0 };
	r = fs_read_file(path, YAMLWALK_FILE_MAX, &walk->data, &walk->len);
	if (r < 0)
		return r;
	r = walk_begin(walk);
	if (r < 0)
		free(STEAL(walk->data));
	return r;
}

void yamlwalk_close(struct yamlwalk *walk)
{
	yaml_event_delete(&walk->ev);
	yaml_parser_delete(&walk->parser);
	free(STEAL(walk->data));
}

static bool walk_begins(const struct yamlwalk *walk)
{
	return walk->ev.type == YAML_MAPPING_START_EVENT ||
	       walk->ev.type == YAML_SEQUENCE_START_EVENT;
}

static bool walk_ends(const struct yamlwalk *walk)
{
	return walk->ev.type == YAML_MAPPING_END_EVENT ||
	       walk->ev.type == YAML_SEQUENCE_END_EVENT;
}

bool yamlwalk_next(struct yamlwalk *walk)
{
	yaml_event_delete(&walk->ev); /* and sets it to zero */
	if (walk->failed || !yaml_parser_parse(&walk->parser, &walk->ev)) {
		walk->failed = true;
		return false;
	}
	walk->depth += walk_begins(walk);
	walk->depth -= walk_ends(walk);
	if (walk->depth > YAMLWALK_DEPTH_MAX)
		walk->deep = walk->failed = true;
	return !walk->failed;
}

bool yamlwalk_skip(struct yamlwalk *walk)
{
	int depth = 0;

	for (;;) {
		depth += (int)walk_begins(walk) - (int)walk_ends(walk);
		if (depth <= 0)
			return true;
		if (!yamlwalk_next(walk))
			return false;
	}
}

bool yamlwalk_root(struct yamlwalk *walk)
{
	for (int i = 0; i < 2; i++) /* the stream, the document */
		if (!yamlwalk_next(walk))
			return false;
	return walk->ev.type == YAML_STREAM_END_EVENT || yamlwalk_next(walk);
}

const char *yamlwalk_text(const struct yamlwalk *walk)
{
	return walk->ev.type == YAML_SCALAR_EVENT ? (const char *)walk->ev.data.scalar.value
						  : NULL;
}

bool yamlwalk_is(const struct yamlwalk *walk, const char *text)
{
	const char *scalar = yamlwalk_text(walk);

	return scalar && strcmp(scalar, text) == 0;
}

const char *yamlwalk_problem(const struct yamlwalk *walk, size_t *line)
{
	const yaml_parser_t *p = &walk->parser;

	if (walk->deep) {
		*line = walk->ev.start_mark.line + 1;
		return "nested too deeply";
	}
	*line = p->problem_mark.line + 1;
	if (p->error == YAML_MEMORY_ERROR)
		return NULL;
	if (p->error == YAML_READER_ERROR) {
		/* bad bytes are met while reading ahead: only the offset is known */
		*line = 1;
		for (size_t i = 0; i < p->problem_offset && i < walk->len; i++)
			*line += walk->data[i] == '\n';
	}
	return p->problem ? p->problem : "cannot be parsed";
}

bool yamlwalk_document(struct yamlwalk *walk, yaml_document_t *document)
{
	while (yamlwalk_next(walk) && walk->ev.type != YAML_STREAM_END_EVENT)
		; /* only to see that it ends, and how deep it is */
	if (walk->failed)
		return false;
	yaml_parser_delete(&walk->parser);
	if (walk_begin(walk) < 0) {
		walk->failed = true;
		return false;
	}
	return yaml_parser_load(&walk->parser, document);
}
