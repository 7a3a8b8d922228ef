#include "ctl/ctl.h"
int ctl_verb_doctor(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_say(ctl, CTL_USAGE, "not yet");
}
