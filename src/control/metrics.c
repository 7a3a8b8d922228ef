/*
 * /metrics: OpenMetrics text
 * (https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md). Labels
 * are few and bounded: roots, and states; no task, and no board but where its state is told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "notify/notify.h"
#include "root/notices.h"
#include "util/clock.h"
#include "util/fs.h"

#define METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

int64_t metrics_rss(void)
{
	CLEANUP(freep) char *text = NULL;
	long long pages = 0;

	/* procfs: never waits for a disk */
	if (fs_read_file("/proc/self/statm", 256, &text, NULL) < 0 ||
	    sscanf(text, "%*d %lld", &pages) != 1)
		return 0;
	return pages * sysconf(_SC_PAGESIZE);
}

/* A label's value: \, " and newline are escaped. */
static void metrics_label(FILE *out, const char *name, const char *value)
{
	(void)fprintf(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			(void)fputc('\\', out);
		if (*value == '\n')
			(void)fputs("\\n", out);
		else
			(void)fputc(*value, out);
	}
	(void)fputc('"', out);
}

static void metrics_head(FILE *out, const char *name, const char *type, const char *unit,
			 const char *help)
{
	(void)fprintf(out, "# TYPE kanband_%s %s\n", name, type);
	if (unit)
		(void)fprintf(out, "# UNIT kanband_%s %s\n", name, unit);
	(void)fprintf(out, "# HELP kanband_%s %s\n", name, help);
}

static void metrics_one(FILE *out, const char *name, const char *type, const char *help,
			uint64_t value)
{
	metrics_head(out, name, type, NULL, help);
	(void)fprintf(out, "kanband_%s%s %" PRIu64 "\n", name,
		      strcmp(type, "counter") == 0 ? "_total" : "", value);
}

static void metrics_of(FILE *out, const char *name, const char *suffix, const char *label,
		       const char *value, uint64_t n)
{
	(void)fprintf(out, "kanband_%s%s{", name, suffix);
	metrics_label(out, label, value);
	(void)fprintf(out, "} %" PRIu64 "\n", n);
}

static void metrics_times(FILE *out, const char *name, const char *help,
			  const struct stats_times *t)
{
	const uint64_t *bounds = stats_bounds_us();
	uint64_t n = 0;

	metrics_head(out, name, "histogram", "seconds", help);
	for (size_t i = 0; i < STATS_BUCKETS; i++) {
		n += t->count[i];
		(void)fprintf(out, "kanband_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name,
			      (double)bounds[i] / 1e6, n);
	}
	n += t->count[STATS_BUCKETS];
	(void)fprintf(out,
		      "kanband_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n"
		      "kanband_%s_sum %.6f\nkanband_%s_count %" PRIu64 "\n",
		      name, n, name, (double)t->sum_us / 1e6, name, n);
}

/* ---- the process ---------------------------------------------------------------------------
 */

static void metrics_process(FILE *out, const struct control *c)
{
	const struct control_env *env = &c->env;
	static const char *const hundreds[] = { "other", "1xx", "2xx", "3xx", "4xx", "5xx" };

	metrics_head(out, "build", "info", NULL, "What runs.");
	(void)fprintf(out, "kanband_build_info{version=\"%s\"} 1\n", KANBAND_VERSION);
	metrics_head(out, "start_time_seconds", "gauge", "seconds", "When it started.");
	(void)fprintf(out, "kanband_start_time_seconds %" PRId64 "\n", c->started_at);
	metrics_head(out, "uptime_seconds", "gauge", "seconds", "Since then.");
	(void)fprintf(out, "kanband_uptime_seconds %.3f\n",
		      (double)(uv_now(env->root_env->loop) - c->started_ms) / 1e3);
	metrics_head(out, "resident_memory_bytes", "gauge", "bytes", "Resident memory.");
	(void)fprintf(out, "kanband_resident_memory_bytes %" PRId64 "\n", metrics_rss());
	metrics_one(out, "watchdog_pings", "counter", "Pings sent to the service manager.",
		    env->pings(env->arg));
	metrics_one(out, "jobs", "gauge", "Jobs of the pool that run or wait.",
		    env->root_env->jobs->count);
	metrics_one(out, "draining", "gauge", "1: nothing is claimed, by request.",
		    c->draining);
	metrics_one(out, "connections", "gauge", "Open connections to the control socket.",
		    c->n_clients);
	metrics_one(out, "event_streams", "gauge", "Readers of /v1/events.", stream_count(c));
	metrics_one(out, "connections_refused", "counter", "Connections that found no room.",
		    c->n_refused);
	metrics_one(out, "events", "counter", "Events since the start.", c->events.next - 1);
	metrics_head(out, "http_responses", "counter", NULL, "Answers by status.");
	for (size_t i = 0; i < sizeof(hundreds) / sizeof(hundreds[0]); i++)
		metrics_of(out, "http_responses", "_total", "status", hundreds[i],
			   c->n_requests[i]);
}

