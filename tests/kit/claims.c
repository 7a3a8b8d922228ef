#include "claims.h"

#include <check.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "board/edit.h"
#include "board/subs.h"
#include "db/db.h"
#include "rows.h"
#include "suite.h"
#include "tick/tick.h"

char claims_dir[256], claims_path[300];
struct db *claims_db;
struct error claims_why;
struct subs_request claims_rq;
struct subs_result claims_res;

bool claims_owner_says;
const char *claims_foreign;
int claims_intent_says;
size_t claims_intents, claims_commits;
int claims_committed_with;

static bool claims_owner(void *arg, struct error *why)
{
	(void)arg;
	if (!claims_owner_says)
		(void)error_set(why, 1, "lost");
	return claims_owner_says;
}

const struct tick_host claims_host = { .owner = claims_owner };
bool claims_owns(void *arg, const char *profile)
{
	(void)arg;
	return !claims_foreign || strcmp(profile ? profile : "", claims_foreign) != 0;
}

static int claims_claimed(void *arg, struct subs_claim *claims, size_t n, struct error *e)
{
	(void)arg;
	for (size_t i = 0; i < n; i++)
		ck_assert_ptr_nonnull(claims[i].task);
	claims_intents += n;
	if (claims_intent_says)
		(void)error_set(e, claims_intent_says, "no room");
	return claims_intent_says;
}

static void claims_committed(void *arg, struct subs_claim *claims, size_t n, int r)
{
	(void)arg;
	(void)claims;
	claims_commits += n;
	claims_committed_with = r;
}

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(name);
}

struct db *claims_open(void)
{
	const struct db_options opt = { .path = claims_path, .busy_timeout_ms = 20000 };
	struct db *out = NULL;

	ck_assert_msg(db_open(&out, &opt, &claims_why) == 0, "%s", claims_why.text);
	return out;
}

void claims_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(claims_dir, sizeof(claims_dir), "%s/kb-subs-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(claims_dir));
	(void)snprintf(claims_path, sizeof(claims_path), "%s/kanban.db", claims_dir);
	ck_assert_msg(edit_create_board(claims_path, false, &claims_why) == 0, "%s",
		      claims_why.text);
	claims_db = claims_open();
	claims_owner_says = true;
	claims_rq = (struct subs_request){ .now = NOW,
					   .look = true,
					   .full = true,
					   .owns = claims_owns,
					   .claimed = claims_claimed,
					   .committed = claims_committed };
}

void claims_teardown(void)
{
	subs_result_deinit(&claims_res);
	claims_db = db_free(claims_db);
	ck_assert_int_eq(nftw(claims_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void claims_sql(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	rows_vrun(db_handle(claims_db), fmt, ap);
	va_end(ap);
}

int64_t claims_value(const char *fmt, ...)
{
	va_list ap;
	int64_t v;

	va_start(ap, fmt);
	v = rows_vint(db_handle(claims_db), fmt, ap);
	va_end(ap);
	return v;
}

void claims_task(const char *id, const char *status)
{
	claims_sql("INSERT INTO tasks (id, title, status, assignee, result, created_at)"
		   " VALUES (%Q, 'title of %q', %Q, 'jimmy', 'result of %q', 1)",
		   id, id, status, id);
}

int64_t claims_event(const char *id, const char *kind, const char *payload)
{
	claims_sql("INSERT INTO task_events (task_id, kind, payload, created_at)"
		   " VALUES (%Q, %Q, %Q, %lld)",
		   id, kind, payload, (long long)NOW);
	return claims_value("SELECT max(id) FROM task_events");
}

void claims_sub(const char *id, const char *chat, const char *profile)
{
	claims_sql(
		"INSERT INTO kanban_notify_subs (task_id, platform, chat_id, notifier_profile,"
		" created_at) VALUES (%Q, 'telegram', %Q, %Q, 5)",
		id, chat, profile);
}

int64_t claims_cursor(const char *id)
{
	return claims_value("SELECT last_event_id FROM kanban_notify_subs WHERE task_id = %Q",
			    id);
}

int claims_run(void)
{
	int r;

	subs_result_deinit(&claims_res);
	claims_intents = claims_commits = 0;
	claims_why = (struct error)ERROR_NULL;
	r = subs_run(claims_db, &claims_host, &claims_rq, &claims_res, &claims_why);
	ck_assert(sqlite3_get_autocommit(db_handle(claims_db)));
	return r;
}

void claims_ok(void)
{
	ck_assert_msg(claims_run() == 0, "%s", claims_why.text);
	ck_assert(claims_res.looked || !claims_rq.look);
}
