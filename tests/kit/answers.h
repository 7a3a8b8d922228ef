/* A false daemon: answers to be given, requests to be read. For the tests of kanbanctl as its
 * client. */
#pragma once

#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "ctl.h"
#include "ctl/sse.h"
#include "suite.h"
#include "util/fs.h"

extern pid_t server;
extern char answers_socket[108];

/* What the false daemon answers to a request whose first line begins with @path. */
struct answer {
	const char *path;   /* "GET /v1/leader" */
	const char *status; /* "200 OK" */
	const char *type;
	const char *body;
};

#define SLOW "200 OK, after a while"
#define JSON "application/json"
extern const struct answer answers_leader;

void answers_setup(void);
void answers_teardown(void);
void answers_serve(const struct answer *answers, uid_t uid);
#define daemon(...)                                                                            \
	answers_serve((const struct answer[]){ answers_leader,                                 \
					       __VA_ARGS__,                                    \
					       { NULL, NULL, NULL, NULL } },                   \
		      geteuid())

char *answers_requests(void);
#define with(...) kanbanctl("--socket", answers_socket, __VA_ARGS__)
#define STREAM    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
