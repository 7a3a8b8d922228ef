/*
 * Happy path: take the lease of each root, run the same roots as the daemon does with `once`
 * set until nothing is in flight, print the report. Workers run on; nobody waits for them.
 *
 * --dry-run writes nothing: no lease is taken, and each database is copied (with its -wal and
 * -journal) into a private folder; the very same sweep then works on the copies, without
 * starting or ending any process.
 */
#include "daemon/once.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/dryrun.h"
#include "daemon/engine.h"
#include "root/dispatch.h"
#include "root/once_sweep.h"
#include "root/root.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/log.h"
#include "util/printable.h"

struct once {
	struct engine engine;
	const struct once_options *opt;
	struct root **roots;
	size_t n_roots;
	size_t stopping; /* roots that have not stopped yet */
	struct dryrun *dry;
};

static int once_exit(int r)
{
	switch (r) {
	case -ENOENT:
	case -ENOTDIR:
		return EX_NOINPUT;
	case -EACCES:
	case -EPERM:
		return EX_NOPERM;
	default:
		return EX_IOERR;
	}
}

/* ---- report -------------------------------------------------------------------------- */

static json_t *once_ids(const struct strings *list)
{
	json_t *a = json_array();

	for (size_t i = 0; i < list->n; i++)
		(void)json_array_append_new(a, json_string(list->v[i] ? list->v[i] : ""));
	return a;
}

static const char *once_state(const struct dispatch *d)
{
	return d->aside ? d->aside : board_state_name(d->board.state);
}

static json_t *once_spawned_json(const struct dispatch_report *rep)
{
	json_t *a = json_array();

	for (size_t i = 0; i < rep->n_spawned; i++) {
		const struct dispatch_spawned *s = &rep->spawned[i];

		(void)json_array_append_new(
			a, json_pack("{s:s, s:I, s:s?, s:s?, s:o}", "task",
				     s->task ? s->task : "", "run", (json_int_t)s->run,
				     "assignee", s->assignee, "workspace", s->workspace, "pid",
				     s->pid > 0 ? json_integer(s->pid) : json_null()));
	}
	return a;
}

static json_t *once_board_json(const struct dispatch *d)
{
	const struct plan *p = &d->once.report.sum;
	json_t *guarded = json_array();

	for (size_t i = 0; i < p->n_guarded; i++)
		(void)json_array_append_new(
			guarded, json_pack("{s:s, s:s}", "task",
					   p->guarded[i].task ? p->guarded[i].task : "",
					   "reason", p->guarded[i].reason));
	return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:I, s:o, s:o, s:o,"
			 " s:{s:o, s:o, s:o, s:o}, s:s?, s:b, s:o}",
			 "slug", d->board.place.slug, "state", once_state(d), "reclaimed",
			 (json_int_t)p->reclaimed, "stale", (json_int_t)p->stale.n, "crashed",
			 once_ids(&p->crashed), "rate_limited", once_ids(&p->rate_limited),
			 "timed_out", once_ids(&p->timed_out), "promoted",
			 (json_int_t)p->promoted, "spawned", once_spawned_json(&d->once.report),
			 "auto_blocked", once_ids(&p->auto_blocked), "respawn_guarded", guarded,
			 "skipped", "unassigned", once_ids(&p->unassigned), "nonspawnable",
			 once_ids(&p->nonspawnable), "profile_capped",
			 once_ids(&p->profile_capped), "scheduled", once_ids(&p->scheduled),
			 "repaired", p->repaired, "skipped_locked", d->once.locked, "error",
			 d->board.reason[0] ? json_string(d->board.reason) : json_null());
}

static bool once_reported(const struct once *o, const struct dispatch *d)
{
	return !o->opt->board || strcmp(o->opt->board, d->board.place.slug) == 0;
}

static int once_print_json(const struct once *o)
{
	json_t *roots = json_array(), *all;
	CLEANUP(freep) char *text = NULL;
	int64_t epoch = 0;
	int r;

	for (size_t i = 0; i < o->n_roots; i++) {
		const struct root *root = o->roots[i];
		json_t *boards = json_array();

		epoch = root->epoch > epoch ? root->epoch : epoch;
		for (size_t k = 0; k < root->n_boards; k++)
			if (once_reported(o, root->boards[k]))
				(void)json_array_append_new(boards,
							    once_board_json(root->boards[k]));
		(void)json_array_append_new(roots,
					    json_pack("{s:s, s:s?, s:o}", "root", root->path,
						      "estop", root->estop, "boards", boards));
	}
	all = json_pack("{s:I, s:o}", "epoch", (json_int_t)epoch, "roots", roots);
	text = isatty(STDOUT_FILENO) ? json_plain(all, 0) : json_dumps(all, 0);
	json_decref(all);
	r = text && printf("%s\n", text) >= 0 ? 0 : -1;
	return r == 0 && fflush(stdout) == 0 ? 0 : -EIO;
}

