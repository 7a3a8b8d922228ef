/* Any bytes as a unit file, and as a file of environment variables. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gateway/unit_file.h"
#include "gateway/unit_parse.h"

static int see(void *arg, const char *name, const char *value)
{
	size_t *n = arg;

	*n += strlen(name) + strlen(value);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct unit unit = { .name = strdup("hermes-gateway@x.service") };
	char *text = malloc(size + 1);
	size_t seen = 0;

	if (!text || !unit.name)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	if (unit_parse(&unit, text, size) < 0 ||
	    unit_settle(&unit, unit_value(&unit, "Service.ExecStart"), NULL) < 0 ||
	    unit_env_file(text, see, &seen) < 0 || seen > 2 * size)
		abort();
	unit_deinit(&unit);
	free(text);
	return 0;
}
