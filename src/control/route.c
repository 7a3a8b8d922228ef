/* Which path is served how. */
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "util/fs.h"

static const char *const no_words[] = { NULL };
static const char *const query_root[] = { "root", NULL };
static const char *const query_leader[] = { "root", "history", NULL };
static const char *const query_view[] = { "root", "tasks", NULL };
static const char *const query_copies[] = { "root", "deep", NULL };
static const char *const query_events[] = { "since", "follow", NULL };
static const char *const query_tasks[] = { "root", "status", "assignee", "limit", NULL };
static const char *const query_task[] = { "root", "board", "events", NULL };
static const char *const query_log[] = { "root", "board", "bytes", NULL };
static const char *const query_why[] = { "root", "board", NULL };
static const char *const body_repair[] = { "dry_run", "salvage", NULL };
static const char *const body_restore[] = { "from", "dry_run", NULL };
static const char *const body_change[] = {
	"change",      "task",  "title",    "body",     "priority", "tenant", "max_runtime",
	"max_retries", "model", "provider", "assignee", "reason",   "parent", "at",
	"platform",    "chat",  "thread",   "profile",  "mode",     "every",  NULL
};
static const char *const body_add[] = {
	"title",   "body",        "assignee",        "priority",
	"parents", "triage",      "workspace_kind",  "workspace_path",
	"branch",  "max_runtime", "max_retries",     "skills",
	"tenant",  "created_by",  "model",           "provider",
	"at",      "every",       "idempotency_key", NULL
};
static const char *const body_again[] = { "error", NULL };
static const char *const body_start[] = { "task", "despite", NULL };
static const char *const body_gc[] = { "older_than_days", "dry_run", NULL };
static const char *const body_drain[] = { "wait", "timeout_s", "pause", NULL };
static const char *const body_retry[] = { "root", "board", "task", NULL };

static const struct route routes[] = {
	{ "GET", "/v1/status", resource_status, query_view, NULL, false },
	{ "GET", "/v1/boards", resource_boards, query_view, NULL, false },
	{ "GET", "/v1/boards/{slug}", resource_one, query_view, NULL, false },
	{ "POST", "/v1/boards/{slug}/tick", action_tick, query_root, no_words, false },
	{ "POST", "/v1/boards/{slug}/pause", action_pause, query_root, no_words, false },
	{ "POST", "/v1/boards/{slug}/resume", action_resume, query_root, no_words, false },
	{ "POST", "/v1/boards/{slug}/check", mend_request_check, query_root, no_words, false },
	{ "POST", "/v1/boards/{slug}/repair", mend_request_repair, query_root, body_repair,
	  false },
	{ "POST", "/v1/boards/{slug}/restore", mend_request_restore, query_root, body_restore,
	  false },
	{ "POST", "/v1/boards/{slug}/accept", mend_request_accept, query_root, no_words,
	  false },
	{ "POST", "/v1/boards/{slug}/snapshot", mend_request_snapshot, query_root, no_words,
	  false },
	{ "POST", "/v1/boards/{slug}/change", change_do_task, query_root, body_change, false },
	{ "POST", "/v1/boards/{slug}/start", start_request, query_root, body_start, false },
	{ "POST", "/v1/boards/{slug}/retry", change_do_retry, query_root, body_again, false },
	{ "POST", "/v1/boards/{slug}/gc", change_do_gc, query_root, body_gc, false },
	{ "GET", "/v1/boards/{slug}/snapshots", backups_get, query_copies, NULL, false },
	{ "GET", "/v1/boards/{slug}/tasks", tasks_list, query_tasks, NULL, false },
	{ "POST", "/v1/boards/{slug}/tasks", change_do_add, query_root, body_add, false },
	{ "GET", "/v1/boards/{slug}/activity", tasks_activity, query_root, NULL, false },
	{ "GET", "/v1/tasks/{id}", tasks_one, query_task, NULL, false },
	{ "GET", "/v1/tasks/{id}/log", tasks_log, query_log, NULL, false },
	{ "GET", "/v1/tasks/{id}/why", tasks_why, query_why, NULL, false },
	{ "GET", "/v1/workers", worker_list, query_root, NULL, false },
	{ "GET", "/v1/leader", resource_leader, query_leader, NULL, false },
	{ "GET", "/v1/notify", resource_notify, query_root, NULL, false },
	{ "POST", "/v1/notify/retry", action_retry, no_words, body_retry, false },
	{ "GET", "/v1/events", stream_get, query_events, NULL, false },
	{ "POST", "/v1/tick", action_tick_all, no_words, no_words, false },
	{ "POST", "/v1/drain", action_drain, no_words, body_drain, false },
	{ "POST", "/v1/resume", action_resume_all, no_words, no_words, false },
	{ "POST", "/v1/handover", handover_post, query_root, no_words, false },
	{ "POST", "/v1/reload", action_reload, no_words, no_words, false },
	{ "GET", "/", web_page_get, no_words, NULL, false },
	{ "GET", "/metrics", metrics_get, no_words, NULL, true },
	{ "GET", "/livez", probe_live, no_words, NULL, true },
	{ "GET", "/readyz", probe_ready, no_words, NULL, true },
};

