/*
 * The daemon.
 *
 * Happy path: each root competes for its lease; READY=1 goes out when the role of every root is
 * known (owner, standby, or why it cannot be had). From then on everything happens in the
 * roots.
 *
 * Reload (SIGHUP): a whole new configuration is read, and put in force if it is good; otherwise
 * the old one stays and the log says why. READY=1 either way.
 *
 * Shutdown: the first SIGTERM or SIGINT stops claiming, brings home what is in flight,
 * checkpoints and closes the boards; a repair, a check or a snapshot that has written nothing
 * yet is given up and done at the next start. A second signal gives up on all that is under way
 * and leaves a second later at the latest, which loses nothing that was committed. Workers run
 * on in both cases and are adopted at the next start. The control API answers questions until
 * the roots are done.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "control/control.h"
#include "daemon/clockwatch.h"
#include "daemon/engine.h"
#include "daemon/handing.h"
#include "daemon/herald.h"
#include "daemon/orphans.h"
#include "daemon/service.h"
#include "daemon/status_text.h"
#include "notify/notify.h"
#include "root/dispatch.h"
#include "root/hostfault.h"
#include "root/notices.h"
#include "root/root.h"
#include "util/log.h"
#include "util/memory.h"

#define LEAVE_MS        1000 /* from the second signal to the exit */
#define STATUS_DELAY_MS 100  /* bursts of news make one status sentence */

struct daemon {
	struct engine engine;
	const struct config_cli *cli;
	char *const *environ;
	struct root **roots;
	size_t n_roots;
	size_t stopping; /* roots that have not stopped yet */
	struct service service;
	struct herald herald;
	struct handing *handing; /* NULL: none */
	void (*handed)(void *arg, int r, const struct leader *now);
	void *handed_arg;     /* of whoever asked for it */
	struct observer left; /* workers that this process left to another */
	pid_t *orphaned;      /* … its children: to be reaped */
	size_t n_orphaned;
	struct control *control; /* NULL: none */
	uv_signal_t term, intr, hup, chld;
	uv_timer_t status, leave;
	struct clockwatch clock;
	bool status_due, is_stopping, ready;
	int signum; /* of the second signal to stop, 0 none */
};

/* ---- status -------------------------------------------------------------------------- */

static void daemon_status(struct daemon *d)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return; /* the old sentence stays */
	if (d->is_stopping)
		(void)fputs("stopping; ", out);
	else if (d->engine.env.held)
		(void)fprintf(out, "%s, nothing is started until kanbanctl resume; ",
			      d->engine.env.paused ? "paused by the operator" : "draining");
	for (size_t i = 0; i < d->n_roots; i++) {
		if (i > 0)
			(void)fputs("; ", out);
		status_text_root(d->roots[i], out);
	}
	if (fclose(out) == 0 && text)
		service_status(&d->service, "%s", text);
	free(text);
}

static void daemon_status_timer(uv_timer_t *t)
{
	struct daemon *d = t->data;

	d->status_due = false;
	daemon_status(d);
}

/* READY once every root knows what it is. */
static void daemon_ready(struct daemon *d)
{
	for (size_t i = 0; i < d->n_roots; i++)
		if (d->roots[i]->role == ROOT_STARTING)
			return;
	if (d->ready)
		return;
	d->ready = true;
	daemon_status(d);
	service_patience(&d->service, NULL);
	control_serve(d->control);
	service_ready(&d->service);
}

static void daemon_changed(void *arg)
{
	struct daemon *d = container_of(arg, struct daemon, engine);

	control_changed(d->control);
	if (!d->ready) {
		daemon_ready(d);
		return;
	}
	if (d->status_due || d->is_stopping)
		return;
	if (uv_timer_start(&d->status, daemon_status_timer, STATUS_DELAY_MS, 0) == 0)
		d->status_due = true;
}

static void daemon_clock_set(void *arg)
{
	struct daemon *d = arg;

	log_info("the clock was set: every deadline is looked at again");
	for (size_t i = 0; i < d->n_roots; i++)
		root_clock(d->roots[i]);
}

