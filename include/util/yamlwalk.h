/*
 * Reading a YAML file that somebody else wrote, event by event through libyaml, within a size
 * and a depth. Nothing is built from it, aliases are not followed, tags are not obeyed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "util/error.h"

#define YAMLWALK_FILE_MAX  ((size_t)1 << 20)
#define YAMLWALK_DEPTH_MAX 100 /* libyaml's work per token grows with the depth */

struct yamlwalk {
	yaml_parser_t parser;
	yaml_event_t ev; /* the current one */
	char *data;      /* owned */
	size_t len;
	unsigned depth; /* of nodes that have begun and not ended */
	bool deep;      /* more of them than are read */
	bool failed;    /* nothing comes any more: yamlwalk_problem() */
};

/**
 * yamlwalk_open() - read the file at @path
 * Return: 0, then yamlwalk_close(); -errno, of which -EFBIG is one that is larger than
 * YAMLWALK_FILE_MAX.
 */
MUST_CHECK int yamlwalk_open(struct yamlwalk *walk, const char *path);
void yamlwalk_close(struct yamlwalk *walk);

/** yamlwalk_next() - to the next event.  Return: false: there is none that can be read */
MUST_CHECK bool yamlwalk_next(struct yamlwalk *walk);

/** yamlwalk_skip() - the event begins a node, or is its last: go to its last.
 * Return: as yamlwalk_next() */
MUST_CHECK bool yamlwalk_skip(struct yamlwalk *walk);

/** yamlwalk_root() - from the start to the first event of the first document's node, or to the
 * end of the stream where there is none.  Return: as yamlwalk_next() */
MUST_CHECK bool yamlwalk_root(struct yamlwalk *walk);

/** yamlwalk_text() - of a scalar, borrowed until the next event; NULL: the event is none */
const char *yamlwalk_text(const struct yamlwalk *walk);

/** yamlwalk_is() - is it a scalar with this text */
bool yamlwalk_is(const struct yamlwalk *walk, const char *text);

/** yamlwalk_problem() - why it failed, static or borrowed from @walk; NULL: out of memory
 * @line: out, where, from 1 */
const char *yamlwalk_problem(const struct yamlwalk *walk, size_t *line);

/** yamlwalk_document() - from the start, the first document as a tree, within the same bounds;
 * the caller deletes it.  Return: false: there is none, or it cannot be read */
MUST_CHECK bool yamlwalk_document(struct yamlwalk *walk, yaml_document_t *document);
