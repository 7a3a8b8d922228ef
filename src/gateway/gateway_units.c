/*
 * From units to profiles. `hermes gateway install` calls the unit of the default profile
 * hermes-gateway.service, that of another hermes-gateway-NAME.service, and where the root is
 * not ~/.hermes puts a hash in place of the name. So the name is the last thing that is asked:
 * first `--profile` of the command, then HERMES_HOME of its environment.
 */
#include "gateway.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "gateway/manager.h"
#include "notify/gateway.h"
#include "util/fs.h"
#include "util/text.h"

#define GATEWAY_PREFIX "hermes-gateway"

enum gateway_word gateway_word_of(const char *value)
{
	static const char *const off[] = { "0", "false", "no", "off" };
	size_t len = strlen(value);

	text_strip(&value, &len);
	if (len == 0)
		return GATEWAY_UNSET;
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		if (strlen(off[i]) == len && strncasecmp(value, off[i], len) == 0)
			return GATEWAY_OFF;
	return GATEWAY_ON; /* not a word for no: config.yaml is asked */
}

void gateway_units_deinit(struct gateway_units *u)
{
	for (size_t i = 0; i < u->n_paths; i++)
		unit_path_deinit(&u->paths[i]);
	unit_list_deinit(&u->all);
	free(u->root);
	free(u->real);
	free(u->owner);
	*u = (struct gateway_units){ 0 };
}

static int units_people(struct gateway_units *u, char *const *env, uid_t owner)
{
	const struct passwd *pw;
	const char *home = unit_getenv(env, "HOME");
	CLEANUP(freep) char *mine = NULL;
	int r = 0;

	pw = getpwuid(geteuid());
	mine = pw ? strdup(pw->pw_name) : NULL;
	if (home) {
		r = unit_path_user(&u->paths[u->n_paths], env, mine, home, true);
		u->n_paths += r == 0;
	}
	pw = getpwuid(owner);
	if (r < 0 || !pw)
		return r;
	u->owner = strdup(pw->pw_name);
	if (!u->owner)
		return -ENOMEM;
	if (owner == geteuid() || pw->pw_dir[0] != '/' || (home && !strcmp(home, pw->pw_dir)))
		return 0;
	r = unit_path_user(&u->paths[u->n_paths], env, u->owner, pw->pw_dir, false);
	u->n_paths += r == 0;
	return r;
}

int gateway_units_find(struct gateway_units *u, char *const *env, const char *root, uid_t owner)
{
	int r;

	u->root = strdup(root);
	u->real = realpath(root, NULL);
	if (!u->root || (!u->real && errno == ENOMEM))
		return -ENOMEM;
	r = unit_path_system(&u->paths[0], env);
	u->n_paths = r == 0;
	if (r == 0)
		r = units_people(u, env, owner);
	for (size_t i = 0; r == 0 && i < u->n_paths; i++)
		r = manager_find(&u->paths[i], GATEWAY_PREFIX, &u->all);
	return r;
}

/* ---- whose unit ---------------------------------------------------------------------- */

/* Is @path the root, or a profile's folder in it. @name: out, "" for the root itself. */
static bool units_home(const struct gateway_units *u, const char *path,
		       char name[static GATEWAY_NAME_SIZE])
{
	CLEANUP(freep) char *real = realpath(path, NULL);
	const char *bases[] = { u->root, u->real };
	const char *paths[] = { path, real };

	for (size_t i = 0; i < 4; i++) {
		const char *base = bases[i / 2], *p = paths[i % 2];
		size_t n = base ? strlen(base) : 0;

		if (!base || !p || strncmp(p, base, n) != 0)
			continue;
		p += n;
		name[0] = '\0';
		if (strspn(p, "/") == strlen(p))
			return true;
		if (strncmp(p, "/profiles/", 10) == 0 && gateway_name(p + 10, name) && *name)
			return true;
	}
	return false;
}

/* The value of -p or --profile in the unit's command, or NULL */
static const char *units_option(const struct unit *unit)
{
	for (char **w = unit->exec; w && *w; w++) {
		if ((strcmp(*w, "-p") == 0 || strcmp(*w, "--profile") == 0) && w[1])
			return w[1];
		if (strncmp(*w, "--profile=", 10) == 0)
			return *w + 10;
	}
	return NULL;
}

