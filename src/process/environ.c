/*
 * What a child inherits. Done once for all children (environ_new): what is left out is gone
 * then, and the rest stands in one vector, plain entries first, secrets after them, so that a
 * child's own environment is one copy of pointers.
 */
#include "process/environ.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/fs.h"

#define ENVIRON_PATH "/usr/local/bin:/usr/bin:/bin"

struct environment {
	char **entries; /* plain ones, NULL, secrets, NULL; the texts are ours */
	size_t n_plain, n_secret;
	char **aside; /* what a child has only when its starter says so */
	size_t n_aside;
	char *owner; /* the profile whose secrets these are */
};

/*
 * Names that no child inherits; a trailing * stands for any rest. First the chat session of
 * whoever started the daemon; then what describes another task (a daemon started from inside a
 * worker); then what systemd gave to the daemon alone: a child that kept them would talk to the
 * daemon's manager in its name.
 */
static const char *const environ_dropped[] = {
	"HERMES_TUI",
	"HERMES_UI_SESSION_ID",
	"HERMES_SESSION_*",
	"HERMES_CRON_*",
	"HERMES_BROWSER_CONTROL_*",
	"HERMES_QUIET_TURN_REPORT_FILE",
	"HERMES_TURN_AUTHOR",
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
	"HERMES_KANBAN_GOAL_*",
	"TERMINAL_CWD",

	"NOTIFY_SOCKET",
	"WATCHDOG_*",
	"LISTEN_*",
	"FDSTORE",
	"JOURNAL_STREAM",
	"LOG_NAMESPACE",
	"INVOCATION_ID",
	"MAINPID",
	"MANAGERPID*",
	"SYSTEMD_EXEC_PID",
	"SYSTEMD_ACTIVATION_*",
	"RUNTIME_DIRECTORY",
	"STATE_DIRECTORY",
	"CACHE_DIRECTORY",
	"LOGS_DIRECTORY",
	"CONFIGURATION_DIRECTORY",
	"CREDENTIALS_DIRECTORY",
	"MEMORY_PRESSURE_*",
	"TRIGGER_*",
	"PIDFILE",
	"UV_THREADPOOL_SIZE",
	NULL,
};

static const char *const environ_set_aside[] = {
	"HERMES_TENANT",
	"HERMES_KANBAN_HOME",
	"TERMINAL_TIMEOUT",
	"TERMINAL_MAX_FOREGROUND_TIMEOUT",
	NULL,
};

/* What one profile's settings are told by. */
static const char *const environ_owned[] = {
	"TERMINAL_*", "LLM_MODEL",  "TELEGRAM_*", "DISCORD_*", "SLACK_*", "WHATSAPP_*",
	"SIGNAL_*",   "MATRIX_*",   "EMAIL_*",    "TWILIO_*",  "HASS_*",  "GATEWAY_*",
	"*_BASE_URL", "*_API_BASE", "*_API_URL",  "*_WEBHOOK", NULL,
};

/* Parts of a name, between underscores, that say: this is a secret. */
static const char *const environ_secret_words[] = {
	"TOKEN",  "TOKENS", "SECRET",     "SECRETS",    "PASSWORD",    "PASSWD",
	"PASS",   "PAT",    "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "APIKEY",
	"BEARER", "JWT",    "DSN",        "COOKIE",     "COOKIES",     NULL,
};

/* The same of two parts. */
static const char *const environ_secret_pairs[] = {
	"API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "ORG_ID", "APP_ID", NULL,
};

static size_t environ_name_len(const char *entry)
{
	return strcspn(entry, "=");
}

/* Is the name (of @len bytes) one of @list: exact, PREFIX* or *SUFFIX. */
static bool environ_listed(const char *const *list, const char *name, size_t len)
{
	for (; list && *list; list++) {
		const char *rule = *list;
		size_t n = strlen(rule);

		if (rule[0] == '*' && n - 1 <= len &&
		    strncmp(name + len - (n - 1), rule + 1, n - 1) == 0)
			return true;
		if (n > 0 && rule[n - 1] == '*' && len >= n - 1 &&
		    strncmp(name, rule, n - 1) == 0)
			return true;
		if (n == len && strncmp(name, rule, n) == 0)
			return true;
	}
	return false;
}

/* Does the name have @word between two underscores or its ends; @tail: at its end only. */
static bool environ_has_word(const char *name, size_t len, const char *word, bool tail)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++) {
		bool whole = (i == 0 || name[i - 1] == '_') &&
			     (i + n == len || (!tail && name[i + n] == '_'));

		if (whole && strncasecmp(name + i, word, n) == 0)
			return true;
	}
	return false;
}

static bool environ_secret(const char *name, size_t len)
{
	if (environ_listed(environ_owned, name, len) ||
	    environ_has_word(name, len, "KEY", true))
		return true;
	for (size_t i = 0; environ_secret_words[i]; i++)
		if (environ_has_word(name, len, environ_secret_words[i], false))
			return true;
	for (size_t i = 0; environ_secret_pairs[i]; i++)
		if (environ_has_word(name, len, environ_secret_pairs[i], false))
			return true;
	return false;
}

