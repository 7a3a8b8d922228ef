/*
 * drain: start nothing new, wait until no worker runs. On a terminal, who still does is shown
 * meanwhile: then the daemon is not asked to wait, but looked at, so that a resume by somebody
 * else is not undone.
 */
#include <jansson.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/daemon_call.h"
#include "ctl/workers_table.h"
#include "util/clock.h"
#include "util/json.h"

#define DRAIN_LOOK_MS 500

/* What is said of the daemon as it is now. */
struct drain {
	struct daemon_call *call;
	json_t *workers;   /* of GET /v1/workers */
	json_int_t living; /* and those that are about to begin */
	bool resumed;      /* by somebody else */
	size_t lines;      /* that are on the terminal */
};

static int drain_ask(struct drain *d, const char *path, json_t **answer)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	struct client *client = d->call->client;
	int r = client_call(client, "GET", client_path(client, NULL, "%s", path), NULL, &reply);

	*answer = STEAL(reply.json);
	return r;
}

static int drain_look(struct drain *d)
{
	CLEANUP(json_freep) json_t *status = NULL;
	json_t *answer = NULL, *root, *board;
	size_t i, k;
	int r = drain_ask(d, "/v1/workers", &answer);

	if (r == 0) {
		json_decref(d->workers);
		d->workers = json_incref(json_object_get(answer, "workers"));
	}
	json_decref(answer);
	if (r == 0)
		r = drain_ask(d, "/v1/status?tasks=no", &status);
	if (r != 0)
		return r;
	d->resumed = json_is_null(json_object_get(status, "draining"));
	d->living = 0;
	json_array_foreach(json_object_get(status, "roots"), i, root)
	{
		json_array_foreach(json_object_get(root, "boards"), k, board)
		{
			d->living += json_number(board, "workers", 0);
			d->living += json_number(board, "launching", 0);
		}
	}
	return 0;
}

/* Over what was shown before: no more than fits on the terminal. */
static int drain_show(struct drain *d)
{
	const struct ctl *ctl = d->call->ctl;
	struct winsize size = { .ws_row = 24 };
	size_t n = json_array_size(d->workers), room;
	CLEANUP(json_freep) json_t *some = json_copy(d->workers);
	int r = 0;

	(void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	room = size.ws_row > 5 ? size.ws_row - 4U : 1;
	while (some && json_array_size(some) > room)
		(void)json_array_remove(some, room);
	if (d->lines > 0)
		(void)fprintf(ctl->out, "\033[%zuA\033[J", d->lines);
	(void)fprintf(ctl->out, "draining: %lld still run\n", (long long)d->living);
	d->lines = 1;
	if (json_array_size(some) > 0) {
		r = workers_print(ctl, some);
		d->lines += json_array_size(some) + 1;
	}
	if (n > room) {
		(void)fprintf(ctl->out, "and %zu more\n", n - room);
		d->lines++;
	}
	(void)fflush(ctl->out);
	return r;
}

/* Until nobody works, somebody resumed, or @timeout_s is over (-1: never). */
static int drain_watch(struct drain *d, int64_t timeout_s)
{
	const struct timespec pause = { .tv_nsec = DRAIN_LOOK_MS * 1000000L };
	uint64_t began = clock_mono_ms();
	int r;

	while ((r = drain_look(d)) == 0 && d->living > 0 && !d->resumed) {
		r = drain_show(d);
		if (r != 0 ||
		    (timeout_s >= 0 && clock_mono_ms() - began >= (uint64_t)timeout_s * 1000))
			break;
		(void)nanosleep(&pause, NULL);
	}
	if (d->lines > 0)
		(void)fprintf(d->call->ctl->out, "\033[%zuA\033[J", d->lines);
	return r;
}

/* How it ended. Return: exit code. */
static int drain_said(const struct ctl *ctl, bool drained, int64_t n, bool no_wait)
{
	if (drained)
		(void)fputs("drained: no worker runs, and nothing new is started until "
			    "\"kanbanctl resume\"\n",
			    ctl->out);
	else
		(void)fprintf(ctl->out,
			      "%sdraining: nothing new is started until \"kanbanctl resume\"; "
			      "%lld worker%s still\n",
			      no_wait ? "" : "the time is over, still ", (long long)n,
			      n == 1 ? " runs" : "s run");
	return drained || no_wait ? CTL_OK : CTL_NOT_WELL;
}

/* On a terminal. */
static int drain_live(struct daemon_call *call, int64_t timeout_s)
{
	struct ctl *ctl = call->ctl;
	struct drain d = { .call = call };
	int r = drain_watch(&d, timeout_s);

	json_decref(d.workers);
	if (r != 0)
		return r;
	if (d.resumed) {
		(void)fputs("not drained: somebody has it start workers again\n", ctl->out);
		return CTL_NOT_WELL;
	}
	return drain_said(ctl, d.living == 0, d.living, false);
}

static int verb_drain_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	int64_t timeout = -1;
	bool no_wait = false;
	const struct ctl_arg options[] = {
		{ "timeout", CTL_ARG_INT, &timeout, "SECONDS", "wait no longer than that", 0,
		  31536000 },
		{ "no-wait", CTL_ARG_FLAG, &no_wait, NULL, "do not wait for workers", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	bool drained, live;
	int64_t n;
	int r;

	if (!daemon_call_open(&m, ctl, options, argc, argv, 0))
		return ctl->exit;
	live = ctl->screen.width && ctl->screen.colour && !ctl->json && !no_wait;
	r = daemon_call_post(&m, "/v1/drain",
			     json_pack("{s:b, s:o}", "wait", !no_wait && !live, "timeout_s",
				       timeout >= 0 ? json_integer(timeout) : json_null()));
	if (r != 0)
		return r;
	n = json_number(m.reply.json, "workers", 0) + json_number(m.reply.json, "launching", 0);
	drained = json_flag(m.reply.json, "drained");
	if (live && !drained)
		return drain_live(&m, timeout);
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(m.reply.json),
				      drained || no_wait ? CTL_OK : CTL_NOT_WELL);
	return drain_said(ctl, drained, n, no_wait);
}

static const struct ctl_verb verb_drain = {
	.name = "drain",
	.args = "",
	.what = "start nothing new, and wait until no worker runs",
	.group = CTL_DAEMON,
	.rank = 40,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_drain_run,
};
CTL_VERB(verb_drain);
