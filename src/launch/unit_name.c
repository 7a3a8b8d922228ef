/*
 * The name of a run's unit. It is made of what the board says, so it is found again without
 * anything being remembered.
 */
#include "unit.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define UNIT_TASK_ROOM 120 /* bytes of an escaped task id; longer ones end in a number */

/* As systemd-escape(1): what may stand in a name stays, all else is \xNN. Return: its length;
 * what does not fit is left out. */
static size_t unit_escape(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (isalnum(c) || strchr(":_.-", c))
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
	}
	out[n] = '\0';
	return *text ? size : n;
}

void unit_name(const struct launch_run *run, char out[UNIT_NAME_SIZE])
{
	char task[UNIT_TASK_ROOM], board[80];

	if (unit_escape(run->task, task, sizeof(task)) >= sizeof(task))
		(void)snprintf(task + sizeof(task) - 18, 18, ".%016llx",
			       (unsigned long long)proc_run_number(run->task, run->run));
	if (unit_escape(run->board, board, sizeof(board)) >= sizeof(board))
		board[sizeof(board) - 1] = '\0';
	(void)snprintf(out, UNIT_NAME_SIZE, "kanban-%s-%s-r%lld.service", board, task,
		       (long long)run->run);
}

bool unit_is_of(const char *board, const char *task, const char *unit, size_t len)
{
	const struct launch_run none = { .board = board, .task = task };
	char name[UNIT_NAME_SIZE];
	size_t n;

	unit_name(&none, name);
	n = strlen(name) - strlen("0.service");
	return len > n + 8 && strncmp(unit, name, n) == 0 &&
	       strspn(unit + n, "0123456789") == len - n - 8 &&
	       memcmp(unit + len - 8, ".service", 8) == 0;
}

void unit_description(const struct launch_run *run, char *out, size_t size)
{
	char root[400];
	size_t n = 0;

	for (const char *p = run->root; *p && n + 5 < sizeof(root); p++)
		if (*p >= 0x20 && *p < 0x7F)
			root[n++] = *p;
		else
			n += (size_t)snprintf(root + n, sizeof(root) - n, "\\x%02x",
					      (unsigned char)*p);
	root[n] = '\0';
	(void)snprintf(out, size, "Kanban run %lld of %.64s on %s", (long long)run->run,
		       run->board, root);
}
