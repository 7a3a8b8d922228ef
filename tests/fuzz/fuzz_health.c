/* Any bytes as a health record: what is read can be written, and is read again as it was. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "recovery/health.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct health first, second;

	fuzz_put("b.db.health.json", data, size);
	if (health_read(fuzz_path("b.db"), &first) < 0)
		return 0;
	if (health_write(fuzz_path("b.db"), &first) < 0 ||
	    health_read(fuzz_path("b.db"), &second) < 0)
		abort();
	if (first.state != second.state || first.retry_at != second.retry_at ||
	    first.good.event_seq != second.good.event_seq ||
	    strcmp(first.reason, second.reason) != 0)
		abort();
	return 0;
}
