/*
 * libmicrohttpd on the loop, without threads.
 *
 * Happy path: a connection was taken (accept.c), is given to libmicrohttpd, and from then on
 * its epoll descriptor wakes us. A request's headers come to control.begin(), and with its body
 * complete to control.run(). Whoever cannot answer at once leaves the request suspended, which
 * costs nothing, and answers later.
 *
 * Time: every connection has one deadline, whatever it is about: a request that is being sent,
 * the pause between two, an answer that is not taken. When it comes the socket is shut down,
 * and libmicrohttpd finds it closed. One timer stands at the nearest one; without connections
 * there is none, and nothing wakes.
 *
 * Shutdown: what waits is answered, then libmicrohttpd is stopped, which closes everything, and
 * memory goes with the last handle, job and operation.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "util/fs.h"
#include "util/log.h"

void server_turn(struct control *c);
static void client_free(struct client *k);

void server_try_free(struct control *c)
{
	if (c->closing && c->handles == 0 && !c->surveys && c->operations == 0)
		c->free(c);
}

/* ---- deadlines ---- */

static void server_timer(uv_timer_t *t)
{
	struct control *c = t->data;
	uint64_t now = uv_now(c->env.root_env->loop);

	for (struct client *k = c->clients, *next; k; k = next) {
		struct request *req = k->request;

		next = k->next;
		if (!k->deadline_ms || k->deadline_ms > now)
			continue;
		k->deadline_ms = 0;
		if (!k->started)
			client_free(k); /* dropped without a word */
		else if (req && req->expired && !req->response)
			req->expired(req);
		else
			(void)shutdown(k->fd, SHUT_RDWR); /* it is found closed then */
	}
	server_turn(c);
}

static void server_arm(struct control *c)
{
	uint64_t now = uv_now(c->env.root_env->loop), in = UINT64_MAX;
	MHD_UNSIGNED_LONG_LONG ms = 0;

	/* what says that a connection goes on comes late in some versions */
	if (c->woken)
		in = 0;
	else if (c->mhd.MHD_get_timeout(c->daemon, &ms) == MHD_YES)
		in = ms;
	for (const struct client *k = c->clients; k; k = k->next)
		if (k->deadline_ms) {
			uint64_t left = k->deadline_ms > now ? k->deadline_ms - now : 0;

			in = left < in ? left : in;
		}
	if (in == UINT64_MAX)
		IGNORE(uv_timer_stop(&c->timer)); /* always 0 */
	else
		IGNORE(uv_timer_start(&c->timer, server_timer, in, 0)); /* cannot fail */
}

void server_deadline(struct request *req, uint64_t in_ms)
{
	struct control *c = req->control;

	req->client->deadline_ms = in_ms ? uv_now(c->env.root_env->loop) + in_ms : 0;
	if (!c->in_turn)
		server_arm(c);
}

void server_turn(struct control *c)
{
	if (!c->daemon || c->in_turn)
		return;
	c->in_turn = true;
	c->woken = false;
	(void)c->mhd.MHD_run(c->daemon); /* fails only when it has threads */
	c->in_turn = false;
	server_arm(c);
}

static void server_ready(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events;
	server_turn(poll->data);
}

void server_wake(struct request *req)
{
	struct control *c = req->control;

	if (!req->suspended)
		return;
	req->suspended = false;
	c->mhd.MHD_resume_connection(req->conn);
	c->woken = true;
	if (!c->in_turn)
		server_arm(c);
}

void server_suspend(struct request *req)
{
	req->suspended = true;
	req->control->mhd.MHD_suspend_connection(req->conn);
}

/* ---- requests ---- */

