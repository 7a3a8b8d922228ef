/*
 * One request per connection: its head is read and judged, then it is sent on with the headers
 * that matter, and bytes are passed both ways until the daemon has closed. So nothing of what
 * the daemon answers is interpreted here, streams of events included.
 *
 * What is refused: an address without the secret; a name for this host that is not a loopback
 * one (some site's name that leads here); whatever a page of another site sends.
 *
 * One poll(2) loop over all of them; who sends no head in time, and one connection too many, is
 * dropped.
 */
#include "ctl/web_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fs.h"

#define PROXY_MAX     64          /* connections */
#define PROXY_HEAD    (16 * 1024) /* bytes of a request's head */
#define PROXY_HEAD_MS 10000       /* to send it */
#define PROXY_SECRET  32          /* hexadecimal digits */
#define PROXY_CHUNK   (16 * 1024)

/* One direction. */
struct web_pipe {
	char data[PROXY_CHUNK + PROXY_HEAD];
	size_t at, n;
	bool ended; /* nothing more comes in */
	bool shut;  /* and the other side was told so */
};

struct web_relay {
	int browser, daemon;      /* -1: none; no daemon: the head is being read */
	uint64_t deadline_ms;     /* of the head; 0: it is there */
	struct web_pipe up, down; /* to the daemon, to the browser */
};

struct web_proxy {
	const char *socket;
	int listener;
	uint16_t port;
	char token[PROXY_SECRET + 1], secret[PROXY_SECRET + 1];
	bool used; /* the token */
	char url[96];
	struct web_relay *relays[PROXY_MAX];
};

/* ---- secrets ------------------------------------------------------------------------- */

static int proxy_secret(char out[PROXY_SECRET + 1])
{
	unsigned char bytes[PROXY_SECRET / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* Does @text begin with @secret; takes as long whatever the difference is. */
static bool proxy_same(const char *text, const char *secret)
{
	unsigned char differs = 0;

	if (strnlen(text, PROXY_SECRET) < PROXY_SECRET)
		return false;
	for (size_t i = 0; i < PROXY_SECRET; i++)
		differs |= (unsigned char)(text[i] ^ secret[i]);
	return differs == 0;
}

/* ---- a request's head ---------------------------------------------------------------- */

/* The value of a header in a NUL-terminated head, or NULL; @n: its length. */
static const char *proxy_header(const char *head, const char *name, size_t *n)
{
	size_t len = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, len) != 0 || line[len] != ':')
			continue;
		line += len + 1;
		line += strspn(line, " \t");
		*n = strcspn(line, "\r\n");
		return line;
	}
	return NULL;
}

static bool proxy_is(const char *value, size_t n, const char *text)
{
	return value && n == strlen(text) && strncasecmp(value, text, n) == 0;
}

/* Is it a name of this host for itself: one that no site elsewhere can have. */
static bool proxy_host_known(const struct web_proxy *p, const char *head)
{
	char here[32], name[32];
	size_t n = 0;
	const char *host = proxy_header(head, "Host", &n);

	(void)snprintf(here, sizeof(here), "127.0.0.1:%u", p->port);
	(void)snprintf(name, sizeof(name), "localhost:%u", p->port);
	return proxy_is(host, n, here) || proxy_is(host, n, name);
}

/* Was it sent by a page of another site? Browsers say so. */
static bool proxy_foreign(const char *head)
{
	size_t n = 0, o = 0, h = 0;
	const char *site = proxy_header(head, "Sec-Fetch-Site", &n);
	const char *origin = proxy_header(head, "Origin", &o);
	const char *host = proxy_header(head, "Host", &h);

	if (site && !proxy_is(site, n, "same-origin") && !proxy_is(site, n, "none"))
		return true;
	return origin && !(o == h + 7 && strncasecmp(origin, "http://", 7) == 0 && host &&
			   strncasecmp(origin + 7, host, h) == 0);
}

/* ---- answers ------------------------------------------------------------------------- */

