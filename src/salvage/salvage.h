/* What the parts of salvage share. The plan is in salvage.c. */
#pragma once

#include <stdatomic.h>

#include "salvage/page.h"
#include "salvage/salvage.h"

struct sqlite3;
struct sqlite3_stmt;

/* What a page turned out to be; one byte per page. */
enum salvage_state {
	SALVAGE_UNSEEN,   /* nothing leads to it so far */
	SALVAGE_TREE,     /* leaf of a table, its rows are taken */
	SALVAGE_INTERIOR, /* interior page of a table */
	SALVAGE_INDEX,    /* page of an index */
	SALVAGE_OVERFLOW, /* in the chain of a row that was read whole */
	SALVAGE_FREE,     /* on the freelist */
	SALVAGE_STRAY,    /* leaf that no b-tree leads to, its rows are taken */
	SALVAGE_OTHER,    /* lock-byte page, pointer map */
};

/* What a column's text or number looks like when it is right. */
enum salvage_pattern {
	SALVAGE_ANY,
	SALVAGE_TASK_ID,     /* t_ and eight hex digits */
	SALVAGE_TASK_STATUS, /* one of the nine */
	SALVAGE_TIME,        /* Unix seconds of our age */
	SALVAGE_SCHEMA_TYPE, /* table, index, view, trigger */
};

enum salvage_affinity { SALVAGE_AFF_NONE, SALVAGE_AFF_TEXT, SALVAGE_AFF_INT, SALVAGE_AFF_REAL };

/* A column as it stands in the record; columns that are computed on reading are not in it. */
struct salvage_column {
	char *name; /* owned */
	enum salvage_affinity affinity;
	enum salvage_pattern pattern;
	bool required;  /* NOT NULL, and without a default: a record always has it */
	bool notnull;   /* NOT NULL */
	bool generated; /* STORED: in the record, but not to be inserted */
	bool stamp;     /* name ends in _at */
};

/* What a table's records look like. */
struct salvage_shape {
	struct salvage_column *cols; /* owned */
	uint32_t ncol;
	int alias; /* column that is the rowid, stored as NULL (§2.3); -1 none */
	bool autoincrement;
	bool without_rowid; /* §2.4; such tables are not read */
	bool ids;           /* has columns of SALVAGE_TASK_ID or SALVAGE_SCHEMA_TYPE */
};

struct salvage_leaf {
	uint32_t pgno;
	bool sound; /* page_view_audit() found nothing wrong: believed byte for byte */
};

/* An accepted cell of a stray page; the record is read when it is written. */
struct salvage_candidate {
	int64_t rowid;
	int64_t stamp; /* latest time in the record */
	uint32_t pgno;
	uint32_t offset;
	uint32_t ncol;
};

/* A table being saved. */
struct salvage_work {
	char *name;    /* owned */
	size_t index;  /* in report->tables; SIZE_MAX for schema and sequence */
	uint32_t root; /* 0: not known */
	bool holes;    /* rows may be missing from the tree */
	bool fuzzy;    /* … and not only within the ranges of the damage list */
	uint32_t bad;  /* cells of the tree that are no rows */
	struct salvage_shape shape;
	struct salvage_leaf *leaves; /* of the tree, in its order; owned */
	size_t nleaves, leaves_cap;
	struct salvage_candidate *strays; /* owned */
	size_t nstrays, strays_cap;
	struct sqlite3_stmt **insert;     /* by number of columns, then OR REPLACE; owned */
	struct sqlite3_stmt *has;         /* is there such a rowid; owned */
	struct salvage_candidate *shared; /* of the tree: another cell has its chain; owned */
	size_t nshared, shared_cap;
	int64_t *unread; /* rowids seen but not written; owned */
	size_t nunread, unread_cap;
};

enum salvage_kind { SALVAGE_TABLE, SALVAGE_INDEX_OBJ, SALVAGE_VIEW, SALVAGE_TRIGGER };

/* A row of sqlite_schema (§2.6). */
struct salvage_object {
	enum salvage_kind kind;
	char *name, *tbl, *sql; /* UTF-8, owned; sql NULL: automatic index, or not readable */
	uint32_t root;
	bool original; /* sql is the file's */
	bool partial;  /* the row's overflow chain is broken: sql is not readable */
	bool whole;    /* index: walked without a hole */
};

/* sqlite_sequence (§2.6.3), as found. */
struct salvage_sequence {
	char *name;
	int64_t seq;
};

struct salvage {
	struct page_file file;
	const struct salvage_options *opt;
	struct salvage_report *report;
	struct error *e;
	const char *out_path;
	uint8_t *buf;     /* the page at hand */
	uint8_t *map;     /* its bytes, page_view_audit() */
	uint8_t *state;   /* enum salvage_state, by page number */
	uint8_t *chains;  /* cells of b-trees whose overflow chain starts here; stops at 2 */
	uint32_t *seen;   /* number of the walk that saw the page last */
	uint32_t walk;    /* number of the walk under way */
	int auto_vacuum;  /* 0 none, 1 full, 2 incremental */
	bool freelist_ok; /* the freelist is whole: a page neither on it nor in a tree is a loss
			   */
	uint32_t encoding;     /* enum page_encoding; 0 not known yet */
	bool suspect;          /* the row that was read last has a text that cannot be right */
	uint64_t done;         /* bytes, for the progress report */
	uint64_t chain_budget; /* overflow pages that may still be read in vain */
	struct page_record rec;
	struct page_payload payload;
	struct salvage_work schema, sequence;
	struct salvage_work *works; /* the tables; owned */
	size_t nworks;
	struct salvage_object *objects;
	size_t nobjects, objects_cap, damage_cap;
	struct salvage_object *known; /* of the board that we would make; owned */
	size_t nknown;
	struct salvage_sequence *sequences;
	size_t nsequences, sequences_cap;
	struct sqlite3 *scratch; /* :memory:, to let SQLite read CREATE texts */
	struct sqlite3 *out;     /* the result */
};