#define ROUTES (sizeof(routes) / sizeof(routes[0]))

const struct route *route_at(size_t i)
{
	return i < ROUTES ? &routes[i] : NULL;
}

/* Does @url match @path; what stands in its hole goes to @slug or @task, "" if it cannot be
 * one. Both may be NULL. */
static bool route_match(const char *path, const char *url, char *slug, char *task)
{
	const char *hole = strchr(path, '{'), *end = hole ? strchr(hole, '}') + 1 : NULL;
	bool is_task = hole && strncmp(hole, "{id}", 4) == 0;
	size_t before = hole ? (size_t)(hole - path) : 0, n;
	size_t max = is_task ? TASK_ID_MAX : BOARD_SLUG_MAX;
	char *to = is_task ? task : slug;

	if (!hole)
		return strcmp(path, url) == 0;
	if (strncmp(path, url, before) != 0)
		return false;
	n = strcspn(url + before, "/");
	if (n == 0 || strcmp(url + before + n, end) != 0)
		return false;
	if (!to)
		return true;
	(void)snprintf(to, max + 1, "%.*s", (int)(n <= max ? n : 0), url + before);
	if (!is_task && !fs_is_slug(to))
		to[0] = '\0';
	return true;
}

static bool route_has(const char *const *words, const char *word)
{
	for (; *words; words++)
		if (strcmp(*words, word) == 0)
			return true;
	return false;
}

struct route_query {
	struct request *req;
	bool ok;
};

static enum MHD_Result route_query(void *cls, enum MHD_ValueKind kind, const char *key,
				   const char *value)
{
	struct route_query *q = cls;

	(void)kind, (void)value;
	q->ok = key && route_has(q->req->route->query, key);
	if (!q->ok)
		reply_problem(q->req, 400, "bad-request", NULL, NULL,
			      "%s takes no parameter %.64s", q->req->route->path,
			      key ? key : "?");
	return q->ok ? MHD_YES : MHD_NO;
}

/* Nothing of that name, or not with that method. */
static void route_none(struct request *req, const char *method, const char *url)
{
	char allow[32] = "";
	json_t *more = json_pack("{s:[]}", "allow");
	const struct route *r;

	for (size_t i = 0; (r = route_at(i)); i++)
		if (route_match(r->path, url, NULL, NULL)) {
			(void)snprintf(allow, sizeof(allow), "%s%s", r->method,
				       strcmp(r->method, "GET") == 0 ? ", HEAD" : "");
			(void)json_array_append_new(json_object_get(more, "allow"),
						    json_string(r->method));
		}
	if (!allow[0]) {
		json_decref(more);
		reply_problem(req, 404, "not-found", "see conf/openapi.yaml for what there is",
			      NULL, "there is no %.200s", url);
		return;
	}
	reply_problem(req, 405, "method", NULL, more, "%.16s is not possible with %.200s",
		      method, url);
	if (req->response)
		(void)req->control->mhd.MHD_add_response_header(req->response, "Allow", allow);
}

/* The length that the headers promise, more than can be: UINT64_MAX. */
static bool route_too_large(const struct request *req)
{
	const char *text = req->control->mhd.MHD_lookup_connection_value(
		req->conn, MHD_HEADER_KIND, "Content-Length");
	char *end;
	unsigned long long n;

	if (!text)
		return false;
	n = strtoull(text, &end, 10);
	return *end == '\0' && n > CONTROL_BODY_MAX;
}

static void route_reply_too_large(struct request *req)
{
	reply_problem(req, 413, "too-large", NULL, NULL, "a body has %d bytes at the most",
		      CONTROL_BODY_MAX);
}

