/* What the files of the control API share. */
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
#include "control/route.h"
#include "root/dispatch.h"
#include "root/observer.h"
#include "util/job.h"
#include "util/log.h"

struct stream;
struct survey;
struct counted;
struct request;

#define TASK_ID_MAX         128   /* bytes of a task's id in a path */
#define CONTROL_BODY_MAX    65536 /* bytes of a request's body */
#define CONTROL_MEMORY      20480 /* of a connection: 16 KiB of headers and the rest */
#define CONTROL_SEND_MS     10000 /* to send a request in */
#define CONTROL_IDLE_MS     30000 /* between two requests */
#define CONTROL_TAKE_MS     60000 /* to take an answer */
#define CONTROL_ALIVE_MS    15000 /* between two comments in a stream */
#define CONTROL_SLOW_MS     30000 /* that a stream's reader may take nothing */
#define CONTROL_PATIENCE_MS 2000  /* that who comes before control_serve() waits at most */
#define CONTROL_LISTED_MS   500   /* … and after it, for the boards to be listed */
#define CONTROL_RETRY_MS    200   /* after accept(2) ran out of descriptors */
#define CONTROL_ACCEPT_MAX  32    /* connections taken in one turn of the loop */

/* Where connections come in. */
struct acceptor {
	struct control *control;
	struct listener listener;
	uv_poll_t accept; /* on the listener */
	bool scrape;      /* serves what `struct route` calls a probe, and nothing else */
};

/* One connection. */
struct client {
	struct client *next;
	struct control *control;
	struct peer peer;
	int fd;          /* libmicrohttpd's; valid while it has begun and we are in the list */
	bool started;    /* libmicrohttpd has begun with it */
	bool idle;       /* between two requests */
	bool scrape;     /* came in by such an acceptor */
	bool nul;        /* its address has a NUL: it would be read short */
	const char *uri; /* of the request that begins, in libmicrohttpd's memory … */
	size_t n_uri;    /* … up to its first NUL */
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
	char task[TASK_ID_MAX + 1];
	char *body;
	size_t n_body;
	bool too_large;
	bool no_memory; /* for the body */
	json_t *args;   /* the parsed body, an object */
	bool complete;  /* everything was received */
	bool suspended;
	unsigned status; /* of @response */
	struct MHD_Response *response;
	struct stream *stream; /* of /v1/events */
	/* of who works on the answer: */
	void *work;
	void (*gone)(struct request *req);    /* nobody waits for it any more; may be NULL */
	void (*expired)(struct request *req); /* client->deadline_ms came; must answer */
	void (*end)(struct request *req);     /* it is over, answered or not; may be NULL */
};

