/*
 * What stands between a task and its start. The board's rules are read by a job (tick/why.h),
 * with what the loop knew when it was asked: settings, living workers. What only the loop
 * knows, the lease, what an operator holds back, the state of board and host, is added when the
 * job is over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board/edit.h"
#include "control.h"
#include "control/holds.h"
#include "db/db.h"
#include "root/hostfault.h"
#include "root/root.h"
#include "tick/waiting.h"
#include "tick/why.h"
#include "util/clock.h"
#include "util/json.h"

int holds_take(struct holds *h, const struct dispatch *d)
{
	size_t n = workers_living(d, NULL) + launches_count(d);

	holds_deinit(h);
	h->living = calloc(n + 1, sizeof(*h->living));
	if (!h->living)
		return -ENOMEM;
	n = workers_living(d, h->living);
	n += launches_living(d, h->living + n);
	h->n_living = n;
	h->set = d->set;
	h->set.guard_check_pr_state = false; /* the guard is told, nobody is asked */
	return 0;
}

void holds_deinit(struct holds *h)
{
	free(h->living);
	*h = (struct holds){ .n_living = 0 };
}

static struct tick_request holds_request(const struct holds *h, struct dispatch *d)
{
	return (struct tick_request){ .now = clock_wall_s(),
				      .set = &h->set,
				      .host = &d->root->host,
				      .board = d->board.place.slug,
				      .db = d->board.place.db_path,
				      .caps = d->root->env->caps,
				      .turn = &d->board.turn,
				      .living = h->living,
				      .n_living = h->n_living };
}

int holds_read(const struct holds *h, struct dispatch *d, struct db *db, const char *task,
	       json_t **rules, struct error *e)
{
	const struct tick_request rq = holds_request(h, d);
	struct plan plan = { 0 };
	const struct tick t = { .db = db, .rq = &rq, .plan = &plan, .e = e };
	int r = why_task(&t, task, rules);

	plan_deinit(&plan);
	return r == DB_MISSING ? EDIT_NO_TASK : r;
}

int holds_waiting(const struct holds *h, struct dispatch *d, struct db *db, json_t **list,
		  struct error *e)
{
	const struct tick_request rq = holds_request(h, d);
	struct plan plan = { 0 };
	const struct tick t = { .db = db, .rq = &rq, .plan = &plan, .e = e };
	int r = waiting_count(&t, list);

	plan_deinit(&plan);
	return r;
}

int holds_first(const struct holds *h, struct dispatch *d, struct db *db, const char *task,
		json_t **rule, struct error *e)
{
	const struct tick_request rq = holds_request(h, d);
	struct plan plan = { 0 };
	const struct tick t = { .db = db, .rq = &rq, .plan = &plan, .e = e };
	int r = why_first(&t, task, WHY_FIRST, rule);

	plan_deinit(&plan);
	return r == DB_MISSING ? 0 : r;
}

static void holds_owner(const struct dispatch *d, json_t *rules)
{
	const struct root_env *env = d->root->env;
	char text[120];

	(void)snprintf(text, sizeof(text), "kanband has the lease of this root, epoch %lld",
		       (long long)d->root->epoch);
	why_add(rules, "owner", false, text, NULL, 0);
	why_add(rules, "drain", env->held,
		env->held ? "nothing is claimed on the operator's word" : "tasks are claimed",
		"kanbanctl resume", 0);
	if (env->uncounted > 0)
		why_add(rules, "count", true,
			"what runs on other boards is not counted yet: the daemon has just "
			"begun",
			"they are, in a moment", 0);
}

static void holds_board(const struct dispatch *d, json_t *rules)
{
	bool well = d->board.state == BOARD_HEALTHY;
	char text[200];

	(void)snprintf(text, sizeof(text), "the board is %s", dispatch_state(d));
	why_add(rules, "pause", d->held || !d->dispatched, text,
		d->held ? "kanbanctl resume BOARD" : "the configuration lets it be dispatched",
		0);
	(void)snprintf(text, sizeof(text), "the board is %s%s%.120s",
		       board_state_name(d->board.state), d->board.reason[0] ? ": " : "",
		       d->board.reason);
	why_add(rules, "health", !well, text, "kanbanctl check, then repair or restore", 0);
}

static void holds_host(const struct dispatch *d, json_t *rules)
{
	int64_t next = 0;
	const char *fault = hostfault_why_board(d, &next);

	why_add(rules, "host", fault != NULL, fault ? fault : "workers can be started",
		"one can be started (kanbanctl tick tries now)", next);
	why_add(rules, "memory", d->last.memory[0] != '\0',
		d->last.memory[0] ? d->last.memory : "there is enough", "there is more", 0);
}

/* Its start failed a moment ago. */
static void holds_launch(const struct dispatch *d, const char *task, json_t *rules)
{
	int64_t now = clock_wall_s();

	for (size_t i = 0; task && i < d->launches.n_holds; i++)
		if (d->launches.holds[i].until > now &&
		    strcmp(d->launches.holds[i].task, task) == 0)
			why_add(rules, "launch", true,
				"its worker could not be started just now", "the next try",
				d->launches.holds[i].until);
}

void holds_add(const struct dispatch *d, const char *task, json_t *rules)
{
	holds_owner(d, rules);
	holds_board(d, rules);
	holds_host(d, rules);
	holds_launch(d, task, rules);
}

json_t *holds_json(const char *task, json_t *rules)
{
	const char *held = why_held_by(rules);

	return json_pack("{s:o, s:o, s:o}", "task", json_utf8(task), "held_by",
			 json_or_null(held), "rules", rules);
}
