/* What the fuzzers share: a folder of this process's own, and files with the input in it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/** fuzz_path() - of a file of that name in the folder; static, for each name the same */
const char *fuzz_path(const char *name);

/** fuzz_put() - write the file anew */
void fuzz_put(const char *name, const uint8_t *data, size_t size);

/** fuzz_clean() - remove what is in the folder */
void fuzz_clean(void);

/* Of libFuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
