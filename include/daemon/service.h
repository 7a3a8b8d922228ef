/*
 * What the service manager is told: ready, reloading, stopping, a sentence for `systemctl
 * status`, and the watchdog's pings. Without a manager (no $NOTIFY_SOCKET) every call does
 * nothing. Nothing is taken out of the environment: the launcher keeps these variables from the
 * workers. All on the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "util/error.h"

#define SERVICE_STATUS_MAX 512

/**
 * service_well_fn - may the watchdog be pinged
 * @why: out when false: what is wrong, a sentence part ("job tick of board x is 40 s overdue");
 *       borrowed until the next call
 */
typedef bool (*service_well_fn)(void *arg, const char **why);

/** service_busy_fn - is something at work that the start or the stop has to wait for */
typedef bool (*service_busy_fn)(void *arg);

#define SERVICE_WAITING_MAX 8   /* messages that the manager has no room for */
#define SERVICE_RETRY_MS    100 /* between two tries to send them */

#define SERVICE_EXTEND_PERIOD_MS 2000     /* between two requests for more time */
#define SERVICE_EXTEND_USEC      15000000 /* and so much is asked for each time */

struct service {
	uv_timer_t timer;  /* at half the watchdog's interval; else not started */
	uv_timer_t extend; /* asks for more time; not started unless asked for */
	uv_timer_t retry;  /* while messages wait */
	char *waiting[SERVICE_WAITING_MAX]; /* malloc'd, the oldest first */
	unsigned n_waiting;
	service_busy_fn busy;            /* what more time is asked for; or NULL */
	uint64_t watchdog_us;            /* the manager's interval in microseconds; 0 = none */
	service_well_fn well;            /* the gate, or NULL: always well */
	void *arg;                       /* its argument, borrowed */
	uint64_t pings;                  /* sent */
	bool silent;                     /* the gate said no and the pings have stopped */
	bool mute;                       /* the last message could not be sent */
	char status[SERVICE_STATUS_MAX]; /* what was told last */
	unsigned closing;                /* timers that are not closed yet */
	void (*close_done)(void *arg);
	void *close_arg;
};

/**
 * service_init() - read $WATCHDOG_USEC and $WATCHDOG_PID and start the pings
 * @service: embedded; service_close() before its memory goes away
 * @well, @arg: the gate, asked before each ping; a gate that says no is logged once, with
 *              LOG_ID_OVERDUE at critical, and once when it says yes again
 * Return: 0 or -errno.
 */
MUST_CHECK int service_init(struct service *service, uv_loop_t *loop, service_well_fn well,
			    void *arg);

/* Listening sockets that the manager handed over, -1: none. Close-on-exec, the caller's. */
struct service_sockets {
	int control; /* of the name `control`, or the only one */
	int metrics; /* of the name `metrics` */
};

/** service_sockets() - others, if any, are closed */
struct service_sockets service_sockets(void);

/** service_close() - end the pings, then call @done once from the loop */
void service_close(struct service *service, void (*done)(void *arg), void *arg);

/** service_ready() - start-up or a reload is complete */
void service_ready(struct service *service);

/** service_reloading() - a reload begins; service_ready() ends it, however it went */
void service_reloading(struct service *service);

/** service_stopping() - the daemon is on its way out */
void service_stopping(struct service *service);

/**
 * service_status() - the sentence of `systemctl status`; sent only when it differs from the
 * last one. Kept on one line and cut to SERVICE_STATUS_MAX.
 */
void service_status(struct service *service, const char *fmt, ...) PRINTF(2, 3);

/**
 * service_extend_timeout() - ask for more time to start, to stop or to reload
 * @usec: microseconds from now
 */
void service_extend_timeout(struct service *service, uint64_t usec);

/**
 * service_patience() - the start or the stop may take longer than the manager allows: from now
 * on more time is asked for as long as there is work, and all is well by the gate of
 * service_init() What hangs is not covered: a job past its deadline stops the requests, and the
 * manager's time-out ends us.
 * @busy: asked now and every SERVICE_EXTEND_PERIOD_MS, with the argument of service_init();
 *        NULL: that phase is over
 */
void service_patience(struct service *service, service_busy_fn busy);

/** service_watchdog_period_ms() - milliseconds between pings, 0 if nobody watches */
uint64_t service_watchdog_period_ms(const struct service *service);
