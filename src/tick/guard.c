#include "tick/guard.h"

#include <ctype.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "db/db.h"
#include "tick/running.h"

#define GUARD_SUCCESS_S 3600
#define GUARD_PR_S      86400
#define GUARD_REPEAT_S  3600
#define GUARD_TEXT_MAX  4096 /* how much of a hostile error text is looked at */

/* clang-format off */
static const char sql_newest_ended[] =
	"SELECT outcome, ended_at FROM task_runs WHERE task_id = ?1 AND ended_at IS NOT NULL"
	" ORDER BY ended_at DESC, id DESC LIMIT 1";

static const char sql_newest_success[] =
	"SELECT max(ended_at) FROM task_runs WHERE task_id = ?1 AND outcome = 'completed'"
	" AND ended_at >= ?2";

static const char sql_moved_since[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_events WHERE task_id = ?1 AND created_at >= ?2"
	" AND kind IN ('status', 'promoted', 'unblocked', 'reclaimed') LIMIT 1)";

static const char sql_pr_comments[] =
	"SELECT body, created_at FROM task_comments WHERE task_id = ?1 AND created_at >= ?2"
	" AND body LIKE '%github.com/%/pull/%' ORDER BY created_at DESC, id DESC";

static const char sql_reopened_since[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_events WHERE task_id = ?1 AND created_at >= ?2"
	" AND kind IN ('unblocked', 'review_reopened', 'respawn_guard_cleared') LIMIT 1)";

static const char sql_last_guarded[] =
	"SELECT payload, created_at FROM task_events WHERE task_id = ?1"
	" AND kind = 'respawn_guarded' ORDER BY id DESC LIMIT 1";
/* clang-format on */

/* ---- words ---------------------------------------------------------------------------------
 */

/*
 * The blocker words: case-insensitive, whole words where `_` and digits are letters. In a
 * pattern, ' ' stands for exactly one space or '_', '~' for at most one space, '_' or '-'.
 */
static const char *const guard_words[] = {
	"quota",
	"rate~limit",
	"429",
	"403",
	"auth",
	"authenticate",
	"authenticated",
	"authenticating",
	"authentication",
	"authorize",
	"authorized",
	"authorizing",
	"authorization",
	"authorise",
	"authorised",
	"authorisation",
	"unauthorized",
	"unauthorised",
	"unauthenticated",
	"forbidden",
	"billing",
	"subscription",
	"access denied",
	"permission denied",
	"invalid api key",
};

static bool guard_letter(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* How many bytes of @text the pattern matches from its start; 0 = none. */
static size_t guard_match(const char *text, const char *pattern)
{
	size_t n = 0;

	for (; *pattern; pattern++) {
		char c = text[n];

		if (*pattern == '~') {
			n += c == ' ' || c == '_' || c == '-';
		} else if (*pattern == ' ') {
			if (c != ' ' && c != '_')
				return 0;
			n++;
		} else if (tolower((unsigned char)c) == *pattern) {
			n++;
		} else {
			return 0;
		}
	}
	return guard_letter(text[n]) ? 0 : n;
}

bool guard_is_auth(const char *text)
{
	for (size_t i = 0; text[i] && i < GUARD_TEXT_MAX; i++) {
		if (i > 0 && guard_letter(text[i - 1]))
			continue;
		for (size_t w = 0; w < sizeof(guard_words) / sizeof(guard_words[0]); w++)
			if (guard_match(text + i, guard_words[w]))
				return true;
	}
	return false;
}

static size_t guard_segment(const char *p)
{
	size_t n = 0;

	while (isalnum((unsigned char)p[n]) || p[n] == '.' || p[n] == '_' || p[n] == '-')
		n++;
	return n;
}

/* Length of https?://github.com/OWNER/REPO/pull/NUMBER at @p, 0 if it is none. */
static size_t guard_pr_length(const char *p)
{
	const char *q = p;
	size_t n;

	if (strncasecmp(q, "http", 4) != 0)
		return 0;
	q += 4;
	if (*q == 's' || *q == 'S')
		q++;
	if (strncasecmp(q, "://github.com/", 14) != 0)
		return 0;
	q += 14;
	n = guard_segment(q);
	if (n == 0 || q[n] != '/')
		return 0;
	q += n + 1;
	n = guard_segment(q);
	if (n == 0 || strncmp(q + n, "/pull/", 6) != 0)
		return 0;
	q += n + 6;
	n = strspn(q, "0123456789");
	return n ? (size_t)(q + n - p) : 0;
}

bool guard_find_pr(const char *text, char *url, size_t size)
{
	for (const char *p = strcasestr(text, "http"); p; p = strcasestr(p + 1, "http")) {
		size_t n = guard_pr_length(p);

		if (n > 0) {
			(void)snprintf(url, size, "%.*s", (int)(n < size ? n : size - 1), p);
			return true;
		}
	}
	return false;
}

/* ---- rules ---------------------------------------------------------------------------------
 */

enum guard_newest { NEWEST_NONE, NEWEST_RATE_LIMITED, NEWEST_CRASHED, NEWEST_OTHER };

static int guard_newest(struct db *db, const char *task, enum guard_newest *newest,
			int64_t *ended, struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_newest_ended, "t", task);

	*newest = NEWEST_NONE;
	*ended = 0;
	if (r == 0)
		r = db_step(db, s, e);
	if (r == DB_ROW) {
		const char *outcome = (const char *)sqlite3_column_text(s, 0);

		*ended = running_time(sqlite3_column_int64(s, 1));
		*newest = !outcome                               ? NEWEST_OTHER
			  : strcmp(outcome, "rate_limited") == 0 ? NEWEST_RATE_LIMITED
			  : strcmp(outcome, "crashed") == 0      ? NEWEST_CRASHED
								 : NEWEST_OTHER;
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}

static int guard_success(struct db *db, const struct tick_request *rq, const char *task,
			 const char **reason, int64_t *until, struct error *e)
{
	int64_t ended, moved;
	int r;

	r = db_one_int(db, e, &ended, 0, sql_newest_success, "ti", task,
		       rq->now - GUARD_SUCCESS_S);
	if (r != 0 || ended <= 0)
		return r;
	r = db_one_int(db, e, &moved, 0, sql_moved_since, "ti", task, ended);
	if (r == 0 && !moved) {
		*reason = "recent_success";
		*until = running_time(ended) + GUARD_SUCCESS_S + 1;
	}
	return r;
}

static int guard_pr(struct db *db, const struct tick_request *rq, const char *task,
		    const char **reason, int64_t *until, struct error *e)
{
	sqlite3_stmt *s = NULL;
	char url[256] = "";
	int64_t at = 0, reopened;
	bool found = false;
	int r;

	r = db_query(db, e, &s, sql_pr_comments, "ti", task, rq->now - GUARD_PR_S);
	while (r == 0 && !found && (r = db_step(db, s, e)) == DB_ROW) {
		const char *body = (const char *)sqlite3_column_text(s, 0);

		r = 0;
		found = body && guard_find_pr(body, url, sizeof(url));
		if (found) {
			at = running_time(sqlite3_column_int64(s, 1));
			(void)sqlite3_reset(s); /* the newest is all */
		}
	}
	if (r != 0 || !found)
		return r;
	r = db_one_int(db, e, &reopened, 0, sql_reopened_since, "ti", task, at);
	if (r != 0 || reopened)
		return r;
	if (rq->set->guard_check_pr_state && rq->outside->pr_open &&
	    rq->outside->pr_open(rq->outside->arg, url) == 0)
		return 0;
	*reason = "active_pr";
	*until = at + GUARD_PR_S + 1;
	return 0;
}

int guard_check(struct db *db, const struct tick_request *rq, const struct guard_task *task,
		const char **reason, int64_t *until, struct error *e)
{
	enum guard_newest newest;
	int64_t ended;
	int r;

	*reason = NULL;
	*until = 0;
	r = guard_newest(db, task->id, &newest, &ended, e);
	if (r != 0)
		return r;
	if (newest == NEWEST_RATE_LIMITED) {
		if (rq->now - ended >= rq->set->rate_limit_cooldown_s)
			return 0; /* the cooldown is over: no other rule is asked */
		*reason = "rate_limit_cooldown";
		*until = ended + rq->set->rate_limit_cooldown_s;
		return 0;
	}
	if (newest != NEWEST_CRASHED && task->last_error && guard_is_auth(task->last_error)) {
		*reason = "blocker_auth";
		return 0;
	}
	r = guard_success(db, rq, task->id, reason, until, e);
	if (r == 0 && !*reason)
		r = guard_pr(db, rq, task->id, reason, until, e);
	return r;
}

int guard_is_news(struct db *db, const struct tick_request *rq, const char *task,
		  const char *reason, bool *news, struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_last_guarded, "t", task);

	*news = true;
	if (r == 0)
		r = db_step(db, s, e);
	if (r == DB_ROW) {
		const char *text = (const char *)sqlite3_column_text(s, 0);
		json_t *payload = text ? json_loads(text, 0, NULL) : NULL;
		const char *was = json_string_value(json_object_get(payload, "reason"));

		*news = !was || strcmp(was, reason) != 0 ||
			rq->now - running_time(sqlite3_column_int64(s, 1)) >= GUARD_REPEAT_S;
		json_decref(payload);
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}
