/*
 * gateways: what every profile's gateway would do, and with --fix the drop-ins that keep them
 * from dispatching.
 *
 * --fix alone writes nothing: it shows each file as it would be, and what stands there now.
 * Only with --yes it is written, atomically; a file that differs is kept beside the new one as
 * `.old`, which systemd does not read. Nothing is written for somebody else: what root writes
 * into a folder that another account may change could end up anywhere.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/ctl_table.h"
#include "ctl/table.h"
#include "ctl/unit_writer.h"
#include "gateway/gateway_dropin.h"
#include "gateway/gateway_scan.h"
#include "gateway/manager.h"
#include "root/lease.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/printable.h"
#include "util/quote.h"

#define GATEWAYS_FILE_MAX ((size_t)64 << 10)

/* One drop-in to write. */
struct gateways_file {
	const struct gateway *gate;
	const struct unit *unit;
	char *path, *text;
	char *kanband; /* the unit that it wants, as gateway_dropin_text() takes it */
	char *old;     /* what stands there now, or NULL */
	bool foreign;  /* it is somebody else's to write */
	bool written;
};

struct gateways {
	struct ctl *ctl;
	char *root;
	struct gateway_list list;
	struct gateways_file *files;
	size_t n_files;
	int writer; /* unit_writer_request() */
};

static void gateways_files_free(struct gateways *g)
{
	for (size_t i = 0; i < g->n_files; i++) {
		free(g->files[i].path);
		free(g->files[i].text);
		free(g->files[i].old);
		free(g->files[i].kanband);
	}
	free(g->files);
	g->files = NULL;
	g->n_files = 0;
}

static void gateways_deinit(struct gateways *g)
{
	gateways_files_free(g);
	gateway_list_deinit(&g->list);
	free(g->root);
}

static int gateways_scan(struct gateways *g)
{
	int r;

	gateway_list_deinit(&g->list);
	r = gateway_scan(g->ctl->env, g->root, &g->list);
	if (r == -ENOENT || r == -ENOTDIR || r == -EACCES)
		return ctl_no_root(g->ctl, g->root);
	return r < 0 ? ctl_say(g->ctl, r == -EACCES ? CTL_NOT_ALLOWED : CTL_IO,
			       "cannot look at %s: %s", g->root, strerror(-r))
		     : 0;
}

/* ---- the plan ------------------------------------------------------------------------ */

/* Is @name there, in the manager of @unit, and enabled if @enabled asks for that?
 * Return: 1, 0 or -ENOMEM. */
static int gateways_has(const struct gateways *g, const struct unit *unit, const char *name,
			bool enabled)
{
	CLEANUP(unit_path_deinit) struct unit_path path = { 0 };
	CLEANUP(unit_deinit) struct unit found = { 0 };
	int r;

	r = unit->scope == UNIT_SYSTEM
		    ? unit_path_system(&path, g->ctl->env)
		    : unit_path_user(&path, g->ctl->env, unit->user, unit->home, true);
	if (r == 0)
		r = manager_load(&path, name, &found);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	return !enabled || found.enabled;
}

/* Where kanband is a service of the host and the gateway one of a person, nothing can be
 * wanted: a manager knows only its own units. */
static int gateways_across(const struct gateways *g, const struct unit *unit, char **name)
{
	struct unit host = { .scope = UNIT_SYSTEM };
	int r = unit->scope == UNIT_USER ? gateways_has(g, unit, "kanband.service", false) : 1;

	if (r == 0)
		r = gateways_has(g, &host, "kanband.service", false) == 1 ? 2 : 1;
	if (r != 2)
		return r < 0 ? r : 0;
	*name = strdup("");
	return *name ? 0 : -ENOMEM;
}

/*
 * The unit of kanband that @unit's gateway is to want: the owner's; while nobody owns, or a
 * gateway does, the instance of the gateway's account if that is what was enabled here. NULL:
 * the usual one. To want another would start a daemon that nobody enabled.
 */
