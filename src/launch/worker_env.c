/*
 * The environment of a worker: what the daemon hands down (process/environ.h), plus what tells
 * the worker which task it works on; and what else is the same for every launch: where the
 * program is, which boot this is.
 */
#include "launch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "process/proc.h"
#include "process/spawn.h"

int worker_env_new(struct worker_env **out, const struct launcher *launcher)
{
	CLEANUP(worker_env_freep) struct worker_env *env = calloc(1, sizeof(*env));
	const char *program = launcher->command && launcher->command[0] ? launcher->command[0]
									: launcher->hermes;
	int r;

	if (!env)
		return -ENOMEM;
	r = environ_new(&env->inherited, launcher->environ, launcher->pass_environment);
	if (r < 0)
		return r;
	proc_boot(env->boot);
	env->program = strdup(program ? program : "");
	if (!env->program)
		return -ENOMEM;
	/* it may come later, and is looked for again then */
	if (spawn_find(env->program, environ_path(env->inherited), &env->file) == -ENOMEM)
		return -ENOMEM;
	*out = STEAL(env);
	return 0;
}

struct worker_env *worker_env_free(struct worker_env *env)
{
	if (!env)
		return NULL;
	environ_free(env->inherited);
	free(env->program);
	free(env->file);
	free(env);
	return NULL;
}

int worker_env_find(const struct worker_env *env, const char *program, char **file)
{
	if (env->file && strcmp(program, env->program) == 0 && access(env->file, X_OK) == 0) {
		*file = strdup(env->file);
		return *file ? 0 : -ENOMEM;
	}
	return spawn_find(program, environ_path(env->inherited), file);
}

/*
 * What TERMINAL_TIMEOUT and its sibling become: 30 s less than the run may last, if that is
 * more than what is set. Unset or no number counts as 0.
 */
static const char *worker_env_timeout(const char *set, int64_t max_runtime_seconds, char *buf,
				      size_t size)
{
	long long have = 0, want;
	char *end;

	if (max_runtime_seconds <= 0)
		return set;
	want = max_runtime_seconds > 31 ? max_runtime_seconds - 30 : 1;
	if (set) {
		errno = 0;
		have = strtoll(set, &end, 10);
		while (*end == ' ' || *end == '\t' || *end == '\n')
			end++;
		if (end == set || *end)
			have = 0;
	}
	if (have >= want)
		return set;
	(void)snprintf(buf, size, "%lld", want);
	return buf;
}

static const char *worker_env_text(const char *text)
{
	return text && *text ? text : NULL;
}

char **worker_env_build(const struct worker_env *env, const struct launch_spec *spec,
			const char *workspace, const char *branch)
{
	const struct environment *from = env->inherited;
	char run[24], turns[24], timeout[24], foreground[24];
	bool turns_set = spec->row.goal_mode && spec->row.goal_max_turns > 0;
	const char *tenant = worker_env_text(spec->row.tenant);
	const struct environ_var vars[] = {
		{ "HERMES_KANBAN_TASK", spec->task },
		{ "HERMES_KANBAN_RUN_ID", run },
		{ "HERMES_KANBAN_DB", spec->db_path },
		{ "HERMES_KANBAN_BOARD", spec->board },
		{ "HERMES_KANBAN_CLAIM_LOCK", worker_env_text(spec->claim_lock) },
		{ "HERMES_KANBAN_WORKSPACE", workspace },
		{ "HERMES_KANBAN_WORKSPACES_ROOT", spec->workspaces_root },
		/* as the task has it, even where it is blank and another one was derived */
		{ "HERMES_KANBAN_BRANCH", worker_env_text(spec->row.branch_name)
						  ? spec->row.branch_name
						  : worker_env_text(branch) },
		{ "HERMES_KANBAN_GOAL_MODE", spec->row.goal_mode ? "1" : NULL },
		{ "HERMES_KANBAN_GOAL_MAX_TURNS", turns_set ? turns : NULL },
		/* where the daemon got its root this way: a daemon may serve several, the
		 * worker must see its own */
		{ "HERMES_KANBAN_HOME",
		  environ_get(from, "HERMES_KANBAN_HOME") ? spec->root : NULL },
		{ "HERMES_HOME", spec->profile_home },
		{ "HERMES_PROFILE", spec->profile },
		{ "HERMES_TENANT", tenant ? tenant : environ_get(from, "HERMES_TENANT") },
		{ "HERMES_SESSION_SOURCE", "kanban" },
		{ "TERMINAL_CWD", workspace },
		{ "TERMINAL_TIMEOUT",
		  worker_env_timeout(environ_get(from, "TERMINAL_TIMEOUT"),
				     spec->row.max_runtime_seconds, timeout, sizeof(timeout)) },
		{ "TERMINAL_MAX_FOREGROUND_TIMEOUT",
		  worker_env_timeout(environ_get(from, "TERMINAL_MAX_FOREGROUND_TIMEOUT"),
				     spec->row.max_runtime_seconds, foreground,
				     sizeof(foreground)) },
	};

	(void)snprintf(run, sizeof(run), "%lld", (long long)spec->run);
	(void)snprintf(turns, sizeof(turns), "%lld", (long long)spec->row.goal_max_turns);
	return environ_block(from, spec->profile, vars, sizeof(vars) / sizeof(vars[0]));
}
