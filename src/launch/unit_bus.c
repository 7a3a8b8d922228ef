/*
 * Talking to a service manager. Pool threads do it, so a call may block, but never for long:
 * the manager of a healthy host answers in milliseconds, and one that does not is told as such.
 *
 * A connection is made for one purpose and closed after it (a millisecond): one that lay idle
 * would collect the manager's signals, and would have to be mended whenever the manager or its
 * bus is started anew.
 */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "util/fs.h"

void unit_bus_close(struct sd_bus **bus)
{
	/* nothing is queued, every call was waited for; and sd_bus_flush() waits without a
	 * bound for a manager that does not say hello */
	*bus = sd_bus_close_unref(*bus);
}

/* A connection to @address that has said hello. @direct: to the manager itself, without a bus
 * between. */
static int unit_bus_connect(const char *address, bool direct, uint64_t limit_us, sd_bus **out)
{
	CLEANUP(unit_bus_close) sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0 && !direct)
		r = sd_bus_set_bus_client(bus, true);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, limit_us);
	if (r >= 0)
		r = sd_bus_start(bus);
	/* the hello and the authentication */
	while (r >= 0 && sd_bus_is_ready(bus) == 0) {
		r = sd_bus_process(bus, NULL);
		if (r == 0)
			r = sd_bus_wait(bus, limit_us);
		if (r == 0)
			r = -ETIMEDOUT;
	}
	if (r < 0)
		return r;
	*out = STEAL(bus);
	return 0;
}

/* The manager listens by itself, for its own account only: no bus between, which may be gone,
 * or wait for somebody to start it. */
static int unit_bus_own(uint64_t limit_us, sd_bus **bus)
{
	char address[128];
	int r;

	/* the account's own, whatever XDG_RUNTIME_DIR says: a child of sudo has another's */
	(void)snprintf(address, sizeof(address), "unix:path=/run/user/%u/systemd/private",
		       (unsigned)geteuid());
	r = unit_bus_connect(address, true, limit_us, bus);
	/* one that is there and hangs would not answer on the bus either */
	if (r == 0 || r == -ETIMEDOUT)
		return r;
	(void)snprintf(address, sizeof(address), "unix:path=/run/user/%u/bus",
		       (unsigned)geteuid());
	return unit_bus_connect(address, false, limit_us, bus);
}

static int unit_bus_system(uint64_t limit_us, sd_bus **bus)
{
	if (geteuid() == 0 &&
	    unit_bus_connect("unix:path=/run/systemd/private", true, limit_us, bus) == 0)
		return 0;
	return unit_bus_connect("unix:path=/run/dbus/system_bus_socket", false, limit_us, bus);
}

int unit_bus_open(enum unit_manager manager, uint64_t limit_us, sd_bus **bus)
{
	return manager == UNIT_MANAGER_OWN ? unit_bus_own(limit_us, bus)
					   : unit_bus_system(limit_us, bus);
}

bool unit_bus_lost(int r)
{
	return r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE || r == -ETIMEDOUT ||
	       r == -ECONNREFUSED || r == -EHOSTUNREACH || r == -EBADR || r == -ENXIO;
}

/* What an answer says, as one of our numbers. */
static int unit_bus_errno(const sd_bus_error *error, int r)
{
	if (sd_bus_error_has_name(error, UNIT_BUS_NAME ".NoSuchUnit"))
		return -ENOENT;
	if (sd_bus_error_has_name(error, UNIT_BUS_NAME ".UnitExists"))
		return -EEXIST;
	/* nobody answers to that name now: a manager that starts itself anew */
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_DISCONNECTED))
		return -ECONNRESET;
	return r;
}

int unit_bus_call(sd_bus *bus, const char *method, const char *name)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	bool stop = strcmp(method, "StopUnit") == 0;
	int r = stop ? sd_bus_call_method(bus, UNIT_BUS_NAME, UNIT_BUS_PATH, UNIT_BUS_MANAGER,
					  method, &error, NULL, "ss", name, "replace")
		     : sd_bus_call_method(bus, UNIT_BUS_NAME, UNIT_BUS_PATH, UNIT_BUS_MANAGER,
					  method, &error, NULL, "s", name);

	r = r < 0 ? unit_bus_errno(&error, r) : 0;
	sd_bus_error_free(&error);
	return r;
}

int unit_bus_kill(sd_bus *bus, const char *name)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_call_method(bus, UNIT_BUS_NAME, UNIT_BUS_PATH, UNIT_BUS_MANAGER,
				   "KillUnit", &error, NULL, "ssi", name, "all",
				   (int32_t)SIGKILL);

	r = r < 0 ? unit_bus_errno(&error, r) : 0;
	sd_bus_error_free(&error);
	return r;
}

