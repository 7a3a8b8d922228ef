/*
 * The watchdog is half of the failover story: a dispatcher that is killed gives the lease back
 * by itself, one that hangs does not. So the pings say more than "the process exists": they
 * come from a timer of the loop (it turns) and pass a gate (no job is past its deadline). When
 * either fails they stop, the manager kills us after its interval, and a standby takes over.
 * Pings come at half the interval, as sd_watchdog_enabled(3) advises, so that one late turn
 * costs nothing.
 *
 * Messages are lost silently when the manager is not there, and with one warning when it is and
 * does not take them: nothing in here is a reason to stop dispatching. A manager that is busy
 * has a full queue, where sd_notify(3) would block the loop: then messages wait here, in their
 * order, of several sentences the last one.
 */
#include "daemon/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/log.h"

/* Return: 1 sent, 0 no manager, -EAGAIN it has no room, -errno. */
static int service_try(const char *message)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;
	int fd, r = 1;

	if (n == 0)
		return 0;
	if ((path[0] != '/' && path[0] != '@') || n > sizeof(a.sun_path))
		return sd_notify(0, message); /* another family, or its words about it */
	memcpy(a.sun_path, path, n);
	if (path[0] == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)&a,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		r = -errno;
	(void)close(fd);
	return r;
}

static void service_on_retry(uv_timer_t *timer);

static bool service_same_kind(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n + 1) == 0;
}

/* Keep @message until there is room. Return: 1; -EAGAIN when there is none here either. */
static int service_keep(struct service *service, const char *message)
{
	const unsigned n = service->n_waiting;
	char *copy;

	if (service->closing > 0)
		return -EAGAIN;
	copy = strdup(message);
	if (!copy)
		return -ENOMEM;
	if (n > 0 && service_same_kind(message, service->waiting[n - 1])) {
		free(service->waiting[n - 1]);
		service->waiting[n - 1] = copy;
		return 1;
	}
	if (n == SERVICE_WAITING_MAX) {
		free(copy);
		return -EAGAIN;
	}
	service->waiting[service->n_waiting++] = copy;
	/* never fails with a callback, while it is not closing */
	IGNORE(uv_timer_start(&service->retry, service_on_retry, SERVICE_RETRY_MS, 0));
	return 1;
}

static void service_told(struct service *service, int r)
{
	if (r >= 0) {
		service->mute = false;
	} else if (!service->mute) {
		struct log_about about = { .errnum = -r };

		service->mute = true;
		log_about(LOG_WARNING, &about,
			  "cannot tell the service manager anything: %s; it may take us for "
			  "dead, check $NOTIFY_SOCKET",
			  strerror(-r));
	}
}

static void service_send(struct service *service, const char *message)
{
	int r = service->n_waiting > 0 ? -EAGAIN : service_try(message);

	service_told(service, r == -EAGAIN ? service_keep(service, message) : r);
}

static void service_drop(struct service *service, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(service->waiting[i]);
	service->n_waiting -= n;
	memmove(service->waiting, service->waiting + n,
		service->n_waiting * sizeof(service->waiting[0]));
}

static void service_on_retry(uv_timer_t *timer)
{
	struct service *service = timer->data;
	int r = 0;

	while (service->n_waiting > 0 && (r = service_try(service->waiting[0])) != -EAGAIN) {
		service_told(service, r);
		service_drop(service, 1);
	}
	if (service->n_waiting > 0)
		IGNORE(uv_timer_start(timer, service_on_retry, SERVICE_RETRY_MS,
				      0)); /* as above */
}

uint64_t service_watchdog_period_ms(const struct service *service)
{
	uint64_t ms = service->watchdog_us / 2000;

	return service->watchdog_us > 0 && ms == 0 ? 1 : ms;
}

static void service_on_timer(uv_timer_t *timer)
{
	struct service *service = timer->data;
	struct log_about about = { .id = LOG_ID_OVERDUE };
	const char *why = "no reason given";
	bool well = !service->well || service->well(service->arg, &why);

	if (well) {
		service_send(service, "WATCHDOG=1");
		service->pings++;
	}
	if (well && service->silent)
		log_about(LOG_NOTICE, &about,
			  "all is well again, the watchdog is pinged as before");
	if (!well && !service->silent)
		log_about(LOG_CRIT, &about,
			  "%s: no more pings to the watchdog, which ends this process in at "
			  "most %" PRIu64 " s unless that changes",
			  why, (service->watchdog_us + 999999) / 1000000);
	service->silent = !well;
}

