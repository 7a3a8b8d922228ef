/* Inside of control/ only. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "board/discover.h"
#include "control/control.h"
#include "control/event_ring.h"
#include "control/listen.h"
#include "control/mhd.h"
#include "control/peer.h"
#include "root/dispatch.h"
#include "util/job.h"

struct stream;
struct look;
struct counted;
struct request;

#define CONTROL_BODY_MAX    65536 /* bytes of a request's body */
#define CONTROL_MEMORY      20480 /* of a connection: 16 KiB of headers and the rest */
#define CONTROL_SEND_MS     10000 /* to send a request in */
#define CONTROL_IDLE_MS     30000 /* between two requests */
#define CONTROL_TAKE_MS     60000 /* to take an answer */
#define CONTROL_ALIVE_MS    15000 /* between two comments in a stream */
#define CONTROL_SLOW_MS     30000 /* that a stream's reader may take nothing */
#define CONTROL_PATIENCE_MS 2000  /* that who comes before control_serve() waits at most */
#define CONTROL_RETRY_MS    200   /* after accept(2) ran out of descriptors */
#define CONTROL_ACCEPT_MAX  32    /* connections taken in one turn of the loop */

/* One path with one method. */
struct route {
	const char *method;
	const char *path;                 /* "{slug}" stands for a board */
	void (*run)(struct request *req); /* with everything there; answers now or later */
	const char *const *query;         /* what may stand behind "?", NULL-terminated */
	const char *const *members;       /* of the body; NULL: no body is taken */
};

/* One connection. */
struct client {
	struct client *next;
	struct control *control;
	struct peer peer;
	int fd;               /* libmicrohttpd's; valid while we are in the list */
	bool idle;            /* between two requests */
	uint64_t deadline_ms; /* uv_now() when it is cut off, or its request expires; 0 never */
	struct request *request;
};

/* One request, from its headers to its answer. */
struct request {
	struct request *prev, *next; /* in the control's list */
	struct control *control;
	struct client *client;
	struct MHD_Connection *conn;
	const struct route *route; /* NULL: answered without one */
	char slug[BOARD_SLUG_MAX + 1];
	char *body;
	size_t n_body;
	bool too_large;
	json_t *args;  /* the parsed body, an object */
	bool complete; /* everything was received */
	bool suspended;
	unsigned status; /* of @response */
	struct MHD_Response *response;
	struct stream *stream; /* of /v1/events */
	/* of who works on the answer: */
	void *work;
	void (*gone)(struct request *req);    /* nobody waits for it any more; may be NULL */
	void (*expired)(struct request *req); /* client->deadline_ms came; must answer */
};

