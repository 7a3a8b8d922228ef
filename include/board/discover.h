/*
 * Which boards a kanban root has, and where the parts of each are. Looks with stat(2) only: no
 * database is opened here, because closing any descriptor of one drops the locks of this
 * process (https://sqlite.org/howtocorrupt.html, 2.2). board.json is read, and only when it
 * changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/fs.h"

#define BOARD_SLUG_MAX 64

/* One board. The strings are owned by the structure. */
struct board_place {
	char slug[BOARD_SLUG_MAX + 1];         /* name of its folder */
	char duplicate_of[BOARD_SLUG_MAX + 1]; /* an earlier board with the same database file,
						* "" if none: work on a file once */
	char *db_path;                         /* the database */
	char *folder;                          /* metadata: board.json, snapshots */
	char *logs_dir;                        /* worker logs */
	char *workspaces_dir;                  /* scratch workspaces */
	char *default_workdir; /* of board.json, absolute (or ~/…); NULL if none */
	char *refused;         /* why a dry run has no copy of it; NULL: it is worked on */
	bool archived;         /* board.json says so; never for `default` */
	bool db_exists;        /* something is at db_path */
	bool moved;            /* and it is another file than at the call before */
	struct fs_stamp db;    /* of the database */
	struct fs_stamp wal;   /* of its -wal */
	struct fs_stamp meta;  /* of board.json when it was read last */
	bool meta_bad;         /* board.json cannot be used: what it said last holds, else
				* the defaults */
};

/* What discover_boards() keeps between calls. Zeroed before first use. */
struct discovery {
	bool no_wal;                /* set by the caller: do not look at the -wal files, one
				     * stat call less per board; their stamps stay 0 */
	struct board_place *boards; /* `default` first, then by name */
	size_t count;
	char **notes; /* news of the last call, one sentence each: a board.json that cannot be
		       * read, a folder name in upper case. Each is said once. */
	size_t n_notes;
	char (*empty)[BOARD_SLUG_MAX + 1]; /* folders that may become boards: neither a
					    * database nor a board.json in them yet */
	size_t n_empty;
	uint64_t meta_reads; /* how often a board.json was read, for tests and the bench */
	/* internal */
	char *root, *pinned;        /* what the cache is about */
	struct discover_seen *seen; /* scratch of one call, kept for its memory */
	size_t n_seen, cap_seen, cap_empty;
	size_t *order; /* scratch: boards by device and inode */
	size_t cap_order;
	char **told; /* folder names that a note was about */
	size_t n_told;
};

/**
 * discover_boards() - bring @d up to date
 * @root: kanban root; a folder
 * @pinned_db: $HERMES_KANBAN_DB, every slug's database, or NULL
 * One pass over `<root>/kanban/boards` and three stat calls per board. `default` is always
 * there, with or without a folder or a file. Anything unusual about one board is a note and
 * defaults, never an error.
 * Thread: any, one at a time per @d.  Blocks: file system.
 * Return: 0; -errno when the root or its boards folder cannot be read (or out of memory): then
 * @d->boards tells nothing about what is there now.
 */
MUST_CHECK int discover_boards(struct discovery *d, const char *root, const char *pinned_db,
			       struct error *e);

/** discovery_deinit() - free what @d holds; @d may be used again */
void discovery_deinit(struct discovery *d);

/**
 * discover_one() - one board, for kanbanctl
 * @place: out; board_place_deinit() frees it; duplicate_of is not looked for
 * Return: 0; -EINVAL if @slug is no slug; -ENOENT if there is no such board (never for
 * `default`) or no such root; other -errno. @e says so.
 */
MUST_CHECK int discover_one(const char *root, const char *pinned_db, const char *slug,
			    struct board_place *place, struct error *e);

/** board_place_deinit() - free the strings; zeroes @place */
void board_place_deinit(struct board_place *place);

/**
 * board_place_db_path() - where the database of @slug is or would be
 * Return: malloc'd; NULL when out of memory.
 */
MUST_CHECK char *board_place_db_path(const char *root, const char *pinned_db, const char *slug);
