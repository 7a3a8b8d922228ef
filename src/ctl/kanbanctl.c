/* kanbanctl: looks at kanban roots and changes them, with or without a daemon. */
#include <unistd.h>

#include "ctl.h"

int main(int argc, char **argv)
{
	return ctl_main(argc, argv, environ);
}
