/*
 * doctor: the unit that runs kanband. The manager is asked where one answers; what it cannot
 * say is read from the files of the unit.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/doctor.h"
#include "gateway/manager.h"
#include "gateway/unit_file.h"
#include "util/fs.h"
#include "util/moment.h"
#include "util/quote.h"

#define DOCTOR_LINGER "/var/lib/systemd/linger"

/* ---- which unit ---------------------------------------------------------------------- */

static int units_try(struct unit_list *list, const struct unit_path *path, const char *name)
{
	CLEANUP(unit_deinit) struct unit unit = { 0 };
	int r = manager_load(path, name, &unit);

	if (r == 0)
		r = unit_take(list, &unit);
	return r == -ENOMEM ? r : 0;
}

/* The host's unit, unless it runs as another account than the one that owns the root: then it
 * serves another root, and says nothing of this one. */
static int units_try_host(const struct doctor *d, struct unit_list *list,
			  const struct unit_path *path, bool *other)
{
	CLEANUP(unit_deinit) struct unit unit = { 0 };
	int r = manager_load(path, "kanband.service", &unit);
	const char *user = r == 0 ? unit.account : NULL;

	*other = user && d->gates.owner && strcmp(user, d->gates.owner) != 0;
	if (r == 0 && !*other)
		r = unit_take(list, &unit);
	return r == -ENOMEM ? r : 0;
}

/* The unit whose control group the owner is in: its own, unless somebody who is in a unit of
 * another kind started it by hand. */
static int units_try_owner(struct unit_list *list, const struct unit_path *path,
			   const char *name)
{
	CLEANUP(unit_deinit) struct unit unit = { 0 };
	int r = manager_load(path, name, &unit);
	bool ours = false;

	for (char **word = r == 0 ? unit.exec : NULL; word && *word; word++)
		ours = ours || strstr(*word, "kanband");
	if (ours && unit_is_kanband(name))
		r = unit_take(list, &unit);
	return r == -ENOMEM ? r : 0;
}

/* Is the owner of the lease a process of a person's own manager */
static bool owner_is_user(const struct doctor *d)
{
	CLEANUP(freep) char *text = NULL;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)d->leader.pid);
	return fs_read_file(path, 65536, &text, NULL) == 0 && strstr(text, "/user@");
}

/* Every unit that may be the one of this root, the likeliest first. @other: kanband.service is
 * that of another root */
static int units_find(const struct doctor *d, struct unit_list *list, bool *other)
{
	CLEANUP(unit_path_deinit) struct unit_path system = { 0 };
	CLEANUP(unit_path_deinit) struct unit_path user = { 0 };
	const char *home = ctl_env(d->ctl, "HOME");
	const struct passwd *pw = getpwuid(geteuid());
	CLEANUP(freep) char *me = pw ? strdup(pw->pw_name) : NULL;
	CLEANUP(freep) char *instance = NULL;
	bool theirs = d->leader.kanband && d->leader.pid > 0 && owner_is_user(d);
	int r = unit_path_system(&system, d->ctl->env);

	if (r == 0 && home)
		r = unit_path_user(&user, d->ctl->env, me, home, true);
	if (r == 0 && d->leader.kanband && *d->leader.owner.unit) {
		if (!theirs)
			r = units_try_owner(list, &system, d->leader.owner.unit);
		else if (home)
			r = units_try_owner(list, &user, d->leader.owner.unit);
		if (r < 0 || list->count)
			return r;
	}
	if (r == 0)
		r = units_try_host(d, list, &system, other);
	if (r == 0 && d->gates.owner) {
		instance = fs_path("kanband@%s.service", d->gates.owner);
		r = instance ? units_try(list, &system, instance) : -ENOMEM;
	}
	return r == 0 && home ? units_try(list, &user, "kanband.service") : r;
}

/* ---- one unit ------------------------------------------------------------------------ */

static const char *unit_how(const struct unit *u)
{
	return u->scope == UNIT_USER ? "--user " : "";
}

static char *unit_command(const struct unit *u, const char *what)
{
	return fs_path("systemctl %s%s %s", unit_how(u), what, u->name);
}

