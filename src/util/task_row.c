/* What a worker is told of its task's row: to copy it, and to let it go. */
#include "util/task_row.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROW_VALUE(name) to->name = from->name;

int task_row_copy(struct task_row *to, const struct task_row *from)
{
	bool oom = false;

#define ROW_TEXT(name)                                                                         \
	to->name = from->name ? strdup(from->name) : NULL;                                     \
	oom |= from->name && !to->name;
	TASK_PLACE(ROW_TEXT)
	TASK_TOLD(ROW_TEXT, ROW_VALUE, ROW_VALUE)
#undef ROW_TEXT
	return oom ? -ENOMEM : 0;
}

void task_row_deinit(struct task_row *row)
{
#define ROW_FREE(name) free(row->name);
#define ROW_KEEP(name)
	TASK_PLACE(ROW_FREE)
	TASK_TOLD(ROW_FREE, ROW_KEEP, ROW_KEEP)
#undef ROW_FREE
#undef ROW_KEEP
	*row = (struct task_row){ 0 };
}
