/*
 * A loopback port for a browser in front of the control socket. It serves nobody but the
 * browser that opens the address with the one-time token: that is answered with an address
 * whose first folder is a secret of this run, under which the page and its requests are passed
 * on, with the rights of this process. No cookie: other ports of the same host would get it
 * too.
 */
#pragma once

#include <stdint.h>

#include "util/error.h"

struct web_proxy;

/**
 * web_proxy_new() - listen on 127.0.0.1
 * @socket: the control socket, borrowed; @port: 0 for any
 * Return: 0 or -errno.
 */
MUST_CHECK int web_proxy_new(struct web_proxy **out, const char *socket, uint16_t port,
			     struct error *e);
struct web_proxy *web_proxy_free(struct web_proxy *p);
DEFINE_FREEP(struct web_proxy, web_proxy_free)

/** web_proxy_url() - the address with its token, borrowed */
const char *web_proxy_url(const struct web_proxy *p);

/** web_proxy_run() - serve until something can be read from @stop. Return: 0 or -errno. */
MUST_CHECK int web_proxy_run(struct web_proxy *p, int stop);