struct control {
	struct control_env env;
	/* who answers: with the headers alone if that is possible, or with everything there */
	void (*begin)(struct request *req, const char *method, const char *url);
	void (*run)(struct request *req);
	void (*free)(struct control *c); /* closed, and nothing uses it any more */
	struct acceptor acceptors[2];    /* the first one is the control socket */
	size_t n_acceptors;
	uv_timer_t again; /* accept again */
	struct mhd mhd;
	struct MHD_Daemon *daemon; /* NULL until somebody connects */
	uv_poll_t poll;            /* on the daemon's epoll descriptor */
	uv_timer_t timer;          /* the next deadline */
	struct client *clients;
	unsigned n_clients, n_others;
	struct request *requests;
	/* events */
	struct observer told; /* we look on */
	struct log_hook log;  /* … and read along */
	struct event_ring events;
	struct stream *streams;
	uv_timer_t alive; /* comments; while there are streams */
	/* looks at files */
	struct survey *surveys; /* the first one is running */
	struct counted *counted;
	size_t n_counted;
	int64_t drain_at; /* Unix seconds */
	int64_t started_at;
	uint64_t started_ms;
	uint64_t n_requests[6]; /* by hundreds of the status */
	uint64_t n_refused;     /* connections */
	unsigned operations;    /* of ours that run or wait */
	unsigned handles;       /* of libuv, open */
	bool accept_told;       /* that it is out of descriptors was logged */
	bool mhd_told;          /* that there is no libmicrohttpd was */
	bool known;             /* every root knows its role */
	bool serving;           /* … and the boards of those that are ours are listed */
	bool in_turn;           /* libmicrohttpd is at work */
	bool woken;             /* a request can go on */
	bool copying;           /* backups.c looks at what can be restored from */
	bool draining;          /* nothing is claimed, by request */
	bool stopping, closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- server.c ---- */
void server_open(struct control *c);
/** server_start() - have libmicrohttpd at work, if it is not. Return: 0 or -errno. */
MUST_CHECK int server_start(struct control *c, struct error *e);
/** server_take() - serve @k, taken over, whose fd and peer are filled */
void server_take(struct control *c, struct client *k);
/** server_forget() - drop who had @fd and was never begun with */
void server_forget(struct control *c, int fd);
/** server_turn() - let libmicrohttpd work */
void server_turn(struct control *c);
void server_shut(struct control *c);
/** server_closed() - a close callback: one of the control's handles is gone */
void server_closed(uv_handle_t *h);
/** server_wake() - @req can go on (it has its answer, or its stream has something to say) */
void server_wake(struct request *req);
/** server_suspend() - it waits for its answer or for something to say */
void server_suspend(struct request *req);
/** server_deadline() - @req's client is cut off, or @req expires, in @in_ms; 0: never */
void server_deadline(struct request *req, uint64_t in_ms);
/** server_try_free() - closing: is nothing left that uses the control */
void server_try_free(struct control *c);

/* ---- accept.c ---- */
/** accept_open() - one more, @listener taken over with success. Return: 0 or -errno. */
MUST_CHECK int accept_open(struct control *c, const struct listener *listener, bool scrape);
/** accept_wait() - take connections when accept_serve() says so, or after @most_ms
 */
void accept_wait(struct control *c, uint64_t most_ms);
void accept_serve(struct control *c);
void accept_shut(struct control *c);

/* ---- reply.c: each answers once and wakes a request that waits ---- */
/** reply_json() - @json is taken over, NULL: out of memory */
void reply_json(struct request *req, unsigned status, json_t *json);
/** reply_text() - @text is malloc'd and taken over, NULL: out of memory */
void reply_text(struct request *req, unsigned status, const char *type, char *text, size_t len);
/** reply_problem() - @kind as in conf/openapi.yaml; @remedy may be NULL; @more (taken over) is
 * an object with further members, or NULL */
void reply_problem(struct request *req, unsigned status, const char *kind, const char *remedy,
		   json_t *more, const char *fmt, ...) PRINTF(6, 7);
/** reply_header() - one more header of the answer that was given */
void reply_header(struct request *req, const char *name, const char *value);
/** reply_response() - made already, or NULL: out of memory; taken over */
void reply_response(struct request *req, unsigned status, struct MHD_Response *response);

/* ---- route.c ---- */
/** route_begin() - the headers are there: answer what can be answered by them alone */
void route_begin(struct request *req, const char *method, const char *url);
/** route_run() - everything is there */
void route_run(struct request *req);

/* ---- params.c: what a request says; bool: false when it has answered ---- */
const char *params_query(const struct request *req, const char *name);
MUST_CHECK bool params_yes(struct request *req, const char *name, bool *yes);
MUST_CHECK bool params_bool(struct request *req, const char *name, bool *value);
MUST_CHECK bool params_text(struct request *req, const char *name, const char **value);
MUST_CHECK bool params_int(struct request *req, const char *name, int64_t max, int64_t *value);
/** params_number() - of the query, 0 … @max */
MUST_CHECK bool params_number(struct request *req, const char *name, int64_t max,
			      int64_t *value);
/** params_root() - *root NULL: not asked for one */
MUST_CHECK bool params_root(struct request *req, const struct root **root);
/** params_board() - the board of the path, of an owned root */
MUST_CHECK bool params_board(struct request *req, struct dispatch **d);
/** params_not_owner() - answer 409 for @root */
void params_not_owner(struct request *req, const struct root *root);

/* ---- resource.c: JSON from memory; NULL is out of memory ---- */
json_t *resource_held(const char *by, int64_t since);
json_t *resource_board(const struct dispatch *d);
void resource_status(struct request *req);
void resource_boards(struct request *req);
void resource_one(struct request *req);
void resource_leader(struct request *req);
void resource_notify(struct request *req);

/* ---- worker_list.c ---- */
void worker_list(struct request *req);

/* ---- tasks.c ---- */
void tasks_list(struct request *req);
void tasks_activity(struct request *req);
void tasks_one(struct request *req);
void tasks_log(struct request *req);
void tasks_why(struct request *req);

/* ---- web_page.c ---- */
void web_page_get(struct request *req);

/* ---- metrics.c ---- */
void metrics_get(struct request *req);

/* ---- probe.c ---- */
void probe_live(struct request *req);
void probe_ready(struct request *req);

/* ---- start_request.c ---- */
void start_request(struct request *req);

/* ---- action.c, mend_request.c ---- */
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
/* change.c: POST /v1/boards/{slug}/change and …/gc */
void change_do_add(struct request *req);
void change_do_task(struct request *req);
void change_do_retry(struct request *req);
void change_do_gc(struct request *req);

void mend_request_check(struct request *req);
void mend_request_repair(struct request *req);
void mend_request_restore(struct request *req);
void mend_request_accept(struct request *req);
void mend_request_snapshot(struct request *req);

/* ---- handover.c ---- */
void handover_post(struct request *req);

/* ---- backups.c ---- */
void backups_get(struct request *req);

/* ---- past.c ---- */
/** past_get() - find what happened from @since (Unix seconds) on, also before this process, and
 * have @reply answer with it: @past, taken over, NULL: out of memory; @gap: something is
 * missing before it */
typedef void (*past_reply)(struct request *req, json_t *past, bool gap);
void past_get(struct request *req, int64_t since, past_reply reply);

/* ---- stream.c ---- */
void stream_get(struct request *req);
size_t stream_count(const struct control *c);
/** stream_news() - there are events */
void stream_news(struct control *c);
/** stream_end_all() - the daemon ends */
void stream_end_all(struct control *c);
