/*
 * What every part of salvage needs: growing arrays, saying what failed, stopping when asked to,
 * telling how far it is, and noting a hole in a table.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "db/db_result.h"
#include "salvage.h"

/* Make room for one more; @array points to the array pointer. */
int salvage_grow(void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 16;
	void *old, *p;

	if (n < *cap)
		return 0;
	memcpy(&old, array, sizeof(old));
	p = reallocarray(old, want, size);
	if (!p)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*cap = want;
	return 0;
}

bool salvage_stopped(const struct salvage *s)
{
	return s->opt->cancel && atomic_load(s->opt->cancel);
}

int salvage_cancelled(struct salvage *s)
{
	if (!salvage_stopped(s))
		return 0;
	return error_set(s->e, SALVAGE_CANCELLED, "the salvage was cancelled");
}

/* The file is gone through about twice: once for its structure, once for its rows. */
void salvage_progress(struct salvage *s, uint64_t bytes)
{
	uint64_t total = 2 * (uint64_t)s->file.npages * s->file.page_size, before = s->done;

	s->done = before + bytes < total ? before + bytes : total;
	/* A call per MiB, not per page. */
	if (s->opt->progress && (before >> 20 != s->done >> 20 || s->done == total))
		s->opt->progress(s->opt->arg, s->done, total);
}

int salvage_fail(struct salvage *s, int code, const char *what)
{
	return error_errno(s->e, code, "cannot %s", what);
}

int salvage_hole(struct salvage *s, struct salvage_work *w, struct salvage_damage d)
{
	struct salvage_report *r = s->report;

	d.table = w->index;
	w->holes = w->holes || d.reason != SALVAGE_PAGE_CHAIN;
	if (d.pgno == 0 || (d.after == INT64_MIN && d.upto == INT64_MAX))
		w->fuzzy = true;
	r->damage_total++;
	if (r->ndamage == SALVAGE_DAMAGE_MAX) {
		w->fuzzy = true;
		return 0;
	}
	if (salvage_grow(&r->damage, r->ndamage, &s->damage_cap, sizeof(*r->damage)) < 0)
		return salvage_fail(s, -ENOMEM, "note a damaged page");
	r->damage[r->ndamage++] = d;
	return 0;
}

int salvage_sql_error(struct salvage *s, sqlite3 *db, const char *what)
{
	int code = sqlite3_extended_errcode(db);
	int r = db_result_errno(code);

	if (code == SQLITE_INTERRUPT && salvage_cancelled(s))
		return SALVAGE_CANCELLED;
	return error_set(s->e, r == -ENOMEM || r == -ENOSPC ? r : -EIO, "cannot %s: %s", what,
			 sqlite3_errmsg(db));
}

int salvage_sql(struct salvage *s, sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return salvage_sql_error(s, db, "build the result");
}

bool salvage_page_view(struct salvage *s, uint32_t pgno, struct page_view *v)
{
	uint32_t avail = page_file_read(&s->file, pgno, s->buf);

	return page_view_init(v, s->file.usable, pgno, s->buf, avail);
}
