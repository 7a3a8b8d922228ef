#include "web.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WEB_MS 20000

const char *web_socket_of(unsigned n)
{
	char *path = NULL;

	/* a daemon's files are numbered by the rig; its socket is control.NUMBER */
	for (unsigned i = 1; i <= rig.runs; i++) {
		path = rig_path(rig_printf("err.%u", i));
		if (rig_exists(rig_path(rig_printf("notify.%u", i))) && n-- == 0)
			return rig_path(rig_printf("control.%u", i));
	}
	ck_abort_msg("there is no such daemon");
	return path;
}

const char *web_socket(void)
{
	for (unsigned i = rig.runs; i > 0; i--)
		if (rig_exists(rig_path(rig_printf("notify.%u", i))))
			return rig_path(rig_printf("control.%u", i));
	ck_abort_msg("there is no daemon");
	return NULL;
}

int web_try_open(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_lt(strlen(path), sizeof(a.sun_path));
	strcpy(a.sun_path, path);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

int web_open(const char *path)
{
	int fd = web_try_open(path);

	ck_assert_msg(fd >= 0, "cannot connect to %s: %s", path, strerror(errno));
	return fd;
}

bool web_try_send(int fd, const void *data, size_t n)
{
	while (n > 0) {
		ssize_t w = send(fd, data, n, MSG_NOSIGNAL);

		if (w <= 0)
			return false;
		data = (const char *)data + w;
		n -= (size_t)w;
	}
	return true;
}

void web_send(int fd, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	ck_assert_int_ge(n, 0);
	ck_assert(web_try_send(fd, text, (size_t)n));
	free(text);
}

/* Append what comes; false: closed, or nothing came in time. */
static bool web_more(int fd, char **data, size_t *n, int64_t until_us, bool *late)
{
	int64_t left = (until_us - rig_mono_us()) / 1000;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t got;

	*late = left <= 0 || poll(&p, 1, (int)left) == 0;
	if (*late)
		return false;
	*data = realloc(*data, *n + 65537);
	ck_assert_ptr_nonnull(*data);
	got = recv(fd, *data + *n, 65536, 0);
	if (got <= 0)
		return false;
	*n += (size_t)got;
	(*data)[*n] = '\0';
	return true;
}

unsigned web_count(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text++)
		n++;
	return n;
}

char *web_read_on(int fd, const char *so_far, const char *part, unsigned times, int ms)
{
	const int64_t until = rig_mono_us() + rig_patience_us(ms);
	char *data = strdup(so_far);
	size_t n = strlen(so_far);
	bool late = false;

	ck_assert_ptr_nonnull(data);
	while (!(part && web_count(data, part) >= times) &&
	       web_more(fd, &data, &n, until, &late))
		;
	ck_assert_msg(!part || web_count(data, part) >= times,
		      "%s while waiting for %s; so far:\n%s", late ? "too late" : "closed",
		      part, data);
	ck_assert_msg(part || !late, "not closed within %d ms; so far:\n%s", ms, data);
	return rig_keep(data);
}

char *web_read(int fd, const char *part, int ms)
{
	return web_read_on(fd, "", part, 1, ms);
}

bool web_closed(int fd, int ms)
{
	const int64_t until = rig_mono_us() + rig_patience_us(ms);
	char *data = NULL;
	size_t n = 0;
	bool late = false;

	while (web_more(fd, &data, &n, until, &late))
		;
	free(data);
	return !late;
}

static size_t web_dechunk(char *body, size_t n)
{
	size_t in = 0, out = 0;

	while (in < n) {
		char *end;
		size_t size = strtoul(body + in, &end, 16);

		in = (size_t)(end - body) + 2;
		if (size == 0 || in + size > n)
			break;
		memmove(body + out, body + in, size);
		out += size;
		in += size + 2;
	}
	body[out] = '\0';
	return out;
}

struct web_answer *web_answer(const char *text, size_t n)
{
	struct web_answer *a = rig_keep(calloc(1, sizeof(*a)));
	const char *blank = strstr(text, "\r\n\r\n");

	if (!blank)
		return a;
	ck_assert_int_eq(sscanf(text, "HTTP/1.1 %d ", &a->status), 1);
	a->head = rig_printf("%.*s", (int)(blank + 2 - text), text);
	a->n = n - (size_t)(blank + 4 - text);
	a->body = rig_keep(calloc(1, a->n + 1));
	memcpy(a->body, blank + 4, a->n);
	if (strcasestr(a->head, "Transfer-Encoding: chunked"))
		a->n = web_dechunk(a->body, a->n);
	if (strcasestr(a->head, "json"))
		a->json = rig_json(a->body);
	return a;
}

struct web_answer *web_ask(const char *path, const char *method, const char *url,
			   const char *body)
{
	int fd = web_open(path);
	char *text;

	web_send(fd, "%s %s HTTP/1.1\r\nHost: kanband\r\nConnection: close\r\n", method, url);
	if (body)
		web_send(fd, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
			 strlen(body));
	web_send(fd, "\r\n");
	if (body) /* it may be refused, and the connection closed, before all of it was read */
		(void)web_try_send(fd, body, strlen(body));
	text = web_read(fd, NULL, WEB_MS);
	(void)close(fd);
	return web_answer(text, strlen(text));
}

struct rig_daemon *web_start(void)
{
	struct rig_daemon *d = rig_start();

	RIG_UNTIL(web_get("/v1/boards/default")->status == 200, 10000);
	return d;
}

json_t *web_json(struct web_answer *a, int status)
{
	ck_assert_msg(a->status == status, "%d instead of %d: %s", a->status, status,
		      a->body ? a->body : "(nothing)");
	ck_assert_ptr_nonnull(a->json);
	return a->json;
}

const char *web_problem(struct web_answer *a, int status, const char *kind)
{
	json_t *p = web_json(a, status);

	ck_assert_msg(strstr(a->head, "Content-Type: application/problem+json") != NULL, "%s",
		      a->head);
	ck_assert_str_eq(web_text(p, "type"), rig_printf("urn:kanband:problem:%s", kind));
	ck_assert_int_eq(web_int(p, "status"), status);
	ck_assert_ptr_nonnull(web_text(p, "title"));
	ck_assert(json_is_null(web_member(p, "remedy")) ||
		  json_is_string(web_member(p, "remedy")));
	ck_assert_uint_gt(strlen(web_text(p, "detail")), 0);
	return web_text(p, "detail");
}

bool web_true(json_t *json, const char *path)
{
	const json_t *value = web_member(json, path);

	ck_assert(json_is_boolean(value));
	return json_is_true(value);
}

json_t *web_member(json_t *json, const char *path)
{
	char *copy = rig_printf("%s", path), *name;

	while ((name = strsep(&copy, "."))) {
		json = isdigit((unsigned char)name[0])
			       ? json_array_get(json, (size_t)atoi(name))
			       : json_object_get(json, name);
		ck_assert_msg(json != NULL, "no %s in %s", name, path);
	}
	return json;
}