static int gateways_kanband(const struct gateways *g, const struct unit *unit, char **name)
{
	const char *user = unit->scope == UNIT_SYSTEM ? unit->account : NULL;
	CLEANUP(freep) char *instance = NULL;
	struct lease_owner owner;
	int r = 0;

	*name = NULL;
	if (lease_read_owner(g->root, &owner) == 0 && unit_is_kanband(owner.unit)) {
		r = gateways_has(g, unit, owner.unit, false);
		*name = r == 1 ? strdup(owner.unit) : NULL;
		if (r != 0)
			return r > 0 && *name ? 0 : -ENOMEM;
	}
	instance = user && *user ? fs_path("kanband@%s.service", user) : NULL;
	if (instance && unit_is_name(instance)) {
		r = gateways_has(g, unit, instance, true);
		if (r == 1)
			*name = STEAL(instance);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return gateways_across(g, unit, name);
}

static int gateways_plan_unit(struct gateways *g, const struct gateway *gate,
			      const struct unit *unit)
{
	struct gateways_file *more = reallocarray(g->files, g->n_files + 1, sizeof(*more));
	CLEANUP(freep) char *kanband = NULL;
	struct gateways_file *f;
	int r;

	if (!more)
		return -ENOMEM;
	g->files = more;
	f = &more[g->n_files++];
	*f = (struct gateways_file){ .gate = gate, .unit = unit };
	r = gateways_kanband(g, unit, &kanband);
	if (r < 0)
		return r;
	f->path = gateway_dropin_path(unit);
	f->text = gateway_dropin_text(kanband);
	f->kanband = STEAL(kanband);
	if (!f->path || !f->text)
		return -ENOMEM;
	f->foreign = unit->scope == UNIT_USER && geteuid() == 0 && g->list.uid != 0 &&
		     unit->user && strcmp(unit->user, "root") != 0;
	/* what cannot be read is replaced only if it can be written, and is said below */
	return fs_read_file(f->path, GATEWAYS_FILE_MAX, &f->old, NULL) == -ENOMEM ? -ENOMEM : 0;
}

static int gateways_plan(struct gateways *g)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->list.count; i++) {
		const struct gateway *gate = &g->list.gates[i];

		for (size_t k = 0; r == 0 && gate->starts && gate->dotenv != GATEWAY_ON &&
				   k < gate->units.count;
		     k++)
			r = gateways_plan_unit(g, gate, &gate->units.units[k]);
	}
	return r < 0 ? ctl_say(g->ctl, CTL_IO, "out of memory") : 0;
}

static const char *gateways_file_state(const struct gateways_file *f)
{
	return !f->old ? "missing" : strcmp(f->old, f->text) == 0 ? "same" : "differs";
}

/* ---- writing ------------------------------------------------------------------------- */

static int gateways_refused(const struct gateways *g, const char *what, const char *path, int r)
{
	return ctl_say(g->ctl,
		       r == -EACCES || r == -EROFS || r == -EPERM ? CTL_NOT_ALLOWED : CTL_IO,
		       "cannot %s %s: %s", what, path, strerror(-r));
}

static int gateways_write_one(const struct gateways *g, struct gateways_file *f)
{
	int r;

	if (f->foreign)
		return ctl_say(g->ctl, CTL_NOT_ALLOWED,
			       "%s belongs to %s: run \"sudo -u %s kanbanctl gateways --fix "
			       "--yes\" for it",
			       f->path, f->unit->user, f->unit->user);
	if (g->ctl->was_root && g->writer >= 0 && f->unit->scope == UNIT_SYSTEM)
		r = unit_writer_request(g->writer, f->unit->name, f->kanband, false);
	else
		r = gateway_dropin_write(f->unit, f->kanband);
	f->written = r == 0;
	return r == 0 ? 0 : gateways_refused(g, "write", f->path, r);
}

/* Everything that can be written is, whatever goes wrong with another. */
static int gateways_write(struct gateways *g)
{
	int exit = 0;

	for (size_t i = 0; i < g->n_files; i++) {
		int r = gateways_write_one(g, &g->files[i]);

		exit = exit ? exit : r;
	}
	return exit;
}

/* ---- what is said -------------------------------------------------------------------- */

static json_t *gateways_unit_json(const struct unit *u)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:b}", "name", u->name, "scope",
			 u->scope == UNIT_USER ? "user" : "system", "user",
			 json_or_null(u->user), "file", json_or_null(u->file), "enabled",
			 u->enabled);
}

