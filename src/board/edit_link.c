/* Which task waits for which. */
#include <sqlite3.h>
#include <string.h>

#include "board.h"
#include "db/db.h"

static const char sql_parent[] = "SELECT status FROM tasks WHERE id = ?1";

/* Is ?1 reached from ?2 by going down */
static const char sql_cycle[] =
	"WITH RECURSIVE down(id) AS (SELECT ?2 UNION SELECT l.child_id FROM task_links l"
	" JOIN down d ON l.parent_id = d.id LIMIT 1000000)"
	" SELECT COUNT(*) FROM down WHERE id = ?1";

static const char sql_link[] =
	"INSERT OR IGNORE INTO task_links (parent_id, child_id) VALUES (?1, ?2)";

static const char sql_unlink[] =
	"DELETE FROM task_links WHERE parent_id = ?1 AND child_id = ?2";

static const char sql_demote[] =
	"UPDATE tasks SET status = 'todo' WHERE id = ?1 AND status = 'ready'";

static json_t *edit_link_payload(const struct edit_change *a, const char *parent)
{
	return json_pack("{s:s, s:s}", "parent", parent, "child", a->id);
}

int edit_link(struct edit_change *a)
{
	const char *parent = edit_change_text(a, "parent"), *status;
	sqlite3_stmt *stmt = NULL;
	int64_t reached = 0;
	bool open;
	int r;

	if (!parent)
		return error_set(a->e, EDIT_INVALID, "which task is the parent?");
	if (strcmp(parent, a->id) == 0)
		return error_set(a->e, EDIT_INVALID, "a task cannot wait for itself");
	r = db_query(a->db, a->e, &stmt, sql_parent, "t", parent);
	if (r == 0)
		r = db_step(a->db, stmt, a->e);
	if (r == 0)
		return error_set(a->e, EDIT_NO_TASK, EDIT_NO_TASK_TEXT, parent);
	if (r != DB_ROW)
		return r;
	status = (const char *)sqlite3_column_text(stmt, 0);
	open = !status || (strcmp(status, "done") != 0 && strcmp(status, "archived") != 0);
	(void)sqlite3_reset(stmt); /* the one row was read */
	r = db_one_int(a->db, a->e, &reached, 0, sql_cycle, "tt", parent, a->id);
	if (r == 0 && reached > 0)
		return error_set(a->e, EDIT_REFUSED,
				 "%s waits for %s already: they would wait for each other",
				 parent, a->id);
	if (r == 0)
		r = db_run(a->db, a->e, sql_link, "tt", parent, a->id);
	if (r == 0 && open)
		r = db_run(a->db, a->e, sql_demote, "t", a->id);
	if (r != 0)
		return r;
	if (open && edit_change_is(a, "ready"))
		edit_change_status(a, "todo");
	return edit_change_event(a, "linked", 0, edit_link_payload(a, parent));
}

int edit_link_undo(struct edit_change *a)
{
	const char *parent = edit_change_text(a, "parent");
	int r;

	if (!parent)
		return error_set(a->e, EDIT_INVALID, "which task is the parent?");
	r = db_run(a->db, a->e, sql_unlink, "tt", parent, a->id);
	if (r == 0 && db_changes(a->db) == 0)
		return error_set(a->e, EDIT_REFUSED, "task %s does not wait for %s", a->id,
				 parent);
	return r == 0 ? edit_change_event(a, "unlinked", 0, edit_link_payload(a, parent)) : r;
}
