/*
 * Where connections come in: the control socket, and a socket for scrapes if the service
 * manager handed one over. Behind the latter, which anybody on the host may reach, there is
 * nothing but numbers and whether the daemon is alive and ready (route.c).
 *
 * Happy path: a listener becomes readable, a connection is taken (peer.h says whether) and
 * given to the server. Failure modes: without descriptors no connection is taken for a while
 * (the others go on); one too many is told so and closed; without libmicrohttpd each is told
 * so.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "util/log.h"

/* A few words for somebody who cannot be served; what does not fit is lost. */
static void accept_refuse(struct control *c, int fd, const char *kind, const char *detail)
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

/* Take @fd over. */
static void accept_take(struct acceptor *a, int fd)
{
	struct control *c = a->control;
	struct error e = ERROR_NULL;
	struct client *k = calloc(1, sizeof(*k));
	unsigned same = 0;

	server_forget(c,
		      fd); /* one that was dropped without a word: its descriptor came back */
	if (!k || peer_get(fd, &k->peer) < 0) {
		free(k);
		accept_refuse(c, fd, "internal", "it cannot be told who you are");
		return;
	}
	for (const struct client *o = c->clients; o; o = o->next)
		same += o->peer.uid == k->peer.uid;
	if (!peer_room(&k->peer, c->n_clients, c->n_others, same)) {
		free(k);
		accept_refuse(c, fd, "too-many", "there are too many connections");
		return;
	}
	if (server_start(c, &e) < 0) {
		if (!c->mhd_told)
			log_warning("control API: %s", e.text);
		c->mhd_told = true;
		free(k);
		accept_refuse(c, fd, "internal", "the daemon has no HTTP server; see its log");
		return;
	}
	k->fd = fd;
	k->scrape = a->scrape;
	server_take(c, k);
}

static void accept_again(uv_timer_t *t);

static void accept_ready(uv_poll_t *poll, int status, int events)
{
	struct acceptor *a = poll->data;
	struct control *c = a->control;

	(void)status, (void)events;
	for (int i = 0; i < CONTROL_ACCEPT_MAX; i++) {
		int fd = accept4(a->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			c->accept_told = false;
			accept_take(a, fd);
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
		IGNORE(uv_poll_stop(&a->accept)); /* always 0 */
		IGNORE(uv_timer_start(&c->again, accept_again, CONTROL_RETRY_MS, 0));
		break;
	}
	server_turn(c);
}

static void accept_again(uv_timer_t *t)
{
	struct control *c = t->data;

	for (size_t i = 0; !c->closing && i < c->n_acceptors; i++)
		if (uv_poll_start(&c->acceptors[i].accept, UV_READABLE, accept_ready) < 0)
			IGNORE(uv_timer_start(&c->again, accept_again, CONTROL_RETRY_MS, 0));
}

int accept_open(struct control *c, const struct listener *listener, bool scrape)
{
	struct acceptor *a = &c->acceptors[c->n_acceptors];
	int r = uv_poll_init(c->env.root_env->loop, &a->accept, listener->fd);

	if (r < 0)
		return r;
	a->control = c;
	a->listener = *listener;
	a->scrape = scrape;
	a->accept.data = a;
	c->n_acceptors++;
	c->handles++;
	return 0;
}

void accept_wait(struct control *c, uint64_t most_ms)
{
	/* never fails with a callback */
	IGNORE(uv_timer_start(&c->again, accept_again, most_ms, 0));
}

void accept_serve(struct control *c)
{
	IGNORE(uv_timer_stop(&c->again)); /* always 0 */
	accept_again(&c->again);
}

static void accept_closed(uv_handle_t *h)
{
	struct acceptor *a = h->data;
	struct control *c = a->control;

	listener_close(&a->listener);
	c->handles--;
	server_try_free(c);
}

void accept_shut(struct control *c)
{
	for (size_t i = 0; i < c->n_acceptors; i++) {
		IGNORE(uv_poll_stop(&c->acceptors[i].accept)); /* always 0 */
		uv_close((uv_handle_t *)&c->acceptors[i].accept, accept_closed);
	}
	uv_close((uv_handle_t *)&c->again, server_closed);
}
