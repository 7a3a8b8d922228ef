/* Any bytes as a stream of events: in one piece or byte by byte it is the same. */
#include <stdlib.h>

#include "ctl/sse.h"
#include "fuzz.h"

static int see(void *arg, const char *id, const char *event, const char *data, size_t len)
{
	uint64_t *sum = arg;
	const char *const texts[] = { id, event };

	for (size_t i = 0; i < len; i++)
		*sum = *sum * 31 + (unsigned char)data[i];
	for (size_t i = 0; i < 2; i++)
		for (const char *c = texts[i]; c && *c; c++)
			*sum = *sum * 31 + (unsigned char)*c;
	return 0;
}

static int feed(const char *data, size_t size, size_t piece, uint64_t *sum)
{
	struct sse sse;
	int r = 0;

	*sum = 0;
	sse_init(&sse, see, sum);
	for (size_t i = 0; r == 0 && i < size; i += piece)
		r = sse_feed(&sse, data + i, size - i < piece ? size - i : piece);
	sse_deinit(&sse);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole, bytes;

	if (feed((const char *)data, size, size ? size : 1, &whole) !=
		    feed((const char *)data, size, 1, &bytes) ||
	    whole != bytes)
		abort();
	return 0;
}