static json_t *gateways_gate_json(const struct gateways *g, const struct gateway *gate)
{
	CLEANUP(freep) char *fix = NULL;
	json_t *units = json_array(), *config = NULL;

	for (size_t i = 0; units && i < gate->units.count; i++)
		if (json_array_append_new(units, gateways_unit_json(&gate->units.units[i])) < 0)
			units = json_free(units);
	if (gateway_dispatches(gate)) {
		fix = gateway_fix(gate, &g->list, g->root);
		if (!fix)
			units = json_free(units);
	}
	if (gate->yaml.word == GATEWAY_ON || gate->yaml.word == GATEWAY_OFF)
		config = json_boolean(gate->yaml.word == GATEWAY_ON);
	return json_pack(
		"{s:s, s:s, s:b, s:b, s:o, s:o, s:b, s:s, s:o, s:o, s:o, s:o}", "profile",
		gate->profile, "home", gate->home, "known", gate->known, "running",
		gate->running, "pid", gate->pid > 0 ? json_integer(gate->pid) : json_null(),
		"unit", json_or_null(gate->pid_unit), "dispatches", gateway_dispatches(gate),
		"why", gate->why, "config", config ? config : json_null(), "error",
		json_or_null(gate->yaml.why), "units", units, "fix", json_or_null(fix));
}

static json_t *gateways_files_json(const struct gateways *g)
{
	json_t *all = json_array();

	for (size_t i = 0; all && i < g->n_files; i++) {
		const struct gateways_file *f = &g->files[i];

		if (json_array_append_new(
			    all, json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "profile",
					   f->gate->profile, "unit", f->unit->name, "path",
					   f->path, "state", gateways_file_state(f), "written",
					   f->written, "content", f->text)) < 0)
			all = json_free(all);
	}
	return all;
}

static int gateways_row(struct table *t, const struct gateway *gate)
{
	bool on = gateway_dispatches(gate);
	const char *run = gate->running ? "yes" : gate->known ? "no" : "never";
	const char *unit = gate->pid_unit      ? gate->pid_unit
			   : gate->units.count ? gate->units.units[0].name
					       : NULL;
	const char *why = gate->known ? gate->why : "no gateway of it was ever started";
	char pid[16] = "";
	int r;

	if (gate->pid > 0)
		(void)snprintf(pid, sizeof(pid), "%d", (int)gate->pid);
	r = table_cell(t, gate->profile, strlen(gate->profile), TABLE_PLAIN);
	if (r == 0)
		r = table_cell(t, run, strlen(run), gate->running ? TABLE_GREEN : TABLE_DIM);
	if (r == 0)
		r = table_cell(t, *pid ? pid : NULL, strlen(pid), TABLE_PLAIN);
	if (r == 0)
		r = table_cell(t, unit, unit ? strlen(unit) : 0, TABLE_PLAIN);
	if (r == 0)
		r = table_cell(t, on ? "yes" : "no", on ? 3 : 2, on ? TABLE_RED : TABLE_GREEN);
	return r == 0 ? table_cell(t, why, strlen(why), TABLE_PLAIN) : r;
}

static int gateways_table(const struct gateways *g)
{
	static const struct table_column columns[] = {
		{ "PROFILE", false, 8 }, { "RUNS", false, 0 },       { "PID", true, 0 },
		{ "UNIT", false, 12 },   { "DISPATCHES", false, 0 }, { "WHY", false, 16 },
		{ NULL, false, 0 },
	};
	CLEANUP(table_freep) struct table *t = table_new(columns);
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < g->list.count; i++)
		r = gateways_row(t, &g->list.gates[i]);
	if (r < 0)
		return ctl_say(g->ctl, CTL_IO, "out of memory");
	return ctl_table(g->ctl, t, 0);
}

/* The commands for those that have something to do. Writes go to ctl->out. */
static int gateways_remedies(const struct gateways *g, bool fixing)
{
	FILE *out = g->ctl->out;

	for (size_t i = 0; i < g->list.count; i++) {
		const struct gateway *gate = &g->list.gates[i];
		CLEANUP(freep) char *fix = NULL;

		if (!gateway_dispatches(gate))
			continue;
		if (fixing && gate->starts && gate->units.count && gate->dotenv != GATEWAY_ON)
			continue; /* its file is shown */
		fix = gateway_fix(gate, &g->list, g->root);
		if (!fix)
			return ctl_say(g->ctl, CTL_IO, "out of memory");
		(void)fprintf(out, "\n%s: ", gate->profile);
		printable_put(out, gate->why, strlen(gate->why), 0);
		(void)fputs("\n  ", out);
		printable_put(out, fix, strlen(fix), 0);
		(void)fputc('\n', out);
	}
	return 0;
}