/* ---- dispatch ------------------------------------------------------------------------------
 */

static void metrics_dispatch(FILE *out, const struct root_env *env)
{
	static const char *const outcomes[] = { [BOARD_DONE] = "done",
						[BOARD_UNCHANGED] = "unchanged",
						[BOARD_LOCKED] = "locked",
						[BOARD_FAILED] = "failed",
						[BOARD_LEASE_LOST] = "lease-lost" };
	const struct root_stats *s = &env->stats;

	metrics_one(out, "sweeps", "counter", "Scans for boards, all roots.", s->sweeps);
	metrics_head(out, "visits", "counter", NULL, "Visits of boards by what they came to.");
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
		metrics_of(out, "visits", "_total", "outcome", outcomes[i], s->visits[i]);
	metrics_times(out, "visit_seconds", "Visits of boards, with their wait for a thread.",
		      &s->visit);
	metrics_one(out, "claims", "counter", "Tasks claimed.", s->claims);
	metrics_one(out, "promotions", "counter", "Tasks made ready.", s->promoted);
	metrics_one(out, "reclaims", "counter", "Tasks taken back.", s->reclaimed);
	metrics_one(out, "spawns", "counter", "Workers started.", s->spawned);
	metrics_one(out, "spawn_failures", "counter", "Workers that could not be started.",
		    s->spawn_failed);
	metrics_times(out, "wake_to_exec_seconds",
		      "From what woke a board to the start of a worker on it.", &s->exec);
	metrics_one(out, "adoptions", "counter", "Workers found running.", s->adopted);
	metrics_head(out, "worker_ends", "counter", NULL, "Ends of watched workers.");
	metrics_of(out, "worker_ends", "_total", "how", "success", s->ended_ok);
	metrics_of(out, "worker_ends", "_total", "how", "failure", s->ended_failed);
	metrics_of(out, "worker_ends", "_total", "how", "signal", s->ended_signaled);
	metrics_of(out, "worker_ends", "_total", "how", "unknown", s->ended_unknown);
	metrics_one(out, "open_boards", "gauge", "Databases that are kept open.",
		    env->open_boards);
}

/* ---- roots ---------------------------------------------------------------------------------
 */

/* A gauge with a value per root. */
static void metrics_roots(FILE *out, const struct control *c, const char *name,
			  const char *help, uint64_t (*value)(const struct root *root))
{
	metrics_head(out, name, "gauge", NULL, help);
	for (size_t i = 0; i < *c->env.n_roots; i++)
		metrics_of(out, name, "", "root", c->env.roots[i]->path,
			   value(c->env.roots[i]));
}

static uint64_t metrics_owner(const struct root *root)
{
	return root->role == ROOT_OWNER;
}

static uint64_t metrics_epoch(const struct root *root)
{
	return root->role == ROOT_OWNER ? (uint64_t)root->epoch : 0;
}

static uint64_t metrics_running(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		n += (uint64_t)root->boards[i]->running;
	return n;
}

static uint64_t metrics_ready(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		n += root->boards[i]->ready > 0 ? (uint64_t)root->boards[i]->ready : 0;
	return n;
}

static uint64_t metrics_workers(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		for (const struct worker *w = root->boards[i]->workers; w; w = w->next)
			n++;
	return n;
}

static uint64_t metrics_launching(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		n += launches_count(root->boards[i]);
	return n;
}

static uint64_t metrics_short(const struct root *root)
{
	uint64_t n = 0;

	for (size_t i = 0; i < root->n_boards; i++)
		n += root->boards[i]->memory[0] != '\0';
	return n;
}

