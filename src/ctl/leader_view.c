/*
 * Who dispatches, without asking a daemon. The kernel says it (the lock and /proc/locks); the
 * owner file only adds a name to the number.
 */
#include "ctl/leader_view.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl.h"
#include "util/fs.h"
#include "util/json.h"

int lead_look(const struct ctl *ctl, const char *root, struct leader *l)
{
	int r;

	*l = (struct leader){ 0 };
	if (!fs_is_dir(root))
		return ctl_say(ctl, CTL_NO_INPUT,
			       "there is no kanban root at %s; \"kanbanctl init\" makes one",
			       root);
	r = leader_look(root, l);
	if (r < 0)
		return ctl_say(ctl, r == -EACCES ? CTL_NOT_ALLOWED : CTL_IO,
			       "cannot look at the lease of %s: %s", root, strerror(-r));
	return 0;
}

json_t *lead_json(const struct leader *l)
{
	const struct lease_owner *o = &l->owner;
	json_t *owner = json_null();

	if (l->has_file)
		owner = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:I}", "epoch",
				  (json_int_t)o->epoch, "pid", (json_int_t)o->pid, "host",
				  o->host, "boot_id", o->boot_id, "unit", o->unit, "version",
				  o->version, "socket", o->socket, "since",
				  (json_int_t)o->since);
	return json_pack("{s:b, s:o, s:b, s:b, s:o}", "held", l->held, "pid",
			 l->pid > 0 ? json_integer(l->pid) : json_null(), "unseen", l->unseen,
			 "kanband", l->kanband, "owner", owner);
}

/* Writes go to ctl->out; ctl_main() looks at its error flag. */
void lead_put(const struct ctl *ctl, const struct leader *l)
{
	FILE *out = ctl->out;
	char since[32];

	if (!l->held) {
		(void)fputs("nobody: no dispatcher has the lease", out);
		return;
	}
	if (l->unseen) {
		(void)fputs("a process that cannot be seen from here", out);
		if (!l->kanband)
			return;
		(void)fputs(" (the owner file says: kanband ", out);
		screen_put(out, l->owner.version, strlen(l->owner.version), 0);
		(void)fputs(" on ", out);
		screen_put(out, l->owner.host, strlen(l->owner.host), 0);
		(void)fprintf(out, ", pid %" PRId64 " there, epoch %" PRId64 ")", l->owner.pid,
			      l->owner.epoch);
		return;
	}
	if (!l->kanband) {
		if (l->pid > 0)
			(void)fprintf(out, "pid %d", (int)l->pid);
		else
			(void)fputs("somebody", out);
		(void)fputs(", which is not a kanband (a Hermes gateway holds the same lock)",
			    out);
		return;
	}
	(void)fprintf(out, "pid %" PRId64 ", kanband ", l->owner.pid);
	screen_put(out, l->owner.version, strlen(l->owner.version), 0);
	(void)fputs(" on ", out);
	screen_put(out, l->owner.host, strlen(l->owner.host), 0);
	if (*l->owner.unit) {
		(void)fputs(" (", out);
		screen_put(out, l->owner.unit, strlen(l->owner.unit), 0);
		(void)fputc(')', out);
	}
	screen_time(l->owner.since, since);
	(void)fprintf(out, ", epoch %" PRId64 ", since %s", l->owner.epoch, since);
}

static void lead_copy(char *out, size_t size, const json_t *owner, const char *key)
{
	(void)snprintf(out, size, "%s", json_text(owner, key));
}

void lead_from_json(struct leader *l, const json_t *json)
{
	const json_t *o = json_object_get(json, "owner");

	*l = (struct leader){ .held = json_flag(json, "held"),
			      .unseen = json_flag(json, "unseen"),
			      .kanband = json_flag(json, "kanband"),
			      .pid = (pid_t)json_number(json, "pid", 0),
			      .has_file = json_is_object(o) };
	if (!l->has_file)
		return;
	l->owner.epoch = json_number(o, "epoch", 0);
	l->owner.pid = json_number(o, "pid", 0);
	l->owner.since = json_number(o, "since", 0);
	lead_copy(l->owner.host, sizeof(l->owner.host), o, "host");
	lead_copy(l->owner.boot_id, sizeof(l->owner.boot_id), o, "boot_id");
	lead_copy(l->owner.unit, sizeof(l->owner.unit), o, "unit");
	lead_copy(l->owner.version, sizeof(l->owner.version), o, "version");
	lead_copy(l->owner.socket, sizeof(l->owner.socket), o, "socket");
}
