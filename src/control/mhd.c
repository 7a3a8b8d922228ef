/* libmicrohttpd, when it is needed. */
#include "control/mhd.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static int mhd_symbol(void *lib, const char *name, void *to, struct error *e)
{
	void *symbol = dlsym(lib, name);

	if (!symbol)
		return error_set(e, -ENOENT, "libmicrohttpd has no %s", name);
	memcpy(to, &symbol, sizeof(symbol)); /* a pointer to a function, as POSIX has it */
	return 0;
}

int mhd_load(struct mhd *mhd, struct error *e)
{
	void *lib;
	int r = 0;

	if (mhd->lib)
		return 0;
	lib = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL); /* the same since 2013 */
	if (!lib)
		return error_set(e, -ENOENT, "%s; install libmicrohttpd", dlerror());
#define MHD_SYMBOL(name)                                                                       \
	if (r == 0)                                                                            \
		r = mhd_symbol(lib, #name, &mhd->name, e);
	MHD_CALLS(MHD_SYMBOL)
#undef MHD_SYMBOL
	if (r < 0) {
		(void)dlclose(lib); /* what it is, it is not used */
		return r;
	}
	mhd->lib = lib;
	return 0;
}