static void gateways_show_file(const struct gateways *g, const struct gateways_file *f)
{
	FILE *out = g->ctl->out;
	bool same = f->old && strcmp(f->old, f->text) == 0;

	(void)fprintf(out, "\n%s ", f->written ? "wrote" : "would write");
	printable_put(out, f->path, strlen(f->path), 0);
	if (same)
		(void)fputs(", which says so already: something else in the unit is stronger",
			    out);
	else if (f->old)
		(void)fprintf(out, "; it differs from what %s there, which %s kept as %s",
			      f->written ? "was" : "is", f->written ? "is" : "would be",
			      GATEWAY_DROPIN ".old");
	(void)fputc('\n', out);
	if (!f->written)
		printable_put(out, f->text, strlen(f->text), PRINTABLE_LINES);
}

/* What to run now that the files are there. */
static void gateways_then(const struct gateways *g)
{
	bool system = false, user = false;

	for (size_t i = 0; i < g->n_files; i++) {
		system |= g->files[i].unit->scope == UNIT_SYSTEM;
		user |= g->files[i].unit->scope == UNIT_USER;
	}
	for (int scope = 0; scope < 2; scope++) {
		const char *how = scope ? "--user " : "";

		if (!(scope ? user : system))
			continue;
		(void)fprintf(g->ctl->out,
			      "\nnow run:\n  systemctl %sdaemon-reload && systemctl %srestart",
			      how, how);
		for (size_t i = 0; i < g->n_files; i++)
			if ((g->files[i].unit->scope == UNIT_USER) == (scope == 1))
				(void)fprintf(g->ctl->out, " %s", g->files[i].unit->name);
		(void)fputc('\n', g->ctl->out);
	}
}

static bool gateways_well(const struct gateways *g)
{
	for (size_t i = 0; i < g->list.count; i++)
		if (gateway_dispatches(&g->list.gates[i]))
			return false;
	return true;
}

/* Does every unit say no now. (What runs is old until it is started again; what has no unit, or
 * is overruled by its .env, no drop-in can help.) */
static bool gateways_fixed(const struct gateways *g)
{
	for (size_t i = 0; i < g->list.count; i++) {
		const struct gateway *gate = &g->list.gates[i];

		if (gate->units.count > 0 && gate->starts && gate->dotenv != GATEWAY_ON)
			return false;
	}
	return true;
}

static int gateways_print(struct gateways *g, bool fix, bool wrote, int exit)
{
	int r;

	if (g->ctl->json) {
		json_t *gates = json_array();

		for (size_t i = 0; gates && i < g->list.count; i++)
			if (json_array_append_new(gates,
						  gateways_gate_json(g, &g->list.gates[i])) < 0)
				gates = json_free(gates);
		return ctl_print_json(g->ctl,
				      json_pack("{s:o, s:b, s:o, s:o}", "root",
						json_utf8(g->root), "well", gateways_well(g),
						"gateways", gates, "files",
						gateways_files_json(g)),
				      exit);
	}
	r = gateways_table(g);
	for (size_t i = 0; r == 0 && fix && i < g->n_files; i++)
		gateways_show_file(g, &g->files[i]);
	if (r == 0)
		r = gateways_remedies(g, fix);
	if (r == 0 && wrote && g->n_files)
		gateways_then(g);
	if (r == 0 && fix && !wrote && g->n_files)
		(void)fputs("\nNothing was written: --fix --yes writes.\n", g->ctl->out);
	return r ? r : exit;
}

/* ---- undo ---------------------------------------------------------------------------- */

/* Take one away, or say so. */
static int gateways_undo_one(const struct gateways *g, const struct unit *unit, bool yes,
			     json_t *paths)
{
	CLEANUP(freep) char *path = gateway_dropin_path(unit);
	int r = 0;

	if (!path || json_array_append_new(paths, json_utf8(path)) < 0)
		return ctl_say(g->ctl, CTL_IO, "out of memory");
	if (yes && g->ctl->was_root && g->writer >= 0 && unit->scope == UNIT_SYSTEM)
		r = unit_writer_request(g->writer, unit->name, NULL, true);
	else if (yes)
		r = gateway_dropin_remove(unit);
	if (r < 0)
		return gateways_refused(g, "remove", path, r);
	if (g->ctl->json)
		return 0;
	(void)fputs(yes ? "removed " : "would remove ", g->ctl->out);
	printable_put(g->ctl->out, path, strlen(path), 0);
	(void)fprintf(g->ctl->out,
		      "\n  then: systemctl %sdaemon-reload && systemctl %srestart %s\n",
		      unit->scope == UNIT_USER ? "--user " : "",
		      unit->scope == UNIT_USER ? "--user " : "", unit->name);
	return 0;
}

