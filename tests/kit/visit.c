#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "board.h"
#include "util/clock.h"
#include "visit.h"

struct board board;
struct board_job bj;
bool changed;

void visit_setup(void)
{
	struct board_place place = { .slug = "default",
				     .db_path = strdup(kit.path),
				     .folder = strdup(kit.dir) };

	ck_assert_ptr_nonnull(place.db_path);
	board_init(&board, &place);
	ck_assert_ptr_null(place.db_path); /* taken over */
	ck_assert_int_eq(board.state, BOARD_NEW);
}

void visit_cleanup(void)
{
	plan_deinit(&bj.plan);
	board_deinit(&board);
}

/* One visit, prepared by the caller in @how; what came of it is in bj. */
enum board_outcome visit_as(struct board_job how)
{
	plan_deinit(&bj.plan);
	how.board = &board;
	how.rq = kit.rq;
	how.rq.now = clock_wall_s();
	how.rq.steps = how.rq.steps && !how.close ? how.rq.steps : 0;
	bj = how;
	board.busy = true;
	board_job_run(&bj);
	board_publish(&bj, &changed);
	ck_assert(!board.busy);
	return bj.outcome;
}

enum board_outcome visit(void)
{
	kit.rq.steps = TICK_ALL;
	return visit_as((struct board_job){ 0 });
}

enum board_outcome look(void)
{
	kit.rq.steps = TICK_ALL;
	return visit_as((struct board_job){ .only_if_changed = true });
}

/* A visit without a tick. */
enum board_outcome bring(struct board_job how)
{
	kit.rq.steps = 0;
	return visit_as(how);
}

struct other other_open(const char *sql)
{
	struct other o;
	int ready[2], hold[2];
	char c = 'x';

	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(hold, O_CLOEXEC), 0);
	o.pid = fork();
	ck_assert_int_ge(o.pid, 0);
	if (o.pid == 0) {
		sqlite3 *db = NULL;

		(void)alarm(60);
		(void)close(hold[1]);
		if (sqlite3_open(kit.path, &db) != SQLITE_OK ||
		    sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK ||
		    write(ready[1], &c, 1) != 1)
			_exit(1);
		(void)!read(hold[0], &c, 1); /* until the other end is closed */
		_exit(0);                    /* with whatever is open in it */
	}
	(void)close(hold[0]);
	(void)close(ready[1]);
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	o.hold = hold[1];
	return o;
}

void other_close(struct other *o)
{
	int status;

	(void)close(o->hold);
	ck_assert_int_eq(waitpid(o->pid, &status, 0), o->pid);
	ck_assert_int_eq(status, 0);
}

bool said(const char *text)
{
	for (size_t i = 0; i < bj.plan.n_notes; i++)
		if (strstr(bj.plan.notes[i].text, text))
			return true;
	return false;
}
