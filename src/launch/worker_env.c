/*
 * The environment of a worker: the daemon's own at its start, less what belongs to somebody
 * else, plus what tells the worker which task it works on.
 *
 * What is the same for every worker is done once (environ_prepare). Per worker there is one
 * allocation: a vector whose first entries are the task's variables, in a text block behind it,
 * and whose other entries point into the prepared environment. The task's variables come first
 * so that a reader of /proc/PID/environ finds them in the first page.
 */
#include "launch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "process/proc.h"

struct launch_env {
	char **base;       /* filtered, NULL-terminated; entries and vector are ours */
	size_t count;      /* entries of base */
	char *path, *home; /* values, or NULL; also in base */
	/* what a worker inherits unless its task says otherwise; values, or NULL; not in base
	 */
	char *tenant, *kanban_home, *terminal_timeout, *foreground_timeout;
	char *program, *file; /* a program of environ_find() and where it was, or NULL */
	char boot[LAUNCH_STARTED_MAX]; /* of identity_boot(), "" before environ_keep_more() */
};

/*
 * Names that no worker inherits. First the chat session of whoever started the daemon; then
 * what describes another task (a daemon started from inside a worker), all set anew below where
 * they apply; then what systemd gave to the daemon alone: a worker that kept them would talk to
 * the daemon's manager in its name.
 */
static const char *const environ_dropped[] = {
	"HERMES_TUI",
	"HERMES_SESSION_PLATFORM",
	"HERMES_SESSION_SOURCE",
	"HERMES_SESSION_CHAT_ID",
	"HERMES_SESSION_CHAT_TYPE",
	"HERMES_SESSION_CHAT_NAME",
	"HERMES_SESSION_THREAD_ID",
	"HERMES_SESSION_USER_ID",
	"HERMES_SESSION_USER_NAME",
	"HERMES_SESSION_KEY",
	"HERMES_SESSION_ID",
	"HERMES_SESSION_MESSAGE_ID",
	"HERMES_SESSION_PROFILE",
	"HERMES_UI_SESSION_ID",
	"HERMES_CRON_SESSION",
	"HERMES_CRON_AUTO_DELIVER_PLATFORM",
	"HERMES_CRON_AUTO_DELIVER_CHAT_ID",
	"HERMES_CRON_AUTO_DELIVER_THREAD_ID",
	"HERMES_DELEGATED_CHILD_CONTEXT",

	"HERMES_HOME",
	"HERMES_PROFILE",
	"HERMES_KANBAN_TASK",
	"HERMES_KANBAN_WORKSPACE",
	"HERMES_KANBAN_DB",
	"HERMES_KANBAN_WORKSPACES_ROOT",
	"HERMES_KANBAN_BOARD",
	"HERMES_KANBAN_RUN_ID",
	"HERMES_KANBAN_CLAIM_LOCK",
	"HERMES_KANBAN_BRANCH",
	"HERMES_KANBAN_GOAL_MODE",
	"HERMES_KANBAN_GOAL_MAX_TURNS",
	"TERMINAL_CWD",

	"NOTIFY_SOCKET",
	"WATCHDOG_USEC",
	"WATCHDOG_PID",
	"LISTEN_FDS",
	"LISTEN_PID",
	"LISTEN_PIDFDID",
	"LISTEN_FDNAMES",
	"FDSTORE",
	"JOURNAL_STREAM",
	"INVOCATION_ID",
	"MAINPID",
	"MANAGERPID",
	"MANAGERPIDFDID",
	"SYSTEMD_EXEC_PID",
	"RUNTIME_DIRECTORY",
	"STATE_DIRECTORY",
	"CACHE_DIRECTORY",
	"LOGS_DIRECTORY",
	"CONFIGURATION_DIRECTORY",
	"CREDENTIALS_DIRECTORY",
	"MEMORY_PRESSURE_WATCH",
	"MEMORY_PRESSURE_WRITE",
	"UV_THREADPOOL_SIZE",
};

