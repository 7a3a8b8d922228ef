/* The words that `events =` of a hook takes. */
#include "hook/hook_kind.h"

#include <string.h>

#include "util/log.h"

#define HOOK_TASK_ROW(name) { name, HOOK_TASK, NULL },

static const struct hook_kind hook_kinds[] = {
	/* clang-format off */
	HOOK_TASK_KINDS(HOOK_TASK_ROW)
	/* clang-format on */

	/* as board/state.c names them */
	{ "healthy", HOOK_DAEMON, LOG_ID_BOARD_WELL },
	{ "quarantined", HOOK_BOARD, NULL },
	{ "lost", HOOK_BOARD, NULL },
	{ "schema", HOOK_BOARD, NULL },
	{ "missing", HOOK_BOARD, NULL }, /* its file went away */
	{ "repaired", HOOK_DAEMON, LOG_ID_REPAIRED },
	{ "snapshot", HOOK_BOARD, NULL },

	{ "owner", HOOK_DAEMON, LOG_ID_LEASE_OWNER },
	{ "standby", HOOK_DAEMON, LOG_ID_LEASE_STANDBY },
	{ "lease_lost", HOOK_DAEMON, LOG_ID_LEASE_LOST },
	{ "worker_ended", HOOK_DAEMON, LOG_ID_WORKER_ENDED },
	{ "stuck_ready", HOOK_DAEMON, LOG_ID_STUCK_READY },
	{ "parked", HOOK_DAEMON, LOG_ID_PARKED },
	{ "unserved", HOOK_DAEMON, LOG_ID_UNSERVED },
	{ "overdue", HOOK_DAEMON, LOG_ID_OVERDUE },
	{ "config", HOOK_DAEMON, LOG_ID_CONFIG },
};

#define HOOK_KINDS (sizeof(hook_kinds) / sizeof(hook_kinds[0]))

const struct hook_kind *hook_kind_at(size_t i)
{
	return i < HOOK_KINDS ? &hook_kinds[i] : NULL;
}

const struct hook_kind *hook_kind_find(const char *name)
{
	for (size_t i = 0; i < HOOK_KINDS; i++)
		if (strcmp(hook_kinds[i].name, name) == 0)
			return &hook_kinds[i];
	return NULL;
}

const char *hook_kind_of_log(const char *id)
{
	for (size_t i = 0; id && i < HOOK_KINDS; i++)
		if (hook_kinds[i].id && strcmp(hook_kinds[i].id, id) == 0)
			return hook_kinds[i].name;
	return NULL;
}
