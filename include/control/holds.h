/* What stands between a task and its start, as the daemon knows it. */
#pragma once

#include <jansson.h>

#include "tick/tick.h"
#include "util/error.h"
#include "util/settings.h"

struct db;
struct dispatch;

/* What the loop knew when it was asked. Zeroed before its first use. */
struct holds {
	struct settings set; /* strings borrowed from the daemon's config */
	struct tick_living *living;
	size_t n_living;
};

/** holds_take() - of @d; what was taken before is dropped. Return: 0 or -ENOMEM. */
MUST_CHECK int holds_take(struct holds *h, const struct dispatch *d);
void holds_deinit(struct holds *h);

/**
 * holds_read() - the rules of the board and of the limits it shares
 * Thread: pool, with the board as a visit has it.
 * Return: 0 and a new list; EDIT_NO_TASK; as db_step().
 */
MUST_CHECK int holds_read(const struct holds *h, struct dispatch *d, struct db *db,
			  const char *task, json_t **rules, struct error *e);

/** holds_waiting() - because of what the tasks of the board wait (tick/waiting.h)
 * Thread: pool, as holds_read(). Return: 0; as db_step(). */
MUST_CHECK int holds_waiting(const struct holds *h, struct dispatch *d, struct db *db,
			     json_t **list, struct error *e);

/** holds_first() - the first rule of the board that holds @task, or NULL (tick/why.h)
 * Thread: pool, as holds_read(). Return: 0; as db_step(). */
MUST_CHECK int holds_first(const struct holds *h, struct dispatch *d, struct db *db,
			   const char *task, json_t **rule, struct error *e);

/** holds_add() - append what only the loop knows; @task NULL: of any task */
void holds_add(const struct dispatch *d, const char *task, json_t *rules);

/** holds_json() - the answer's members; @rules is given away. NULL: out of memory */
json_t *holds_json(const char *task, json_t *rules);