/* The value of @entry if it is the variable @name, else NULL. */
static const char *environ_value(const char *entry, const char *name)
{
	size_t n = strlen(name);

	return strncmp(entry, name, n) == 0 && entry[n] == '=' ? entry + n + 1 : NULL;
}

static bool environ_is_dropped(const char *entry)
{
	for (size_t i = 0; i < sizeof(environ_dropped) / sizeof(environ_dropped[0]); i++)
		if (environ_value(entry, environ_dropped[i]))
			return true;
	return false;
}

/* Keep a copy of the value, of the first entry of that name as getenv() would. */
static int environ_keep(char **slot, const char *value)
{
	if (*slot)
		return 0;
	*slot = strdup(value);
	return *slot ? 0 : -ENOMEM;
}

/* Is it one of those that a task may override: remembered, not in base. 1 yes, 0 no, -ENOMEM */
static int environ_set_aside(struct launch_env *env, const char *entry)
{
	struct {
		const char *name;
		char **slot;
	} aside[] = {
		{ "HERMES_TENANT", &env->tenant },
		{ "HERMES_KANBAN_HOME", &env->kanban_home },
		{ "TERMINAL_TIMEOUT", &env->terminal_timeout },
		{ "TERMINAL_MAX_FOREGROUND_TIMEOUT", &env->foreground_timeout },
	};

	for (size_t i = 0; i < sizeof(aside) / sizeof(aside[0]); i++) {
		const char *value = environ_value(entry, aside[i].name);

		if (value)
			return environ_keep(aside[i].slot, value) < 0 ? -ENOMEM : 1;
	}
	return 0;
}

static int environ_add(struct launch_env *env, const char *entry)
{
	const char *value;
	int r;

	if (!strchr(entry, '=') || environ_is_dropped(entry))
		return 0;
	r = environ_set_aside(env, entry);
	if (r != 0)
		return r < 0 ? r : 0;
	value = environ_value(entry, "PATH");
	if (value && environ_keep(&env->path, value) < 0)
		return -ENOMEM;
	value = environ_value(entry, "HOME");
	if (value && environ_keep(&env->home, value) < 0)
		return -ENOMEM;
	env->base[env->count] = strdup(entry);
	if (!env->base[env->count])
		return -ENOMEM;
	env->count++;
	return 0;
}

int environ_prepare(struct launch_env **out, char *const *from)
{
	CLEANUP(environ_freep) struct launch_env *env = calloc(1, sizeof(*env));
	size_t n = 0;

	if (!env)
		return -ENOMEM;
	while (from && from[n])
		n++;
	env->base = calloc(n + 1, sizeof(*env->base));
	if (!env->base)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (environ_add(env, from[i]) < 0)
			return -ENOMEM;
	*out = STEAL(env);
	return 0;
}

struct launch_env *environ_free(struct launch_env *env)
{
	if (!env)
		return NULL;
	for (size_t i = 0; env->base && i < env->count; i++)
		free(env->base[i]);
	free(env->base);
	free(env->path);
	free(env->home);
	free(env->tenant);
	free(env->kanban_home);
	free(env->terminal_timeout);
	free(env->foreground_timeout);
	free(env->program);
	free(env->file);
	free(env);
	return NULL;
}

int environ_keep_more(struct launch_env *env, const char *program)
{
	identity_boot(env->boot);
	env->program = strdup(program ? program : "");
	if (!env->program)
		return -ENOMEM;
	/* it may come later, and is looked for again then */
	if (spawn_find(env->program, environ_path(env), &env->file) == -ENOMEM)
		return -ENOMEM;
	return 0;
}

int environ_find(const struct launch_env *env, const char *program, char **file)
{
	if (env->file && strcmp(program, env->program) == 0 && access(env->file, X_OK) == 0) {
		*file = strdup(env->file);
		return *file ? 0 : -ENOMEM;
	}
	return spawn_find(program, environ_path(env), file);
}

const char *environ_boot(const struct launch_env *env)
{
	return env->boot[0] ? env->boot : NULL;
}

char *const *environ_plain(const struct launch_env *env)
{
	return env->base;
}

