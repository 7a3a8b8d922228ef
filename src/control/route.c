/* Which path is served how. */
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "util/fs.h"

static const char *const no_words[] = { NULL };
static const char *const query_root[] = { "root", NULL };
static const char *const query_view[] = { "root", "tasks", NULL };
static const char *const query_copies[] = { "root", "deep", NULL };
static const char *const query_events[] = { "since", "follow", NULL };
static const char *const body_repair[] = { "dry_run", "salvage", NULL };
static const char *const body_restore[] = { "from", "dry_run", NULL };
static const char *const body_drain[] = { "wait", "timeout_s", NULL };
static const char *const body_retry[] = { "root", "board", "task", NULL };

static const struct route routes[] = {
	{ "GET", "/v1/status", view_status, query_view, NULL },
	{ "GET", "/v1/boards", view_boards, query_view, NULL },
	{ "GET", "/v1/boards/{slug}", view_one, query_view, NULL },
	{ "POST", "/v1/boards/{slug}/tick", action_tick, query_root, no_words },
	{ "POST", "/v1/boards/{slug}/pause", action_pause, query_root, no_words },
	{ "POST", "/v1/boards/{slug}/resume", action_resume, query_root, no_words },
	{ "POST", "/v1/boards/{slug}/check", mend_do_check, query_root, no_words },
	{ "POST", "/v1/boards/{slug}/repair", mend_do_repair, query_root, body_repair },
	{ "POST", "/v1/boards/{slug}/restore", mend_do_restore, query_root, body_restore },
	{ "POST", "/v1/boards/{slug}/accept", mend_do_accept, query_root, no_words },
	{ "POST", "/v1/boards/{slug}/snapshot", mend_do_snapshot, query_root, no_words },
	{ "GET", "/v1/boards/{slug}/snapshots", copies_get, query_copies, NULL },
	{ "GET", "/v1/workers", view_workers, query_root, NULL },
	{ "GET", "/v1/leader", view_leader, query_root, NULL },
	{ "GET", "/v1/notify", view_notify, query_root, NULL },
	{ "POST", "/v1/notify/retry", action_retry, no_words, body_retry },
	{ "GET", "/v1/events", stream_get, query_events, NULL },
	{ "POST", "/v1/tick", action_tick_all, no_words, no_words },
	{ "POST", "/v1/drain", action_drain, no_words, body_drain },
	{ "POST", "/v1/resume", action_resume_all, no_words, no_words },
	{ "POST", "/v1/reload", action_reload, no_words, no_words },
	{ "GET", "/metrics", metrics_get, no_words, NULL },
};

#define ROUTES (sizeof(routes) / sizeof(routes[0]))

const struct route *route_at(size_t i)
{
	return i < ROUTES ? &routes[i] : NULL;
}

/* Does @url match @path; a slug goes to @slug, "" if it cannot be one. */
static bool route_match(const char *path, const char *url, char slug[BOARD_SLUG_MAX + 1])
{
	const char *hole = strstr(path, "{slug}");
	size_t before = hole ? (size_t)(hole - path) : 0, n;

	if (!hole)
		return strcmp(path, url) == 0;
	if (strncmp(path, url, before) != 0)
		return false;
	n = strcspn(url + before, "/");
	if (n == 0 || strcmp(url + before + n, hole + 6) != 0)
		return false;
	slug[0] = '\0';
	if (n <= BOARD_SLUG_MAX) {
		memcpy(slug, url + before, n);
		slug[n] = '\0';
	}
	if (!fs_is_slug(slug))
		slug[0] = '\0';
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
	char slug[BOARD_SLUG_MAX + 1], allow[32] = "";
	json_t *more = json_pack("{s:[]}", "allow");

	for (size_t i = 0; i < ROUTES; i++)
		if (route_match(routes[i].path, url, slug)) {
			(void)snprintf(allow, sizeof(allow), "%s%s", routes[i].method,
				       strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
			(void)json_array_append_new(json_object_get(more, "allow"),
						    json_string(routes[i].method));
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

void route_begin(struct request *req, const char *method, const char *url)
{
	struct route_query q = { .req = req, .ok = true };
	const char *as = strcmp(method, "HEAD") == 0 ? "GET" : method;

	for (size_t i = 0; i < ROUTES && !req->route; i++)
		if (strcmp(routes[i].method, as) == 0 &&
		    route_match(routes[i].path, url, req->slug))
			req->route = &routes[i];
	if (!req->route) {
		route_none(req, method, url);
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
