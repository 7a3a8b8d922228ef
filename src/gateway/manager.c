/*
 * Units by sd-bus, as `systemctl show` has them. A container has no manager, and a person's
 * manager is not reached from another account: both are an answer, no failure. What a manager
 * says is what it will do: specifiers are filled in, generated and masked units told apart.
 * Only what it read before a file changed is out of date, and then the files are asked.
 */
#include "gateway/manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "gateway/unit_parse.h"
#include "util/strv.h"

#define MANAGER_LIMIT_US 2000000
#define MANAGER_MOST     256 /* units of one prefix: more is nobody's installation */
#define MANAGER_NAME     "org.freedesktop.systemd1"
#define MANAGER_PATH     "/org/freedesktop/systemd1"
#define MANAGER_UNIT     MANAGER_NAME ".Unit"
#define MANAGER_SERVICE  MANAGER_NAME ".Service"

/* One unit on the bus. */
struct manager {
	sd_bus *bus;
	char *path;
};

static void manager_close(struct manager *m)
{
	free(m->path);
	m->bus = sd_bus_close_unref(m->bus); /* flushing has no bound */
}

static int manager_open(enum unit_scope scope, struct manager *m)
{
	int r = scope == UNIT_USER ? sd_bus_open_user(&m->bus) : sd_bus_open_system(&m->bus);

	return r < 0 ? r : sd_bus_set_method_call_timeout(m->bus, MANAGER_LIMIT_US);
}

/* ---- properties ---------------------------------------------------------------------- */

static void manager_text(struct manager *m, const char *property, char *out, size_t size)
{
	CLEANUP(freep) char *text = NULL;

	/* what cannot be had is left empty */
	if (sd_bus_get_property_string(m->bus, MANAGER_NAME, m->path, MANAGER_UNIT, property,
				       NULL, &text) >= 0)
		(void)snprintf(out, size, "%s", text);
}

/* *@text: out, NULL if it is empty */
static int manager_string(struct manager *m, const char *interface, const char *property,
			  char **text)
{
	CLEANUP(freep) char *found = NULL;
	int r = sd_bus_get_property_string(m->bus, MANAGER_NAME, m->path, interface, property,
					   NULL, &found);

	*text = r >= 0 && *found ? STEAL(found) : NULL;
	return r < 0 ? r : 0;
}

static int manager_strings(struct manager *m, const char *interface, const char *property,
			   char ***texts)
{
	int r = sd_bus_get_property_strv(m->bus, MANAGER_NAME, m->path, interface, property,
					 NULL, texts);

	return r < 0 ? r : 0;
}

static bool manager_stale(struct manager *m)
{
	int stale = 0;

	return sd_bus_get_property_trivial(m->bus, MANAGER_NAME, m->path, MANAGER_UNIT,
					   "NeedDaemonReload", NULL, 'b', &stale) >= 0 &&
	       stale;
}

/* Let the manager know the unit. */
static int manager_unit(struct manager *m, const char *name)
{
	sd_bus_message *reply = NULL;
	const char *found = NULL;
	int r = sd_bus_call_method(m->bus, MANAGER_NAME, MANAGER_PATH, MANAGER_NAME ".Manager",
				   "LoadUnit", NULL, &reply, "s", name);

	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &found);
	if (r >= 0) {
		free(m->path);
		m->path = strdup(found);
		r = m->path ? 0 : -ENOMEM;
	}
	(void)sd_bus_message_unref(reply);
	return r;
}

int manager_ask(enum unit_scope scope, const char *name, struct manager_unit *unit)
{
	CLEANUP(manager_close) struct manager m = { 0 };
	char loaded[32] = "";
	int r;

	*unit = (struct manager_unit){ .active = false };
	r = manager_open(scope, &m);
	if (r >= 0)
		r = manager_unit(&m, name);
	if (r < 0)
		return r;
	manager_text(&m, "LoadState", loaded, sizeof(loaded));
	if (strcmp(loaded, "not-found") == 0)
		return -ENOENT;
	manager_text(&m, "ActiveState", unit->state, sizeof(unit->state));
	manager_text(&m, "UnitFileState", unit->enabled, sizeof(unit->enabled));
	unit->active =
		strcmp(unit->state, "active") == 0 || strcmp(unit->state, "reloading") == 0;
	unit->stale = manager_stale(&m);
	if (sd_bus_get_property_trivial(m.bus, MANAGER_NAME, m.path, MANAGER_SERVICE,
					"WatchdogUSec", NULL, 't', &unit->watchdog_us) < 0)
		unit->watchdog_us = UINT64_MAX; /* unknown: the files are asked */
	return 0;
}

