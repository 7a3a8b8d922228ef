/*
 * Requests to a daemon. One curl handle per call of kanbanctl; the connection is kept between
 * requests. What comes back is bounded, and JSON or nothing.
 */
#include "ctl/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/curl.h"
#include "ctl/progress.h"
#include "ctl/sse.h"
#include "util/fs.h"
#include "util/json.h"

#define CLIENT_BODY_MAX   ((size_t)64 << 20)
#define CLIENT_CONNECT_MS 2000L
#define CLIENT_GET_MS     20000L
#define CLIENT_HOST       "http://kanband"

struct client {
	const struct ctl *ctl;
	struct curl_lib lib;
	CURL *curl;
	char *root, *socket;
};

void client_reply_deinit(struct reply *reply)
{
	free(reply->text);
	json_decref(reply->json);
	*reply = (struct reply){ 0 };
}

struct client *client_free(struct client *c)
{
	if (!c)
		return NULL;
	if (c->curl)
		c->lib.curl_easy_cleanup(c->curl);
	free(c->root);
	free(c->socket);
	free(c);
	return NULL;
}

const char *client_socket(const struct client *c)
{
	return c->socket;
}

const char *client_root(const struct client *c)
{
	return c->root;
}

/* ---- requests ------------------------------------------------------------------------ */

char *client_path(const struct client *c, const char *query, const char *fmt, ...)
{
	CLEANUP(freep) char *path = NULL;
	char *root = c->lib.curl_easy_escape(c->curl, c->root, 0), *out = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&path, fmt, ap) < 0)
		path = NULL;
	va_end(ap);
	if (root && path)
		out = fs_path("%s?root=%s%s%s", path, root, query ? "&" : "",
			      query ? query : "");
	c->lib.curl_free(root);
	return out;
}

char *client_escape(const struct client *c, const char *text)
{
	char *escaped = c->lib.curl_easy_escape(c->curl, text, 0);
	char *copy = escaped ? strdup(escaped) : NULL;

	c->lib.curl_free(escaped);
	return copy;
}

static size_t client_on_body(char *bytes, size_t one, size_t n, void *arg)
{
	struct reply *reply = arg;
	char *more;

	(void)one; /* always 1 */
	if (reply->len + n > CLIENT_BODY_MAX)
		return 0;
	more = realloc(reply->text, reply->len + n + 1);
	if (!more)
		return 0;
	reply->text = more;
	memcpy(more + reply->len, bytes, n);
	reply->len += n;
	more[reply->len] = '\0';
	return n;
}

/* What every request has. Return: 0 or -ENOMEM. */
static int client_prepare(struct client *c, const char *path, char why[CURL_ERROR_SIZE])
{
	CLEANUP(freep) char *url = fs_path(CLIENT_HOST "%s", path);
	CURLcode rc = CURLE_OK;

	why[0] = '\0';
	c->lib.curl_easy_reset(c->curl);
	if (!url)
		return -ENOMEM;
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_URL, url);
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->socket);
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, why);
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_PROXY, "");
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http");
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_FOLLOWLOCATION, 0L);
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, CLIENT_CONNECT_MS);
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_USERAGENT, "kanbanctl/" KANBAND_VERSION);
	return rc == CURLE_OK ? 0 : -ENOMEM;
}

static int client_failed(const struct client *c, CURLcode rc, const char *why, struct error *e)
{
	if (rc == CURLE_OUT_OF_MEMORY)
		return error_set(e, -ENOMEM, "out of memory");
	if (rc == CURLE_COULDNT_CONNECT)
		return error_set(e, -ECONNREFUSED, "no daemon answers at %s", c->socket);
	if (rc == CURLE_OPERATION_TIMEDOUT)
		return error_set(e, -ETIMEDOUT,
				 "the daemon at %s does not answer: it is stopped or hangs; "
				 "kanbanctl doctor says more",
				 c->socket);
	return error_set(e, -EIO, "the daemon at %s: %s", c->socket,
			 *why ? why : c->lib.curl_easy_strerror(rc));
}

int client_request(struct client *c, const char *method, const char *path, json_t *body,
		   long limit_ms, struct reply *reply, struct error *e)
{
	CLEANUP(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct curl_slist *headers = NULL;
	char why[CURL_ERROR_SIZE];
	CURLcode rc = CURLE_OK;
	long status = 0;

	if ((body && !text) || client_prepare(c, path, why) < 0)
		return error_set(e, -ENOMEM, "out of memory");
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, limit_ms);
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, client_on_body);
	rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, reply);
	if (strcmp(method, "POST") == 0) {
		headers = c->lib.curl_slist_append(NULL, "Content-Type: application/json");
		rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, text ? text : "");
		rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	}
	if (rc == CURLE_OK)
		rc = c->lib.curl_easy_perform(c->curl);
	c->lib.curl_slist_free_all(headers);
	if (rc != CURLE_OK)
		return client_failed(c, rc, why, e);
	(void)c->lib.curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	reply->status = (int)status;
	/* what is no JSON, or more than one value, is none: the caller knows what it wants */
	if (reply->len > 0)
		reply->json = json_loadb(reply->text, reply->len,
					 JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	return 0;
}