static void unit_watchdog(struct doctor *d, const struct unit *u, const struct manager_unit *m)
{
	const char *text = unit_value(u, "Service.WatchdogSec");
	double seconds = text ? moment_span_s(text) : 0;

	if (m && m->watchdog_us != UINT64_MAX)
		seconds = (double)m->watchdog_us / 1e6;
	if (seconds > 0 && seconds < 3600) {
		doctor_well(d, "watchdog", u->name, "%g s", seconds);
		return;
	}
	doctor_say(
		d, DOCTOR_WATCHDOG_NONE, u->name,
		quote_command(
			u->scope == UNIT_USER
				? "mkdir -p %q && printf '[Service]\\nWatchdogSec=30\\n' "
				  ">%q/watchdog.conf && systemctl --user daemon-reload && "
				  "systemctl --user restart %q"
				: "mkdir -p %q && printf '[Service]\\nWatchdogSec=30\\n' "
				  ">%q/watchdog.conf && systemctl daemon-reload && "
				  "systemctl restart %q",
			u->own, u->own, u->name),
		"there is none: a kanband that hangs keeps the lease, and nobody takes over");
}

static void unit_linger(struct doctor *d, const struct unit *u)
{
	CLEANUP(freep) char *path = NULL;
	struct stat st;

	if (u->scope != UNIT_USER || !u->user)
		return;
	path = fs_path(DOCTOR_LINGER "/%s", u->user);
	if (path && stat(path, &st) == 0)
		doctor_well(d, "linger", u->user, "their services run without a login");
	else
		doctor_say(d, DOCTOR_LINGER_OFF, u->user,
			   quote_command("loginctl enable-linger %q", u->user),
			   "it is off: kanband ends with their last logout");
}

static void unit_state(struct doctor *d, const struct unit *u, const struct manager_unit *m)
{
	bool enabled = u->enabled || (m && strncmp(m->enabled, "enabled", 7) == 0) ||
		       (m && strcmp(m->enabled, "static") == 0);

	if (!enabled)
		doctor_say(d, DOCTOR_UNIT_DISABLED, u->name, unit_command(u, "enable"),
			   "it is not enabled: nothing starts it at boot");
	if (m && m->stale)
		doctor_say(d, DOCTOR_UNIT_STALE, u->name,
			   fs_path("systemctl %sdaemon-reload", unit_how(u)),
			   "its files changed since they were read");
	if (m && !m->active)
		doctor_say(d, d->leader.kanband ? DOCTOR_UNIT_OUTSIDE : DOCTOR_UNIT_INACTIVE,
			   u->name, unit_command(u, "start"),
			   d->leader.kanband ? "it is %s: kanband runs, but not in its unit"
					     : "it is %s",
			   m->state);
	else if (enabled)
		doctor_well(d, "unit", u->name, "%s%s",
			    m ? "active" : "no service manager can be asked whether it runs",
			    ", and enabled");
}

static void unit_none(struct doctor *d, bool other)
{
	const char *owner = d->gates.owner;
	CLEANUP(freep)
	char *name = owner && strcmp(owner, "kanband") != 0 ? fs_path("kanband@%s", owner)
							    : strdup("kanband");

	doctor_say(d, DOCTOR_UNIT_NONE, NULL,
		   name ? quote_command("make install && systemctl daemon-reload && systemctl "
					"enable --now %q",
					name)
			: NULL,
		   other ? "kanband.service serves the root of another account, and this one "
			   "has none: nothing starts it at boot, or ends it when it hangs"
			 : "kanband has none: nothing starts it at boot, or ends it when it "
			   "hangs");
}

void doctor_unit(struct doctor *d)
{
	CLEANUP(unit_list_deinit) struct unit_list list = { 0 };
	struct manager_unit m;
	const struct unit *u;
	bool other = false;
	size_t chosen = 0;
	int r;

	if (units_find(d, &list, &other) < 0) {
		d->memory = true;
		return;
	}
	if (list.count == 0 && access("/run/systemd/system", F_OK) != 0) {
		doctor_well(
			d, "unit", NULL,
			"there is no systemd here: who starts kanband has to start it again "
			"and to end it when it hangs");
		return;
	}
	if (list.count == 0) {
		unit_none(d, other);
		return;
	}
	for (size_t i = list.count; i-- > 0;)
		if (list.units[i].enabled)
			chosen = i;
	u = &list.units[chosen];
	r = manager_ask(u->scope, u->name, &m);
	unit_state(d, u, r == 0 ? &m : NULL);
	unit_watchdog(d, u, r == 0 ? &m : NULL);
	unit_linger(d, u);
}