struct control {
	struct control_env env;
	struct listener listener;
	uv_poll_t accept; /* on the listener */
	uv_timer_t again; /* accept again */
	struct mhd mhd;
	struct MHD_Daemon *daemon; /* NULL until somebody connects */
	uv_poll_t poll;            /* on the daemon's epoll descriptor */
	uv_timer_t timer;          /* the next deadline */
	struct client *clients;
	unsigned n_clients, n_others;
	struct client *accepting; /* being handed to the daemon */
	struct request *requests;
	/* events */
	struct events events;
	struct stream *streams;
	uv_timer_t alive; /* comments; while there are streams */
	/* looks at files */
	struct look *looks; /* the first one is running */
	struct counted *counted;
	size_t n_counted;
	int64_t drain_at; /* Unix seconds */
	int64_t started_at;
	uint64_t started_ms;
	uint64_t n_requests[6]; /* by hundreds of the status */
	uint64_t n_refused;     /* connections */
	unsigned errands;       /* of ours that run or wait */
	unsigned handles;       /* of libuv, open */
	bool accept_told;       /* that it is out of descriptors was logged */
	bool mhd_told;          /* that there is no libmicrohttpd was */
	bool in_turn;           /* libmicrohttpd is at work */
	bool woken;             /* a request can go on */
	bool copying;           /* copies.c looks at what can be restored from */
	bool draining;          /* nothing is claimed, by request */
	bool stopping, closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- server.c ------------------------------------------------------------------------------
 */
MUST_CHECK int server_open(struct control *c);
void server_serve(struct control *c); /* take connections from now on */
void server_shut(struct control *c);
/** server_wake() - @req can go on (it has its answer, or its stream has something to say) */
void server_wake(struct request *req);
/** server_suspend() - it waits for its answer or for something to say */
void server_suspend(struct request *req);
/** server_deadline() - @req's client is cut off, or @req expires, in @in_ms; 0: never */
void server_deadline(struct request *req, uint64_t in_ms);
/** control_try_free() - closing: is nothing left that uses the control */
void control_try_free(struct control *c);

/* ---- reply.c -------------------------------------------------------------------------------
 * Each answers once and wakes a request that waits. */
/** reply_json() - @json is taken over, NULL: out of memory */
void reply_json(struct request *req, unsigned status, json_t *json);
/** reply_text() - @text is malloc'd and taken over, NULL: out of memory */
void reply_text(struct request *req, unsigned status, const char *type, char *text, size_t len);
/** reply_string() - a text or a path for an answer, repaired where it is no UTF-8; NULL, and
 * with
 * @or_null also "", is null. NULL: out of memory */
json_t *reply_string(const char *text, bool or_null);
/** reply_problem() - @kind as in conf/openapi.yaml; @remedy may be NULL; @more (taken over) is
 * an object with further members, or NULL */
void reply_problem(struct request *req, unsigned status, const char *kind, const char *remedy,
		   json_t *more, const char *fmt, ...) PRINTF(6, 7);
/** reply_response() - made already, or NULL: out of memory; taken over */
void reply_response(struct request *req, unsigned status, struct MHD_Response *response);

/* ---- route.c -------------------------------------------------------------------------------
 */
/** route_at() - the @i-th of all, NULL behind the last */
const struct route *route_at(size_t i);
/** route_begin() - the headers are there: answer what can be answered by them alone */
void route_begin(struct request *req, const char *method, const char *url);
/** route_run() - everything is there */
void route_run(struct request *req);

/* ---- ask.c: what a request says ------------------------------------------------------------
 * The ones that return bool have answered when they return false. */
const char *ask_query(const struct request *req, const char *name);
MUST_CHECK bool ask_yes(struct request *req, const char *name, bool *yes);
MUST_CHECK bool ask_bool(struct request *req, const char *name, bool *value);
MUST_CHECK bool ask_text(struct request *req, const char *name, const char **value);
MUST_CHECK bool ask_int(struct request *req, const char *name, int64_t max, int64_t *value);
/** ask_root() - *root NULL: not asked for one */
MUST_CHECK bool ask_root(struct request *req, const struct root **root);
/** ask_board() - the board of the path, of an owned root */
MUST_CHECK bool ask_board(struct request *req, struct dispatch **d);
/** ask_not_owner() - answer 409 for @root */
void ask_not_owner(struct request *req, const struct root *root);

/* ---- view.c: JSON from memory; NULL is out of memory ---------------------------------------
 */
json_t *view_held(const char *by, int64_t since);
json_t *view_board(const struct dispatch *d);
json_t *view_leader_of(const struct look *look, const struct root *root);
json_t *view_root(const struct root *root, const struct look *look);
void view_status(struct request *req);
void view_boards(struct request *req);
void view_one(struct request *req);
void view_workers(struct request *req);
void view_leader(struct request *req);
void view_notify(struct request *req);

/* ---- metrics.c ----------------------------------------------------------------------------
 */
void metrics_get(struct request *req);
int64_t metrics_rss(void); /* bytes, 0 unknown */

/* ---- action.c, mend.c ---------------------------------------------------------------------
 */
void action_tick(struct request *req);
void action_tick_all(struct request *req);
void action_pause(struct request *req);
void action_resume(struct request *req);
void action_drain(struct request *req);
void action_resume_all(struct request *req);
void action_reload(struct request *req);
void action_retry(struct request *req);
/** action_changed() - has somebody waited for this */
void action_changed(struct control *c);
/** action_await() - answer with the board when its next visit is over */
void action_await(struct request *req, struct dispatch *d);
void mend_do_check(struct request *req);
void mend_do_repair(struct request *req);
void mend_do_restore(struct request *req);
void mend_do_accept(struct request *req);
void mend_do_snapshot(struct request *req);

/* ---- copies.c -----------------------------------------------------------------------------
 */
void copies_get(struct request *req);

/* ---- stream.c -----------------------------------------------------------------------------
 */
void stream_get(struct request *req);
size_t stream_count(const struct control *c);
/** stream_free() - the request is over */
void stream_free(struct stream *s);
/** stream_news() - there are events */
void stream_news(struct control *c);
/** stream_end_all() - the daemon ends */
void stream_end_all(struct control *c);