int client_problem(const struct reply *reply, struct error *e)
{
	static const struct {
		const char *name;
		int exit;
	} kinds[] = {
		{ "bad-request", CTL_USAGE },    { "forbidden", CTL_NOT_ALLOWED },
		{ "not-found", CTL_NO_INPUT },   { "no-task", CTL_NO_INPUT },
		{ "refused", CTL_NOT_WELL },     { "no-root", CTL_NO_INPUT },
		{ "no-board", CTL_NO_INPUT },    { "ambiguous", CTL_USAGE },
		{ "no-database", CTL_NO_INPUT }, { "not-owner", CTL_TRY_AGAIN },
		{ "not-well", CTL_NOT_WELL },    { "config", CTL_CONFIG },
		{ "too-large", CTL_USAGE },      { "too-many", CTL_TRY_AGAIN },
		{ "busy", CTL_TRY_AGAIN },       { "stopping", CTL_NO_DAEMON },
	};
	const char *type = json_text(reply->json, "type"), *colon = strrchr(type, ':');
	const char *detail = json_text(reply->json, "detail");
	const char *remedy = json_text(reply->json, "remedy");

	/* what is for programs that speak HTTP */
	if (strstr(remedy, "/v1/") || strstr(remedy, "?root="))
		remedy = !colon                            ? ""
			 : strcmp(colon, ":no-board") == 0 ? "\"kanbanctl boards\" lists them"
			 : strcmp(colon, ":no-root") == 0
				 ? "name one that it serves with --root"
			 : strcmp(colon, ":ambiguous") == 0 ? "name the root with --root"
							    : "";
	(void)error_set(e, reply->status, "%s%s%s",
			*detail ? detail : "the daemon answers with an error of HTTP",
			*remedy ? "; " : "", remedy);
	if (!*detail)
		(void)error_set(e, reply->status, "%s: %d", e->text, reply->status);
	for (size_t i = 0; colon && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(colon + 1, kinds[i].name) == 0)
			return kinds[i].exit;
	return reply->status == 403   ? CTL_NOT_ALLOWED
	       : reply->status == 404 ? CTL_NO_INPUT
				      : CTL_IO;
}

/* A request that must come to something; told if not. */
static int client_do(struct client *c, const char *method, const char *path, json_t *body,
		     struct reply *reply)
{
	bool get = strcmp(method, "GET") == 0;
	struct progress progress;
	struct error e = ERROR_NULL;
	int r;

	progress_begin(&progress, c->ctl->verb ? c->ctl->verb->name : "");
	r = client_request(c, method, path, body, get ? CLIENT_GET_MS : 0, reply, &e);
	progress_end(&progress);
	if (r == -ECONNREFUSED || r == -ETIMEDOUT)
		return ctl_say(c->ctl, CTL_NO_DAEMON, "%s", e.text);
	if (r < 0)
		return ctl_say(c->ctl, CTL_IO, "%s", e.text);
	if (reply->status / 100 == 2)
		return 0;
	r = client_problem(reply, &e);
	return ctl_say(c->ctl, r, "%s", e.text);
}

int client_call(struct client *c, const char *method, char *owned, json_t *given,
		struct reply *reply)
{
	CLEANUP(freep) char *path = owned;
	CLEANUP(json_freep) json_t *body = given;
	int r;

	if (!path)
		return ctl_say(c->ctl, CTL_IO, "out of memory");
	r = client_do(c, method, path, body, reply);
	if (r == 0 && !json_is_object(reply->json))
		return ctl_say(c->ctl, CTL_IO, "the daemon at %s does not answer with JSON",
			       c->socket);
	return r;
}

int client_quiet(struct client *c, char *owned, struct reply *reply)
{
	CLEANUP(freep) char *path = owned;
	struct error e = ERROR_NULL;
	int r = path ? client_request(c, "GET", path, NULL, CLIENT_GET_MS, reply, &e) : -ENOMEM;

	if (r < 0)
		return r;
	return reply->status / 100 == 2 && json_is_object(reply->json) ? 0 : -EBADMSG;
}

int client_text(struct client *c, char *owned, struct reply *reply)
{
	CLEANUP(freep) char *path = owned;

	return path ? client_do(c, "GET", path, NULL, reply)
		    : ctl_say(c->ctl, CTL_IO, "out of memory");
}

/* A copy as the daemon writes its roots: no //, no /./, no slash at the end; or NULL */
static char *client_normal(const char *root)
{
	char *copy = malloc(strlen(root) + 2), *out = copy;

	for (const char *p = root; copy && *p == '/'; p += 1 + strcspn(p + 1, "/")) {
		size_t n = strcspn(p + 1, "/");

		if (n == 0 || (n == 1 && p[1] == '.'))
			continue;
		memcpy(out, p, n + 1);
		out += n + 1;
	}
	if (copy && out == copy)
		*out++ = '/';
	if (copy)
		*out = '\0';
	return copy;
}

