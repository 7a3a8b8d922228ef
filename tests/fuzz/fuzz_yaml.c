/* Any bytes as config.yaml, for those who read it: settings, doctor, whose notifier is off,
 * which tools a worker gets.
 */
#include <stdlib.h>

#include "../../src/launch/launch.h"
#include "daemon/config.h"
#include "fuzz.h"
#include "gateway/gateway_yaml.h"
#include "notify/gateway_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *env[] = { NULL };
	const char *roots[] = { fuzz_path(""), NULL };
	const struct config_cli cli = { .file = fuzz_path("none.conf"), .roots = roots };
	struct gateway_yaml yaml = { 0 };
	struct config *config = NULL;
	struct settings set;
	struct error e = ERROR_NULL;

	fuzz_put("none.conf", NULL, 0);
	fuzz_put("config.yaml", data, size);
	/* it is a warning, whatever is in it */
	if (config_load(&config, &cli, env, &e) < 0)
		abort();
	config_settings(config, config_roots(config)[0], "default", &set);
	(void)config_fault(config);
	(void)config_free(config);
	if (gateway_yaml_read(fuzz_path(""), &yaml) < 0)
		abort();
	if (yaml.word == GATEWAY_ON || yaml.word == GATEWAY_UNSET)
		free(gateway_yaml_fix(&yaml));
	gateway_yaml_deinit(&yaml);
	(void)gateway_config_mute(fuzz_path(""));
	free(toolsets_of(fuzz_path("")));
	return 0;
}