/* @more: further header lines, each with its end */
static void proxy_say(struct web_relay *r, const char *status, const char *more,
		      const char *text)
{
	int n = snprintf(
		r->down.data, sizeof(r->down.data),
		"HTTP/1.1 %s\r\nConnection: close\r\n%s"
		"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
		"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		status, more, strlen(text), text);

	r->down.n = n < 0 ? 0 : (size_t)n;
	r->down.ended = true;
	r->up.n = 0;
	r->up.ended = r->up.shut = true;
	r->deadline_ms = clock_mono_ms() + PROXY_HEAD_MS; /* to take it */
}

static void proxy_refuse(struct web_relay *r)
{
	proxy_say(r, "403 Forbidden", "",
		  "This address serves the browser that kanbanctl web opened, and nobody "
		  "else.\n");
}

static int proxy_connect(const struct web_proxy *p)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(p->socket) >= sizeof(a.sun_path)) {
		fs_closep(&fd);
		return -1;
	}
	memcpy(a.sun_path, p->socket, strlen(p->socket) + 1);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		fs_closep(&fd);
	return fd;
}

/* The request as the daemon gets it, in front of what came behind its head. */
static bool proxy_rewrite(struct web_relay *r, const char *head, const char *method,
			  int method_n, const char *path, int path_n, size_t head_n)
{
	static const char *const passed[] = { "Accept", "Content-Type", "Content-Length",
					      "Last-Event-ID" };
	char out[PROXY_HEAD];
	size_t rest = r->up.n - head_n, n;

	n = (size_t)snprintf(out, sizeof(out),
			     "%.*s /%.*s HTTP/1.1\r\nHost: kanband\r\nConnection: close\r\n",
			     method_n, method, path_n, path);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
		size_t len = 0;
		const char *value = proxy_header(head, passed[i], &len);

		if (value && n < sizeof(out))
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s: %.*s\r\n",
					      passed[i], (int)len, value);
	}
	if (n + 2 >= sizeof(out) || n + 2 + rest > sizeof(r->up.data))
		return false;
	memcpy(out + n, "\r\n", 2);
	n += 2;
	memmove(r->up.data + n, r->up.data + head_n, rest);
	memcpy(r->up.data, out, n);
	r->up.n = n + rest;
	return true;
}

/* "/" with the token: once. */
static void proxy_enter(struct web_proxy *p, struct web_relay *r, const char *token)
{
	char where[64 + PROXY_SECRET];

	if (p->used || !proxy_same(token, p->token)) {
		proxy_say(r, "403 Forbidden", "",
			  p->used ? "This address was used already, and works once. Run "
				    "kanbanctl "
				    "web again.\n"
				  : "That is not the token. Run kanbanctl web again.\n");
		return;
	}
	p->used = true;
	(void)snprintf(where, sizeof(where), "Location: /%s/\r\n", p->secret);
	proxy_say(r, "303 See Other", where, "");
}

/* The head is complete; @n bytes of it. */
static void proxy_judge(struct web_proxy *p, struct web_relay *r, size_t n)
{
	static const char enter[] = "/?token=";
	char head[PROXY_HEAD + 1];
	const char *method, *path;
	int method_n, path_n;

	memcpy(head, r->up.data, n);
	head[n] = '\0';
	r->deadline_ms = 0;
	method = head;
	method_n = (int)strcspn(head, " \r\n");
	path = head + method_n + (head[method_n] == ' ');
	path_n = (int)strcspn(path, " \r\n");
	if (memchr(head, '\0', n) || !proxy_host_known(p, head)) {
		proxy_refuse(r);
		return;
	}
	/* from the command line, a file or another program: a browser calls that cross-site */
	if (strncmp(path, enter, sizeof(enter) - 1) == 0) {
		proxy_enter(p, r, path + sizeof(enter) - 1);
		return;
	}
	if (path[0] != '/' || !proxy_same(path + 1, p->secret) ||
	    path[1 + PROXY_SECRET] != '/' || (proxy_foreign(head) && method[0] != 'G')) {
		proxy_refuse(r);
		return;
	}
	path += 2 + PROXY_SECRET;
	path_n -= 2 + PROXY_SECRET;
	if (!proxy_rewrite(r, head, method, method_n, path, path_n, n)) {
		proxy_say(r, "431 Request Header Fields Too Large", "", "");
		return;
	}
	r->daemon = proxy_connect(p);
	if (r->daemon < 0)
		proxy_say(r, "502 Bad Gateway", "", "kanband does not answer.\n");
}

