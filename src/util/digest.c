/* SHA-256 in lower-case hexadecimal digits. */
#include "util/digest.h"

#include <stdint.h>
#include <stdio.h>

void digest_init(struct digest *d)
{
	SHA256Init(&d->ctx);
}

void digest_add(struct digest *d, const void *data, size_t n)
{
	SHA256Update(&d->ctx, data, n);
}

void digest_hex(struct digest *d, char out[static DIGEST_HEX + 1])
{
	uint8_t bytes[SHA256_DIGEST_LENGTH];

	SHA256Final(bytes, &d->ctx);
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}
