/* Loads libcurl by name when a daemon is first asked; verbs that ask none never pay for it. */
#include "ctl/curl.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static int curl_symbol(void *lib, const char *name, void *to, struct error *e)
{
	void *symbol = dlsym(lib, name);

	if (!symbol)
		return error_set(e, -ELIBACC, "libcurl has no %s; install a newer one", name);
	memcpy(to, &symbol, sizeof(symbol)); /* a pointer to a function, as POSIX has it */
	return 0;
}

int curl_load(struct curl_lib *curl, struct error *e)
{
	void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL); /* the same since 2006 */
	int r = 0;

	if (!lib)
		return error_set(e, -ELIBACC, "%s; install libcurl to ask a daemon", dlerror());
#define CURL_SYMBOL(name)                                                                      \
	if (r == 0)                                                                            \
		r = curl_symbol(lib, #name, &curl->name, e);
	CURL_CALLS(CURL_SYMBOL)
#undef CURL_SYMBOL
	return r; /* the library stays, for as long as the program runs */
}