/* page.c */
uint32_t page_pread(int fd, uint8_t *buf, uint32_t len, uint64_t offset, bool *refused);

/* salvage_base.c */
int salvage_grow(void *array, size_t n, size_t *cap, size_t size);
bool salvage_stopped(const struct salvage *s);
int salvage_cancelled(struct salvage *s);
void salvage_progress(struct salvage *s, uint64_t bytes);
int salvage_fail(struct salvage *s, int code, const char *what);
int salvage_hole(struct salvage *s, struct salvage_work *w, struct salvage_damage d);
int salvage_sql(struct salvage *s, struct sqlite3 *db, const char *sql);
int salvage_sql_error(struct salvage *s, struct sqlite3 *db, const char *what);
bool salvage_page_view(struct salvage *s, uint32_t pgno, struct page_view *v);

/* salvage_shape.c */
int salvage_shape_from_sql(struct salvage *s, const char *sql, const char *name,
			   struct salvage_shape *shape);
int salvage_create(struct sqlite3 *db, const char *sql, bool table);
int salvage_shape_fixed(struct salvage_shape *shape, bool schema);
void salvage_shape_deinit(struct salvage_shape *shape);
bool salvage_shape_fits(struct salvage *s, const struct salvage_shape *shape, bool strict);
unsigned salvage_shape_score(struct salvage *s, const struct salvage_shape *shape, bool *ids);
int64_t salvage_shape_stamp(struct salvage *s, const struct salvage_shape *shape);
int salvage_text(struct salvage *s, const struct page_value *v, char **text);
bool salvage_text_sound(struct salvage *s, const struct page_value *v);

/* salvage_row.c */
#define SALVAGE_ROW_BAD 1
int salvage_row_read(struct salvage *s, const struct salvage_shape *shape,
		     const struct page_cell *c, bool strict);
bool salvage_row_fits(struct salvage *s, const struct salvage_shape *shape,
		      const struct page_cell *c, bool strict);
int salvage_unread(struct salvage_work *w, int64_t rowid);

/* salvage_walk.c */
int salvage_walk_table(struct salvage *s, struct salvage_work *w);
int salvage_walk_index(struct salvage *s, struct salvage_object *o);
void salvage_walk_freelist(struct salvage *s);
void salvage_walk_ptrmap(struct salvage *s);

/* salvage_scan.c */
int salvage_scan(struct salvage *s, struct salvage_work **works, size_t n);
typedef int (*salvage_cell_fn)(struct salvage *s, struct salvage_work *w,
			       const struct page_cell *c, uint32_t pgno);
int salvage_carve(struct salvage *s, struct salvage_work *w, salvage_cell_fn found);

/* salvage_schema.c */
int salvage_schema_read(struct salvage *s);
int salvage_schema_tables(struct salvage *s);
int salvage_sequence_read(struct salvage *s);
int64_t salvage_sequence_of(const struct salvage *s, const char *name);

/* salvage_object.c */
struct salvage_object *salvage_object_find(struct salvage *s, enum salvage_kind kind,
					   const char *name);
int salvage_object_add(struct salvage *s, struct salvage_object *o);
void salvage_object_clear(struct salvage_object *o);

/* salvage_known.c */
int salvage_known_fill(struct salvage *s);
int salvage_known_refit(struct salvage *s, struct salvage_work *w, bool *changed);

/* salvage_insert.c */
int salvage_insert_all(struct salvage *s);
int salvage_has_row(struct salvage *s, struct salvage_work *w, int64_t rowid, bool *has);
int salvage_count_rows(struct salvage *s, const struct salvage_work *w, int64_t after,
		       int64_t upto, uint64_t *rows);
void salvage_insert_end(struct salvage_work *w);

/* salvage_write.c */
int salvage_write(struct salvage *s);

/* salvage_index.c */
struct salvage_rowids {
	int64_t *ids; /* sorted */
	size_t n, cap;
	bool known;
};

typedef int (*salvage_entry_fn)(struct salvage *s, void *arg, int64_t rowid);
bool salvage_index_usable(const struct salvage_work *w, const struct salvage_object *o);
int salvage_index_each(struct salvage *s, const struct salvage_object *o, salvage_entry_fn fn,
		       void *arg);
int salvage_rowids_read(struct salvage *s, const struct salvage_work *w,
			struct salvage_rowids *set);
bool salvage_rowids_has(const struct salvage_rowids *set, int64_t rowid);

/* salvage_lost.c */
int salvage_lost_count(struct salvage *s);
