/*
 * Any bytes as a request: method, address, query and headers on a line each, then the body. The
 * routes are those that there are; who would answer only reads what was asked. Every request
 * gets one answer, and it is one that HTTP has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/control/control.h"
#include "fuzz.h"

#define FIELDS 8

static char *keys[FIELDS], *values[FIELDS];
static size_t n_fields;
static unsigned answers;

void server_wake(struct request *req)
{
	(void)req;
}

static void answered(struct request *req)
{
	const struct root *root;
	bool yes = false;
	int64_t n = 0;
	const char *word = NULL;

	if (params_root(req, &root) && params_yes(req, "deep", &yes) &&
	    params_number(req, "limit", 1000, &n) &&
	    params_number(req, "since", INT64_MAX, &n) && params_bool(req, "dry_run", &yes) &&
	    params_text(req, "task", &word) && params_int(req, "older_than_days", 36500, &n))
		reply_json(req, 200, json_object());
}

/* clang-format off */
#define ANSWERS(X)                                                                             \
	X(resource_status)                                                                     \
	X(resource_boards) X(resource_one) X(worker_list) X(resource_leader) X(           \
		resource_notify) X(tasks_list) X(tasks_activity) X(tasks_one) X(tasks_log)     \
		X(tasks_why) X(web_page_get) X(metrics_get) X(probe_live) X(probe_ready) X(    \
			start_request) X(action_tick) X(action_tick_all) X(action_pause)       \
			X(action_resume) X(action_drain) X(handover_post) X(action_resume_all) X(action_reload) \
				X(action_retry) X(change_do_add) X(change_do_task) X(          \
					change_do_retry) X(change_do_gc) X(mend_request_check) \
					X(mend_request_repair) X(mend_request_restore)         \
						X(mend_request_accept)                         \
							X(mend_request_snapshot)               \
								X(backups_get) X(stream_get)
/* clang-format on */
#define ANSWER(name)                                                                           \
	void name(struct request *req)                                                         \
	{                                                                                      \
		answered(req);                                                                 \
	}
ANSWERS(ANSWER)

/* ---- in the place of libmicrohttpd --------------------------------------------------- */

static const char *field(struct MHD_Connection *conn, enum MHD_ValueKind kind, const char *key)
{
	(void)conn, (void)kind;
	for (size_t i = 0; i < n_fields; i++)
		if (strcmp(keys[i], key) == 0)
			return values[i];
	return NULL;
}

static int fields(struct MHD_Connection *conn, enum MHD_ValueKind kind, MHD_KeyValueIterator fn,
		  void *arg)
{
	(void)conn;
	for (size_t i = 0; i < n_fields; i++)
		if (!strchr(keys[i], '-') && fn(arg, kind, keys[i], values[i]) == MHD_NO)
			break;
	return (int)n_fields;
}

static struct MHD_Response *from_buffer(size_t size, void *data,
					enum MHD_ResponseMemoryMode how)
{
	if (how == MHD_RESPMEM_MUST_FREE)
		free(data);
	(void)size;
	answers++;
	return (struct MHD_Response *)&answers;
}

static enum MHD_Result header(struct MHD_Response *response, const char *name,
			      const char *content)
{
	(void)response;
	return strpbrk(name, "\r\n:") || strpbrk(content, "\r\n") ? (abort(), MHD_NO) : MHD_YES;
}

static void destroy(struct MHD_Response *response)
{
	(void)response;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool stopping;
	static const size_t none;
	struct control c = { .env = { .n_roots = &none, .stopping = &stopping },
			     .mhd = { .MHD_lookup_connection_value = field,
				      .MHD_get_connection_values = fields,
				      .MHD_create_response_from_buffer = from_buffer,
				      .MHD_add_response_header = header,
				      .MHD_destroy_response = destroy } };
	struct client client = { .control = &c, .peer = { .uid = size % 2 ? 0 : 4711 } };
	struct request req = { .control = &c, .client = &client };
	CLEANUP(freep) char *text = malloc(size + 1);
	char *rest = text, *method, *url, *line;

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	answers = 0;
	n_fields = 0;
	method = strsep(&rest, "\n");
	url = rest ? strsep(&rest, "\n") : NULL;
	if (!url)
		return 0;
	while (rest && (line = strsep(&rest, "\n")) && *line && n_fields < FIELDS) {
		keys[n_fields] = strsep(&line, "=");
		values[n_fields++] = line;
	}
	client.scrape = size % 7 == 0;
	route_begin(&req, method, url);
	if (!req.response && req.status == 0) {
		req.body = rest;
		req.n_body = rest ? size - (size_t)(rest - text) : 0;
		req.too_large = req.n_body > CONTROL_BODY_MAX;
		if (req.route)
			route_run(&req);
		if (req.route && req.status == 0)
			abort();
	}
	if (req.status && (req.status < 200 || req.status > 599))
		abort();
	json_decref(req.args);
	return 0;
}
