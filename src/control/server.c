/*
 * libmicrohttpd on the loop, without threads.
 *
 * Happy path: the listener becomes readable, a connection is taken (peer.h says whether), given
 * to libmicrohttpd, and from then on its epoll descriptor wakes us. A request's headers come to
 * route_begin(), and with its body complete to route_run(). Whoever cannot answer at once
 * leaves the request suspended, which costs nothing, and answers later.
 *
 * Time: every connection has one deadline, whatever it is about: a request that is being sent,
 * the pause between two, an answer that is not taken. When it comes the socket is shut down,
 * and libmicrohttpd finds it closed. One timer stands at the nearest one; without connections
 * there is none, and nothing wakes.
 *
 * Failure modes: without descriptors no connection is taken for a while (the others go on);
 * one too many is told so and closed; without libmicrohttpd each is told so.
 *
 * Shutdown: what waits is answered, then libmicrohttpd is stopped, which closes everything, and
 * memory goes with the last handle, job and errand.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "util/fs.h"
#include "util/log.h"

static void server_turn(struct control *c);

/* ---- deadlines -----------------------------------------------------------------------------
 */

static void server_timer(uv_timer_t *t)
{
	struct control *c = t->data;
	uint64_t now = uv_now(c->env.root_env->loop);

	for (struct client *k = c->clients; k; k = k->next) {
		struct request *req = k->request;

		if (!k->deadline_ms || k->deadline_ms > now)
			continue;
		k->deadline_ms = 0;
		if (req && req->expired && !req->response)
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

static void server_turn(struct control *c)
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

/* ---- requests ------------------------------------------------------------------------------
 */

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
	if (req->stream)
		stream_free(req->stream);
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

	if (req->too_large || req->response)
		return;
	if (n > CONTROL_BODY_MAX - req->n_body) {
		req->too_large = true;
		return;
	}
	more = realloc(req->body, req->n_body + n);
	if (!more) {
		reply_response(req, 500, NULL);
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

/* libmicrohttpd: once with the headers, for each piece of the body, and once at its end; again
 * after it was suspended. */
static enum MHD_Result server_request(void *cls, struct MHD_Connection *conn, const char *url,
				      const char *method, const char *version, const char *data,
				      size_t *n, void **con_cls)
{
	struct control *c = cls;
	struct request *req = *con_cls;

	(void)version;
	if (!req) {
		req = request_new(c, conn);
		if (!req)
			return MHD_NO;
		*con_cls = req;
		route_begin(req, method, url);
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
			route_run(req);
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

	(void)uri;
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

/* ---- connections ---------------------------------------------------------------------------
 */

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

static void server_connection(void *cls, struct MHD_Connection *conn, void **context,
			      enum MHD_ConnectionNotificationCode what)
{
	struct control *c = cls;

	(void)conn;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		struct client *k = c->accepting;

		c->accepting = NULL;
		*context = k;
		if (!k)
			return;
		k->next = c->clients;
		c->clients = k;
		c->n_clients++;
		c->n_others += !peer_may_change(&k->peer);
	} else if (*context) {
		client_free(*context);
		*context = NULL;
	}
}

/* A few words for somebody who cannot be served; what does not fit is lost. */
static void server_refuse(struct control *c, int fd, const char *kind, const char *detail)
{
	char text[768], body[384];
	int n;

	c->n_refused++;
	n = snprintf(body, sizeof(body),
		     "{\"type\":\"urn:kanband:problem:%s\",\"title\":\"Not now\","
		     "\"status\":503,\"detail\":\"%s\",\"remedy\":null}\n",
		     kind, detail);
	n = snprintf(text, sizeof(text),
		     "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
		     "Content-Type: application/problem+json\r\nRetry-After: 1\r\n"
		     "Content-Length: %d\r\n\r\n%s",
		     n, body);
	(void)!send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	/* what he sent and we did not read would make close(2) take our words back */
	(void)shutdown(fd, SHUT_WR);
	for (int i = 0; i < 16; i++) {
		char sink[4096];

		if (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) <= 0)
			break;
	}
	(void)close(fd);
}

static int server_start(struct control *c, struct error *e)
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

/* Take @fd over. */
static void server_take(struct control *c, int fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct error e = ERROR_NULL;
	struct client *k = calloc(1, sizeof(*k));
	unsigned same = 0;

	if (!k || peer_get(fd, &k->peer) < 0) {
		free(k);
		server_refuse(c, fd, "internal", "it cannot be told who you are");
		return;
	}
	for (const struct client *o = c->clients; o; o = o->next)
		same += o->peer.uid == k->peer.uid;
	if (!peer_room(&k->peer, c->n_clients, c->n_others, same)) {
		free(k);
		server_refuse(c, fd, "too-many", "there are too many connections");
		return;
	}
	if (server_start(c, &e) < 0) {
		if (!c->mhd_told)
			log_warning("control API: %s", e.text);
		c->mhd_told = true;
		free(k);
		server_refuse(c, fd, "internal", "the daemon has no HTTP server; see its log");
		return;
	}
	k->control = c;
	k->fd = fd;
	k->deadline_ms = uv_now(c->env.root_env->loop) + CONTROL_SEND_MS;
	c->accepting = k;
	/* closes fd when it fails */
	if (c->mhd.MHD_add_connection(c->daemon, fd, (const struct sockaddr *)&a, sizeof(a)) !=
		    MHD_YES &&
	    c->accepting) {
		c->accepting = NULL;
		free(k);
	}
}

static void server_again(uv_timer_t *t);

static void server_accept(uv_poll_t *poll, int status, int events)
{
	struct control *c = poll->data;

	(void)status, (void)events;
	for (int i = 0; i < CONTROL_ACCEPT_MAX; i++) {
		int fd = accept4(c->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			c->accept_told = false;
			server_take(c, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN)
			break;
		if (!c->accept_told)
			log_warning("control API: cannot take a connection: %s; trying again",
				    strerror(errno));
		c->accept_told = true;
		/* the listener stays readable: not before something may have changed */
		IGNORE(uv_poll_stop(&c->accept)); /* always 0 */
		IGNORE(uv_timer_start(&c->again, server_again, CONTROL_RETRY_MS, 0));
		break;
	}
	server_turn(c);
}

static void server_again(uv_timer_t *t)
{
	struct control *c = t->data;

	if (!c->closing && uv_poll_start(&c->accept, UV_READABLE, server_accept) < 0)
		IGNORE(uv_timer_start(&c->again, server_again, CONTROL_RETRY_MS, 0));
}

/* ---- opening and shutting -------------------------------------------------------------------
 */

int server_open(struct control *c)
{
	uv_loop_t *loop = c->env.root_env->loop;
	int r = uv_poll_init(loop, &c->accept, c->listener.fd);

	c->accept.data = c->again.data = c->timer.data = c->alive.data = c;
	if (r < 0)
		return r;
	c->handles = 4;
	/* timers cannot fail to be made */
	IGNORE(uv_timer_init(loop, &c->again));
	IGNORE(uv_timer_init(loop, &c->timer));
	IGNORE(uv_timer_init(loop, &c->alive));
	/* never fails with a callback */
	IGNORE(uv_timer_start(&c->again, server_again, CONTROL_PATIENCE_MS, 0));
	return 0;
}

void server_serve(struct control *c)
{
	IGNORE(uv_timer_stop(&c->again)); /* always 0 */
	server_again(&c->again);
}

static void server_closed(uv_handle_t *h)
{
	struct control *c = h->data;

	c->handles--;
	control_try_free(c);
}

void server_shut(struct control *c)
{
	IGNORE(uv_poll_stop(&c->accept)); /* always 0 */
	if (c->daemon) {
		IGNORE(uv_poll_stop(&c->poll)); /* before its descriptor is closed; always 0 */
		/* answers that fit into the sockets go out; the rest is cut off */
		c->in_turn = true;
		for (int i = 0; i < 4; i++)
			(void)c->mhd.MHD_run(c->daemon);
		for (struct request *req = c->requests; req; req = req->next)
			server_wake(req); /* it cannot stop with one that is suspended */
		c->mhd.MHD_stop_daemon(c->daemon);
		c->daemon = NULL;
		uv_close((uv_handle_t *)&c->poll, server_closed);
	}
	uv_close((uv_handle_t *)&c->accept, server_closed);
	uv_close((uv_handle_t *)&c->again, server_closed);
	uv_close((uv_handle_t *)&c->timer, server_closed);
	uv_close((uv_handle_t *)&c->alive, server_closed);
}
