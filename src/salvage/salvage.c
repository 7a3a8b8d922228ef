/*
 * What a damaged copy still holds, in this order:
 *
 *   1. page_file_open(): page size, sidecars.                             salvage/page.h
 *   2. sqlite_schema: its b-tree from page 1, around bad pages; if it has holes, schema-like
 *      leaves anywhere in the file; what is still missing, from the board that we would make
 *      ourselves.                                         salvage_schema.c, salvage_known.c
 *   3. Every table's b-tree from its root, around bad pages; then the pages of the indexes and
 *      of the freelist, so that every page has its place.                  salvage_walk.c
 *   4. Leaves that nothing leads to: to which table do their records fit?  salvage_scan.c
 *   5. The result: tables, rows, indexes, sequences, integrity_check.      salvage_write.c,
 *      Damaged pages are searched cell by cell for what is still whole.    salvage_insert.c
 *   6. What is known to be missing: from the indexes.                      salvage_lost.c
 *
 * Nothing is invented. Three rules keep deleted rows deleted and foreign bytes out:
 *
 *   - A row counts only if its record fills its payload to the byte and its types can be the
 *     table's. On a page that is reached by its b-tree and accounts for all its bytes, the
 *     content is then taken as it is, as SQLite would; a text that cannot be right makes the
 * row suspect, which the report tells. On any other page such a row is no row, and numbers must
 *     be numbers.
 *   - A page on the freelist (§1.5) holds no live row; what stands there was deleted or moved.
 *     It is used only if a b-tree leads to it all the same, which is what SQLite would do. A
 *     freelist trunk with one impossible entry is distrusted as a whole.
 *   - A stray leaf, on no freelist and in no b-tree, does not exist in a sound database. With a
 *     whole freelist it is a lost page of whichever table it fits. Without one it may as well
 * be a free page; then only a table whose own b-tree has holes takes it.
 *
 * The same rowid twice: the b-tree's row wins; among stray ones that with more columns (written
 * after a column was added), then the later by its own time stamps, then the lower page. Two
 * rows of b-trees with the same overflow chain: the chain belongs to one of them; such rows
 * come last, the higher rowid first, because a page that was given away was given to a later
 * row.
 *
 * A row is read from its page when it is written, so that memory holds one row, and a few bytes
 * per page and per stray row. A kill leaves a half-built @out_path and nothing else; the caller
 * removes it and starts again.
 */
#include "salvage/salvage.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "db/db_open.h"
#include "salvage.h"

static void salvage_work_deinit(struct salvage_work *w)
{
	salvage_insert_end(w);
	free(w->name);
	free(w->leaves);
	free(w->strays);
	free(w->shared);
	free(w->unread);
	salvage_shape_deinit(&w->shape);
	*w = (struct salvage_work){ 0 };
}

static void salvage_deinit(struct salvage *s)
{
	for (size_t i = 0; i < s->nworks; i++)
		salvage_work_deinit(&s->works[i]);
	salvage_work_deinit(&s->schema);
	salvage_work_deinit(&s->sequence);
	for (size_t i = 0; i < s->nobjects; i++)
		salvage_object_clear(&s->objects[i]);
	for (size_t i = 0; i < s->nknown; i++)
		salvage_object_clear(&s->known[i]);
	for (size_t i = 0; i < s->nsequences; i++)
		free(s->sequences[i].name);
	free(s->works);
	free(s->objects);
	free(s->known);
	free(s->sequences);
	(void)sqlite3_close(s->scratch);
	(void)sqlite3_close(s->out);
	page_record_deinit(&s->rec);
	page_payload_deinit(&s->payload);
	page_file_close(&s->file);
	free(s->buf);
	free(s->map);
	free(s->state);
	free(s->seen);
	free(s->chains);
}

static int salvage_open(struct salvage *s, const char *path)
{
	struct salvage_report *r = s->report;
	int code = page_file_open(&s->file, path, !s->opt->no_sidecars, s->e);
	size_t n;

	if (code != 0)
		return code == PAGE_NOT_A_DATABASE ? SALVAGE_NOTHING : code;
	n = (size_t)s->file.npages + 1;
	s->buf = malloc(s->file.page_size);
	s->map = malloc(s->file.page_size);
	s->state = calloc(n, sizeof(*s->state));
	s->seen = calloc(n, sizeof(*s->seen));
	s->chains = calloc(n, sizeof(*s->chains));
	if (!s->buf || !s->map || !s->state || !s->seen || !s->chains ||
	    page_record_init(&s->rec) < 0)
		return salvage_fail(s, -ENOMEM, "read the file");
	if (db_open_plain(&s->scratch, NULL, DB_OPEN_MEMORY) != SQLITE_OK)
		return salvage_fail(s, -ENOMEM, "open a scratch database");
	s->chain_budget = 16 * (uint64_t)n + 4096;
	s->encoding = 0; /* the schema's own words tell, see salvage_schema_read() */
	s->schema.index = SIZE_MAX;
	s->schema.root = 1;
	s->sequence.index = SIZE_MAX - 1;
	r->page_size = s->file.page_size;
	r->pages = s->file.npages;
	r->pages_declared = s->file.declared;
	r->header_lost = !s->file.header.trusted;
	r->geometry_guessed = s->file.guessed;
	r->wal = s->file.overlay.source == PAGE_WAL;
	r->journal = s->file.overlay.source == PAGE_JOURNAL;
	r->sidecar_frames = s->file.overlay.found;
	if (page_lock_byte(&s->file) <= s->file.npages)
		s->state[page_lock_byte(&s->file)] = SALVAGE_OTHER;
	return 0;
}

