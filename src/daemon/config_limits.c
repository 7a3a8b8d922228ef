/*
 * What limits how much runs: [pool NAME], [profile NAME], and the map of config.yaml. A
 * [profile NAME] beats the map.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "tick/turns.h"

/* Of the lists of [pool NAME]. */
struct settings_pool config_limits_pool(const struct config_section *s)
{
	size_t profiles = config_option_index(config_option_find("profiles"));
	size_t boards = config_option_index(config_option_find("boards"));

	return (struct settings_pool){
		.name = s->name,
		.profiles = (const char *const *)s->values[profiles].list,
		.boards = (const char *const *)s->values[boards].list,
	};
}

/* A number that is another one for other text. */
static void limits_mix(unsigned *sum, const char *text)
{
	for (const char *p = text ? text : ""; *p; p++)
		*sum = (*sum ^ (unsigned char)*p) * 16777619U;
	*sum = (*sum ^ 0xFFU) * 16777619U;
}

static void limits_count_pool(struct config *config, const struct config_section *s)
{
	size_t limit = config_option_index(config_option_find("limit"));
	struct settings_pool *pool = &config->pools[config->n_pools];
	char number[32];

	if (!s->values[limit].set || s->values[limit].number < 0)
		return; /* no limit: nothing to count */
	*pool = config_limits_pool(s);
	pool->limit = s->values[limit].number;
	config->n_pools++;
	(void)snprintf(number, sizeof(number), "%lld", (long long)pool->limit);
	limits_mix(&config->pools_generation, s->name);
	limits_mix(&config->pools_generation, number);
	for (const char *const *v = pool->profiles; v && *v; v++)
		limits_mix(&config->pools_generation, *v);
	limits_mix(&config->pools_generation, "/");
	for (const char *const *v = pool->boards; v && *v; v++)
		limits_mix(&config->pools_generation, *v);
}

/* What [pool NAME] and [profile NAME] limit. */
int config_limits_load(struct config *config, struct error *e)
{
	size_t cap = config_option_index(config_option_find("max_in_progress_per_profile"));

	config->pools = calloc(config->section_count + 1, sizeof(*config->pools));
	config->caps = calloc(config->section_count + 1, sizeof(*config->caps));
	if (!config->pools || !config->caps)
		return error_set(e, -ENOMEM, "out of memory");
	config->pools_generation = 2166136261U;
	for (size_t i = 0; i < config->section_count; i++) {
		const struct config_section *s = &config->sections[i];

		if (s->where == IN_POOL && config->n_pools < TURNS_POOLS_MAX)
			limits_count_pool(config, s);
		else if (s->where == IN_POOL)
			return error_set(e, -EINVAL, "[pool %s]: more than %d pools", s->name,
					 TURNS_POOLS_MAX);
		if (s->where == IN_PROFILE && s->values[cap].set)
			config->caps[config->n_caps++] =
				(struct settings_cap){ s->name, s->values[cap].number };
	}
	return 0;
}

void config_limits_of(const struct config *config, const char *root, struct settings *out)
{
	out->profile_caps = config->caps;
	out->n_profile_caps = config->n_caps;
	for (size_t i = 0; root && i < config->yaml_count; i++)
		if (strcmp(config->yaml[i].name, root) == 0 && config->yaml[i].n_caps > 0) {
			out->profile_caps = config->yaml[i].caps;
			out->n_profile_caps = config->yaml[i].n_caps;
		}
}

int config_limits_join(struct config *config)
{
	for (size_t i = 0; i < config->yaml_count; i++) {
		struct config_section *s = &config->yaml[i];
		struct settings_cap *more;

		if (s->n_own == 0)
			continue;
		more = reallocarray(s->caps, s->n_own + config->n_caps, sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->caps = more;
		for (size_t k = 0; k < config->n_caps; k++) {
			more[s->n_caps++] = config->caps[k];
			for (size_t o = 0; o < s->n_own; o++)
				if (strcmp(more[o].profile, config->caps[k].profile) == 0)
					more[o].limit = config->caps[k].limit;
		}
	}
	return 0;
}
