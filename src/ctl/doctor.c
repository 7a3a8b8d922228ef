/*
 * doctor: everything that has to be right for work to be dispatched, looked at from outside,
 * with and without a daemon. Nothing is changed and nothing is repaired: each finding that is
 * not well names the command that does it, and the operator decides.
 */
#include "ctl/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/table.h"
#include "daemon/config.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/quote.h"

static const char *const doctor_words[] = { "ok", "warning", "error" };

static void doctor_deinit(struct doctor *d)
{
	free(d->root);
	free(d->config_dir);
	d->config = config_free(d->config);
	d->client = client_free(d->client);
	gate_list_deinit(&d->gates);
	json_decref(d->checks);
}

static void doctor_add(struct doctor *d, enum finding how, const char *check, const char *name,
		       const char *about, const char *remedy, const char *fmt, va_list ap)
	PRINTF(7, 0);
static void doctor_add(struct doctor *d, enum finding how, const char *check, const char *name,
		       const char *about, const char *remedy, const char *fmt, va_list ap)
{
	CLEANUP(freep) char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	if (how > d->worst)
		d->worst = how;
	if (!text || (how != FINDING_OK && !remedy) ||
	    json_array_append_new(d->checks,
				  json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "check", check,
					    "status", doctor_words[how], "finding",
					    json_or_null(name), "about", json_or_null(about),
					    "text", json_or_null(text), "remedy",
					    json_or_null(remedy))) < 0)
		d->memory = true;
}

void doctor_say(struct doctor *d, enum doctor_id id, const char *about, char *owned,
		const char *fmt, ...)
{
#define DOCTOR_ROW(name, check, finding, how) { check, finding, how },
	static const struct {
		const char *check, *name;
		enum finding how;
	} rows[] = { DOCTOR_FINDINGS(DOCTOR_ROW) };
#undef DOCTOR_ROW
	CLEANUP(freep) char *remedy = owned;
	va_list ap;

	va_start(ap, fmt);
	doctor_add(d, rows[id].how, rows[id].check, rows[id].name, about, remedy, fmt, ap);
	va_end(ap);
}

void doctor_well(struct doctor *d, const char *check, const char *about, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	doctor_add(d, FINDING_OK, check, NULL, about, NULL, fmt, ap);
	va_end(ap);
}

/* ---- what is said --------------------------------------------------------------------------
 */

/* Writes go to ctl->out; ctl_main() looks at its error flag. */
static void doctor_line(const struct ctl *ctl, const json_t *check)
{
	static const enum table_colour colours[] = { TABLE_GREEN, TABLE_YELLOW, TABLE_RED };
	const char *status = json_text(check, "status"), *remedy = json_text(check, "remedy");
	const char *about = json_text(check, "about"), *text = json_text(check, "text");
	size_t level = 0;

	while (level < 2 && strcmp(status, doctor_words[level]) != 0)
		level++;
	(void)fprintf(ctl->out, "%s%-7s%s  %s", table_colour_on(&ctl->screen, colours[level]),
		      status, table_colour_off(&ctl->screen, colours[level]),
		      json_text(check, "check"));
	(void)fputs(*about ? " " : "", ctl->out);
	screen_put(ctl->out, about, strlen(about), 0);
	(void)fputs(": ", ctl->out);
	screen_put(ctl->out, text, strlen(text), 0);
	if (*remedy) {
		/* on the same line where it is read by lines, below where it is read by eyes */
		(void)fputs(ctl->screen.width ? "\n           " : "; run: ", ctl->out);
		(void)fputs(table_colour_on(&ctl->screen, TABLE_BOLD), ctl->out);
		screen_put(ctl->out, remedy, strlen(remedy), 0);
		(void)fputs(table_colour_off(&ctl->screen, TABLE_BOLD), ctl->out);
	}
	(void)fputc('\n', ctl->out);
}

