/*
 * The other end of the control socket: HTTP on a Unix socket, by libcurl. What comes back is
 * not trusted: it is bounded, parsed as JSON, and made printable where it is printed. Which
 * socket that is, client_find.h knows.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

struct ctl;
struct client;

/* An answer. */
struct reply {
	int status;   /* of HTTP; 0 before one came */
	char *text;   /* the body, NUL-terminated */
	size_t len;   /* … */
	json_t *json; /* the body if it is JSON, else NULL */
};

void client_reply_deinit(struct reply *reply);

/**
 * client_new() - for the daemon that listens at @socket, about @root
 * Return: 0; -ELIBACC no libcurl; -ENOMEM.
 */
MUST_CHECK int client_new(const struct ctl *ctl, const char *root, const char *socket,
			  struct client **out, struct error *e);
struct client *client_free(struct client *client);
DEFINE_FREEP(struct client, client_free)

/**
 * client_request() - one request; what it comes to is not told
 * @limit_ms: 0: as long as it takes
 * Return: 0 and an answer of any status; -ECONNREFUSED; -ETIMEDOUT; -ENOMEM; -EIO.
 */
MUST_CHECK int client_request(struct client *client, const char *method, const char *path,
			      json_t *body, long limit_ms, struct reply *reply,
			      struct error *e);

/** client_root() - the root as the daemon names it, borrowed */
const char *client_root(const struct client *client);

/** client_socket() - its path, borrowed */
const char *client_socket(const struct client *client);

/**
 * client_call() - one request, one answer of 2xx
 * @method: "GET" or "POST"; @path: of client_path() (given away, NULL: out of memory)
 * @body: given away, or NULL for none
 * A wait of more than a second is shown on a terminal.
 * Return: 0 and @reply with JSON; an exit code after telling why, by the problem that came.
 */
MUST_CHECK int client_call(struct client *client, const char *method, char *path, json_t *body,
			   struct reply *reply);

/** client_quiet() - a GET that tells nothing. @path: given away
 * Return: 0 and JSON of a 2xx; a negative value otherwise. */
MUST_CHECK int client_quiet(struct client *client, char *path, struct reply *reply);

/** client_text() - client_call() of an answer that is no JSON */
MUST_CHECK int client_text(struct client *client, char *path, struct reply *reply);

/** client_path() - "/v1/…" with `root=` of the client and further parameters
 * @query: "a=b&c=d" or NULL. malloc'd; NULL when out of memory */
MUST_CHECK char *client_path(const struct client *client, const char *query, const char *fmt,
			     ...) PRINTF(3, 4);

/** client_escape() - @text as one step of a path. malloc'd; NULL when out of memory */
MUST_CHECK char *client_escape(const struct client *client, const char *text);

/* One event of the stream. All borrowed for the call. Return: 0, or an exit code to end. */
typedef int (*client_event_fn)(void *arg, const char *id, const char *kind, json_t *event);

/* What the end of a stream was. */
enum client_end {
	CLIENT_END_CLOSED, /* the daemon ended it, or went away */
	CLIENT_END_ASKED,  /* @event or @tick said so */
	CLIENT_END_FAILED, /* refused; told */
};

/**
 * client_stream() - follow GET /v1/events
 * @since: id to go on from, or NULL
 * @tick: called at least once a second and after each signal, or NULL; not 0 ends
 * @exit: out, for CLIENT_END_ASKED and _FAILED
 */
enum client_end client_stream(struct client *client, const char *since, client_event_fn event,
			      int (*tick)(void *arg), void *arg, int *exit);

/** client_problem() - the exit code for a problem+json, and its sentence into @e */
int client_problem(const struct reply *reply, struct error *e);