/* Text of a board or a row: anybody's. once_print() looks at the error flag. */
static void once_put(const char *text)
{
	printable_put(stdout, text ? text : "?", strlen(text ? text : "?"), 0);
}

static void once_print_ids(const char *what, const struct strings *list)
{
	if (list->n == 0)
		return;
	(void)printf("  %s:", what);
	for (size_t i = 0; i < list->n; i++) {
		(void)fputs(" ", stdout);
		once_put(list->v[i]);
	}
	(void)printf("\n");
}

static void once_print_started(const struct dispatch_spawned *s)
{
	(void)fputs("  started: ", stdout);
	once_put(s->task);
	(void)fputs(" for ", stdout);
	once_put(s->assignee);
	(void)printf(" (run %" PRId64 ", pid %" PRId64 ")\n", s->run, s->pid);
}

static void once_print_board(const struct dispatch *d)
{
	const struct plan *p = &d->once.report.sum;
	const struct dispatch_report *rep = &d->once.report;

	(void)printf("%s: %s%s", d->board.place.slug, once_state(d),
		     d->board.reason[0] ? ": " : "");
	once_put(d->board.reason);
	(void)fputs("\n", stdout);
	if (p->repaired)
		(void)printf("  repaired: %s\n", p->repaired);
	if (d->once.locked && d->board.own_fd < 0)
		(void)printf("  skipped: another process dispatches it: it holds "
			     "boards/%s/.dispatcher.lock\n",
			     d->board.place.slug);
	else if (d->once.locked)
		(void)printf("  skipped: another process's tick holds its .dispatch.lock\n");
	if (p->reclaimed)
		(void)printf("  reclaimed: %" PRId64 "\n", p->reclaimed);
	once_print_ids("no heartbeat", &p->stale);
	once_print_ids("crashed", &p->crashed);
	once_print_ids("rate limited", &p->rate_limited);
	once_print_ids("timed out", &p->timed_out);
	if (p->promoted)
		(void)printf("  promoted: %" PRId64 "\n", p->promoted);
	for (size_t i = 0; i < rep->n_spawned; i++)
		once_print_started(&rep->spawned[i]);
	once_print_ids("gave up", &p->auto_blocked);
	for (size_t i = 0; i < p->n_guarded; i++) {
		(void)fputs("  held back: ", stdout);
		once_put(p->guarded[i].task);
		(void)printf(" (%s)\n", p->guarded[i].reason);
	}
	once_print_ids("skipped, no assignee", &p->unassigned);
	once_print_ids("skipped, no such profile", &p->nonspawnable);
	once_print_ids("skipped, profile at its cap", &p->profile_capped);
	once_print_ids("skipped, scheduled for later", &p->scheduled);
}

static int once_print(const struct once *o)
{
	if (o->opt->json)
		return once_print_json(o);
	for (size_t i = 0; i < o->n_roots; i++) {
		once_put(o->roots[i]->path);
		(void)printf(" (epoch %" PRId64 ")%s\n", o->roots[i]->epoch,
			     o->opt->dry_run ? ", dry run: nothing was written" : "");
		if (o->roots[i]->estop)
			(void)printf("%s\n", o->roots[i]->estop);
		for (size_t k = 0; k < o->roots[i]->n_boards; k++)
			if (once_reported(o, o->roots[i]->boards[k]))
				once_print_board(o->roots[i]->boards[k]);
	}
	return fflush(stdout) == 0 ? 0 : -EIO;
}

/* ---- the sweep ----------------------------------------------------------------------- */

static bool once_done(const struct once *o)
{
	for (size_t i = 0; i < o->n_roots; i++)
		if (!root_idle(o->roots[i]) || !o->roots[i]->scanned_once)
			return false;
	return true;
}

static int once_own(struct once *o, const char *path, struct root *root)
{
	struct error e = ERROR_NULL;
	struct lease *lease = NULL;
	struct lease_owner owner;
	int64_t epoch = 0;
	int r;

	if (o->opt->dry_run) {
		if (lease_read_owner(path, &owner) == 0)
			epoch = owner.epoch;
		return root_start_owned(root, NULL, epoch);
	}
	r = lease_try(&lease, path, &o->engine.env.who, &epoch, &e);
	if (r == LEASE_HELD) {
		log_error("%s", e.text);
		return EX_TEMPFAIL;
	}
	if (r < 0) {
		log_error("%s", e.text);
		return once_exit(r);
	}
	return root_start_owned(root, lease, epoch);
}