static void metrics_state(FILE *out, const struct root *root, const char *state, uint64_t n)
{
	(void)fputs("kanband_boards{", out);
	metrics_label(out, "root", root->path);
	(void)fprintf(out, ",state=\"%s\"} %" PRIu64 "\n", state, n);
}

static void metrics_boards(FILE *out, const struct control *c)
{
	metrics_head(out, "boards", "gauge", NULL, "Boards by state.");
	for (size_t i = 0; i < *c->env.n_roots; i++) {
		const struct root *root = c->env.roots[i];
		uint64_t by[BOARD_QUARANTINED + 1] = { 0 }, aside = 0, paused = 0;

		for (size_t k = 0; k < root->n_boards; k++) {
			const struct dispatch *d = root->boards[k];

			aside += d->aside != NULL;
			paused += d->held;
			by[d->board.state] += d->aside == NULL;
		}
		for (int k = 0; k <= BOARD_QUARANTINED; k++)
			metrics_state(out, root, board_state_name((enum board_state)k), by[k]);
		metrics_state(out, root, "aside", aside);
		metrics_state(out, root, "paused", paused);
	}
}

static struct notify_status metrics_status(const struct root *root)
{
	struct notify_status st = { 0 };

	if (notices_get(root))
		notify_get_status(notices_get(root), &st);
	return st;
}

static void metrics_notify(FILE *out, const struct control *c)
{
	static const char *const states[] = { "queued", "sending",  "retrying",
					      "parked", "unserved", "settling" };
	static const struct {
		const char *name, *help;
	} counters[] = { { "notifications_sent", "Messages delivered." },
			 { "notification_failures", "Tries to deliver that failed." },
			 { "notification_digests", "Of the messages, digests." } };

	metrics_head(out, "notifications", "gauge", NULL,
		     "Messages that wait or are sent, and subscriptions in trouble.");
	for (size_t i = 0; i < *c->env.n_roots; i++) {
		struct notify_status st = metrics_status(c->env.roots[i]);
		const unsigned values[] = { st.queued, st.sending,  st.retrying,
					    st.parked, st.unserved, st.settling };

		for (size_t k = 0; k < sizeof(states) / sizeof(states[0]); k++) {
			(void)fputs("kanband_notifications{", out);
			metrics_label(out, "root", c->env.roots[i]->path);
			(void)fprintf(out, ",state=\"%s\"} %u\n", states[k], values[k]);
		}
	}
	for (size_t k = 0; k < sizeof(counters) / sizeof(counters[0]); k++) {
		metrics_head(out, counters[k].name, "counter", NULL, counters[k].help);
		for (size_t i = 0; i < *c->env.n_roots; i++) {
			struct notify_status st = metrics_status(c->env.roots[i]);
			const uint64_t values[] = { st.sent, st.failed, st.digests };

			metrics_of(out, counters[k].name, "_total", "root",
				   c->env.roots[i]->path, values[k]);
		}
	}
}

void metrics_get(struct request *req)
{
	struct control *c = req->control;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	bool bad;

	if (!out) {
		reply_response(req, 500, NULL);
		return;
	}
	metrics_process(out, c);
	metrics_roots(out, c, "lease", "1: this process owns the root.", metrics_owner);
	metrics_roots(out, c, "epoch", "Of the ownership; 0: not owner.", metrics_epoch);
	metrics_boards(out, c);
	metrics_roots(out, c, "tasks_running", "Running tasks, at the last ticks.",
		      metrics_running);
	metrics_roots(out, c, "tasks_ready", "Ready tasks that the last ticks left.",
		      metrics_ready);
	metrics_roots(out, c, "workers", "Workers that are watched.", metrics_workers);
	metrics_roots(out, c, "launching", "Claimed tasks whose worker is being started.",
		      metrics_launching);
	metrics_roots(out, c, "boards_short_of_memory", "Boards whose work memory holds back.",
		      metrics_short);
	metrics_dispatch(out, c->env.root_env);
	metrics_notify(out, c);
	(void)fputs("# EOF\n", out);
	bad = ferror(out) != 0;
	if (fclose(out) != 0 || bad) { /* out of memory */
		free(text);
		text = NULL;
	}
	reply_text(req, 200, METRICS_TYPE, text, n);
}
