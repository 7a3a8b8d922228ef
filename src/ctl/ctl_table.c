/* Prints a table for a verb, and turns what goes wrong into its message and exit code. */
#include "ctl/ctl_table.h"

#include <errno.h>

#include "ctl.h"

int ctl_table(const struct ctl *ctl, const struct table *table, unsigned indent)
{
	struct error e = ERROR_NULL;
	int r = table_print(table, &ctl->screen, indent, ctl->out, &e);

	return r == 0 ? 0 : ctl_say(ctl, r == -EINVAL ? CTL_USAGE : CTL_IO, "%s", e.text);
}