/* Whose environment is it: the profile that HERMES_PROFILE or HERMES_HOME names. */
static char *environ_whose(char *const *from)
{
	static const char profiles[] = "/profiles/";
	const char *profile = NULL, *home = NULL, *cut;

	for (; from && *from; from++) {
		if (!profile && strncmp(*from, "HERMES_PROFILE=", 15) == 0)
			profile = *from + 15;
		if (!home && strncmp(*from, "HERMES_HOME=", 12) == 0)
			home = *from + 12;
	}
	if (profile && *profile)
		return strdup(profile);
	cut = home ? strstr(home, profiles) : NULL;
	if (!cut || !cut[strlen(profiles)])
		return strdup("default");
	cut += strlen(profiles);
	return strndup(cut, strcspn(cut, "/"));
}

/* Copy the entries of @from that are of this kind to @to. Return: how many, or -ENOMEM. */
static int environ_copy(char **to, char *const *from, const char *const *pass, bool secret)
{
	int n = 0;

	for (; from && *from; from++) {
		size_t len = environ_name_len(*from);

		if (!(*from)[len] || environ_listed(environ_dropped, *from, len) ||
		    environ_listed(environ_set_aside, *from, len))
			continue;
		if (secret != (environ_secret(*from, len) && !environ_listed(pass, *from, len)))
			continue;
		to[n] = strdup(*from);
		if (!to[n])
			return -ENOMEM;
		n++;
	}
	return n;
}

static int environ_copy_aside(struct environment *env, char *const *from)
{
	for (; from && *from; from++) {
		size_t len = environ_name_len(*from);

		if (!(*from)[len] || !environ_listed(environ_set_aside, *from, len))
			continue;
		env->aside[env->n_aside] = strdup(*from);
		if (!env->aside[env->n_aside])
			return -ENOMEM;
		env->n_aside++;
	}
	return 0;
}

int environ_new(struct environment **out, char *const *from, const char *const *pass)
{
	CLEANUP(environ_freep) struct environment *env = calloc(1, sizeof(*env));
	size_t n = 0;
	int r;

	while (from && from[n])
		n++;
	if (!env)
		return -ENOMEM;
	env->entries = calloc(n + 2, sizeof(*env->entries));
	env->aside = calloc(n + 1, sizeof(*env->aside));
	env->owner = environ_whose(from);
	if (!env->entries || !env->aside || !env->owner)
		return -ENOMEM;
	r = environ_copy(env->entries, from, pass, false);
	if (r < 0)
		return r;
	env->n_plain = (size_t)r;
	r = environ_copy(env->entries + env->n_plain + 1, from, pass, true);
	if (r < 0)
		return r;
	env->n_secret = (size_t)r;
	r = environ_copy_aside(env, from);
	if (r == 0)
		*out = STEAL(env);
	return r;
}

static void environ_free_list(char **list, size_t n)
{
	for (size_t i = 0; list && i < n; i++)
		free(list[i]);
	free(list);
}

struct environment *environ_free(struct environment *env)
{
	size_t plain = 0, n = 0;

	if (!env)
		return NULL;
	/* the counts are not known yet where a copy failed */
	while (env->entries && env->entries[plain])
		plain++;
	if (env->entries && env->n_plain == plain)
		while (env->entries[plain + 1 + n])
			free(env->entries[plain + 1 + n++]);
	environ_free_list(env->entries, plain);
	environ_free_list(env->aside, env->n_aside);
	free(env->owner);
	free(env);
	return NULL;
}

/* The value of @name in a list that ends with NULL, of the first entry as getenv() would. */
static const char *environ_find(char *const *list, const char *name)
{
	size_t n = strlen(name);

	for (; *list; list++)
		if (strncmp(*list, name, n) == 0 && (*list)[n] == '=')
			return *list + n + 1;
	return NULL;
}

const char *environ_get(const struct environment *env, const char *name)
{
	const char *value = environ_find(env->entries, name);

	if (!value)
		value = environ_find(env->aside, name);
	return value ? value : environ_find(env->entries + env->n_plain + 1, name);
}

const char *environ_path(const struct environment *env)
{
	const char *path = environ_find(env->entries, "PATH");

	return path ? path : ENVIRON_PATH;
}

const char *environ_home(const struct environment *env)
{
	const char *home = environ_find(env->entries, "HOME");

	return home && *home ? home : NULL;
}

char *const *environ_plain(const struct environment *env)
{
	return env->entries;
}

char **environ_block(const struct environment *env, const char *profile,
		     const struct environ_var *vars, size_t count)
{
	size_t secret = profile && strcmp(profile, env->owner) == 0 ? env->n_secret : 0;
	size_t text = 0, used = 0, head;
	char **out, *p;

	for (size_t i = 0; i < count; i++) {
		if (!vars[i].value)
			continue;
		used++;
		text += strlen(vars[i].name) + strlen(vars[i].value) + 2;
	}
	head = (used + env->n_plain + secret + 1) * sizeof(*out);
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
	memcpy(out + used, env->entries, env->n_plain * sizeof(*out));
	used += env->n_plain;
	memcpy(out + used, env->entries + env->n_plain + 1, secret * sizeof(*out));
	out[used + secret] = NULL;
	return out;
}
