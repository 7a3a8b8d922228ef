/*
 * What a root says when a tick finds the emergency stop, and what follows when it, or another
 * drain, is over. Below root.c: visits and the watching of folders need it.
 */
#include <string.h>

#include "root.h"
#include "root/dispatch.h"
#include "root/places.h"
#include "root/root.h"

void root_stopped(struct root *root, const char *why)
{
	struct log_about about = { .root = root->path };
	bool was = root->estop != NULL;

	if (was == (why != NULL) && (!why || strcmp(root->estop, why) == 0))
		return;
	free(root->estop);
	root->estop = why ? strdup(why) : NULL;
	if (why && !was)
		log_about(LOG_WARNING, &about, "%s", why);
	else if (!why)
		log_about(LOG_NOTICE, &about,
			  "the emergency stop is over: work is started again");
	if (root->env->changed)
		root->env->changed(root->env->arg);
}

void root_release(struct root *root)
{
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched)
			places_ask(root->boards[i], WANT_FULL);
}
