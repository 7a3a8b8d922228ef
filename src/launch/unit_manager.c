/*
 * Which service manager starts the workers of this account: its own, else the system's where
 * that lets it.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "util/fs.h"

#define UNIT_MANAGER_US UINT64_C(2000000) /* bound of one call */

/* Does a manager answer there? */
static bool unit_manager_answers(sd_bus *bus)
{
	CLEANUP(freep) char *version = NULL;

	return sd_bus_get_property_string(bus, UNIT_BUS_NAME, UNIT_BUS_PATH, UNIT_BUS_MANAGER,
					  "Version", NULL, &version) >= 0;
}

/* Would polkit let this account manage units? What is asked is what the manager itself asks. */
static bool unit_manager_lets(sd_bus *bus)
{
	sd_bus_message *call = NULL, *reply = NULL;
	const char *unique = NULL;
	int allowed = 0, r;

	r = sd_bus_get_unique_name(bus, &unique);
	if (r >= 0)
		r = sd_bus_message_new_method_call(bus, &call, "org.freedesktop.PolicyKit1",
						   "/org/freedesktop/PolicyKit1/Authority",
						   "org.freedesktop.PolicyKit1.Authority",
						   "CheckAuthorization");
	if (r >= 0)
		r = sd_bus_message_append(call, "(sa{sv})sa{ss}us", "system-bus-name", 1,
					  "name", "s", unique, UNIT_BUS_NAME ".manage-units", 0,
					  0, "");
	if (r >= 0)
		r = sd_bus_call(bus, call, UNIT_MANAGER_US, NULL, &reply);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
	if (r >= 0)
		r = sd_bus_message_read(reply, "b", &allowed);
	(void)sd_bus_message_unref(reply);
	(void)sd_bus_message_unref(call);
	return r >= 0 && allowed;
}

/* Is systemd what this host runs? As sd_booted(3). */
static bool unit_manager_booted(void)
{
	return fs_is_dir("/run/systemd/system");
}

static bool unit_manager_own(void)
{
	CLEANUP(unit_bus_close) sd_bus *bus = NULL;

	return unit_bus_open(UNIT_MANAGER_OWN, UNIT_MANAGER_US, &bus) == 0 &&
	       unit_manager_answers(bus);
}

static bool unit_manager_system(void)
{
	CLEANUP(unit_bus_close) sd_bus *bus = NULL;

	if (!unit_manager_booted() ||
	    unit_bus_open(UNIT_MANAGER_SYSTEM, UNIT_MANAGER_US, &bus) < 0 ||
	    !unit_manager_answers(bus))
		return false;
	return geteuid() == 0 || unit_manager_lets(bus);
}

enum unit_manager unit_manager_find(struct error *why)
{
	/* the manager of root's sessions comes and goes with them; the system's does not */
	if (geteuid() != 0 && unit_manager_own())
		return UNIT_MANAGER_OWN;
	if (unit_manager_system())
		return UNIT_MANAGER_SYSTEM;
	if (!unit_manager_booted())
		(void)error_set(why, -ENOENT, "this host does not run systemd");
	else if (geteuid() == 0)
		(void)error_set(why, -ENOENT, "the system's service manager does not answer");
	else
		(void)error_set(
			why, -ENOENT,
			"this account has no service manager of its own and may not use "
			"the system's; loginctl enable-linger %u gives it one",
			(unsigned)geteuid());
	return UNIT_MANAGER_NONE;
}
