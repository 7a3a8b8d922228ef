/* Verbs that only a daemon can answer: the arguments, the root, the daemon that serves it, its
 * answer. Without one each of them ends with 69. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "ctl/client.h"
#include "util/error.h"

struct ctl;
struct ctl_arg;

struct daemon_call {
	struct ctl *ctl;
	char *root;
	struct client *client;
	struct reply reply;
	char **args;      /* the arguments, NULL-terminated, borrowed */
	const char *slug; /* the board that is meant, or NULL: all */
};

/**
 * daemon_call_open() - parse the arguments and find the daemon
 * @options: of the verb, or NULL; @max: 1 for a verb with a board as its argument, else 0
 * Return: true to go on; false with ctl->exit.
 */
MUST_CHECK bool daemon_call_open(struct daemon_call *m, struct ctl *ctl,
				 const struct ctl_arg *options, int argc, char **argv, int max);
void daemon_call_close(struct daemon_call *m);

/** daemon_call_post() - a request whose path needs no root; @body: given away, or NULL
 * Return: 0, or an exit code after telling why. */
MUST_CHECK int daemon_call_post(struct daemon_call *m, const char *path, json_t *body);

/** daemon_call_board() - POST /v1/boards/SLUG/@what */
MUST_CHECK int daemon_call_board(struct daemon_call *m, const char *what);

/** daemon_call_json() - the answer as the output of --json. Return: exit code */
int daemon_call_json(struct daemon_call *m);

/** daemon_call_put_board() - "SLUG: @done; 2 running, 3 ready left" */
void daemon_call_put_board(const struct daemon_call *m, const char *done);
