/* status, why and doctor say by it what a dispatcher with our environment would find. */
#include "ctl/estop_view.h"

#include "ctl.h"
#include "daemon/config.h"
#include "util/clock.h"
#include "util/fs.h"

bool estop_view(const struct ctl *ctl, const char *root, struct estop *stop,
		char text[ESTOP_VIEW_MAX])
{
	CLEANUP(freep) char *home = NULL;

	if (config_hermes_home(ctl->env, &home) < 0)
		home = NULL; /* that of the root can still be looked at */
	estop_look(stop, root, home, clock_wall_s());
	text[0] = '\0';
	if (stop->engaged)
		estop_sentence(stop, text, ESTOP_VIEW_MAX);
	return stop->engaged;
}
