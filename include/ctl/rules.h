/*
 * The rules of a tick as they are asked here, without the daemon: by the configuration that is
 * in force and what /proc and the folders of the root say.
 */
#pragma once

#include "tick/tick.h"
#include "util/settings.h"

struct board_place;
struct config;
struct ctl;
struct db;
struct identity_found;

/* Zeroed before its first use. */
struct rules {
	struct config *config;        /* owned */
	const struct ctl *ctl;        /* borrowed */
	char *root;                   /* owned */
	struct identity_found *found; /* workers of this host when it was opened; owned */
	size_t n_found;
	/* of one board, as rules_of() left it */
	struct settings set; /* strings borrowed from config */
	struct tick_host host;
	struct tick_request rq;
	struct plan plan;
	struct tick_living *living; /* those of the board; owned */
	struct tick tick;
};

/** rules_open() - Return: 0, or an exit code after telling. rules_close() frees. */
MUST_CHECK int rules_open(struct rules *rules, struct ctl *ctl, const char *root);

/** rules_load() - the same with a configuration that may be refused, quietly
 * @file: kanband.conf, or NULL. Return: 0 or -errno. */
MUST_CHECK int rules_load(struct rules *rules, const struct ctl *ctl, const char *file,
			  const char *root, struct error *e);
void rules_close(struct rules *rules);

/** rules_of() - ask about @db, the board at @place. Everything borrowed until the next call.
 * Return: the tick to ask with. */
const struct tick *rules_of(struct rules *rules, const struct board_place *place, struct db *db,
			    struct error *e);
