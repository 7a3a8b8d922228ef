/* Boards to damage, and what must be left of them. Uses the folder of dbfile.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dbfile.h"
#include "salvage/salvage.h"

enum { KIT_TABLES = 7 };
extern const char *const kit_tables[KIT_TABLES];

struct kit_board {
	const char *encoding; /* NULL: UTF-8 */
	uint64_t seed;
	int page_size; /* 0: 4096 */
	int auto_vacuum;
	unsigned tasks;    /* 0: 60 */
	bool keep_deleted; /* secure_delete off: free pages and cells keep their content */
	bool pristine;     /* no deletes and updates afterwards */
};

/** kit_make() - a board with long texts, gaps in its rowids and pages on its freelist */
void kit_make(const char *name, const struct kit_board *b);

/* Bytes of a file. */
struct kit_range {
	size_t from, to;
};

/* Where a row of a board is: its cell, and its overflow pages as far as they are used. */
struct kit_row {
	unsigned table; /* in kit_tables */
	int64_t rowid;
	size_t first, n; /* in kit_map.ranges */
};

struct kit_map {
	struct kit_row *rows;
	size_t nrows, rows_cap;
	struct kit_range *ranges;
	size_t nranges, ranges_cap;
	uint32_t page_size;
};

/** kit_map_read() - find the bytes of every row of a sound board; kit_map_free() */
void kit_map_read(struct kit_map *m, const char *name);
void kit_map_free(struct kit_map *m);

/** kit_hit() - does @damage touch the row */
bool kit_hit(const struct kit_map *m, const struct kit_row *row, const struct kit_range *damage,
	     size_t n);

/** kit_salvage() - salvage @name to out.db, which is removed first; salvage_report_deinit() */
int kit_salvage(const char *name, struct salvage_report *report, struct error *e);

/** kit_expect() - salvage damaged.db; the result has exactly the rows of orig.db that @damage
 * does not touch, with the same content; what the report says is true */
void kit_expect(const struct kit_map *m, const struct kit_range *damage, size_t n,
		const char *what);

/** kit_invented() - rows of out.db that are not in @orig: rowid and every column compared; of
 * all tables, or all but one */
int64_t kit_invented(const char *orig, const char *but);

/** kit_rows() - rows of a table of a sound file, 0 if it has no such table */
int64_t kit_rows(const char *name, const char *table);

/** kit_root() - root page of a table or index of a sound file */
uint32_t kit_root(const char *name, const char *object);
