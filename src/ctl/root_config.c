/*
 * config.yaml is read of the roots that a configuration names. A root that was only named on
 * kanbanctl's command line is none of them, and its limits would not count.
 */
#include "ctl/root_config.h"

#include <string.h>

#include "ctl.h"
#include "daemon/config.h"

int root_config_load(struct config **config, const struct ctl *ctl, const char *file,
		     const char *root, struct error *e)
{
	const char *const roots[] = { root, NULL };
	struct config_cli cli = { .file = file };
	int r = config_load(config, &cli, ctl->env, e);

	if (r < 0)
		return r;
	for (const char *const *have = config_roots(*config); *have; have++)
		if (strcmp(*have, root) == 0)
			return 0;
	*config = config_free(*config);
	cli.roots = roots;
	return config_load(config, &cli, ctl->env, e);
}