/* ---- one unit ------------------------------------------------------------------------ */

/* The words of the last command. */
static int manager_exec(struct manager *m, struct unit *unit)
{
	sd_bus_message *reply = NULL;
	int r = sd_bus_get_property(m->bus, MANAGER_NAME, m->path, MANAGER_SERVICE, "ExecStart",
				    NULL, &reply, "a(sasbttttuii)");

	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', "(sasbttttuii)");
	while (r >= 0) {
		r = sd_bus_message_enter_container(reply, 'r', "sasbttttuii");
		if (r <= 0)
			break;
		unit->exec = strv_free(unit->exec);
		r = sd_bus_message_skip(reply, "s");
		if (r >= 0)
			r = sd_bus_message_read_strv(reply, &unit->exec);
		if (r >= 0)
			r = sd_bus_message_skip(reply, "bttttuii");
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	(void)sd_bus_message_unref(reply);
	return r;
}

static int manager_files(struct manager *m, struct unit *unit)
{
	sd_bus_message *reply = NULL;
	const char *path;
	int ignored;
	int r = sd_bus_get_property(m->bus, MANAGER_NAME, m->path, MANAGER_SERVICE,
				    "EnvironmentFiles", NULL, &reply, "a(sb)");

	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', "(sb)");
	while (r >= 0) {
		r = sd_bus_message_read(reply, "(sb)", &path, &ignored);
		if (r <= 0)
			break;
		r = unit_env_put_file(unit, path);
	}
	(void)sd_bus_message_unref(reply);
	return r;
}

static int manager_environment(struct manager *m, struct unit *unit)
{
	CLEANUP(strv_freep) char **set = NULL, **unset = NULL;
	int r = manager_strings(m, MANAGER_SERVICE, "Environment", &set);

	if (r == 0)
		r = manager_strings(m, MANAGER_SERVICE, "UnsetEnvironment", &unset);
	for (char **s = set; r == 0 && s && *s; s++)
		r = unit_env_put(unit, strdup(*s));
	if (r == 0)
		r = manager_files(m, unit);
	for (char **s = unset; r == 0 && s && *s; s++)
		unit_env_unset(unit, *s);
	return r;
}

/* Does something start it */
static int manager_enabled(struct manager *m, struct unit *unit)
{
	CLEANUP(strv_freep) char **wanted = NULL, **required = NULL;
	char state[32] = "";
	int r = manager_strings(m, MANAGER_UNIT, "WantedBy", &wanted);

	if (r == 0)
		r = manager_strings(m, MANAGER_UNIT, "RequiredBy", &required);
	manager_text(m, "UnitFileState", state, sizeof(state));
	unit->enabled = (wanted && *wanted) || (required && *required) ||
			strncmp(state, "enabled", 7) == 0;
	return r;
}

/* Return: 0; -ENOENT it is masked, or cannot be loaded; other -errno: the files are asked. */
static int manager_read(struct manager *m, const struct unit_path *path, const char *name,
			struct unit *out)
{
	CLEANUP(unit_deinit) struct unit unit = { 0 };
	CLEANUP(freep) char *loaded = NULL, *id = NULL;
	int r = unit_is_name(name) ? manager_unit(m, name) : -EINVAL;

	if (r == 0)
		r = manager_string(m, MANAGER_UNIT, "LoadState", &loaded);
	if (r == 0 && (!loaded || strcmp(loaded, "not-found") == 0 || manager_stale(m)))
		r = -ESTALE;
	if (r == 0 && strcmp(loaded, "loaded") != 0)
		r = -ENOENT;
	if (r == 0)
		r = manager_string(m, MANAGER_UNIT, "Id", &id);
	if (r == 0)
		r = unit_init(path, id ? id : name, &unit);
	if (r == 0)
		r = manager_string(m, MANAGER_UNIT, "FragmentPath", &unit.file);
	if (r == 0)
		r = manager_string(m, MANAGER_SERVICE, "User", &unit.account);
	if (r == 0)
		r = manager_exec(m, &unit);
	if (r == 0)
		r = manager_environment(m, &unit);
	if (r == 0)
		r = manager_enabled(m, &unit);
	if (r < 0)
		return r;
	*out = unit;
	unit = (struct unit){ 0 };
	return 0;
}

/* What the manager has not got right, the files say. */
static int manager_or_files(struct manager *m, const struct unit_path *path, const char *name,
			    struct unit *unit)
{
	int r = manager_read(m, path, name, unit);

	return r == 0 || r == -ENOENT || r == -ENOMEM ? r : unit_load(path, name, unit);
}

int manager_load(const struct unit_path *path, const char *name, struct unit *unit)
{
	CLEANUP(manager_close) struct manager m = { 0 };

	if (!path->asks || manager_open(path->scope, &m) < 0)
		return unit_load(path, name, unit);
	return manager_or_files(&m, path, name, unit);
}

/* ---- all of a prefix ----------------------------------------------------------------- */

struct manager_names {
	char **v;
	size_t n;
};

/* @name, or the last part of the path @name, unless it is a template or there already. */
static int manager_name(struct manager_names *names, const char *name)
{
	const char *slash = strrchr(name, '/');

	name = slash ? slash + 1 : name;
	if (names->n >= MANAGER_MOST || !unit_is_name(name) || strstr(name, "@."))
		return 0;
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->v[i], name) == 0)
			return 0;
	return strv_push(&names->v, &names->n, strdup(name));
}