/* The home folder of the account that the unit runs as; malloc'd or NULL */
static char *units_account(const struct unit *unit)
{
	const struct passwd *pw;

	if (unit->scope == UNIT_USER)
		return unit->home ? strdup(unit->home) : NULL;
	pw = getpwnam(unit->account ? unit->account : "root");
	return pw ? strdup(pw->pw_dir) : NULL;
}

/* The profile whose gateway @unit starts. Return: 1 and @name; 0 not of this root; -ENOMEM. */
static int units_profile(const struct gateway_units *u, const struct unit *unit,
			 char name[static GATEWAY_NAME_SIZE])
{
	const char *home = unit_env(unit, "HERMES_HOME");
	const char *option = units_option(unit);
	CLEANUP(freep) char *account = NULL;
	CLEANUP(freep) char *usual = NULL;
	size_t n = strlen(GATEWAY_PREFIX);

	if (!home || !*home) {
		account = units_account(unit);
		usual = account ? fs_path("%s/.hermes", account) : NULL;
		if (account && !usual)
			return -ENOMEM;
		home = usual;
	}
	if (!home || !units_home(u, home, name))
		return 0;
	if (option)
		return gateway_name(option, name) && *name;
	if (!*name && unit->name[n] == '-' && home == usual)
		(void)snprintf(name, GATEWAY_NAME_SIZE, "%.*s",
			       (int)(strlen(unit->name) - n - 1 - strlen(".service")),
			       unit->name + n + 1);
	if (!*name)
		(void)snprintf(name, GATEWAY_NAME_SIZE, "default");
	return 1;
}

/* ---- the process --------------------------------------------------------------------- */

/* The service that the process is in, by its cgroup. */
static int units_process(const struct gateway_units *u, struct gateway *g)
{
	CLEANUP(unit_deinit) struct unit unit = { 0 };
	CLEANUP(freep) char *text = NULL;
	char path[64], *line, *slash;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)g->pid);
	r = fs_read_file(path, 65536, &text, NULL);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	/* the unified hierarchy, or systemd's own of the old ones */
	line = strstr(text, "0::/");
	if (!line)
		line = strstr(text, ":name=systemd:/");
	if (!line)
		return 0;
	line[strcspn(line, "\n")] = '\0';
	slash = strrchr(line, '/');
	if (!unit_is_name(slash + 1) || strncmp(slash + 1, "user@", 5) == 0)
		return 0;
	g->pid_user = strstr(line, "/user@") != NULL;
	for (size_t i = 0; i < g->units.count; i++)
		if (strcmp(g->units.units[i].name, slash + 1) == 0) {
			g->pid_unit = strdup(slash + 1);
			return g->pid_unit ? 0 : -ENOMEM;
		}
	for (size_t i = 0; i < u->n_paths; i++) {
		if ((u->paths[i].scope == UNIT_USER) != g->pid_user)
			continue;
		r = manager_load(&u->paths[i], slash + 1, &unit);
		if (r == 0) {
			g->pid_unit = strdup(slash + 1);
			return g->pid_unit ? unit_take(&g->units, &unit) : -ENOMEM;
		}
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

int gateway_units_of(struct gateway_units *u, struct gateway *g)
{
	char name[GATEWAY_NAME_SIZE];
	bool off = true;
	int r;

	for (size_t i = 0; i < u->all.count; i++) {
		if (!u->all.units[i].name) /* taken already */
			continue;
		r = units_profile(u, &u->all.units[i], name);
		if (r < 0)
			return r;
		if (r == 1 && strcmp(name, g->profile) == 0) {
			r = unit_take(&g->units, &u->all.units[i]);
			if (r < 0)
				return r;
		}
	}
	if (g->running && g->pid > 0) {
		r = units_process(u, g);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < g->units.count; i++) {
		const char *value = unit_env(&g->units.units[i], GATEWAY_VARIABLE);

		off = off && value && gateway_word_of(value) == GATEWAY_OFF;
	}
	g->units_say = g->units.count > 0 && off ? GATEWAY_OFF : GATEWAY_UNSET;
	g->known = g->known || g->units.count > 0;
	return 0;
}
