/*
 * The control API: HTTP with JSON on a Unix socket. conf/openapi.yaml says what is served.
 * Everything here is on the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "hook/hook.h"
#include "hook/offsite.h"
#include "root/root.h"
#include "util/error.h"

struct control;
struct leader;

/* What the daemon lends. All borrowed until control_close() is done. */
struct control_env {
	struct root_env *root_env; /* held is the control's */
	struct root *const *roots; /* filled after control_open() … */
	const size_t *n_roots;     /* … and shorter than they will be until then */
	const bool *stopping;
	const char *unit;                      /* systemd unit, "" if none */
	int listen_fd;                         /* activated: taken over; else -1 */
	int metrics_fd;                        /* … of kanband-metrics.socket */
	const char *path;                      /* where to make the socket, else */
	const char *(*sentence)(void *arg);    /* what the service manager was told */
	uint64_t (*pings)(void *arg);          /* of the watchdog, so far */
	int64_t (*max_in_progress)(void *arg); /* < 0: no limit */
	int (*reload)(void *arg, struct error *e);
	/* give @root to who waits for it; @done once, @r as handing_done_fn has it.
	 * Return: 0; -EBUSY; other -errno. */
	int (*hand_over)(void *arg, const struct root *root,
			 void (*done)(void *arg, int r, const struct leader *now),
			 void *done_arg);
	bool (*copy)(void *arg, size_t i, struct offsite_state *state); /* offsite_state() */
	bool (*hook)(void *arg, size_t i, struct hook_state *state);    /* hooks_state() */
	const char *const *(*warnings)(void *arg); /* of the configuration in force */
	void *arg;
};

/**
 * control_open() - listen
 * Nothing else happens, and no memory is used for HTTP, until somebody connects.
 * Return: 0; -errno with a sentence in @e, then there is no control API.
 */
MUST_CHECK int control_open(struct control **out, const struct control_env *env,
			    struct error *e);

/**
 * control_serve() - the daemon knows its role in every root: answer
 * Whoever connected before, and with socket activation that is who caused the start, gets an
 * answer that holds instead of "starting". Two seconds after control_open() it goes on without;
 * for the boards to be listed it waits half a second.
 * NULL is fine.
 */
void control_serve(struct control *c);

/** control_path() - where it listens; borrowed */
const char *control_path(const struct control *c);

/** control_changed() - something about a root may be other than it was; NULL is fine */
void control_changed(struct control *c);

/** control_stop() - the daemon ends: answer what is waited for, end streams, refuse changes */
void control_stop(struct control *c);

/** control_close() - drop every connection, remove the socket, free; @done once, from the loop,
 * or at once for NULL */
void control_close(struct control *c, void (*done)(void *arg), void *arg);