const char *environ_path(const struct launch_env *env)
{
	return env->path ? env->path : "/usr/local/bin:/usr/bin:/bin";
}

const char *environ_home(const struct launch_env *env)
{
	return env->home && *env->home ? env->home : NULL;
}

/* One variable of a worker. */
struct environ_var {
	const char *name;
	const char *value; /* borrowed; NULL leaves the variable out */
};

/*
 * What TERMINAL_TIMEOUT and its sibling become: 30 s less than the run may last, if that is
 * more than what is set. Unset or no number counts as 0.
 */
static const char *environ_timeout(const char *set, int64_t max_runtime_seconds, char *buf,
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

static const char *environ_text(const char *text)
{
	return text && *text ? text : NULL;
}

/* The vector and the text in one block: the variables, then the prepared ones. */
static char **environ_block(const struct launch_env *env, const struct environ_var *vars,
			    size_t count)
{
	size_t text = 0, used = 0, head;
	char **out, *p;

	for (size_t i = 0; i < count; i++) {
		if (!vars[i].value)
			continue;
		used++;
		text += strlen(vars[i].name) + strlen(vars[i].value) + 2;
	}
	head = (used + env->count + 1) * sizeof(*out);
	out = malloc(head + text);
	if (!out)
		return NULL;
	p = (char *)out + head;
	used = 0;
	for (size_t i = 0; i < count; i++) {
		if (!vars[i].value)
			continue;
		out[used++] = p;
		p = stpcpy(p, vars[i].name);
		*p++ = '=';
		p = stpcpy(p, vars[i].value) + 1;
	}
	memcpy(out + used, env->base, env->count * sizeof(*out));
	out[used + env->count] = NULL;
	return out;
}

char **environ_build(const struct launch_env *env, const struct launch_spec *spec,
		     const char *workspace, const char *branch)
{
	char run[24], turns[24], timeout[24], foreground[24];
	bool turns_set = spec->goal_mode && spec->goal_max_turns > 0;
	const char *tenant = environ_text(spec->tenant);
	const struct environ_var vars[] = {
		{ "HERMES_KANBAN_TASK", spec->task },
		{ "HERMES_KANBAN_RUN_ID", run },
		{ "HERMES_KANBAN_DB", spec->db_path },
		{ "HERMES_KANBAN_BOARD", spec->board },
		{ "HERMES_KANBAN_CLAIM_LOCK", environ_text(spec->claim_lock) },
		{ "HERMES_KANBAN_WORKSPACE", workspace },
		{ "HERMES_KANBAN_WORKSPACES_ROOT", spec->workspaces_root },
		{ "HERMES_KANBAN_BRANCH", environ_text(branch) },
		{ "HERMES_KANBAN_GOAL_MODE", spec->goal_mode ? "1" : NULL },
		{ "HERMES_KANBAN_GOAL_MAX_TURNS", turns_set ? turns : NULL },
		/* where the daemon got its root this way: a daemon may serve several, the
		 * worker must see its own */
		{ "HERMES_KANBAN_HOME", env->kanban_home ? spec->root : NULL },
		{ "HERMES_HOME", spec->profile_home },
		{ "HERMES_PROFILE", spec->profile },
		{ "HERMES_TENANT", tenant ? tenant : env->tenant },
		{ "HERMES_SESSION_SOURCE", "kanban" },
		{ "TERMINAL_CWD", workspace },
		{ "TERMINAL_TIMEOUT",
		  environ_timeout(env->terminal_timeout, spec->max_runtime_seconds, timeout,
				  sizeof(timeout)) },
		{ "TERMINAL_MAX_FOREGROUND_TIMEOUT",
		  environ_timeout(env->foreground_timeout, spec->max_runtime_seconds,
				  foreground, sizeof(foreground)) },
	};

	(void)snprintf(run, sizeof(run), "%lld", (long long)spec->run);
	(void)snprintf(turns, sizeof(turns), "%lld", (long long)spec->goal_max_turns);
	return environ_block(env, vars, sizeof(vars) / sizeof(vars[0]));
}
