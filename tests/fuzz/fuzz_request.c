/*
 * Any bytes as a change of a task, as control and kanbanctl ask for one: a verb on the first
 * line, the task's id on the second, then JSON. What is not refused leaves a board that is one.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "board/edit_request.h"
#include "db/db.h"
#include "db/db_file.h"
#include "db/schema.h"
#include "fuzz.h"

static const char tasks[] =
	"INSERT INTO tasks(id, title, status, created_at) VALUES('a', 'a', 'ready', 1),"
	" ('b', 'b', 'todo', 1), ('c', 'c', 'blocked', 1), ('d', 'd', 'done', 1)";

static struct db *board(void)
{
	struct error e = ERROR_NULL;
	struct db_options opt = { .path = fuzz_path("kanban.db") };
	struct db *db = NULL;
	sqlite3 *made = NULL;

	db_file_remove(fuzz_path("kanban.db"));
	if (sqlite3_open(fuzz_path("kanban.db"), &made) != SQLITE_OK ||
	    sqlite3_exec(made, schema_board_sql, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(made, tasks, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_close(made) != SQLITE_OK || db_open(&db, &opt, &e) != 0)
		abort();
	return db;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct db *db;
	struct edit_worker worker = { 0 };
	struct edit_done done = { 0 };
	struct error e = ERROR_NULL;
	CLEANUP(freep) char *text = malloc(size + 1);
	char *rest = text, *verb, *id;
	json_t *args;

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	verb = strsep(&rest, "\n");
	id = rest ? strsep(&rest, "\n") : NULL;
	args = rest ? json_loads(rest, 0, NULL) : NULL;
	if (!id || !json_is_object(args)) {
		json_decref(args);
		return 0;
	}
	if (!db)
		db = board();
	if (edit_request(db, verb, id, args, 1780000000, &done, &worker, &e) < 0 && !e.text[0])
		abort();
	json_decref(args);
	return 0;
}