int service_init(struct service *service, uv_loop_t *loop, service_well_fn well, void *arg)
{
	uint64_t period_ms;
	int r;

	*service = (struct service){ .well = well, .arg = arg };
	r = uv_timer_init(loop, &service->timer);
	if (r < 0)
		return r;
	service->timer.data = service;
	r = uv_timer_init(loop, &service->extend);
	if (r < 0)
		return r;
	service->extend.data = service;
	r = uv_timer_init(loop, &service->retry);
	if (r < 0)
		return r;
	service->retry.data = service;
	r = sd_watchdog_enabled(0, &service->watchdog_us);
	if (r <= 0)
		service->watchdog_us = 0;
	if (r < 0)
		log_warning("no watchdog: $WATCHDOG_USEC or $WATCHDOG_PID is not a number; "
			    "the service manager sets both, leave them to it");
	period_ms = service_watchdog_period_ms(service);
	if (period_ms == 0)
		return 0;
	return uv_timer_start(&service->timer, service_on_timer, period_ms, period_ms);
}

struct service_sockets service_sockets(void)
{
	struct service_sockets found = { -1, -1 };
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names);

	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		const char *name = names ? names[i] : "";

		if (found.metrics < 0 && strcmp(name, "metrics") == 0)
			found.metrics = fd;
		else if (found.control < 0 && (n == 1 || strcmp(name, "control") == 0))
			found.control = fd;
		else
			(void)close(fd); /* nobody would ever accept from it */
	}
	for (int i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
	return found;
}

static void service_on_closed(uv_handle_t *handle)
{
	struct service *service = handle->data;

	if (--service->closing == 0)
		service->close_done(service->close_arg);
}

void service_close(struct service *service, void (*done)(void *arg), void *arg)
{
	service->close_done = done;
	service->close_arg = arg;
	service->closing = 3;
	service_drop(service, service->n_waiting);
	uv_close((uv_handle_t *)&service->timer, service_on_closed);
	uv_close((uv_handle_t *)&service->extend, service_on_closed);
	uv_close((uv_handle_t *)&service->retry, service_on_closed);
}

void service_ready(struct service *service)
{
	service_send(service, "READY=1");
}

void service_reloading(struct service *service)
{
	char message[96];

	(void)snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		       clock_mono_us());
	service_send(service, message);
}

void service_stopping(struct service *service)
{
	service_send(service, "STOPPING=1");
}

void service_extend_timeout(struct service *service, uint64_t usec)
{
	char message[96];

	(void)snprintf(message, sizeof(message), "EXTEND_TIMEOUT_USEC=%" PRIu64, usec);
	service_send(service, message);
}

static void service_on_extend(uv_timer_t *timer)
{
	struct service *service = timer->data;
	const char *why = NULL;

	if (service->busy && service->busy(service->arg) &&
	    (!service->well || service->well(service->arg, &why)))
		service_extend_timeout(service, SERVICE_EXTEND_USEC);
}

void service_patience(struct service *service, service_busy_fn busy)
{
	service->busy = busy;
	if (!busy) {
		IGNORE(uv_timer_stop(&service->extend)); /* always 0 */
		return;
	}
	/* never fails with a callback, while it is not closing */
	IGNORE(uv_timer_start(&service->extend, service_on_extend, SERVICE_EXTEND_PERIOD_MS,
			      SERVICE_EXTEND_PERIOD_MS));
	service_on_extend(&service->extend);
}

void service_status(struct service *service, const char *fmt, ...)
{
	char message[SERVICE_STATUS_MAX + sizeof("STATUS=")];
	char text[SERVICE_STATUS_MAX];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	/* one line: a newline in a path would begin another field of the message, and the
	 * manager drops what is not UTF-8 */
	error_tidy(text, sizeof(text));
	if (strcmp(text, service->status) == 0)
		return;
	memcpy(service->status, text, strlen(text) + 1);
	(void)snprintf(message, sizeof(message), "STATUS=%s", service->status);
	service_send(service, message);
}