/* ---- connections --------------------------------------------------------------------- */

static struct web_relay *relay_free(struct web_relay *r)
{
	if (!r)
		return NULL;
	fs_closep(&r->browser);
	fs_closep(&r->daemon);
	free(r);
	return NULL;
}

static void proxy_accept(struct web_proxy *p)
{
	int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct web_relay *r = NULL;

	for (size_t i = 0; fd >= 0 && i < PROXY_MAX && !r; i++) {
		if (p->relays[i])
			continue;
		r = p->relays[i] = calloc(1, sizeof(*r));
		if (!r)
			break;
		r->browser = fd;
		r->daemon = -1;
		r->deadline_ms = clock_mono_ms() + PROXY_HEAD_MS;
	}
	if (fd >= 0 && !r)
		(void)close(fd); /* one too many */
}

/* Take what comes. Return: false when the connection is of no use any more. */
static bool pipe_fill(struct web_pipe *pipe, int fd)
{
	ssize_t got;

	if (pipe->at > 0) {
		memmove(pipe->data, pipe->data + pipe->at, pipe->n - pipe->at);
		pipe->n -= pipe->at;
		pipe->at = 0;
	}
	got = recv(fd, pipe->data + pipe->n, sizeof(pipe->data) - pipe->n, 0);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	pipe->ended = got == 0;
	pipe->n += (size_t)got;
	return true;
}

static bool pipe_drain(struct web_pipe *pipe, int fd)
{
	ssize_t put = pipe->n > pipe->at ? send(fd, pipe->data + pipe->at, pipe->n - pipe->at,
						MSG_NOSIGNAL)
					 : 0;

	if (put < 0)
		return errno == EAGAIN || errno == EINTR;
	pipe->at += (size_t)put;
	if (pipe->ended && pipe->at == pipe->n && !pipe->shut) {
		pipe->shut = true;
		(void)shutdown(fd, SHUT_WR); /* it is closed soon anyway */
	}
	return true;
}

static bool pipe_has(const struct web_pipe *pipe)
{
	return pipe->n > pipe->at || (pipe->ended && !pipe->shut);
}

static bool pipe_room(const struct web_pipe *pipe)
{
	return !pipe->ended && pipe->n - pipe->at < PROXY_CHUNK;
}

/* Is the head there? Return: false: it never will be. */
static bool relay_head(struct web_proxy *p, struct web_relay *r)
{
	const char *end = memmem(r->up.data, r->up.n, "\r\n\r\n", 4);

	if (r->daemon >= 0 || !r->deadline_ms || r->down.n > 0)
		return true;
	if (end && end + 4 - r->up.data <= PROXY_HEAD)
		proxy_judge(p, r, (size_t)(end + 4 - r->up.data));
	else if (end || r->up.n > PROXY_HEAD || r->up.ended)
		return false;
	return true;
}

/* What poll(2) said of both sides. Return: false: it is over. */
static bool relay_turn(struct web_proxy *p, struct web_relay *r, short browser, short daemon)
{
	bool ok = true;

	if (browser & (POLLERR | POLLNVAL) || daemon & POLLNVAL)
		return false;
	if (browser & (POLLIN | POLLHUP) && pipe_room(&r->up))
		ok = pipe_fill(&r->up, r->browser) && relay_head(p, r);
	if (ok && daemon & (POLLIN | POLLHUP | POLLERR) && pipe_room(&r->down))
		ok = pipe_fill(&r->down, r->daemon);
	if (ok && r->daemon >= 0 && pipe_has(&r->up))
		ok = pipe_drain(&r->up, r->daemon);
	if (ok && pipe_has(&r->down))
		ok = pipe_drain(&r->down, r->browser);
	/* a browser that closed its side has gone: it needs no half of an answer */
	if (r->up.ended && r->daemon >= 0)
		return false;
	return ok && !(r->down.ended && r->down.at == r->down.n);
}

