/* doctor: what is in the root: the lease, gateways, boards, notifications. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/discover.h"
#include "ctl/boards.h"
#include "ctl/ctl.h"
#include "ctl/doctor.h"
#include "ctl/json.h"
#include "ctl/outbox.h"
#include "ctl/quote.h"
#include "launch/proc.h"
#include "util/fs.h"

#define DOCTOR_MANY 20 /* lines about one kind of thing; then one for the rest */

/* ---- the lease -----------------------------------------------------------------------------
 */

/* Who holds it is no kanband. */
static void lease_stranger(struct doctor *d)
{
	const struct gate *gate = NULL;
	CLEANUP(freep) char *who = NULL;

	for (size_t i = 0; i < d->gates.count; i++)
		if (d->gates.gates[i].running && d->gates.gates[i].pid == d->lead.pid &&
		    d->lead.pid > 0)
			gate = &d->gates.gates[i];
	who = gate ? fs_path("the gateway of profile %s (pid %d) has it", gate->profile,
			     (int)gate->pid)
	      : d->lead.pid > 0
		      ? fs_path("pid %d, which is no kanband, has it", (int)d->lead.pid)
		      : strdup("somebody who is not seen from here (another container, another "
			       "host) has it");
	doctor_say(d, FINDING_ERROR, "lease", NULL,
		   gate              ? gate_fix(gate, &d->gates, d->root)
		   : d->lead.pid > 0 ? quote_command("kill -TERM %d", (int)d->lead.pid)
				     : quote_command("fuser -v %q",
						     d->root), /* there is no better clue */
		   "%s: kanband waits as standby until it ends", who ? who : "somebody has it");
}

void doctor_lease(struct doctor *d)
{
	const struct lease_owner *o = &d->lead.owner;
	struct proc_stat ps = { .state = '?' };

	if (!d->lead.held) {
		doctor_say(d, FINDING_ERROR, "lease", NULL,
			   access("/run/systemd/system", F_OK) == 0
				   ? strdup("systemctl start kanband")
				   : quote_command("kanband --root %q", d->root),
			   "nobody has it: no dispatcher runs for this root");
		return;
	}
	if (!d->lead.kanband) {
		lease_stranger(d);
		return;
	}
	if (d->lead.pid > 0 && proc_stat(d->lead.pid, &ps) == 0 &&
	    (ps.state == 'T' || ps.state == 't')) {
		doctor_say(d, FINDING_ERROR, "lease", NULL,
			   quote_command("kill -CONT %d", (int)d->lead.pid),
			   "kanband (pid %d) has it and is stopped: nothing is dispatched, and "
			   "nobody can take over",
			   (int)d->lead.pid);
		return;
	}
	doctor_say(d, FINDING_OK, "lease", NULL, NULL,
		   "kanband %s, pid %" PRId64 ", has it, epoch %" PRId64, o->version, o->pid,
		   o->epoch);
}

/* ---- gateways ------------------------------------------------------------------------------
 */

static void doctor_gateway(struct doctor *d, const struct gate *g)
{
	const char *meanwhile =
		d->lead.kanband
			? "the lease keeps it from it while kanband has it, and hands it the "
			  "boards when kanband stops"
			: "nothing keeps it from it now";

	if (!g->known) {
		doctor_say(d, FINDING_OK, "gateway", g->profile, NULL, "none was ever started");
		return;
	}
	if (!gate_dispatches(g)) {
		doctor_say(d, FINDING_OK, "gateway", g->profile, NULL,
			   "%s dispatches nothing: %s",
			   g->running ? "it runs and" : "it does not run and", g->why);
		return;
	}
	doctor_say(d, d->lead.kanband || !g->running ? FINDING_WARNING : FINDING_ERROR,
		   "gateway", g->profile, gate_fix(g, &d->gates, d->root),
		   "%s would dispatch: %s; %s", g->running ? "it runs and" : "once started it",
		   g->why, meanwhile);
}

void doctor_gateways(struct doctor *d)
{
	for (size_t i = 0; i < d->gates.count; i++)
		doctor_gateway(d, &d->gates.gates[i]);
}

/* ---- boards --------------------------------------------------------------------------------
 */

/* The command for a board in that state; malloc'd */
static char *board_remedy(const struct doctor *d, const json_t *board)
{
	const char *state = json_text(board, "state"), *slug = json_text(board, "slug");
	const char *db = json_text(board, "db"), *error = json_text(board, "error");
	struct stat st;

	if (strcmp(state, "quarantined") == 0 || strcmp(state, "corrupt") == 0) {
		/* one that would lose rows is for the operator to decide */
		bool loses = strstr(error, "would lose") != NULL;

		return quote_command(loses ? "kanbanctl --root %q repair %q --salvage"
					   : "kanbanctl --root %q repair %q",
				     d->root, slug);
	}
	if (strcmp(state, "lost") == 0)
		return quote_command("kanbanctl --root %q restore %q", d->root, slug);
	if (strcmp(state, "schema") == 0) /* Hermes adds what a board lacks when it opens it */
		return quote_command("HERMES_KANBAN_HOME=%q hermes kanban --board %q list",
				     d->root, slug);
	if (strcmp(state, "busy") == 0)
		return quote_command("fuser -v %q", db);
	if (strcmp(state, "unreadable") == 0 && stat(db, &st) == 0 && !S_ISREG(st.st_mode))
		return quote_command("mv %q %q", db, "kanban.db.away");
	if (strcmp(state, "unreadable") == 0)
		return quote_command("chown --reference=%q %q && chmod u+rw %q", d->root, db,
				     db);
	return quote_command("kanbanctl --root %q check %q", d->root, slug);
}

