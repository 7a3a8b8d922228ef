/* Answers. A request that nobody answered yet has none; the first one counts. */
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "util/json.h"

static const struct {
	unsigned status;
	const char *title;
} reply_titles[] = {
	{ 400, "The request is not understood" },
	{ 403, "Not allowed" },
	{ 404, "Not found" },
	{ 405, "Not possible with this path" },
	{ 409, "Not possible now" },
	{ 413, "The body is too large" },
	{ 422, "It cannot be done" },
	{ 500, "Something failed" },
	{ 503, "Not now" },
};

/* What is said when there is not even the memory to say it. */
static const char reply_no_memory[] =
	"{\"type\":\"urn:kanband:problem:internal\",\"title\":\"Something failed\","
	"\"status\":500,\"detail\":\"out of memory\",\"remedy\":null}\n";

static void reply_add(struct request *req, struct MHD_Response *response, const char *name,
		      const char *value)
{
	/* without memory a header is missing, which no client of ours minds */
	(void)req->control->mhd.MHD_add_response_header(response, name, value);
}

void reply_header(struct request *req, const char *name, const char *value)
{
	if (req->response)
		reply_add(req, req->response, name, value);
}

void reply_response(struct request *req, unsigned status, struct MHD_Response *response)
{
	struct control *c = req->control;

	if (req->response) {
		if (response)
			c->mhd.MHD_destroy_response(response);
		return;
	}
	if (!response) {
		status = 500;
		response = c->mhd.MHD_create_response_from_buffer(
			sizeof(reply_no_memory) - 1, (void *)(uintptr_t)reply_no_memory,
			MHD_RESPMEM_PERSISTENT);
	}
	req->status = status;
	req->response = response; /* NULL: the connection is closed then */
	req->gone = NULL;
	req->expired = NULL;
	if (response) {
		reply_add(req, response, "Cache-Control", "no-store");
		reply_add(req, response, "X-Content-Type-Options", "nosniff");
	}
	if (req->suspended)
		server_wake(req);
}

void reply_text(struct request *req, unsigned status, const char *type, char *text, size_t len)
{
	struct MHD_Response *response = NULL;

	if (text)
		response = req->control->mhd.MHD_create_response_from_buffer(
			len, text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(text);
	else
		reply_add(req, response, "Content-Type", type);
	reply_response(req, status, response);
}

/* One object per line, so that it reads well behind curl. */
static char *reply_dump(json_t *json)
{
	char *text = json ? json_plain(json, JSON_COMPACT) : NULL;
	char *more = NULL;
	size_t n;

	json_decref(json);
	if (!text)
		return NULL;
	n = strlen(text);
	more = realloc(text, n + 2);
	if (!more) {
		free(text);
		return NULL;
	}
	more[n] = '\n';
	more[n + 1] = '\0';
	return more;
}

void reply_json(struct request *req, unsigned status, json_t *json)
{
	char *text = reply_dump(json);

	reply_text(req, status, "application/json", text, text ? strlen(text) : 0);
}

static const char *reply_title(unsigned status)
{
	for (size_t i = 0; i < sizeof(reply_titles) / sizeof(reply_titles[0]); i++)
		if (reply_titles[i].status == status)
			return reply_titles[i].title;
	return "Something is wrong";
}

void reply_problem(struct request *req, unsigned status, const char *kind, const char *remedy,
		   json_t *more, const char *fmt, ...)
{
	struct error e = ERROR_NULL;
	char type[64], text[ERROR_TEXT_MAX];
	json_t *json;
	char *body;
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	(void)error_set(&e, 1, "%s", text); /* valid UTF-8, one line */
	(void)snprintf(type, sizeof(type), "urn:kanband:problem:%s", kind);
	json = json_pack("{s:s, s:s, s:i, s:s, s:s?}", "type", type, "title",
			 reply_title(status), "status", (int)status, "detail", e.text, "remedy",
			 remedy);
	if (json && more && json_object_update(json, more) < 0) {
		json_decref(json);
		json = NULL;
	}
	json_decref(more);
	body = reply_dump(json);
	reply_text(req, status, "application/problem+json", body, body ? strlen(body) : 0);
	if (status == 503)
		reply_header(req, "Retry-After", "1");
}