static int once_start(struct once *o, const char *const *paths)
{
	size_t n = 0;
	int r;

	while (paths[n])
		n++;
	o->roots = calloc(n, sizeof(struct root *));
	if (!o->roots) {
		log_error("out of memory");
		return EX_OSERR;
	}
	for (size_t i = 0; i < n; i++) {
		if (!fs_is_dir(paths[i])) {
			log_error("%s: no such kanban root; make it with: kanbanctl init %s",
				  paths[i], paths[i]);
			return EX_NOINPUT;
		}
		r = root_new(&o->roots[i], &o->engine.env, paths[i]);
		if (r < 0) {
			log_error("%s: %s", paths[i], strerror(-r));
			return EX_OSERR;
		}
		o->n_roots++;
	}
	for (size_t i = 0; i < n; i++) {
		r = once_own(o, paths[i], o->roots[i]);
		if (r != 0)
			return r;
	}
	return 0;
}

static int once_verdict(const struct once *o)
{
	bool found = false;
	int r = 0;

	for (size_t i = 0; i < o->n_roots; i++) {
		if (o->roots[i]->scan_result < 0)
			return once_exit(o->roots[i]->scan_result);
		for (size_t k = 0; k < o->roots[i]->n_boards; k++) {
			const struct dispatch *d = o->roots[i]->boards[k];

			found |= once_reported(o, d);
			if (d->dispatched && board_state_bad(d->board.state))
				r = 1;
		}
	}
	if (!found) {
		log_error("no board %s in this root; kanbanctl boards lists them",
			  o->opt->board ? o->opt->board : "at all");
		return EX_NOINPUT;
	}
	return r;
}

static void once_stopped(void *arg)
{
	struct once *o = arg;

	o->stopping--;
}

static void once_teardown(struct once *o)
{
	struct lease **leases = calloc(o->n_roots + 1, sizeof(struct lease *));

	o->stopping = o->n_roots;
	for (size_t i = 0; i < o->n_roots; i++) {
		if (leases)
			leases[i] = o->roots[i]->lease;
		root_stop(o->roots[i], once_stopped, o);
	}
	while (o->stopping > 0 && uv_run(&o->engine.loop, UV_RUN_ONCE))
		;
	/* timers of boards and watches close after their root */
	(void)uv_run(&o->engine.loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < o->n_roots; i++) {
		root_free(o->roots[i]);
		if (leases)
			lease_free(leases[i]);
	}
	free(leases);
	free(o->roots);
	dryrun_free(o->dry);
	engine_deinit(&o->engine);
}

static void once_counted(void *arg)
{
	struct once *o = container_of(arg, struct once, engine);

	for (size_t i = 0; i < o->n_roots; i++)
		once_step(o->roots[i]);
}

int once_run(struct config *config, const struct once_options *opt, char *const *env)
{
	struct once o = { .opt = opt };
	struct error e = ERROR_NULL;
	int r, status;

	r = engine_init(&o.engine, config, env, &e);
	if (r < 0) {
		log_error("%s", e.text);
		return EX_OSERR;
	}
	o.engine.env.once = true;
	o.engine.env.counted = once_counted;
	o.engine.env.dry_run = opt->dry_run;
	o.engine.env.only = opt->board;
	if (opt->dry_run) {
		r = dryrun_new(&o.dry, o.engine.bundle->config, &e);
		if (r < 0) {
			log_error("%s", e.text);
			engine_deinit(&o.engine);
			return EX_IOERR;
		}
		o.engine.env.redirect = dryrun_redirect;
		o.engine.env.redirect_arg = o.dry;
	}
	status = once_start(&o, config_roots(o.engine.bundle->config));
	if (status == 0) {
		log_set_level(LOG_WARNING);
		for (const char *const *w = config_warnings(o.engine.bundle->config); *w; w++)
			log_warning("%s", *w);
		log_set_level(opt->log_level);
		while (!once_done(&o) && uv_run(&o.engine.loop, UV_RUN_ONCE))
			;
		status = once_verdict(&o);
		if (once_print(&o) < 0)
			status = EX_IOERR;
	}
	once_teardown(&o);
	return status;
}
