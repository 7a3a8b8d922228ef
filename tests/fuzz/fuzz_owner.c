/* Any bytes as the owner file and as the lock file: what is read is in its bounds, and can be
 * written and read again. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/root/root.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lease_claimants claimants = { .count = 0 };
	struct lease_past past = { 0 };
	struct lease_owner owner, again;
	int fd;

	fuzz_put("owner.json", data, size);
	fd = open(fuzz_path("owner.json"), O_RDONLY | O_CLOEXEC);
	if (fd < 0 || lease_lock_epoch(fd) < 0 || lease_lock_epoch(fd) > LEASE_EPOCH_MAX)
		abort();
	(void)close(fd);
	if (lease_owner_load(fuzz_path("owner.json"), &owner, &claimants, &past) == 0) {
		if (owner.epoch < 1 || owner.pid < 1 ||
		    lease_owner_save(fuzz_path("owner.json"), &owner, &claimants, &past,
				     false) < 0 ||
		    lease_owner_load(fuzz_path("owner.json"), &again, NULL, NULL) < 0 ||
		    again.epoch != owner.epoch || strcmp(again.unit, owner.unit) != 0)
			abort();
	}
	lease_claimants_clear(&claimants);
	return 0;
}