static const char *route_header(const struct request *req, const char *name)
{
	return req->control->mhd.MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

/* Is @host, with or without a port, a name that only this host has for itself? */
static bool route_here(const char *host)
{
	static const char *const names[] = { "localhost", "127.0.0.1", "[::1]", "kanband" };

	for (size_t i = 0; host && i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (strncasecmp(host, names[i], n) == 0 && (!host[n] || host[n] == ':'))
			return true;
	}
	return false;
}

/*
 * Where somebody leads a port to the control socket (ssh -L), a browser may be at the other
 * end, and in it a page of any site. Browsers say where a request comes from: what another
 * site's page sends changes nothing, and a site's name that leads here is no way to read.
 */
static bool route_foreign(const struct request *req, bool changes)
{
	const char *site = route_header(req, "Sec-Fetch-Site");
	const char *origin = route_header(req, "Origin"), *host = route_header(req, "Host");

	if (!site && !origin)
		return false; /* no browser */
	if (!route_here(host))
		return true;
	if (!changes)
		return false;
	if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
		return true;
	return origin &&
	       (strncasecmp(origin, "http://", 7) != 0 || strcasecmp(origin + 7, host) != 0);
}

void route_begin(struct request *req, const char *method, const char *url)
{
	struct route_query q = { .req = req, .ok = true };
	const char *as = strcmp(method, "HEAD") == 0 ? "GET" : method;
	const struct route *r;

	if (req->client->nul) {
		reply_problem(req, 400, "bad-request", NULL, NULL,
			      "no name and no path has a NUL in it");
		return;
	}
	for (size_t i = 0; !req->route && (r = route_at(i)); i++)
		if (strcmp(r->method, as) == 0 &&
		    route_match(r->path, url, req->slug, req->task))
			req->route = r;
	if (req->client->scrape && !(req->route && req->route->probe)) {
		req->route = NULL;
		reply_problem(req, 404, "not-found", NULL, NULL,
			      "here are /metrics, /livez and /readyz, and nothing else");
		return;
	}
	if (!req->route) {
		route_none(req, method, url);
		return;
	}
	if (route_foreign(req, strcmp(as, "GET") != 0)) {
		reply_problem(req, 403, "forbidden",
			      "kanbanctl web opens the page of the daemon", NULL,
			      "a page of another site has no business here");
		return;
	}
	if (strcmp(as, "GET") != 0 && !peer_may_change(&req->client->peer)) {
		reply_problem(req, 403, "forbidden", "ask as root or as the user of the daemon",
			      NULL, "user %u may read, but change nothing",
			      (unsigned)req->client->peer.uid);
		return;
	}
	if (route_too_large(req)) {
		route_reply_too_large(req);
		return;
	}
	if (strstr(req->route->path, "{id}") && !req->task[0]) {
		reply_problem(req, 404, "no-task", NULL, NULL, "that cannot be a task");
		return;
	}
	if (strstr(req->route->path, "{slug}") && !req->slug[0]) {
		reply_problem(req, 404, "no-board", "GET /v1/boards lists the boards", NULL,
			      "that cannot be the name of a board");
		return;
	}
	(void)req->control->mhd.MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND,
							  route_query, &q);
}

/* The body as an object with known members; false: answered. */
static bool route_body(struct request *req)
{
	const struct route *route = req->route;
	json_error_t error;
	const char *key;
	json_t *value;

	if (req->n_body == 0) {
		req->args = json_object();
	} else {
		req->args = json_loadb(req->body, req->n_body, JSON_REJECT_DUPLICATES, &error);
		if (!req->args) {
			reply_problem(req, 400, "bad-request", NULL, NULL,
				      "the body is no JSON: %s, in line %d", error.text,
				      error.line);
			return false;
		}
	}
	if (!json_is_object(req->args)) {
		reply_problem(req, 400, "bad-request", NULL, NULL, "the body is no object");
		return false;
	}
	json_object_foreach(req->args, key, value)
	{
		if (route->members && route_has(route->members, key))
			continue;
		reply_problem(req, 400, "bad-request", NULL, NULL, "%s takes no member %.64s",
			      route->path, key);
		return false;
	}
	return true;
}

void route_run(struct request *req)
{
	bool get = strcmp(req->route->method, "GET") == 0;

	if (req->no_memory) {
		reply_response(req, 500, NULL);
		return;
	}
	if (req->too_large) {
		route_reply_too_large(req);
		return;
	}
	if (!get && *req->control->env.stopping) {
		reply_problem(req, 503, "stopping", "ask again when the daemon is back", NULL,
			      "the daemon is stopping");
		return;
	}
	if (get && req->n_body > 0) {
		reply_problem(req, 400, "bad-request", NULL, NULL, "%s takes no body",
			      req->route->path);
		return;
	}
	if (route_body(req))
		req->route->run(req);
}