static void daemon_counted(void *arg)
{
	struct daemon *d = container_of(arg, struct daemon, engine);

	for (size_t i = 0; i < d->n_roots; i++)
		root_counted(d->roots[i]);
}

static void daemon_left(void *arg, pid_t pid)
{
	struct daemon *d = arg;
	pid_t *more = reallocarray(d->orphaned, d->n_orphaned + 1, sizeof(*more));

	if (!more)
		return; /* it stays a zombie until we end */
	d->orphaned = more;
	more[d->n_orphaned++] = pid;
}

static void daemon_worker_ended(void *arg)
{
	struct daemon *d = container_of(arg, struct daemon, engine);

	for (size_t i = 0; i < d->n_orphaned;)
		if (waitpid(d->orphaned[i], NULL, WNOHANG) != 0)
			d->orphaned[i] = d->orphaned[--d->n_orphaned];
		else
			i++;
	orphans_reap(d->roots, d->n_roots);
}

/* ---- signals ------------------------------------------------------------------------- */

static bool daemon_well(void *arg, const char **why)
{
	struct daemon *d = arg;
	const struct job *job = jobs_overdue(&d->engine.jobs);

	if (job)
		*why = job->name;
	return !job;
}

static bool daemon_busy(void *arg)
{
	struct daemon *d = arg;

	return d->engine.jobs.count > 0;
}

static void daemon_service_closed(void *arg)
{
	(void)arg; /* the loop ends when its last handle is closed */
}

static void daemon_handles_close(void *arg)
{
	struct daemon *d = arg;

	d->control = NULL;
	uv_close((uv_handle_t *)&d->term, NULL);
	uv_close((uv_handle_t *)&d->intr, NULL);
	uv_close((uv_handle_t *)&d->hup, NULL);
	uv_close((uv_handle_t *)&d->chld, NULL);
	uv_close((uv_handle_t *)&d->status, NULL);
	uv_close((uv_handle_t *)&d->leave, NULL);
	clockwatch_close(&d->clock);
	service_close(&d->service, daemon_service_closed, d);
}

static void daemon_herald_closed(void *arg)
{
	struct daemon *d = arg;

	control_close(d->control, daemon_handles_close, d);
}

static void daemon_root_stopped(void *arg)
{
	struct daemon *d = arg;

	if (--d->stopping == 0)
		herald_close(&d->herald, daemon_herald_closed, d);
}

static void daemon_leave(uv_timer_t *t)
{
	struct daemon *d = t->data;

	log_notice("what was under way did not end: leaving at once");
	_exit(128 + d->signum);
}

/* Give up what is under way; who asks a third time does not even wait for that. */
static void daemon_leave_soon(struct daemon *d, int signum)
{
	if (d->signum)
		_exit(128 + signum);
	log_notice("second signal: giving up what is under way");
	d->signum = signum;
	jobs_cancel(&d->engine.jobs, false);
	/* never fails with a callback, while it is not closing */
	if (uv_is_closing((uv_handle_t *)&d->leave) ||
	    uv_timer_start(&d->leave, daemon_leave, LEAVE_MS, 0) < 0)
		_exit(128 + signum);
}

static void daemon_stop_signal(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;

	if (d->is_stopping) {
		daemon_leave_soon(d, signum);
		return;
	}
	log_info("stopping on %s; workers run on", signum == SIGTERM ? "SIGTERM" : "SIGINT");
	d->is_stopping = true;
	daemon_status(d);
	service_stopping(&d->service);
	control_stop(d->control);
	service_patience(&d->service, daemon_busy); /* what writes is brought to its end */
	jobs_cancel(&d->engine.jobs, true);         /* what only reads can be done again */
	d->stopping = d->n_roots + (d->handing != NULL);
	if (d->handing)
		handing_cancel(STEAL(d->handing), daemon_root_stopped, d);
	for (size_t i = 0; i < d->n_roots; i++)
		root_stop(d->roots[i], daemon_root_stopped, d);
}

