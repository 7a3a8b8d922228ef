/* doctor: the daemon: does it answer, was it told to start nothing, is somebody not told. */
#include "ctl/doctor.h"
#include "gateway/unit_file.h"
#include "util/quote.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/estop_view.h"
#include "daemon/config.h"
#include "util/fs.h"
#include "util/json.h"

/* What was asked for here and keeps work from starting. */
static void daemon_held(struct doctor *d, const json_t *status, const json_t *root)
{
	json_t *boards = json_object_get(root, "boards"), *board;
	size_t i;

	if (json_is_object(json_object_get(status, "draining")))
		doctor_say(
			d, DOCTOR_PAUSED_ALL, NULL,
			quote_command("kanbanctl --root %q resume", d->root),
			"paused or drained by the operator: nothing is started on any board");
	json_array_foreach(boards, i, board)
	{
		const char *by = json_text(json_object_get(board, "paused"), "by");

		/* by the configuration: somebody wrote that down */
		if (strcmp(by, "operator") == 0)
			doctor_say(d, DOCTOR_PAUSED_BOARD, json_text(board, "slug"),
				   quote_command("kanbanctl --root %q resume %q", d->root,
						 json_text(board, "slug")),
				   "nothing new is started on this board");
	}
}

/* `hermes pause`. A daemon says what its last tick found, which may lie in its HERMES_HOME. */
static void daemon_estop(struct doctor *d, const json_t *status, const json_t *root)
{
	CLEANUP(freep) char *path = NULL;
	const char *told = json_text(root, "estop"), *home = json_text(status, "hermes_home");
	char text[ESTOP_VIEW_MAX];
	struct estop stop;
	bool engaged = estop_view(d->ctl, d->root, &stop, text);

	if (root && !*told)
		return;
	if (root && !engaged)
		path = fs_path("%s/ESTOP", *home ? home : d->root);
	else if (engaged)
		path = fs_path("%s", stop.path);
	else
		return;
	doctor_say(d, DOCTOR_PAUSED_ESTOP, NULL,
		   path ? quote_command(fs_is_dir(path) ? "rmdir %q" : "rm -f %q", path) : NULL,
		   "%s. Whoever wanted that takes it back with hermes resume",
		   root ? told : text);
}

static void daemon_notifier(struct doctor *d, const json_t *notify)
{
	if (json_flag(notify, "unwritten"))
		doctor_say(d, DOCTOR_NOTIFY_UNWRITTEN, NULL,
			   quote_command("df -h %q && ls -la %q/kanban", d->root, d->root),
			   "the outbox cannot be written: no message is sent");
	if (json_number(notify, "unserved", 0) > 0)
		doctor_say(d, DOCTOR_NOTIFY_UNSERVED, NULL,
			   quote_command("mkdir -p %q && printf '[notify]\\nnotify = "
					 "all\\n' >%q/notify.conf && kanbanctl --root %q "
					 "reload",
					 d->config_dir, d->config_dir, d->root),
			   "%" PRId64
			   " subscriptions have news that their gateway does not take; "
			   "kanbanctl notify says whose",
			   json_number(notify, "unserved", 0));
}

static void daemon_hooks(struct doctor *d, const json_t *hooks)
{
	json_t *hook;
	size_t i;

	json_array_foreach(hooks, i, hook)
	{
		if (json_is_string(json_object_get(hook, "error")))
			doctor_say(d, DOCTOR_HOOK_FAILS, json_text(hook, "name"),
				   quote_command("kanband --check-config --root %q | grep "
						 "'^.hook %q]'",
						 d->root, json_text(hook, "name")),
				   "its last run failed: %s", json_text(hook, "error"));
	}
}

static void daemon_copies(struct doctor *d, const json_t *copies)
{
	json_t *copy;
	size_t i;

	json_array_foreach(copies, i, copy)
	{
		if (strcmp(json_text(copy, "root"), d->root) == 0 &&
		    json_is_string(json_object_get(copy, "error")))
			doctor_say(d, DOCTOR_COPY_FAILS, json_text(copy, "board"),
				   quote_command("kanbanctl --root %q snapshot %q && kanbanctl "
						 "--root %q doctor",
						 d->root, json_text(copy, "board"), d->root),
				   "its snapshots are not copied off the host: "
				   "snapshot_command: %s",
				   json_text(copy, "error"));
	}
}

static void daemon_status(struct doctor *d)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	json_t *roots, *root = NULL, *one;
	size_t i;

	if (client_quiet(d->client, client_path(d->client, "tasks=no", "/v1/status"), &reply) !=
	    0)
		return; /* told below: it does not answer */
	roots = json_object_get(reply.json, "roots");
	json_array_foreach(roots, i, one)
	{
		if (strcmp(json_text(one, "root"), client_root(d->client)) == 0)
			root = one;
	}
	daemon_held(d, reply.json, root);
	daemon_estop(d, reply.json, root);
	daemon_copies(d, json_object_get(reply.json, "copies"));
	daemon_hooks(d, json_object_get(reply.json, "hooks"));
	daemon_notifier(d, json_object_get(root, "notify"));
}

void doctor_daemon(struct doctor *d)
{
	const char *socket = d->leader.owner.socket;

	if (!d->client)
		daemon_estop(d, NULL, NULL);
	if (d->client) {
		doctor_well(d, "daemon", NULL, "it answers at %s", client_socket(d->client));
		daemon_status(d);
	} else if (!d->leader.kanband) {
		return; /* the lease says all there is to say */
	} else if (d->leader.unseen) {
		doctor_well(d, "daemon", NULL,
			    "it is not reached from here; what needs one is told by the files");
	} else if (*socket) {
		doctor_say(d, DOCTOR_DAEMON_SILENT, NULL,
			   quote_command("systemctl restart %q",
					 unit_is_kanband(d->leader.owner.unit)
						 ? d->leader.owner.unit
						 : "kanband.service"),
			   "it does not answer at %s, although it has the lease", socket);
	} else {
		doctor_well(d, "daemon", NULL,
			    "it has no control socket; what needs one is told by the files");
	}
}
