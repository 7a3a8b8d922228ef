/* [hook NAME]: what is run when something happens. */
#include <errno.h>

#include "daemon.h"
#include "hook/hook.h"

static const struct config_value *hook_value(const struct config *config,
					     const struct config_section *s, const char *name)
{
	size_t i = config_option_index(config_option_find(name));

	return s->values[i].set ? &s->values[i] : &config->def[i];
}

static const char *const *hook_list(const struct config_value *value)
{
	return (const char *const *)value->list;
}

int config_hooks_load(struct config *config, struct error *e)
{
	config->hooks = calloc(config->section_count + 1, sizeof(*config->hooks));
	if (!config->hooks)
		return error_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < config->section_count; i++) {
		const struct config_section *s = &config->sections[i];
		const char *const *command;

		if (s->where != IN_HOOK)
			continue;
		command = hook_list(
			&s->values[config_option_index(config_option_find("command"))]);
		if (!command || !command[0])
			continue; /* off */
		if (config->n_hooks == HOOKS_MAX)
			return error_set(e, -EINVAL, "[hook %s]: more than %d hooks", s->name,
					 HOOKS_MAX);
		config->hooks[config->n_hooks++] = (struct hook_def){
			.name = s->name,
			.events = hook_list(hook_value(config, s, "events")),
			.boards = hook_list(hook_value(config, s, "boards")),
			.command = command,
			.pass = hook_list(&s->values[config_option_index(
				config_option_find("pass_environment"))]),
			.timeout_ms = (uint64_t)hook_value(config, s, "timeout")->number,
		};
	}
	return 0;
}

const struct hook_def *config_hooks(const struct config *config, size_t *n)
{
	*n = config->n_hooks;
	return config->hooks;
}