int client_new(const struct ctl *ctl, const char *root, const char *path, struct client **out,
	       struct error *e)
{
	CLEANUP(client_freep) struct client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return error_set(e, -ENOMEM, "out of memory");
	r = curl_load(&c->lib, e);
	if (r < 0)
		return r;
	c->ctl = ctl;
	c->root = client_normal(root);
	c->socket = strdup(path);
	c->curl = c->lib.curl_easy_init();
	if (!c->root || !c->socket || !c->curl)
		return error_set(e, -ENOMEM, "out of memory");
	*out = STEAL(c);
	return 0;
}

/* ---- the stream of events ------------------------------------------------------------ */

struct client_stream {
	struct client *client;
	struct sse sse;
	struct reply refusal; /* the body of an answer that is no stream */
	client_event_fn event;
	void *arg;
	int stop; /* what @event said */
	long status;
};

static int stream_event(void *arg, const char *id, const char *kind, const char *data,
			size_t len)
{
	struct client_stream *s = arg;
	CLEANUP(json_freep) json_t *event = json_loadb(data, len, JSON_ALLOW_NUL, NULL);

	if (!json_is_object(event))
		return 0; /* nothing that we know */
	s->stop = s->event(s->arg, id, kind, event);
	return s->stop;
}

static size_t stream_on_body(char *bytes, size_t one, size_t n, void *arg)
{
	struct client_stream *s = arg;

	(void)one;
	if (s->status == 0)
		(void)s->client->lib.curl_easy_getinfo(s->client->curl, CURLINFO_RESPONSE_CODE,
						       &s->status);
	if (s->status != 200)
		return client_on_body(bytes, 1, n, &s->refusal);
	return sse_feed(&s->sse, bytes, n) == 0 ? n : 0;
}

/* Turn until it ends. Return: the result of the transfer, or CURL_LAST when @tick stopped. */
static CURLcode stream_turn(CURLM *multi, struct client_stream *s, int (*tick)(void *arg),
			    int *stop)
{
	const struct client *c = s->client;
	struct curl_waitfd keys = { .fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN };
	int running = 1, left;
	CURLMsg *message;

	for (;;) {
		if (c->lib.curl_multi_perform(multi, &running) != CURLM_OK)
			return CURLE_OUT_OF_MEMORY;
		if (s->stop) {
			*stop = s->stop;
			return CURL_LAST;
		}
		*stop = tick ? tick(s->arg) : 0;
		if (*stop)
			return CURL_LAST;
		if (!running)
			break;
		if (c->lib.curl_multi_poll(multi, &keys, tick ? 1 : 0, 1000, NULL) != CURLM_OK)
			return CURLE_OUT_OF_MEMORY;
	}
	message = c->lib.curl_multi_info_read(multi, &left);
	return message ? message->data.result : CURLE_OK;
}

enum client_end client_stream(struct client *c, const char *since, client_event_fn event,
			      int (*tick)(void *arg), void *arg, int *exit)
{
	struct client_stream s = { .client = c, .event = event, .arg = arg };
	CLEANUP(freep) char *header = since ? fs_path("Last-Event-ID: %s", since) : NULL;
	CURLM *multi = c->lib.curl_multi_init();
	struct curl_slist *headers = header ? c->lib.curl_slist_append(NULL, header) : NULL;
	enum client_end end = CLIENT_END_CLOSED;
	char why[CURL_ERROR_SIZE];
	struct error e = ERROR_NULL;
	CURLcode rc = CURLE_OUT_OF_MEMORY;

	*exit = 0;
	sse_init(&s.sse, stream_event, &s);
	if (multi && (!since || headers) && client_prepare(c, "/v1/events", why) == 0) {
		rc = CURLE_OK;
		rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, stream_on_body);
		rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &s);
		rc |= c->lib.curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
		if (rc == CURLE_OK &&
		    c->lib.curl_multi_add_handle(multi, c->curl) == CURLM_OK) {
			rc = stream_turn(multi, &s, tick, exit);
			(void)c->lib.curl_multi_remove_handle(multi, c->curl);
		}
	}
	if (rc == CURL_LAST) {
		end = CLIENT_END_ASKED;
	} else if (rc == CURLE_OUT_OF_MEMORY) {
		*exit = ctl_say(c->ctl, CTL_IO, "out of memory");
		end = CLIENT_END_FAILED;
	} else if (s.status != 0 && s.status != 200) {
		s.refusal.status = (int)s.status;
		if (s.refusal.len)
			s.refusal.json = json_loadb(s.refusal.text, s.refusal.len, 0, NULL);
		*exit = client_problem(&s.refusal, &e);
		(void)ctl_say(c->ctl, *exit, "%s", e.text);
		end = CLIENT_END_FAILED;
	}
	c->lib.curl_slist_free_all(headers);
	c->lib.curl_multi_cleanup(multi);
	sse_deinit(&s.sse);
	client_reply_deinit(&s.refusal);
	return end;
}
