/*
 * What counts against which limit. Limits bound processes: a live worker counts until its end,
 * even when its task was set back to ready or is done.
 */
#include "tick/pools.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/profile.h"

/* clang-format off */
static const char sql_running[] =
	"SELECT current_run_id, assignee FROM tasks WHERE status = 'running'";
/* clang-format on */

static bool pools_has(const char *const *list, const char *name)
{
	if (!list || !list[0])
		return true;
	for (; name && *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

bool pools_match(const struct settings_pool *pool, const char *board, const char *profile)
{
	return pools_has(pool->profiles, profile) && pools_has(pool->boards, board);
}

uint64_t pools_of(const struct settings *set, const char *board, const char *profile)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < set->n_pools && i < TURNS_POOLS_MAX; i++)
		if (pools_match(&set->pools[i], board, profile))
			bits |= UINT64_C(1) << i;
	return bits;
}

int64_t pools_profile_limit(const struct settings *set, const char *profile)
{
	for (size_t i = 0; profile && i < set->n_profile_caps; i++)
		if (strcmp(set->profile_caps[i].profile, profile) == 0)
			return set->profile_caps[i].limit;
	return set->max_in_progress_per_profile;
}

bool pools_full(const struct tick *t, uint64_t pools)
{
	const struct settings *set = t->rq->set;
	struct caps_full full;

	for (size_t i = 0; pools >> i && i < set->n_pools; i++)
		if ((pools >> i & 1) &&
		    caps_pool_full(t->rq->caps, i, set->pools_generation, &full) &&
		    full.running >= full.limit)
			return true;
	return false;
}

static void pools_add(const struct tick *t, struct caps_running *running, const char *profile)
{
	uint64_t bits = pools_of(t->rq->set, t->rq->board, profile);

	running->all++;
	for (size_t i = 0; bits; i++, bits >>= 1)
		running->pools[i] += bits & 1;
}

/* Count the row of a task; its worker is then none of those without a row. */
static void pools_row(const struct tick *t, struct caps_running *running, bool *seen,
		      sqlite3_stmt *s)
{
	const char *assignee = (const char *)sqlite3_column_text(s, 1);
	int64_t run = sqlite3_column_int64(s, 0);
	char profile[256];

	if (!assignee || !profile_name(assignee, profile, sizeof(profile)))
		profile[0] = '\0';
	pools_add(t, running, profile);
	for (size_t i = 0; i < t->rq->n_living; i++)
		seen[i] |= t->rq->living[i].run == run;
}

int pools_count(const struct tick *t, struct caps_running *running)
{
	CLEANUP(freep) bool *seen = calloc(t->rq->n_living + 1, sizeof(*seen));
	sqlite3_stmt *s = NULL;
	int r;

	*running = (struct caps_running){ .generation = t->rq->set->pools_generation };
	if (!seen)
		return error_set(t->e, -ENOMEM, "out of memory");
	r = db_query(t->db, t->e, &s, sql_running, "");
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		pools_row(t, running, seen, s);
		r = 0;
	}
	if (r != 0)
		return r;
	t->plan->running = running->all;
	for (size_t i = 0; i < t->rq->n_living; i++)
		if (!seen[i])
			pools_add(t, running, t->rq->living[i].profile);
	t->plan->lingering = running->all - t->plan->running;
	return 0;
}