static int doctor_print(struct doctor *d)
{
	int exit = d->worst == FINDING_OK ? CTL_OK : CTL_NOT_WELL;
	const json_t *check;
	size_t i;

	if (d->memory)
		return ctl_say(d->ctl, CTL_IO, "out of memory");
	if (d->ctl->json)
		return ctl_print_json(d->ctl,
				      json_pack("{s:s, s:b, s:b, s:O}", "root", d->root, "well",
						exit == CTL_OK, "daemon", d->client != NULL,
						"checks", d->checks),
				      exit);
	json_array_foreach(d->checks, i, check) doctor_line(d->ctl, check);
	return exit;
}

/* ---- the daemon ----------------------------------------------------------------------------
 */

/* What was asked for here and keeps work from starting. */
static void daemon_held(struct doctor *d, const json_t *status, const json_t *root)
{
	json_t *boards = json_object_get(root, "boards"), *board;
	size_t i;

	if (json_is_object(json_object_get(status, "draining")))
		doctor_say(d, DOCTOR_PAUSED_ALL, NULL,
			   quote_command("kanbanctl --root %q resume", d->root),
			   "it drains: nothing new is started on any board");
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

static void daemon_status(struct doctor *d)
{
	CLEANUP(reply_deinit) struct reply reply = { 0 };
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
	daemon_notifier(d, json_object_get(root, "notify"));
}

void doctor_daemon(struct doctor *d)
{
	const char *socket = d->lead.owner.socket;

	if (d->client) {
		doctor_well(d, "daemon", NULL, "it answers at %s", client_socket(d->client));
		daemon_status(d);
	} else if (!d->lead.kanband) {
		return; /* the lease says all there is to say */
	} else if (d->lead.unseen) {
		doctor_well(d, "daemon", NULL,
			    "it is not reached from here; what needs one is told by the files");
	} else if (*socket) {
		doctor_say(d, DOCTOR_DAEMON_SILENT, NULL,
			   quote_command("systemctl restart %q",
					 *d->lead.owner.unit ? d->lead.owner.unit : "kanband"),
			   "it does not answer at %s, although it has the lease", socket);
	} else {
		doctor_well(d, "daemon", NULL,
			    "it has no control socket; what needs one is told by the files");
	}
}

/* ---- all of it -----------------------------------------------------------------------------
 */

/* Where a drop-in of the configuration belongs, by the rules of kanband.conf(5). */
static char *doctor_config_dir(const struct doctor *d)
{
	const char *xdg = ctl_env(d->ctl, "XDG_CONFIG_HOME"), *home = ctl_env(d->ctl, "HOME");

	if (d->config_file)
		return fs_path("%s.d", d->config_file);
	if (geteuid() != 0 && xdg && xdg[0] == '/')
		return fs_path("%s/kanband/kanband.conf.d", xdg);
	if (geteuid() != 0 && home)
		return fs_path("%s/.config/kanband/kanband.conf.d", home);
	return strdup(KANBAND_SYSCONFDIR "/kanband/kanband.conf.d");
}

static int doctor_begin(struct doctor *d)
{
	int r = ctl_root(d->ctl, &d->root);

	if (r == 0)
		r = lead_look(d->ctl, d->root, &d->lead);
	if (r != 0)
		return r;
	d->checks = json_array();
	d->config_dir = doctor_config_dir(d);
	/* a socket that was named and does not answer is a finding, not the end */
	if (!d->checks || !d->config_dir || client_find(d->ctl, d->root, &d->client) < 0 ||
	    gate_scan(d->ctl, d->root, &d->gates) == -ENOMEM)
		return ctl_say(d->ctl, CTL_IO, "out of memory");
	return 0;
}

int ctl_verb_doctor(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(doctor_deinit) struct doctor d = { .ctl = ctl };
	const struct ctl_arg options[] = {
		{ "config", CTL_ARG_TEXT, &d.config_file, "FILE",
		  "kanband.conf, where kanband is started with one", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = doctor_begin(&d);
	if (r != 0)
		return r;
	doctor_lease(&d);
	doctor_daemon(&d);
	doctor_gateways(&d);
	doctor_config(&d);
	doctor_unit(&d);
	doctor_sqlite(&d);
	doctor_filesystem(&d);
	doctor_hermes(&d);
	doctor_boards(&d);
	doctor_notify(&d);
	doctor_clock(&d);
	return doctor_print(&d);
}