static struct client *server_client(struct control *c, struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
		c->mhd.MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static struct request *request_new(struct control *c, struct MHD_Connection *conn)
{
	struct client *k = server_client(c, conn);
	struct request *req = k ? calloc(1, sizeof(*req)) : NULL;

	if (!req)
		return NULL;
	req->control = c;
	req->client = k;
	req->conn = conn;
	k->request = req;
	req->next = c->requests;
	if (req->next)
		req->next->prev = req;
	c->requests = req;
	return req;
}

static void request_free(struct request *req)
{
	struct control *c = req->control;

	if (req->gone)
		req->gone(req);
	if (req->prev)
		req->prev->next = req->next;
	else
		c->requests = req->next;
	if (req->next)
		req->next->prev = req->prev;
	if (req->end)
		req->end(req);
	if (req->response)
		c->mhd.MHD_destroy_response(req->response);
	req->client->request = NULL;
	json_decref(req->args);
	free(req->body);
	free(req);
}

static void request_body(struct request *req, const char *data, size_t n)
{
	char *more;

	if (req->too_large || req->no_memory || req->response)
		return;
	if (n > CONTROL_BODY_MAX - req->n_body) {
		req->too_large = true;
		return;
	}
	more = realloc(req->body, req->n_body + n);
	if (!more) {
		req->no_memory = true;
		return;
	}
	memcpy(more + req->n_body, data, n);
	req->body = more;
	req->n_body += n;
}

static enum MHD_Result request_answer(struct request *req)
{
	struct control *c = req->control;
	enum MHD_Result r;

	if (!req->response)
		return MHD_NO; /* there was no memory for one */
	if (!req->stream)
		req->client->deadline_ms = uv_now(c->env.root_env->loop) + CONTROL_TAKE_MS;
	c->n_requests[req->status / 100 % 6]++;
	r = c->mhd.MHD_queue_response(req->conn, req->status, req->response);
	c->mhd.MHD_destroy_response(req->response); /* it has a reference of its own */
	req->response = NULL;
	return r;
}

/*
 * Did the address go on behind a NUL that was sent as such? Older libmicrohttpd takes that for
 * its end. The version stands behind the address, in the line as it came: between them is the
 * one NUL that libmicrohttpd put there, and nothing but that and spaces.
 */
static bool server_cut_short(const struct client *k, const char *version)
{
	uintptr_t end = (uintptr_t)k->uri + k->n_uri, next = (uintptr_t)version;
	size_t nuls = 0;

	if (!k->uri || next <= end || next - end > CONTROL_MEMORY)
		return false; /* not in one piece: it is not that library */
	for (const char *p = k->uri + k->n_uri; p < version; p++) {
		if (*p && *p != ' ')
			return true;
		nuls += *p == '\0';
	}
	return nuls > 1;
}

/* libmicrohttpd: once with the headers, for each piece of the body, and once at its end; again
 * after it was suspended. */
static enum MHD_Result server_request(void *cls, struct MHD_Connection *conn, const char *url,
				      const char *method, const char *version, const char *data,
				      size_t *n, void **con_cls)
{
	struct control *c = cls;
	struct request *req = *con_cls;

	if (!req) {
		req = request_new(c, conn);
		if (!req)
			return MHD_NO;
		*con_cls = req;
		if (server_cut_short(req->client, version))
			req->client->nul = true;
		c->begin(req, method, url);
		return req->response ? request_answer(req) : MHD_YES;
	}
	if (*n > 0) {
		request_body(req, data, *n);
		*n = 0;
		return MHD_YES;
	}
	if (!req->complete) {
		req->complete = true;
		req->client->deadline_ms = 0;
		if (!req->response)
			c->run(req);
	}
	if (req->response)
		return request_answer(req);
	server_suspend(req);
	return MHD_YES;
}

static void *server_begins(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct control *c = cls;
	struct client *k = server_client(c, conn);

	if (k) { /* as it was sent: what we get later is decoded, and ends at a NUL */
		k->nul = strstr(uri, "%00") != NULL;
		k->uri = uri;
		k->n_uri = strlen(uri);
	}
	if (k && k->idle) {
		k->idle = false;
		k->deadline_ms = uv_now(c->env.root_env->loop) + CONTROL_SEND_MS;
	}
	return NULL;
}

static void server_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
			     enum MHD_RequestTerminationCode why)
{
	struct control *c = cls;
	struct request *req = *con_cls;
	struct client *k;

	(void)conn, (void)why;
	if (!req)
		return;
	k = req->client;
	request_free(req);
	*con_cls = NULL;
	k->idle = true;
	k->deadline_ms = uv_now(c->env.root_env->loop) + CONTROL_IDLE_MS;
}

/* ---- connections ---- */

static void client_add(struct control *c, struct client *k)
{
	k->control = c;
	k->next = c->clients;
	c->clients = k;
	c->n_clients++;
	c->n_others += !peer_may_change(&k->peer);
}

static void client_free(struct client *k)
{
	struct control *c = k->control;

	for (struct client **p = &c->clients; *p; p = &(*p)->next)
		if (*p == k) {
			*p = k->next;
			c->n_clients--;
			c->n_others -= !peer_may_change(&k->peer);
			break;
		}
	free(k);
}