static bool salvage_found_any(const struct salvage *s)
{
	for (size_t i = 0; i < s->nobjects; i++)
		if (s->objects[i].original || s->objects[i].partial)
			return true;
	for (size_t i = 0; i < s->nworks; i++)
		if (s->works[i].nleaves || s->works[i].nstrays)
			return true;
	return false;
}

/* Walk a table; once more with another shape, if there are pages but no record fits. */
static int salvage_walk_or_refit(struct salvage *s, struct salvage_work *w)
{
	size_t ndamage = s->report->ndamage;
	uint64_t total = s->report->damage_total;
	bool foreign = false, changed = false;
	int r = salvage_walk_table(s, w);

	for (size_t i = ndamage; i < s->report->ndamage; i++)
		foreign = foreign || s->report->damage[i].reason == SALVAGE_PAGE_FOREIGN;
	if (r != 0 || w->nleaves || !foreign)
		return r;
	r = salvage_known_refit(s, w, &changed);
	if (r != 0 || !changed)
		return r;
	s->report->ndamage = ndamage;
	s->report->damage_total = total;
	w->holes = w->fuzzy = false;
	return salvage_walk_table(s, w);
}

/* Steps 3 and 4: every page finds its place. */
static int salvage_map_pages(struct salvage *s)
{
	CLEANUP(freep) struct salvage_work **works = NULL;
	int r = 0;

	for (size_t i = 0; i < s->nworks && r == 0; i++)
		r = salvage_walk_or_refit(s, &s->works[i]);
	if (r == 0 && (s->sequence.root || s->report->schema_damaged))
		r = salvage_walk_table(s, &s->sequence);
	for (size_t i = 0; i < s->nobjects && r == 0; i++)
		if (s->objects[i].kind == SALVAGE_INDEX_OBJ && s->objects[i].root)
			r = salvage_walk_index(s, &s->objects[i]);
	if (r != 0)
		return r;
	salvage_walk_freelist(s);
	works = calloc(s->nworks + 1, sizeof(struct salvage_work *));
	if (!works)
		return salvage_fail(s, -ENOMEM, "look for stray pages");
	for (size_t i = 0; i < s->nworks; i++)
		works[i] = &s->works[i];
	works[s->nworks] = &s->sequence;
	return salvage_scan(s, works, s->nworks + 1);
}

static int salvage_run(struct salvage *s, const char *copy_path)
{
	int r = salvage_open(s, copy_path);

	if (r == 0) {
		salvage_walk_ptrmap(s);
		r = salvage_schema_read(s);
	}
	if (r == 0)
		r = salvage_schema_tables(s);
	if (r == 0)
		r = salvage_map_pages(s);
	if (r == 0)
		r = salvage_sequence_read(s);
	if (r == 0 && !salvage_found_any(s))
		return error_set(s->e, SALVAGE_NOTHING,
				 "the file has neither a schema nor a row of a board in it");
	if (r == 0)
		r = salvage_write(s);
	if (r == 0)
		salvage_progress(s, UINT64_MAX / 2);
	s->report->unreadable = s->file.unreadable;
	return r;
}

int salvage_database(const char *copy_path, const char *out_path,
		     const struct salvage_options *opt, struct salvage_report *report,
		     struct error *e)
{
	static const struct salvage_options none = { 0 };
	struct salvage s = { .file = PAGE_FILE_NULL, .report = report, .e = e };
	int r;

	*report = (struct salvage_report){ 0 };
	s.opt = opt ? opt : &none;
	s.out_path = out_path;
	if (access(out_path, F_OK) == 0)
		return error_set(e, -EEXIST, "%s is there already; remove it", out_path);
	r = salvage_run(&s, copy_path);
	salvage_deinit(&s);
	if (r != 0)
		(void)error_prefix(e, "nothing was saved from %s: ", copy_path);
	return r;
}

void salvage_report_deinit(struct salvage_report *r)
{
	for (size_t i = 0; i < r->ntables; i++) {
		free(r->tables[i].name);
		free(r->tables[i].lost_rows);
		free(r->tables[i].suspect_rows);
	}
	free(r->tables);
	free(r->damage);
	*r = (struct salvage_report){ 0 };
}

const struct salvage_table *salvage_report_table(const struct salvage_report *r,
						 const char *name)
{
	for (size_t i = 0; i < r->ntables; i++)
		if (sqlite3_stricmp(r->tables[i].name, name) == 0)
			return &r->tables[i];
	return NULL;
}