/* A folder that Hermes takes for a board and we do not. */
static void doctor_folder(struct doctor *d, const char *boards, const char *name)
{
	char lower[BOARD_SLUG_MAX + 1];
	CLEANUP(freep) char *from = fs_path("%s/%s", boards, name);
	CLEANUP(freep) char *to = NULL;
	size_t len = strlen(name);

	if (len > BOARD_SLUG_MAX || !from)
		return;
	for (size_t i = 0; i <= len; i++)
		lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a'
								   : name[i]);
	to = fs_path("%s/%s", boards, lower);
	if (!to || !fs_is_slug(lower) || !fs_is_dir(from))
		return;
	/* -T: not into a folder that is there already; mv says so then */
	doctor_say(d, FINDING_WARNING, "folder", name, quote_command("mv -nT %q %q", from, to),
		   "Hermes takes it for board %s, kanband ignores it: board names are lower "
		   "case",
		   lower);
}

static void doctor_folders(struct doctor *d)
{
	CLEANUP(freep) char *path = fs_path("%s/kanban/boards", d->root);
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;
	int n = 0;

	while (dir && n < DOCTOR_MANY && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !fs_is_slug(entry->d_name)) {
			doctor_folder(d, path, entry->d_name);
			n++;
		}
	if (dir)
		(void)closedir(dir); /* it was only read */
}

void doctor_boards(struct doctor *d)
{
	CLEANUP(discovery_deinit) struct discovery disc = { 0 };
	size_t well = 0, bad = 0;
	struct error e = ERROR_NULL;

	if (discover_boards(&disc, d->root, NULL, &e) < 0) {
		doctor_say(d, FINDING_ERROR, "board", NULL, quote_command("ls -la %q", d->root),
			   "%s", e.text);
		return;
	}
	for (size_t i = 0; i < disc.count; i++) {
		CLEANUP(json_freep) json_t *board = boards_one(d->ctl, &disc.boards[i]);
		const char *state = json_text(board, "state");

		if (!board)
			d->memory = true;
		if (board && boards_is_bad(state) && ++bad <= DOCTOR_MANY)
			doctor_say(d,
				   strcmp(state, "busy") == 0 ? FINDING_WARNING : FINDING_ERROR,
				   "board", disc.boards[i].slug, board_remedy(d, board),
				   "%s: %s", state, json_text(board, "error"));
		else if (board && !boards_is_bad(state))
			well++;
	}
	if (bad > DOCTOR_MANY)
		doctor_say(d, FINDING_ERROR, "board", NULL,
			   quote_command("kanbanctl --root %q boards", d->root),
			   "%zu more are not well", bad - DOCTOR_MANY);
	doctor_say(d, FINDING_OK, "board", NULL, NULL, "%zu of %zu are well", well, disc.count);
	doctor_folders(d);
}

/* ---- notifications -------------------------------------------------------------------------
 */

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
			doctor_say(d, FINDING_WARNING, "notify", json_text(one, "task"),
				   quote_command("kanbanctl --root %q notify retry %q", d->root,
						 json_text(one, "task")),
				   "parked, %s:%s%s%s of profile %s is not told: %s",
				   json_text(one, "platform"), json_text(one, "chat"),
				   *thread ? ":" : "", thread, json_text(one, "profile"),
				   json_text(one, "reason"));
	}
	if (parked > DOCTOR_MANY)
		doctor_say(d, FINDING_WARNING, "notify", NULL,
			   quote_command("kanbanctl --root %q notify retry", d->root),
			   "%zu more are parked", parked - DOCTOR_MANY);
	if (parked == 0)
		doctor_say(d, FINDING_OK, "notify", NULL, NULL,
			   "nothing is parked, %zu are being tried again", retrying);
}

void doctor_notify(struct doctor *d)
{
	CLEANUP(freep) char *path = ctl_outbox_path(d->root);
	CLEANUP(freep) char *bad = path ? fs_path("%s.bad", path) : NULL;
	CLEANUP(freep) char *seen = path ? fs_path("%s.seen", path) : NULL;
	CLEANUP(json_freep) json_t *list = NULL;
	struct error e = ERROR_NULL;
	struct stat st;
	int r = ctl_outbox(d->root, &list, &e);

	if (r == -ENOENT || r == -ENOTDIR)
		list = json_array(); /* no daemon was here yet */
	else if (r < 0)
		doctor_say(d, FINDING_ERROR, "outbox", NULL,
			   path ? quote_command("ls -la %q", path) : NULL, "%s", e.text);
	if (list)
		doctor_parked(d, list);
	if (bad && seen && lstat(bad, &st) == 0)
		doctor_say(d, FINDING_WARNING, "outbox", NULL,
			   quote_command("mv %q %q", bad, seen),
			   "what was in %s was no outbox and was set aside: messages that "
			   "waited in it are lost",
			   bad);
}
