/* doctor: what is in the root: the lease, gateways, notifications. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/doctor.h"
#include "ctl/outbox_view.h"
#include "process/proc.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/quote.h"

#define LEASE_WAITS "kanband waits as standby until it ends"
#define DOCTOR_MANY 20 /* lines about one kind of thing; then one for the rest */

/* ---- the lease ----------------------------------------------------------------------- */

/* Who holds it is no kanband. */
static void lease_stranger(struct doctor *d)
{
	const struct gateway *gate = NULL;

	for (size_t i = 0; i < d->gates.count; i++)
		if (d->gates.gates[i].running && d->gates.gates[i].pid == d->leader.pid &&
		    d->leader.pid > 0)
			gate = &d->gates.gates[i];
	if (gate)
		doctor_say(d, DOCTOR_LEASE_GATEWAY, NULL, gateway_fix(gate, &d->gates, d->root),
			   "the gateway of profile %s (pid %d) has it: " LEASE_WAITS,
			   gate->profile, (int)gate->pid);
	else if (d->leader.pid > 0)
		doctor_say(d, DOCTOR_LEASE_STRANGER, NULL,
			   quote_command("kill -TERM %d", (int)d->leader.pid),
			   "pid %d, which is no kanband, has it: " LEASE_WAITS,
			   (int)d->leader.pid);
	else
		doctor_say(d, DOCTOR_LEASE_UNSEEN, NULL,
			   quote_command("fuser -v %q/kanban/.dispatcher.lock", d->root),
			   "somebody who is not seen from here (another container, another "
			   "host) has it, and it is not known to be a kanband: " LEASE_WAITS
			   ". The command says who, on the host of that container");
}

void doctor_lease(struct doctor *d)
{
	const struct lease_owner *o = &d->leader.owner;
	struct proc_stat ps = { .state = '?' };

	if (!d->leader.held) {
		doctor_say(d, DOCTOR_LEASE_NOBODY, NULL,
			   access("/run/systemd/system", F_OK) == 0
				   ? strdup("systemctl start kanband")
				   : quote_command("%skanband --root %q", d->remedy.as_owner,
						   d->root),
			   "nobody has it: no dispatcher runs for this root");
		return;
	}
	if (!d->leader.kanband) {
		lease_stranger(d);
		return;
	}
	if (d->leader.pid > 0 && proc_stat(d->leader.pid, &ps) == 0 &&
	    (ps.state == 'T' || ps.state == 't')) {
		doctor_say(d, DOCTOR_LEASE_STOPPED, NULL,
			   quote_command("kill -CONT %d", (int)d->leader.pid),
			   "kanband (pid %d) has it and is stopped: nothing is dispatched, and "
			   "nobody can take over",
			   (int)d->leader.pid);
		return;
	}
	if (d->leader.unseen) {
		doctor_well(d, "lease", NULL,
			    "a process that is not seen from here has it; the owner file says "
			    "kanband %s on %s, pid %" PRId64 " there, epoch %" PRId64,
			    o->version, o->host, o->pid, o->epoch);
		return;
	}
	doctor_well(d, "lease", NULL, "kanband %s, pid %" PRId64 ", has it, epoch %" PRId64,
		    o->version, o->pid, o->epoch);
}

/* ---- gateways ------------------------------------------------------------------------ */

static void doctor_gateway(struct doctor *d, const struct gateway *g)
{
	const char *meanwhile =
		d->leader.kanband
			? "the lease keeps it from it while kanband has it, and hands it the "
			  "boards when kanband stops"
			: "nothing keeps it from it now";

	if (!g->known) {
		doctor_well(d, "gateway", g->profile, "none was ever started");
		return;
	}
	if (!gateway_dispatches(g)) {
		doctor_well(d, "gateway", g->profile, "%s dispatches nothing: %s",
			    g->running ? "it runs and" : "it does not run and", g->why);
		return;
	}
	doctor_say(d,
		   d->leader.kanband || !g->running ? DOCTOR_GATEWAY_WILL : DOCTOR_GATEWAY_DOES,
		   g->profile, gateway_fix(g, &d->gates, d->root), "%s would dispatch: %s; %s",
		   g->running ? "it runs and" : "once started it", g->why, meanwhile);
}

