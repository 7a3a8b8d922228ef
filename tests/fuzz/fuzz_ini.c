/* Any bytes as kanband.conf: every value is one that is allowed, or it is refused with a word.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *env[] = { NULL };
	const char *roots[] = { fuzz_path(""), NULL };
	const struct config_cli cli = { .file = fuzz_path("kanband.conf"), .roots = roots };
	struct config *config = NULL;
	struct settings set;
	struct error e = ERROR_NULL;
	FILE *out = fopen("/dev/null", "we");

	fuzz_put("kanband.conf", data, size);
	if (!out)
		abort();
	if (config_load(&config, &cli, env, &e) == 0) {
		config_settings(config, config_roots(config)[0], "default", &set);
		config_settings_worker(config, config_roots(config)[0], "b", "coder", &set);
		if (config_print(config, out, size % 2) < 0)
			abort();
		(void)config_free(config);
	} else if (!e.text[0]) {
		abort();
	}
	(void)fclose(out);
	return 0;
}
