/* The rules of a tick, asked by kanbanctl itself. */
#include "ctl/rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/discover.h"
#include "ctl.h"
#include "ctl/estop_view.h"
#include "ctl/root_config.h"
#include "daemon/config.h"
#include "launch/identity.h"
#include "root/tick_host.h"
#include "util/clock.h"

static bool rules_profile(void *arg, const char *canonical)
{
	const struct rules *rules = arg;

	return tick_host_profile(rules->root, canonical);
}

static bool rules_alive(void *arg, const struct tick_worker *w)
{
	(void)arg;
	return tick_host_alive(w);
}

static bool rules_stopped(void *arg, int64_t now, int64_t *until, struct error *why)
{
	const struct rules *rules = arg;
	char text[ESTOP_VIEW_MAX];
	struct estop stop;

	(void)now;
	(void)estop_view(rules->ctl, rules->root, &stop, text);
	*until = stop.until;
	if (stop.engaged)
		(void)error_set(why, -ECANCELED, "%s", text);
	return stop.engaged;
}

int rules_load(struct rules *rules, const struct ctl *ctl, const char *file, const char *root,
	       struct error *e)
{
	int r = root_config_load(&rules->config, ctl, file, root, e);

	if (r < 0)
		return r;
	rules->ctl = ctl;
	rules->root = strdup(root);
	if (!rules->root)
		return error_set(e, -ENOMEM, "out of memory");
	if (identity_scan(&rules->found, &rules->n_found) < 0)
		rules->n_found = 0; /* then what lives is what the rows say */
	return 0;
}

int rules_open(struct rules *rules, struct ctl *ctl, const char *root)
{
	struct error e = ERROR_NULL;

	if (rules_load(rules, ctl, NULL, root, &e) < 0)
		return ctl_say(ctl, CTL_CONFIG, "%s", e.text);
	return 0;
}

void rules_close(struct rules *rules)
{
	plan_deinit(&rules->plan);
	free(STEAL(rules->living));
	identity_found_free(rules->found, rules->n_found);
	rules->found = NULL;
	rules->n_found = 0;
	rules->config = config_free(rules->config);
	free(rules->root);
	rules->root = NULL;
}

/* The workers of that board, whatever its rows say. */
static void rules_living(struct rules *rules, const char *db)
{
	size_t n = 0;

	free(rules->living);
	rules->living = calloc(rules->n_found + 1, sizeof(*rules->living));
	for (size_t i = 0; rules->living && i < rules->n_found; i++) {
		const struct identity_found *one = &rules->found[i];
		struct tick_living *living = &rules->living[n];

		if (!identity_is_worker(rules->found, rules->n_found, i, db))
			continue;
		living->run = one->run;
		(void)snprintf(living->task, sizeof(living->task), "%.*s",
			       (int)sizeof(living->task) - 1, one->task);
		n++;
	}
	rules->rq.living = rules->living;
	rules->rq.n_living = n;
}

const struct tick *rules_of(struct rules *rules, const struct board_place *place, struct db *db,
			    struct error *e)
{
	plan_deinit(&rules->plan);
	rules->plan = (struct plan){ 0 };
	config_settings(rules->config, rules->root, place->slug, &rules->set);
	rules->set.guard_check_pr_state = false; /* the guard is told, nobody is asked */
	rules->host = (struct tick_host){ .profile = rules_profile,
					  .alive = rules_alive,
					  .stopped = rules_stopped,
					  .arg = rules };
	rules->rq = (struct tick_request){ .now = clock_wall_s(),
					   .set = &rules->set,
					   .host = &rules->host,
					   .board = place->slug,
					   .db = place->db_path };
	rules_living(rules, place->db_path);
	rules->tick = (struct tick){ .rq = &rules->rq, .plan = &rules->plan, .db = db, .e = e };
	return &rules->tick;
}