/* Return: 0, or -errno with the reason in @e; told in either case. */
static int daemon_reload(struct daemon *d, struct error *e)
{
	struct log_about about = { .id = LOG_ID_CONFIG };
	struct config *config = NULL;
	int r = config_load(&config, d->cli, d->environ, e);

	if (r == 0 && !config_same_process(config, d->engine.bundle->config)) {
		config_free(config);
		r = error_set(
			e, -EINVAL,
			"roots and socket cannot change in a running process: restart it");
	}
	/* what is in force is better than what is not quite known */
	if (r == 0 && config_fault(config)) {
		r = error_set(e, -EINVAL, "%s", config_fault(config));
		config_free(config);
	}
	if (r < 0) {
		log_about(LOG_ERR, &about, "reload: %s; the old configuration stays in force",
			  e->text);
		return r;
	}
	for (const char *const *w = config_warnings(config); *w; w++)
		log_about(LOG_WARNING, &about, "%s", *w);
	log_set_level(config_log_level(config));
	r = herald_reload(&d->herald, config);
	if (r == 0)
		r = engine_replace(&d->engine, config);
	else
		config_free(config);
	if (r < 0) {
		log_about(LOG_ERR, &about, "reload: %s; the old configuration stays in force",
			  strerror(-r));
		return error_errno(e, r, "cannot reload");
	}
	for (size_t i = 0; i < d->n_roots; i++)
		root_reload(d->roots[i]);
	log_about(LOG_INFO, &about, "configuration reloaded");
	return 0;
}

static int daemon_reload_now(struct daemon *d, struct error *e)
{
	int r;

	service_reloading(&d->service);
	r = daemon_reload(d, e);
	daemon_status(d);
	service_ready(&d->service);
	return r;
}

static void daemon_hup(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;
	struct error e = ERROR_NULL;

	(void)signum;
	if (!d->is_stopping)
		IGNORE(daemon_reload_now(d, &e)); /* it is told */
}

static void daemon_chld(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;

	(void)signum;
	daemon_worker_ended(&d->engine);
}

/* ---- the control API ----------------------------------------------------------------- */

static const char *daemon_sentence(void *arg)
{
	struct daemon *d = arg;

	if (d->status_due) /* who asks wants to know how it is now */
		daemon_status(d);
	return d->service.status;
}

static uint64_t daemon_pings(void *arg)
{
	struct daemon *d = arg;

	return d->service.pings;
}

static int64_t daemon_max(void *arg)
{
	struct daemon *d = arg;

	return d->engine.caps.turns.max; /* only the loop changes it */
}

static int daemon_control_reload(void *arg, struct error *e)
{
	return daemon_reload_now(arg, e);
}

static const char *const *daemon_warnings(void *arg)
{
	struct daemon *d = arg;

	return config_warnings(d->engine.bundle->config);
}

static void daemon_handed(void *arg, int r, const struct leader *now)
{
	struct daemon *d = arg;

	d->handing = NULL;
	d->handed(d->handed_arg, r, now);
	daemon_changed(&d->engine);
}

static int daemon_hand_over(void *arg, const struct root *root,
			    void (*done)(void *arg, int r, const struct leader *now),
			    void *done_arg)
{
	struct daemon *d = arg;

	if (d->handing)
		return -EBUSY;
	d->handed = done;
	d->handed_arg = done_arg;
	for (size_t i = 0; i < d->n_roots; i++)
		if (d->roots[i] == root)
			return handing_start(&d->handing, &d->roots[i], daemon_handed, d);
	return -ENOENT;
}

static bool daemon_copy(void *arg, size_t i, struct offsite_state *state)
{
	struct daemon *d = arg;

	return offsite_state(d->herald.offsite, i, state);
}

static bool daemon_hook(void *arg, size_t i, struct hook_state *state)
{
	struct daemon *d = arg;

	return hooks_state(d->herald.hooks, i, state);
}

