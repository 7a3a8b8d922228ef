#include "tasks.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "suite.h"
#include "util/fs.h"

void world_with_root(void)
{
	(void)ok("init");
}

void world_with_task(void)
{
	world_with_root();
	(void)world_sql("kanban.db", "INSERT INTO tasks (id, title, status, created_at) VALUES"
				     " ('t_1', 'x', 'ready', 1)");
}

char *world_add(const char *title)
{
	char *id = strdup(ok("add", title));

	ck_assert_ptr_nonnull(id);
	ck_assert_uint_eq(strlen(id), 10);
	return id;
}

void world_run_task(const char *id)
{
	char sql[1024];

	(void)snprintf(
		sql, sizeof(sql),
		"UPDATE tasks SET status = 'running', claim_lock = 'h:1', claim_expires = 5,"
		" worker_pid = 4194999, current_run_id = 1, started_at = 1 WHERE id = '%s';"
		"INSERT INTO task_runs (id, task_id, status, claim_lock, claim_expires,"
		" started_at) VALUES (1, '%s', 'running', 'h:1', 5, 1)",
		id, id);
	(void)world_sql("kanban.db", sql);
}

const char *world_text(const json_t *json, const char *key)
{
	const char *s = json_string_value(json_object_get(json, key));

	ck_assert_msg(s != NULL, "no text %s", key);
	return s;
}

json_int_t world_int(const json_t *json, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(json, key)), "no number %s", key);
	return json_integer_value(json_object_get(json, key));
}