static void unit_bus_text(sd_bus *bus, const char *path, const char *interface,
			  const char *property, char *out, size_t size, int *result)
{
	CLEANUP(freep) char *text = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;

	if (*result < 0)
		return;
	r = sd_bus_get_property_string(bus, UNIT_BUS_NAME, path, interface, property, &error,
				       &text);
	if (r < 0)
		*result = unit_bus_errno(&error, r);
	else
		(void)snprintf(out, size, "%s", text);
	sd_bus_error_free(&error);
}

static void unit_bus_number(sd_bus *bus, const char *path, const char *property, char type,
			    void *out, int *result)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;

	if (*result < 0)
		return;
	r = sd_bus_get_property_trivial(bus, UNIT_BUS_NAME, path, UNIT_BUS_NAME ".Service",
					property, &error, type, out);
	if (r < 0)
		*result = unit_bus_errno(&error, r);
	sd_bus_error_free(&error);
}

int unit_bus_state(sd_bus *bus, const char *name, struct unit_state *state)
{
	static const char unit[] = UNIT_BUS_NAME ".Unit";
	static const char service[] = UNIT_BUS_NAME ".Service";
	CLEANUP(freep) char *path = NULL;
	sd_bus_message *reply = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *found = NULL;
	int r;

	*state = (struct unit_state){ .pid = 0 };
	/* not by the path alone: asking for a property would load a unit that is not there */
	r = sd_bus_call_method(bus, UNIT_BUS_NAME, UNIT_BUS_PATH, UNIT_BUS_MANAGER, "GetUnit",
			       &error, &reply, "s", name);
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &found);
	r = r < 0 ? unit_bus_errno(&error, r) : 0;
	sd_bus_error_free(&error);
	path = r == 0 ? strdup(found) : NULL;
	(void)sd_bus_message_unref(reply);
	if (r < 0 || !path)
		return r < 0 ? r : -ENOMEM;
	unit_bus_text(bus, path, unit, "ActiveState", state->active, sizeof(state->active), &r);
	unit_bus_text(bus, path, unit, "SubState", state->sub, sizeof(state->sub), &r);
	unit_bus_text(bus, path, unit, "Description", state->description,
		      sizeof(state->description), &r);
	unit_bus_text(bus, path, service, "Result", state->result, sizeof(state->result), &r);
	unit_bus_number(bus, path, "ExecMainPID", 'u', &state->pid, &r);
	unit_bus_number(bus, path, "ExecMainCode", 'i', &state->code, &r);
	unit_bus_number(bus, path, "ExecMainStatus", 'i', &state->status, &r);
	unit_bus_number(bus, path, "ExecMainStartTimestamp", 't', &state->begun_us, &r);
	unit_bus_number(bus, path, "ExecMainExitTimestamp", 't', &state->exited_us, &r);
	return r;
}

int unit_bus_process(sd_bus *bus, const char *name, struct unit_state *state)
{
	static const char unit[] = UNIT_BUS_NAME ".Unit";
	CLEANUP(freep) char *path = NULL;
	int r = sd_bus_path_encode(UNIT_BUS_PATH "/unit", name, &path);

	*state = (struct unit_state){ .pid = 0 };
	unit_bus_text(bus, path, unit, "ActiveState", state->active, sizeof(state->active), &r);
	/* nothing else is worth asking for before that */
	if (r < 0 || strcmp(state->active, "activating") == 0 ||
	    strcmp(state->active, "inactive") == 0)
		return r < 0 ? r : 0;
	unit_bus_number(bus, path, "ExecMainPID", 'u', &state->pid, &r);
	unit_bus_number(bus, path, "ExecMainCode", 'i', &state->code, &r);
	return r < 0 ? r : 0;
}

int unit_bus_list(sd_bus *bus, const char *pattern,
		  void (*fn)(sd_bus *bus, const char *name, void *arg), void *arg)
{
	sd_bus_message *reply = NULL;
	const char *name;
	int r = sd_bus_call_method(bus, UNIT_BUS_NAME, UNIT_BUS_PATH, UNIT_BUS_MANAGER,
				   "ListUnitsByPatterns", NULL, &reply, "asas", 0, 1, pattern);

	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'r', "ssssssouso")) > 0) {
		r = sd_bus_message_read(reply, "s", &name);
		if (r >= 0) {
			fn(bus, name, arg);
			r = sd_bus_message_skip(reply, "sssssouso");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	(void)sd_bus_message_unref(reply);
	return r < 0 ? r : 0;
}

int unit_bus_send(sd_bus *bus, sd_bus_message *call, struct error *e)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_call(bus, call, 0, &error, NULL);

	if (r < 0) {
		r = unit_bus_errno(&error, r);
		(void)error_set(e, r, "the service manager refuses to start the worker: %s",
				error.message ? error.message : strerror(-r));
	}
	sd_bus_error_free(&error);
	return r < 0 ? r : 0;
}
