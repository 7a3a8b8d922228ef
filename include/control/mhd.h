/*
 * libmicrohttpd, loaded when somebody connects for the first time: with the libraries that it
 * needs it would make an idle daemon half as big again.
 */
#pragma once

#include <microhttpd.h>

#include "util/error.h"

#define MHD_CALLS(X)                                                                           \
	X(MHD_start_daemon)                                                                    \
	X(MHD_stop_daemon)                                                                     \
	X(MHD_add_connection)                                                                  \
	X(MHD_run)                                                                             \
	X(MHD_get_timeout)                                                                     \
	X(MHD_get_daemon_info)                                                                 \
	X(MHD_get_connection_info)                                                             \
	X(MHD_suspend_connection)                                                              \
	X(MHD_resume_connection)                                                               \
	X(MHD_create_response_from_buffer)                                                     \
	X(MHD_create_response_from_callback)                                                   \
	X(MHD_add_response_header)                                                             \
	X(MHD_queue_response)                                                                  \
	X(MHD_destroy_response)                                                                \
	X(MHD_lookup_connection_value)                                                         \
	X(MHD_get_connection_values)

struct mhd {
	void *lib; /* NULL: not loaded */
#define MHD_MEMBER(name) __typeof__(&name) name;
	MHD_CALLS(MHD_MEMBER)
#undef MHD_MEMBER
};

/** mhd_load() - once; it stays loaded. Return: 0; -ENOENT with the linker's words in @e. */
MUST_CHECK int mhd_load(struct mhd *mhd, struct error *e);
