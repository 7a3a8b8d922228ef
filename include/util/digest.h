/* SHA-256, as text. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include <sha2.h>

#define DIGEST_HEX (2 * SHA256_DIGEST_LENGTH) /* characters of a digest's text */

struct digest {
	SHA2_CTX ctx;
};

void digest_init(struct digest *d);
void digest_add(struct digest *d, const void *data, size_t n);

/** digest_hex() - the end: lower-case hexadecimal digits and a NUL into @out */
void digest_hex(struct digest *d, char out[static DIGEST_HEX + 1]);
