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
#include "util/printable.h"

int leader_view(const struct ctl *ctl, const char *root, struct leader *l)
{
	int r;

	*l = (struct leader){ 0 };
	if (!fs_is_dir(root) || !ctl_is_root(ctl, root))
		return ctl_no_root(ctl, root);
	r = leader_look(root, l);
	if (r < 0)
		return ctl_say(ctl, r == -EACCES ? CTL_NOT_ALLOWED : CTL_IO,
			       "cannot look at the lease of %s: %s", root, strerror(-r));
	return 0;
}

/* Writes go to ctl->out; ctl_main() looks at its error flag. */
void leader_view_put(const struct ctl *ctl, const struct leader *l)
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
		printable_put(out, l->owner.version, strlen(l->owner.version), 0);
		(void)fputs(" on ", out);
		printable_put(out, l->owner.host, strlen(l->owner.host), 0);
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
	printable_put(out, l->owner.version, strlen(l->owner.version), 0);
	(void)fputs(" on ", out);
	printable_put(out, l->owner.host, strlen(l->owner.host), 0);
	if (*l->owner.unit) {
		(void)fputs(" (", out);
		printable_put(out, l->owner.unit, strlen(l->owner.unit), 0);
		(void)fputc(')', out);
	}
	screen_time(l->owner.since, since);
	(void)fprintf(out, ", epoch %" PRId64 ", since %s", l->owner.epoch, since);
}

static void leader_view_copy(char *out, size_t size, const json_t *owner, const char *key)
{
	(void)snprintf(out, size, "%s", json_text(owner, key));
}

void leader_view_from_json(struct leader *l, const json_t *json)
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
	leader_view_copy(l->owner.host, sizeof(l->owner.host), o, "host");
	leader_view_copy(l->owner.boot_id, sizeof(l->owner.boot_id), o, "boot_id");
	leader_view_copy(l->owner.unit, sizeof(l->owner.unit), o, "unit");
	leader_view_copy(l->owner.version, sizeof(l->owner.version), o, "version");
	leader_view_copy(l->owner.socket, sizeof(l->owner.socket), o, "socket");
}