static int gateways_undo(const struct gateways *g, bool yes)
{
	CLEANUP(json_freep) json_t *paths = json_array();
	int exit = 0;

	for (size_t i = 0; i < g->list.count; i++)
		for (size_t k = 0; k < g->list.gates[i].units.count; k++) {
			const struct unit *unit = &g->list.gates[i].units.units[k];
			int r = gateway_dropin_is_ours(unit)
					? gateways_undo_one(g, unit, yes, paths)
					: 0;

			exit = exit ? exit : r;
		}
	if (g->ctl->json)
		return ctl_print_json(g->ctl,
				      json_pack("{s:o, s:O, s:b}", "root", json_utf8(g->root),
						"paths", paths, "removed", yes && exit == 0),
				      exit);
	if (json_array_size(paths) == 0)
		(void)fputs("no unit of a gateway has a drop-in of ours\n", g->ctl->out);
	else if (!yes)
		(void)fputs("\nNothing was removed: --undo --yes removes.\n", g->ctl->out);
	return exit;
}

/* --fix --yes: write, and look what came of it. */
static int gateways_fix(struct gateways *g)
{
	/* the files tell what came of it; what was planned points into the old list */
	struct gateway_list before = g->list;
	int exit = gateways_write(g), r;

	g->list = (struct gateway_list){ 0 };
	r = gateways_scan(g);
	exit = exit ? exit : r ? r : gateways_fixed(g) ? CTL_OK : CTL_NOT_WELL;
	r = gateways_print(g, true, true, exit);
	gateways_files_free(g);
	gateway_list_deinit(&before);
	return r;
}

static int verb_gateways_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(gateways_deinit) struct gateways g = { .ctl = ctl, .writer = -1 };
	bool fix = false, undo = false, yes = false, dry_run = false;
	const struct ctl_arg options[] = {
		{ "fix", CTL_ARG_FLAG, &fix, NULL,
		  "show the drop-ins that keep gateways from dispatching", 0, 0 },
		{ "undo", CTL_ARG_FLAG, &undo, NULL,
		  "show the drop-ins of --fix that are there, to be removed", 0, 0 },
		{ "yes", CTL_ARG_FLAG, &yes, NULL,
		  "with --fix: write them; with --undo: remove them", 0, 0 },
		{ "dry-run", CTL_ARG_FLAG, &dry_run, NULL,
		  "write nothing, whatever else is said", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	bool write;
	char **args;
	int r, exit;

	if (!ctl_args(ctl, options, argc, argv, 0, 0, &args))
		return ctl->exit;
	if (fix && undo)
		return ctl_say(ctl, CTL_USAGE, "--fix and --undo are opposites");
	if (yes && !fix && !undo)
		return ctl_say(ctl, CTL_USAGE,
			       "--yes says yes to --fix or --undo, which is not there");
	write = (fix || undo) && yes && !dry_run;
	r = write ? unit_writer_start(ctl, &g.writer, &exit) : 0;
	if (r != 0)
		return r == 1 ? exit : r;
	r = ctl_root(ctl, &g.root);
	if (r == 0)
		r = gateways_scan(&g);
	if (r == 0 && (fix || (dry_run && !undo)))
		r = gateways_plan(&g);
	if (r != 0)
		return r;
	if (undo)
		return gateways_undo(&g, write);
	if (write)
		return gateways_fix(&g);
	exit = gateways_well(&g) ? CTL_OK : CTL_NOT_WELL;
	return gateways_print(&g, fix || dry_run, false, exit);
}

static const struct ctl_verb verb_gateways = {
	.name = "gateways",
	.args = "",
	.what = "show which gateways would dispatch, and stop them",
	.group = CTL_SETUP,
	.rank = 30,
	.flags = CTL_TABLE,
	.run = verb_gateways_run,
};
CTL_VERB(verb_gateways);
