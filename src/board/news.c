/* Reads new rows of task_events by their id, which only rises. */
#include "board/news.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "hook/hook_kind.h"

/* clang-format off */
static const char sql_newest[] = "SELECT coalesce(max(id), 0) FROM task_events";

static const char sql_before[] =
	"SELECT id FROM task_events WHERE coalesce(created_at, 0) < ?1 ORDER BY id DESC LIMIT 1";

static const char sql_news[] =
	"SELECT id, coalesce(run_id, 0), coalesce(created_at, 0), task_id, kind,"
	" CASE WHEN length(payload) <= 8192 THEN payload END"
	" FROM task_events WHERE id > ?1 AND id <= ?2 AND kind IN (" HOOK_SQL_KINDS ")"
	" ORDER BY id LIMIT ?3";
/* clang-format on */

void news_deinit(struct news *news)
{
	for (size_t i = 0; i < news->n; i++) {
		free(news->rows[i].task);
		free(news->rows[i].kind);
		free(news->rows[i].payload);
	}
	free(news->rows);
	*news = (struct news){ 0 };
}

int news_begin(struct db *db, int64_t since, int64_t *after, struct error *e)
{
	return db_one_int(db, e, after, 0, sql_before, "i", since);
}

static int news_row(sqlite3_stmt *s, struct news *news)
{
	struct news_row *row = &news->rows[news->n];
	const char *task = (const char *)sqlite3_column_text(s, 3);
	const char *kind = (const char *)sqlite3_column_text(s, 4);
	const char *payload = (const char *)sqlite3_column_text(s, 5);

	*row = (struct news_row){ .id = sqlite3_column_int64(s, 0),
				  .run = sqlite3_column_int64(s, 1),
				  .at = sqlite3_column_int64(s, 2),
				  .task = strdup(task ? task : ""),
				  .kind = strdup(kind ? kind : ""),
				  .payload = payload ? strdup(payload) : NULL };
	news->n++;
	return row->task && row->kind && (!payload || row->payload) ? 0 : -ENOMEM;
}

int news_read(struct db *db, int64_t after, struct news *news, struct error *e)
{
	int64_t newest = 0;
	sqlite3_stmt *s;
	int r = db_one_int(db, e, &newest, 0, sql_newest, "");

	*news = (struct news){ .after = newest };
	if (r != 0 || newest <= after)
		return r;
	news->rows = calloc(NEWS_MAX, sizeof(*news->rows));
	if (!news->rows)
		return error_set(e, -ENOMEM, "out of memory");
	/* what others commit meanwhile is of the next look */
	r = db_query(db, e, &s, sql_news, "iii", after, newest, (int64_t)NEWS_MAX);
	if (r == 0)
		r = db_step(db, s, e);
	while (r == DB_ROW) {
		r = news_row(s, news);
		if (r < 0) {
			(void)sqlite3_reset(s); /* what it repeats is known */
			(void)error_set(e, r, "out of memory");
			break;
		}
		r = news->n < NEWS_MAX ? db_step(db, s, e) : 0;
		if (news->n == NEWS_MAX)
			(void)sqlite3_reset(s); /* it went well so far */
	}
	if (r != 0) {
		news_deinit(news);
		return r;
	}
	news->more = news->n == NEWS_MAX;
	/* others may have committed since @newest was asked for: what was read is not read
	 * again */
	if (news->more || (news->n > 0 && news->rows[news->n - 1].id > newest))
		news->after = news->rows[news->n - 1].id;
	return 0;
}

bool news_row_told(const struct news_row *row)
{
	static const char *const kinds[] = {
		"spawned",   "spawn_failed", "crashed", "gave_up",
		"timed_out", "reclaimed",    "stale",   "claimed"
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(row->kind, kinds[i]) == 0)
			return true;
	return false;
}
