/* Any bytes as the outbox: what holds can be read again, and the file can be gone on with. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "fuzz.h"
#include "notify/outbox.h"

static int see(void *arg, const char *key, const json_t *value)
{
	size_t *n = arg;

	if (!key || !json_is_object(value))
		abort();
	++*n;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outbox_found found = { 0 }, again = { 0 };
	struct outbox *box = NULL;
	struct error e = ERROR_NULL;
	size_t n = 0;

	fuzz_put("outbox", data, size);
	(void)!outbox_peek(fuzz_path("outbox"), see, &n, &e);
	n = 0;
	if (outbox_open(&box, fuzz_path("outbox"), &found, &e) == 0) {
		if (outbox_each(box, see, &n) < 0 || n != found.entries)
			abort();
		box = outbox_free(box);
		if (outbox_open(&box, fuzz_path("outbox"), &again, &e) < 0 ||
		    again.entries != found.entries || again.bad || again.torn)
			abort();
		box = outbox_free(box);
	}
	(void)unlink(fuzz_path("outbox.bad"));
	return 0;
}
