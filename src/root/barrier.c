/*
 * Holds claims back, for a board or a root, until what runs there is counted; the last one to
 * open the barrier lets them begin.
 */
#include "root/barrier.h"

#include <string.h>

#include "launch/identity.h"
#include "root/dispatch.h"
#include "root/root.h"

#define BARRIER_WAIT_MS 500

static void barrier_move(struct root_env *env, bool *mine, bool closed)
{
	if (*mine == closed)
		return;
	*mine = closed;
	env->uncounted += closed ? 1U : -1U;
	if (env->uncounted == 0)
		env->counted(env->arg);
}

void barrier_board(struct dispatch *d, bool closed)
{
	barrier_move(d->root->env, &d->uncounted, closed);
}

void barrier_root(struct root *root, bool closed)
{
	barrier_move(root->env, &root->uncounted, closed);
}

/* ---- who cannot be waited for -------------------------------------------------------- */

void barrier_scan_work(struct root *root)
{
	barrier_forget(root);
	if (identity_scan(&root->living, &root->n_living) < 0)
		root->n_living = 0; /* then a board that is not counted counts none */
}

bool barrier_looked(const struct root *root)
{
	return !root->look && !(root->scanning && root->scan_looks);
}

void barrier_forget(struct root *root)
{
	identity_found_free(root->living, root->n_living);
	root->living = NULL;
	root->n_living = 0;
}

/* Workers, not what they have started: those share the run. */
static int64_t barrier_living(const struct root *root, const char *db)
{
	int64_t n = 0;

	for (size_t i = 0; i < root->n_living; i++) {
		bool again = false;

		if (!root->living[i].db || strcmp(root->living[i].db, db) != 0)
			continue;
		for (size_t k = 0; k < i && !again; k++)
			again = root->living[k].run == root->living[i].run &&
				root->living[k].db && strcmp(root->living[k].db, db) == 0;
		n += !again;
	}
	return n;
}

static void barrier_open_all(uv_timer_t *t)
{
	struct root *root = t->data;

	barrier_root(root, false);
	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];
		/* in which pools is not known */
		struct caps_running running = { .generation = d->set.pools_generation - 1 };

		if (!d->uncounted)
			continue;
		/* a scan that hangs has what is needed here */
		if (barrier_looked(root)) {
			running.all = barrier_living(root, d->board.place.db_path);
			caps_count(root->env->caps, &d->board.turn, &running);
		}
		barrier_board(d, false);
	}
}

void barrier_wait(struct root *root)
{
	/* never fails with a callback, while it is not closing */
	if (!root->env->once && !uv_is_active((uv_handle_t *)&root->barrier_timer))
		IGNORE(uv_timer_start(&root->barrier_timer, barrier_open_all, BARRIER_WAIT_MS,
				      0));
}
