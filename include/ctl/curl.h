/*
 * libcurl, loaded when a daemon is to be asked: with the libraries that it needs it takes
 * longer to load than all else that kanbanctl does, and the verbs of workers do without it.
 */
#pragma once

#define CURL_DISABLE_TYPECHECK /* the checks would call the functions by name */
#include <curl/curl.h>

#include "util/error.h"

#define CURL_CALLS(X)                                                                          \
	X(curl_easy_init)                                                                      \
	X(curl_easy_cleanup)                                                                   \
	X(curl_easy_reset)                                                                     \
	X(curl_easy_setopt)                                                                    \
	X(curl_easy_perform)                                                                   \
	X(curl_easy_getinfo)                                                                   \
	X(curl_easy_strerror)                                                                  \
	X(curl_easy_escape)                                                                    \
	X(curl_free)                                                                           \
	X(curl_slist_append)                                                                   \
	X(curl_slist_free_all)                                                                 \
	X(curl_multi_init)                                                                     \
	X(curl_multi_cleanup)                                                                  \
	X(curl_multi_add_handle)                                                               \
	X(curl_multi_remove_handle)                                                            \
	X(curl_multi_perform)                                                                  \
	X(curl_multi_poll)                                                                     \
	X(curl_multi_info_read)

struct curl_lib {
#define CURL_MEMBER(name) __typeof__(&name) name;
	CURL_CALLS(CURL_MEMBER)
#undef CURL_MEMBER
};

/** curl_load() - fill @curl; the library stays loaded. Return: 0; -ELIBACC, @e says what is
 * missing. */
MUST_CHECK int curl_load(struct curl_lib *curl, struct error *e);
