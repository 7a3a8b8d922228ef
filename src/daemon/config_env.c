/*
 * What the environment decides: the layer between command line and kanband.conf, the kanban
 * root, the place of kanband.conf and the default socket. The environment is handed in, never
 * read from environ, so that a reload and a test see exactly what they were given.
 */
#include "daemon.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/fs.h"

const char *config_getenv(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

/* Set and not blank, without the blanks around it: *value NULL when there is nothing. */
static int env_trimmed(char *const *env, const char *name, char **value)
{
	const char *text = config_getenv(env, name);
	size_t n;

	*value = NULL;
	if (!text)
		return 0;
	while (isspace((unsigned char)*text))
		text++;
	n = strlen(text);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	if (n == 0)
		return 0;
	*value = strndup(text, n);
	return *value ? 0 : -ENOMEM;
}

/* Is @path @folder or below it */
static bool path_inside(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (!path[n] || path[n] == '/');
}

/* The same with links followed, where both exist. */
static bool path_inside_really(const char *path, const char *folder)
{
	CLEANUP(freep) char *real_path = NULL;
	CLEANUP(freep) char *real_folder = NULL;

	if (path_inside(path, folder))
		return true;
	real_path = realpath(path, NULL);
	real_folder = realpath(folder, NULL);
	return real_path && real_folder && path_inside(real_path, real_folder);
}

/* <X>/profiles/<name> → <X>, in place */
static void root_of_profile(char *path)
{
	char *name = strrchr(path, '/');

	if (name == path || !name[1])
		return;
	*name = '\0';
	char *profiles = strrchr(path, '/');

	if (profiles && strcmp(profiles, "/profiles") == 0) {
		if (profiles == path)
			profiles++; /* /profiles/x: the root is / */
		*profiles = '\0';
		return;
	}
	*name = '/';
}

int config_root_from_env(char *const *env, char **root, struct error *e)
{
	CLEANUP(freep) char *kanban_home = NULL;
	CLEANUP(freep) char *hermes_home = NULL;
	CLEANUP(freep) char *home = NULL;
	CLEANUP(freep) char *native = NULL;
	CLEANUP(freep) char *path = NULL;
	int r;

	if (env_trimmed(env, "HERMES_KANBAN_HOME", &kanban_home) < 0 ||
	    env_trimmed(env, "HERMES_HOME", &hermes_home) < 0 ||
	    env_trimmed(env, "HOME", &home) < 0)
		return error_set(e, -ENOMEM, "out of memory");
	if (kanban_home) {
		r = config_path(kanban_home, home, true, root, e);
		if (r < 0)
			(void)error_prefix(e, "HERMES_KANBAN_HOME: ");
		return r;
	}
	if (home && home[0] == '/') {
		r = config_path("~/.hermes", home, false, &native, e);
		if (r < 0)
			return r;
	}
	if (!hermes_home && !native)
		return error_set(e, -ENOENT,
				 "no kanban root: neither HERMES_KANBAN_HOME, HERMES_HOME nor "
				 "HOME is set; give one with --root or [root PATH]");
	if (hermes_home) {
		r = config_path(hermes_home, home, true, &path, e);
		if (r < 0) {
			(void)error_prefix(e, "HERMES_HOME: ");
			return r;
		}
	}
	if (!path || (native && path_inside_really(path, native))) {
		*root = STEAL(native);
		return 0;
	}
	root_of_profile(path);
	*root = STEAL(path);
	return 0;
}

int config_hermes_home(char *const *env, char **path)
{
	CLEANUP(freep) char *hermes_home = NULL;
	CLEANUP(freep) char *home = NULL;
	struct error e;
	int r;

	*path = NULL;
	if (env_trimmed(env, "HERMES_HOME", &hermes_home) < 0 ||
	    env_trimmed(env, "HOME", &home) < 0)
		return -ENOMEM;
	if (!hermes_home && !config_getenv(env, "HERMES_KANBAN_HOME"))
		return 0;
	r = config_path(hermes_home ? hermes_home : "~/.hermes", home, true, path, &e);
	return r == -ENOMEM ? r : 0; /* one that is no path holds no file */
}

/* A system service without root rights is told by the folder that its unit made for it. */
static bool env_is_system(char *const *env, unsigned euid)
{
	const char *dir = config_getenv(env, "RUNTIME_DIRECTORY");

	if (euid == 0)
		return true;
	return dir && path_inside(dir, "/run") && !path_inside(dir, "/run/user");
}

int config_default_file(char *const *env, unsigned euid, char **path)
{
	const char *xdg = config_getenv(env, "XDG_CONFIG_HOME");
	const char *home = config_getenv(env, "HOME");

	*path = NULL;
	if (env_is_system(env, euid))
		*path = strdup(KANBAND_SYSCONFDIR "/kanband/kanband.conf");
	else if (xdg && xdg[0] == '/')
		*path = fs_path("%s/kanband/kanband.conf", xdg);
	else if (home && home[0] == '/')
		*path = fs_path("%s/.config/kanband/kanband.conf", home);
	else
		return 0;
	return *path ? 0 : -ENOMEM;
}

int config_env_load(struct config *config, char *const *env)
{
	const struct config_syntax syntax = { config->home, true, true };

	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *option = &config_options[i];
		CLEANUP(freep) char *text = NULL;
		struct config_value value = { 0 };
		struct error e = ERROR_NULL;
		int r;

		if (!option->env)
			continue;
		if (env_trimmed(env, option->env, &text) < 0)
			return -ENOMEM;
		if (!text)
			continue;
		r = config_value_parse(option, &syntax, text, &value, &e);
		if (r == -ENOMEM)
			return r;
		if (r == 0)
			r = config_value_put(&config->env[i], &value, "environment %s",
					     option->env);
		else
			r = config_warn(config, "environment %s: %s; it is ignored",
					option->env, e.text);
		config_value_clear(&value);
		if (r < 0)
			return r;
	}
	return 0;
}

int config_default_socket(struct config *config, char *const *env)
{
	const struct config_option *option = config_option_find("socket");
	const char *run = config_getenv(env, "RUNTIME_DIRECTORY");
	const char *xdg = config_getenv(env, "XDG_RUNTIME_DIR");
	const char *name = "RUNTIME_DIRECTORY";
	struct config_value value = { .set = true };
	int r;

	if (run && run[0] == '/') {
		/* several folders are separated by colons; the first is ours */
		value.text = fs_path("%.*s/control.sock", (int)strcspn(run, ":"), run);
	} else if (xdg && xdg[0] == '/') {
		value.text = fs_path("%s/kanband/control.sock", xdg);
		name = "XDG_RUNTIME_DIR";
	} else {
		return 0;
	}
	if (!value.text)
		return -ENOMEM;
	config_path_normalise(value.text);
	if (strlen(value.text) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		r = config_warn(config,
				"environment %s: %s is too long for a socket; there is no "
				"control socket unless --socket or [kanband] socket names one",
				name, value.text);
		config_value_clear(&value);
		return r;
	}
	r = config_value_put(&config->def[config_option_index(option)], &value, "default in %s",
			     name);
	config_value_clear(&value);
	return r;
}
