/* What one config.yaml says about `kanban.dispatch_in_gateway`, and where. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

enum gateway_word {
	GATEWAY_UNSET,  /* nothing is said */
	GATEWAY_ON,     /* dispatch */
	GATEWAY_OFF,    /* do not */
	GATEWAY_BROKEN, /* it cannot be read: a gateway may do either */
};

struct gateway_yaml {
	enum gateway_word word;
	char *path; /* of the file, whether it is there or not */
	char *why;  /* GATEWAY_BROKEN: the reason */
	/* internal: where a line could be changed or added; counted from 1 */
	size_t line;   /* of the key and its value; 0: unknown */
	size_t block;  /* of `kanban:`; 0: there is none */
	size_t first;  /* of the first key below it; 0: none */
	size_t indent; /* columns before that key */
	bool flow;     /* the block is {…}, opened on the line `block` */
	bool quoted;   /* the value stands in quotes */
	bool empty;    /* there is nothing below `kanban:` */
	bool awkward;  /* no one-line edit is safe */
};

/**
 * gateway_yaml_read() - read `<home>/config.yaml`
 * Return: 0, also for a file that is missing, damaged or hostile; -ENOMEM.
 */
MUST_CHECK int gateway_yaml_read(const char *home, struct gateway_yaml *yaml);
void gateway_yaml_deinit(struct gateway_yaml *yaml);

/** gateway_yaml_fix() - a command that makes it say false; malloc'd, NULL: out of memory */
MUST_CHECK char *gateway_yaml_fix(const struct gateway_yaml *yaml);