static short relay_events(const struct web_pipe *in, const struct web_pipe *out)
{
	return (short)((pipe_room(in) ? POLLIN : 0) | (pipe_has(out) ? POLLOUT : 0));
}

/* A side that nothing is wanted of is not watched: its end would be told again and again. */
static struct pollfd relay_watch(int fd, short events)
{
	return (struct pollfd){ .fd = events ? fd : -1, .events = events };
}

/* ---- the loop ------------------------------------------------------------------------ */

/* Milliseconds to the nearest deadline; who is past it is dropped. */
static int proxy_wait(struct web_proxy *p)
{
	uint64_t now = clock_mono_ms(), next = UINT64_MAX;

	for (size_t i = 0; i < PROXY_MAX; i++) {
		struct web_relay *r = p->relays[i];

		if (r && r->deadline_ms && r->deadline_ms <= now)
			r = p->relays[i] = relay_free(r);
		if (r && r->deadline_ms && r->deadline_ms < next)
			next = r->deadline_ms;
	}
	return next == UINT64_MAX ? -1 : (int)(next - now) + 1;
}

int web_proxy_run(struct web_proxy *p, int stop)
{
	struct pollfd fds[2 + 2 * PROXY_MAX];

	for (;;) {
		int wait = proxy_wait(p);

		fds[0] = (struct pollfd){ .fd = stop, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = p->listener, .events = POLLIN };
		for (size_t i = 0; i < PROXY_MAX; i++) {
			const struct web_relay *r = p->relays[i];
			struct pollfd *at = &fds[2 + 2 * i];

			at[0] = at[1] = (struct pollfd){ .fd = -1 };
			if (!r)
				continue;
			at[0] = relay_watch(r->browser, relay_events(&r->up, &r->down));
			at[1] = relay_watch(r->daemon, relay_events(&r->down, &r->up));
		}
		if (poll(fds, sizeof(fds) / sizeof(fds[0]), wait) < 0 && errno != EINTR)
			return -errno;
		if (fds[0].revents)
			return 0;
		for (size_t i = 0; i < PROXY_MAX; i++)
			if (p->relays[i] && !relay_turn(p, p->relays[i], fds[2 + 2 * i].revents,
							fds[3 + 2 * i].revents))
				p->relays[i] = relay_free(p->relays[i]);
		if (fds[1].revents)
			proxy_accept(p);
	}
}

/* ---- opening ------------------------------------------------------------------------- */

static int proxy_listen(struct web_proxy *p, uint16_t port, struct error *e)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);

	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listener < 0 || bind(p->listener, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(p->listener, PROXY_MAX) < 0 ||
	    getsockname(p->listener, (struct sockaddr *)&a, &len) < 0)
		return error_errno(e, -errno, "cannot listen on 127.0.0.1, port %u", port);
	p->port = ntohs(a.sin_port);
	return 0;
}

int web_proxy_new(struct web_proxy **out, const char *socket, uint16_t port, struct error *e)
{
	CLEANUP(web_proxy_freep) struct web_proxy *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return error_set(e, -ENOMEM, "out of memory");
	p->listener = -1;
	p->socket = socket;
	r = proxy_listen(p, port, e);
	if (r < 0)
		return r;
	if (proxy_secret(p->token) < 0 || proxy_secret(p->secret) < 0)
		return error_set(e, -EIO, "the kernel gives no random numbers");
	(void)snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%u/?token=%s", p->port,
		       p->token);
	*out = STEAL(p);
	return 0;
}

struct web_proxy *web_proxy_free(struct web_proxy *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < PROXY_MAX; i++)
		p->relays[i] = relay_free(p->relays[i]);
	fs_closep(&p->listener);
	free(p);
	return NULL;
}

const char *web_proxy_url(const struct web_proxy *p)
{
	return p->url;
}