void doctor_gateways(struct doctor *d)
{
	bool known = false;

	for (size_t i = 0; i < d->gates.count; i++) {
		doctor_gateway(d, &d->gates.gates[i]);
		known |= d->gates.gates[i].known;
	}
	if (!d->leader.kanband || !known) /* where there is no gateway it is no news */
		return;
	doctor_well(d, "gateway", NULL,
		    "beside kanband a gateway that finds the lease taken gives up dispatching "
		    "until it is restarted; a later release may wait for the lease, and get it "
		    "when kanband is restarted, unless dispatch_in_gateway is off");
	doctor_well(
		d, "gateway", NULL,
		"plugin hooks of the dispatcher (kanban_task_claimed) do not fire: [hook NAME] "
		"in kanband.conf and kanbanctl events are for that; hermes kanban create "
		"warns that nothing dispatches, and the task is started all the same "
		"(man 7 kanband-deployment)");
}

/* ---- notifications ------------------------------------------------------------------- */

static void doctor_parked(struct doctor *d, const json_t *list)
{
	size_t parked = 0, retrying = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		const char *thread = json_text(one, "thread");

		if (!json_flag(one, "parked")) {
			retrying++;
			continue;
		}
		if (++parked <= DOCTOR_MANY)
			doctor_say(d, DOCTOR_NOTIFY_PARKED, json_text(one, "task"),
				   quote_command("kanbanctl --root %q notify retry %q", d->root,
						 json_text(one, "task")),
				   "parked, %s:%s%s%s of profile %s is not told: %s",
				   json_text(one, "platform"), json_text(one, "chat"),
				   *thread ? ":" : "", thread, json_text(one, "profile"),
				   json_text(one, "reason"));
	}
	if (parked > DOCTOR_MANY)
		doctor_say(d, DOCTOR_NOTIFY_MORE, NULL,
			   quote_command("kanbanctl --root %q notify retry", d->root),
			   "%zu more are parked", parked - DOCTOR_MANY);
	if (parked == 0)
		doctor_well(d, "notify", NULL, "nothing is parked, %zu are being tried again",
			    retrying);
}

/* The command that makes the outbox one that can be read, or lets a new one begin. */
static char *outbox_remedy(const struct doctor *d, const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || access(path, R_OK) == 0)
		return remedy_aside(&d->remedy, path);
	if (st.st_uid == d->remedy.uid && st.st_uid != geteuid()) /* it is only not ours */
		return quote_command("sudo kanbanctl --root %q doctor", d->root);
	return remedy_own(&d->remedy, path);
}

void doctor_notify(struct doctor *d)
{
	CLEANUP(freep) char *path = outbox_view_path(d->root);
	CLEANUP(freep) char *bad = path ? fs_path("%s.bad", path) : NULL;
	CLEANUP(freep) char *seen = path ? fs_path("%s.seen", path) : NULL;
	CLEANUP(json_freep) json_t *list = NULL;
	struct error e = ERROR_NULL;
	struct stat st;
	int r = outbox_view(d->root, &list, &e);

	if (r == -ENOENT || r == -ENOTDIR)
		list = json_array(); /* no daemon was here yet */
	else if (r < 0)
		doctor_say(d, DOCTOR_OUTBOX_UNREADABLE, NULL,
			   path ? outbox_remedy(d, path) : NULL, "%s", e.text);
	if (list)
		doctor_parked(d, list);
	if (bad && seen && lstat(bad, &st) == 0)
		doctor_say(d, DOCTOR_OUTBOX_ASIDE, NULL,
			   quote_command("%smv --backup=numbered -T %q %q", d->remedy.as_owner,
					 bad, seen),
			   "what was in %s was no outbox and was set aside: messages that "
			   "waited in it are lost",
			   bad);
}
