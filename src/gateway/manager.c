/*
 * Properties of a unit by sd-bus, as `systemctl show` has them. A container has no manager,
 * and a person's manager is not reached from another account: both are an answer, no failure.
 */
#include "gateway/manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define MANAGER_LIMIT_US 2000000
#define MANAGER_NAME     "org.freedesktop.systemd1"
#define MANAGER_UNIT     MANAGER_NAME ".Unit"

static void manager_close(sd_bus **bus)
{
	*bus = sd_bus_close_unref(*bus); /* flushing has no bound */
}

static void manager_text(sd_bus *bus, const char *path, const char *property, char *out,
			 size_t size)
{
	CLEANUP(freep) char *text = NULL;

	/* what cannot be had is left empty */
	if (sd_bus_get_property_string(bus, MANAGER_NAME, path, MANAGER_UNIT, property, NULL,
				       &text) >= 0)
		(void)snprintf(out, size, "%s", text);
}

static int manager_load(sd_bus *bus, const char *name, char **path)
{
	sd_bus_message *reply = NULL;
	const char *found = NULL;
	int r = sd_bus_call_method(bus, MANAGER_NAME, "/org/freedesktop/systemd1",
				   MANAGER_NAME ".Manager", "LoadUnit", NULL, &reply, "s",
				   name);

	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &found);
	if (r >= 0) {
		*path = strdup(found);
		r = *path ? 0 : -ENOMEM;
	}
	(void)sd_bus_message_unref(reply);
	return r;
}

int manager_ask(enum unit_scope scope, const char *name, struct manager_unit *unit)
{
	CLEANUP(manager_close) sd_bus *bus = NULL;
	CLEANUP(freep) char *path = NULL;
	char loaded[32] = "";
	int stale = 0, r;

	*unit = (struct manager_unit){ .active = false };
	r = scope == UNIT_USER ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, MANAGER_LIMIT_US);
	if (r >= 0)
		r = manager_load(bus, name, &path);
	if (r < 0)
		return r;
	manager_text(bus, path, "LoadState", loaded, sizeof(loaded));
	if (strcmp(loaded, "not-found") == 0)
		return -ENOENT;
	manager_text(bus, path, "ActiveState", unit->state, sizeof(unit->state));
	manager_text(bus, path, "UnitFileState", unit->enabled, sizeof(unit->enabled));
	unit->active =
		strcmp(unit->state, "active") == 0 || strcmp(unit->state, "reloading") == 0;
	if (sd_bus_get_property_trivial(bus, MANAGER_NAME, path, MANAGER_UNIT,
					"NeedDaemonReload", NULL, 'b', &stale) >= 0)
		unit->stale = stale;
	if (sd_bus_get_property_trivial(bus, MANAGER_NAME, path, MANAGER_NAME ".Service",
					"WatchdogUSec", NULL, 't', &unit->watchdog_us) < 0)
		unit->watchdog_us = UINT64_MAX; /* unknown: the files are asked */
	return 0;
}