/* Who was given to libmicrohttpd with @fd and has not been begun with; NULL: nobody. */
static struct client *client_waiting(const struct control *c, int fd)
{
	struct client *k = c->clients;

	while (k && (k->started || k->fd != fd))
		k = k->next;
	return k;
}

/* A connection begins within MHD_add_connection() in 0.9, and in 1.0 when it runs the next
 * time, after others were added: its descriptor tells whose it is. */
static void server_connection(void *cls, struct MHD_Connection *conn, void **context,
			      enum MHD_ConnectionNotificationCode what)
{
	struct control *c = cls;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
			c->mhd.MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
		struct client *k = info ? client_waiting(c, info->connect_fd) : NULL;

		*context = k;
		if (k)
			k->started = true;
	} else if (*context) {
		client_free(*context);
		*context = NULL;
	}
}

int server_start(struct control *c, struct error *e)
{
	const union MHD_DaemonInfo *info;
	int r = mhd_load(&c->mhd, e);

	if (r < 0 || c->daemon)
		return r;
	c->daemon = c->mhd.MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL,
		NULL, server_request, c, MHD_OPTION_CONNECTION_LIMIT, (unsigned)PEER_ALL,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONTROL_MEMORY,
		MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)1024,
		MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_URI_LOG_CALLBACK, server_begins,
		c, MHD_OPTION_NOTIFY_COMPLETED, server_completed, c,
		MHD_OPTION_NOTIFY_CONNECTION, server_connection, c, MHD_OPTION_END);
	if (!c->daemon)
		return error_set(e, -EIO, "cannot start libmicrohttpd");
	info = c->mhd.MHD_get_daemon_info(c->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	r = info ? uv_poll_init(c->env.root_env->loop, &c->poll, info->epoll_fd) : -EIO;
	if (r == 0) {
		c->poll.data = c;
		c->handles++;
		r = uv_poll_start(&c->poll, UV_READABLE, server_ready);
		if (r == 0)
			return 0;
	}
	/* left as it is, without a poll: whoever comes is told so */
	c->mhd.MHD_stop_daemon(c->daemon);
	c->daemon = NULL;
	return error_errno(e, r, "cannot watch libmicrohttpd");
}

void server_forget(struct control *c, int fd)
{
	struct client *gone = client_waiting(c, fd);

	if (gone)
		client_free(gone);
}

void server_take(struct control *c, struct client *k)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = k->fd;

	k->deadline_ms = uv_now(c->env.root_env->loop) + CONTROL_SEND_MS;
	client_add(c, k);
	/* closes fd when it fails, and when it began has told us the end */
	if (c->mhd.MHD_add_connection(c->daemon, fd, (const struct sockaddr *)&a, sizeof(a)) !=
	    MHD_YES)
		server_forget(c, fd);
}

/* ---- opening and shutting ---- */

void server_open(struct control *c)
{
	uv_loop_t *loop = c->env.root_env->loop;

	c->timer.data = c->alive.data = c->again.data = c;
	c->handles += 3;
	/* timers cannot fail to be made */
	IGNORE(uv_timer_init(loop, &c->again));
	IGNORE(uv_timer_init(loop, &c->timer));
	IGNORE(uv_timer_init(loop, &c->alive));
}

void server_closed(uv_handle_t *h)
{
	struct control *c = h->data;

	c->handles--;
	server_try_free(c);
}

void server_shut(struct control *c)
{
	if (c->daemon) {
		IGNORE(uv_poll_stop(&c->poll)); /* before its descriptor is closed; always 0 */
		/* answers that fit into the sockets go out; the rest is cut off */
		c->in_turn = true;
		for (int i = 0; i < 4; i++)
			(void)c->mhd.MHD_run(c->daemon);
		for (struct request *req = c->requests; req; req = req->next)
			server_wake(req); /* it cannot stop with one that is suspended */
		c->mhd.MHD_stop_daemon(c->daemon);
		while (c->clients) /* that it had not begun with */
			client_free(c->clients);
		c->daemon = NULL;
		uv_close((uv_handle_t *)&c->poll, server_closed);
	}
	uv_close((uv_handle_t *)&c->timer, server_closed);
	uv_close((uv_handle_t *)&c->alive, server_closed);
}
