/*
 * The board that a verb is about, and who does the work: the daemon that serves the root, which
 * dispatches nothing on that board meanwhile; or we on the files, under the same locks. What
 * changes a board then needs the lease of the root, so a dispatcher that starts is never
 * surprised.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "board/discover.h"
#include "util/error.h"

struct client;
struct ctl;
struct lease;

struct board_session {
	struct ctl *ctl;
	char *root;
	struct board_place place;
	struct client *client; /* NULL: the files */
	struct lease *lease;   /* … where something is changed */
};

/**
 * board_session_open() - the board @slug, or the one that the options mean
 * @change: without a daemon, the lease is needed
 * Return: 0, or an exit code after telling why.
 */
MUST_CHECK int board_session_open(struct board_session *m, struct ctl *ctl, const char *slug,
				  bool change);
void board_session_close(struct board_session *m);

/** board_session_max() - how large a board may be to be copied, in bytes, as the configuration
 * says; 0: it cannot be read, so as nobody had said anything */
int64_t board_session_max(const struct board_session *m);

/** board_session_fail() - tell what mend_check() or its like ended with. Return: exit code */
int board_session_fail(const struct ctl *ctl, int r, const struct error *e);

/** board_session_ask() - POST /v1/boards/SLUG/@what
 * @body: given away, or NULL; @out: what the daemon says, a new reference
 * Return: 0, or an exit code after telling why. */
MUST_CHECK int board_session_ask(const struct board_session *m, const char *what, json_t *body,
				 json_t **out);

/** board_session_report() - what check and repair print; @report is given away. Return: exit
 * code */
int board_session_report(const struct board_session *m, json_t *report);
