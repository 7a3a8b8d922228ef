/*
 * A client of the control API that can also misbehave: HTTP over a Unix socket, by hand. For
 * the black-box tests; everything belongs to the rig. The well-behaved client in these tests is
 * curl.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rig.h"
#include "util/error.h"

struct web_answer {
	int status; /* 0: none, the connection was closed */
	char *head; /* status line and headers */
	char *body; /* chunks put together */
	size_t n;
	json_t *json; /* of the body, or NULL */
};

/** web_socket() - the control socket of the newest daemon */
const char *web_socket(void);
/** web_socket_of() - of the @n-th daemon of this case, from 0 in the order of their starts */
const char *web_socket_of(unsigned n);

int web_open(const char *socket);     /* connect; a descriptor */
int web_try_open(const char *socket); /* -1: nobody listens */
void web_send(int fd, const char *fmt, ...) PRINTF(2, 3);
bool web_try_send(int fd, const void *data, size_t n); /* false: closed */
/** web_read() - until @part is in what came (NULL: until it is closed), at most @ms; everything
 * that came by then */
char *web_read(int fd, const char *part, int ms);
/** web_read_on() - go on behind @so_far, which may end in the midst of a @part, until it is
 * there
 * @times, all in all */
char *web_read_on(int fd, const char *so_far, const char *part, unsigned times, int ms);
unsigned web_count(const char *text, const char *part);
bool web_closed(int fd, int ms); /* closed by the other side within @ms */

/** web_ask() - one request on a connection of its own. @body NULL: none */
struct web_answer *web_ask(const char *socket, const char *method, const char *path,
			   const char *body);
#define web_get(path)        web_ask(web_socket(), "GET", path, NULL)
#define web_post(path, body) web_ask(web_socket(), "POST", path, body)

/** web_start() - rig_start(), and the boards are listed: READY does not wait for that */
struct rig_daemon *web_start(void);

/** web_answer() - an answer from the text of it */
struct web_answer *web_answer(const char *text, size_t n);

/** web_json() - of an answer with @status; fails otherwise */
json_t *web_json(struct web_answer *a, int status);

/** web_problem() - fails unless it is that problem, well-formed. Return: its detail */
const char *web_problem(struct web_answer *a, int status, const char *kind);

/** web_member() - "roots.0.boards.1.slug" of @json; fails where there is none */
json_t *web_member(json_t *json, const char *path);
#define web_text(json, path) json_string_value(web_member(json, path))
#define web_int(json, path)  json_integer_value(web_member(json, path))
bool web_true(json_t *json, const char *path);