/* @method: one that answers with an array of structures @fields, of which the first is the name
 */
static int manager_names(struct manager *m, const char *prefix, const char *method,
			 const char *fields, struct manager_names *names)
{
	sd_bus_message *reply = NULL;
	const char *name;
	char pattern[64], entry[32];
	int r;

	(void)snprintf(pattern, sizeof(pattern), "%s*.service", prefix);
	(void)snprintf(entry, sizeof(entry), "(%s)", fields);
	r = sd_bus_call_method(m->bus, MANAGER_NAME, MANAGER_PATH, MANAGER_NAME ".Manager",
			       method, NULL, &reply, "asas", 0, 1, pattern);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', entry);
	while (r >= 0) {
		r = sd_bus_message_enter_container(reply, 'r', fields);
		if (r > 0)
			r = sd_bus_message_read(reply, "s", &name);
		if (r <= 0)
			break;
		r = manager_name(names, name);
		if (r == 0)
			r = sd_bus_message_skip(reply, fields + 1);
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	(void)sd_bus_message_unref(reply);
	return r;
}

int manager_find(const struct unit_path *path, const char *prefix, struct unit_list *list)
{
	CLEANUP(manager_close) struct manager m = { 0 };
	struct manager_names names = { 0 };
	size_t first = list->count;
	int r = path->asks ? manager_open(path->scope, &m) : -ENOTCONN;

	if (r >= 0)
		r = manager_names(&m, prefix, "ListUnitFilesByPatterns", "ss", &names);
	if (r >= 0)
		r = manager_names(&m, prefix, "ListUnitsByPatterns", "ssssssouso", &names);
	if (r < 0) {
		(void)strv_free(names.v);
		return r == -ENOMEM ? r : unit_find(path, prefix, list);
	}
	r = 0;
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		CLEANUP(unit_deinit) struct unit unit = { 0 };

		r = manager_or_files(&m, path, names.v[i], &unit);
		if (r == 0 && !unit_has(list, first, unit.name))
			r = unit_take(list, &unit);
		else if (r != -ENOMEM)
			r = 0; /* it is gone, masked, or another name of one that is there */
	}
	(void)strv_free(names.v);
	return r;
}