/* Without it everything else goes on. */
static void daemon_control(struct daemon *d)
{
	const struct service_sockets sockets = service_sockets();
	const struct control_env env = {
		.root_env = &d->engine.env,
		.roots = d->roots,
		.n_roots = &d->n_roots,
		.stopping = &d->is_stopping,
		.unit = d->engine.unit,
		.listen_fd = sockets.control,
		.metrics_fd = sockets.metrics,
		.path = config_socket(d->engine.bundle->config),
		.sentence = daemon_sentence,
		.pings = daemon_pings,
		.max_in_progress = daemon_max,
		.reload = daemon_control_reload,
		.copy = daemon_copy,
		.hook = daemon_hook,
		.hand_over = daemon_hand_over,
		.warnings = daemon_warnings,
		.arg = d,
	};
	struct error e = ERROR_NULL;

	d->engine.env.who.socket = NULL;
	if (env.listen_fd < 0 && !env.path)
		return;
	if (control_open(&d->control, &env, &e) < 0)
		log_warning("no control socket: %s; dispatching goes on, kanbanctl finds no "
			    "daemon",
			    e.text);
	else
		d->engine.env.who.socket = control_path(d->control);
}

/* ---- running ------------------------------------------------------------------------- */

static int daemon_signal(struct daemon *d, uv_signal_t *handle, uv_signal_cb cb, int signum)
{
	int r = uv_signal_init(&d->engine.loop, handle);

	handle->data = d;
	return r < 0 ? r : uv_signal_start(handle, cb, signum);
}

static int daemon_handles(struct daemon *d)
{
	int r = uv_timer_init(&d->engine.loop, &d->status);

	d->status.data = d;
	if (r == 0)
		r = uv_timer_init(&d->engine.loop, &d->leave);
	d->leave.data = d;
	if (r == 0)
		r = daemon_signal(d, &d->term, daemon_stop_signal, SIGTERM);
	if (r == 0)
		r = daemon_signal(d, &d->intr, daemon_stop_signal, SIGINT);
	if (r == 0)
		r = daemon_signal(d, &d->hup, daemon_hup, SIGHUP);
	if (r == 0)
		r = daemon_signal(d, &d->chld, daemon_chld, SIGCHLD);
	if (r == 0)
		r = service_init(&d->service, &d->engine.loop, daemon_well, d);
	if (r == 0)
		service_patience(&d->service, daemon_busy); /* until READY */
	/* without it the sweeps find what is due */
	if (r == 0)
		IGNORE(clockwatch_init(&d->clock, &d->engine.loop, daemon_clock_set, d));
	return r;
}

static int daemon_roots(struct daemon *d)
{
	const char *const *paths = config_roots(d->engine.bundle->config);
	size_t n = 0;
	int r = 0;

	while (paths[n])
		n++;
	d->roots = calloc(n, sizeof(struct root *));
	if (!d->roots)
		return -ENOMEM;
	r = herald_open(&d->herald, &d->engine.env, d->environ, d->engine.bundle->config);
	if (r < 0)
		return r;
	d->left = (struct observer){ .left = daemon_left, .arg = d };
	observer_join(&d->engine.env, &d->left);
	daemon_control(d);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = root_new(&d->roots[i], &d->engine.env, paths[i]);
		if (r == 0)
			d->n_roots++;
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		r = root_start(d->roots[i]);
	return r;
}

int daemon_run(struct config *config, const struct config_cli *cli, char *const *env)
{
	struct daemon d = { .cli = cli, .environ = env };
	struct error e = ERROR_NULL;
	int r;

	memory_one_heap();
	r = engine_init(&d.engine, config, env, &e);
	if (r < 0) {
		log_error("%s", e.text);
		return EX_OSERR;
	}
	d.engine.env.changed = daemon_changed;
	d.engine.env.counted = daemon_counted;
	d.engine.env.worker_ended = daemon_worker_ended;
	r = orphans_adopt();
	if (r < 0)
		log_warning("cannot become the reaper of what workers leave behind: %s",
			    strerror(-r));
	r = daemon_handles(&d);
	if (r == 0)
		r = daemon_roots(&d);
	if (r < 0) {
		/* nothing was claimed yet, and what is open goes with the process */
		log_error("cannot start: %s", strerror(-r));
		return EX_OSERR;
	}
	(void)uv_run(&d.engine.loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < d.n_roots; i++)
		root_free(d.roots[i]);
	free(d.roots);
	free(d.orphaned);
	engine_deinit(&d.engine);
	return EX_OK;
}
