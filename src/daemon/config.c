/*
 * The configuration object: read everything, check it as a whole, answer look-ups.
 *
 * Each place a value can come from is a layer, an array with one slot per option. Reading fills
 * layers and never mixes them; a look-up walks them from the strongest to the weakest, so that
 * precedence is in one function and every value still knows its file and line.
 *
 * Roots come first from --root, else from the [root PATH] sections, else from the environment;
 * only then is it known which config.yaml files to read.
 *
 * A config is immutable once loaded. A reload loads another one, asks config_same_process(),
 * and swaps; a failed load leaves the old one alone.
 */
#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "tick/pools.h"

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;
	free(config->home);
	(void)config_values_free(config->cli);
	(void)config_values_free(config->env);
	(void)config_values_free(config->base);
	(void)config_values_free(config->def);
	config_sections_free(config->sections, config->section_count);
	config_sections_free(config->yaml, config->yaml_count);
	free(config->pools);
	free(config->caps);
	free(config->hooks);
	config_strv_clear(&config->roots);
	config_strv_clear(&config->section_roots);
	config_strv_clear(&config->warnings);
	free(config->fault);
	config_strv_clear(&config->files);
	free(config);
	return NULL;
}

/* ---- look-ups ---- */

/* The sections that speak for one root or board; found once, used for every option. */
struct config_scope {
	const char *slug, *name;            /* of the board and the profile; or NULL */
	const struct config_value *profile; /* or NULL */
	const struct config_value *board;   /* or NULL */
	const struct config_value *root;    /* or NULL */
	const struct config_value *yaml;    /* or NULL */
	const struct config_value *yaml0;   /* of the first root, or NULL */
};

static const struct config_value *config_find(const struct config_section *sections,
					      size_t count, unsigned where, const char *name)
{
	for (size_t i = 0; name && i < count; i++)
		if (sections[i].where == where && strcmp(sections[i].name, name) == 0)
			return sections[i].values;
	return NULL;
}

static struct config_scope config_scope(const struct config *config, const char *root,
					const char *slug, const char *profile)
{
	return (struct config_scope){
		.slug = slug,
		.name = profile,
		.profile = config_find(config->sections, config->section_count, IN_PROFILE,
				       profile),
		.board = config_find(config->sections, config->section_count, IN_BOARD, slug),
		.root = config_find(config->sections, config->section_count, IN_ROOT, root),
		.yaml = config_find(config->yaml, config->yaml_count, IN_ROOT, root),
		.yaml0 = config->yaml_count ? config->yaml[0].values : NULL,
	};
}

/* What the pools of a worker say: the first that says something, in the order of the files. */
static const struct config_value *config_pool_values(const struct config *config,
						     const struct config_scope *scope, size_t i)
{
	for (size_t n = 0; scope->name && n < config->section_count; n++) {
		const struct config_section *s = &config->sections[n];
		struct settings_pool pool;

		if (s->where != IN_POOL || !s->values[i].set)
			continue;
		pool = config_limits_pool(s);
		if (pools_match(&pool, scope->slug, scope->name))
			return s->values;
	}
	return NULL;
}

/* Precedence: this list, and nothing else. */
static const struct config_value *config_scope_value(const struct config *config,
						     const struct config_scope *scope,
						     const struct config_option *option)
{
	size_t i = config_option_index(option);
	const struct config_value *const layers[] = {
		config->cli,    config->env,
		scope->profile, config_pool_values(config, scope, i),
		scope->board,   scope->root,
		config->base,   config_is_process(option) ? scope->yaml0 : scope->yaml,
	};

	for (size_t n = 0; n < sizeof(layers) / sizeof(layers[0]); n++)
		if (layers[n] && layers[n][i].set)
			return &layers[n][i];
	return &config->def[i];
}

const struct config_value *config_lookup(const struct config *config,
					 const struct config_option *option, const char *root,
					 const char *slug)
{
	struct config_scope scope = config_scope(config, root, slug, NULL);

	return config_scope_value(config, &scope, option);
}

const struct config_value *config_lookup_profile(const struct config *config,
						 const struct config_option *option,
						 const char *profile)
{
	struct config_scope scope = config_scope(config, NULL, NULL, profile);

	return config_scope_value(config, &scope, option);
}

static const struct config_value *config_process_value(const struct config *config,
						       const char *name)
{
	return config_lookup(config, config_option_find(name), NULL, NULL);
}

const char *const *config_warnings(const struct config *config)
{
	static const char *const none[] = { NULL };

	return config->warnings.v ? (const char *const *)config->warnings.v : none;
}

const char *const *config_roots(const struct config *config)
{
	return (const char *const *)config->roots.v;
}

const char *config_socket(const struct config *config)
{
	return config_process_value(config, "socket")->text;
}

enum launcher_kind config_launcher(const struct config *config)
{
	return (enum launcher_kind)config_process_value(config, "launcher")->number;
}

const char *const *config_command(const struct config *config)
{
	if (config_launcher(config) != LAUNCHER_COMMAND)
		return NULL;
	return (const char *const *)config_process_value(config, "command")->list;
}

int config_log_level(const struct config *config)
{
	return (int)config_process_value(config, "log_level")->number;
}

static bool config_yaml_unread(const struct config *config, const char *root)
{
	for (size_t i = 0; root && i < config->yaml_count; i++)
		if (strcmp(config->yaml[i].name, root) == 0)
			return config->yaml[i].unread;
	return false;
}

void config_settings(const struct config *config, const char *root, const char *slug,
		     struct settings *out)
{
	config_settings_worker(config, root, slug, NULL, out);
}

void config_settings_worker(const struct config *config, const char *root, const char *slug,
			    const char *profile, struct settings *out)
{
	static const char *const none[] = { NULL };
	struct config_scope scope = config_scope(config, root, slug, profile);

	*out = (struct settings){ 0 };
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *option = &config_options[i];
		const struct config_value *v = config_scope_value(config, &scope, option);
		void *field;

		if (option->field == NO_FIELD)
			continue;
		field = (char *)out + option->field;
		switch (option->kind) {
		case KIND_BOOL:
			*(bool *)field = v->number != 0;
			break;
		case KIND_PROFILE:
		case KIND_PATH:
		case KIND_SOCKET:
		case KIND_PROGRAM:
		case KIND_SLICE:
			*(const char **)field = v->text;
			break;
		case KIND_PROFILES:
		case KIND_COMMAND:
		case KIND_EVENTS:
			*(const char *const **)field =
				v->list ? (const char *const *)v->list : NULL;
			break;
		default:
			*(int64_t *)field = v->number;
			break;
		}
	}
	/* what a file that cannot be read would have limited is not known: nothing is claimed
	 */
	config_limits_of(config, root, out);
	out->pools = config->pools;
	out->n_pools = config->n_pools;
	out->pools_generation = config->pools_generation;
	out->profiles_limited =
		out->dispatch_profiles != NULL || config_yaml_unread(config, root);
	if (!out->dispatch_profiles || config_yaml_unread(config, root))
		out->dispatch_profiles = none;
}

const char *config_fault(const struct config *config)
{
	return config->fault;
}

bool config_same_process(const struct config *a, const struct config *b)
{
	if (a->roots.n != b->roots.n)
		return false;
	for (size_t i = 0; i < a->roots.n; i++)
		if (strcmp(a->roots.v[i], b->roots.v[i]) != 0)
			return false;
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *option = &config_options[i];
		const char *ta, *tb;

		if (!option->fixed)
			continue;
		ta = config_lookup(a, option, NULL, NULL)->text;
		tb = config_lookup(b, option, NULL, NULL)->text;
		if (!ta != !tb || (ta && strcmp(ta, tb) != 0))
			return false;
	}
	return true;
}

/* ---- loading ---- */

static int config_load_defaults(struct config *config, char *const *env, struct error *e)
{
	const struct config_syntax syntax = { config->home, false, false };

	for (size_t i = 0; i < config_option_count; i++) {
		struct config_value value = { 0 };
		int r = config_value_parse(&config_options[i], &syntax, config_options[i].def,
					   &value, e);

		if (r == 0 && config_value_put(&config->def[i], &value, "default") < 0)
			r = error_set(e, -ENOMEM, "out of memory");
		config_value_clear(&value);
		if (r < 0)
			return r;
	}
	if (config_default_socket(config, env) < 0)
		return error_set(e, -ENOMEM, "out of memory");
	return 0;
}

static int config_load_cli(struct config *config, const struct config_cli *cli, struct error *e)
{
	const struct config_syntax syntax = { config->home, true, false };
	const struct {
		const char *option, *flag, *text;
	} given[] = {
		{ "socket", "--socket", cli->socket },
		{ "launcher", "--launcher", cli->launcher },
		{ "log_level", "--log-level", cli->log_level },
	};

	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
		const struct config_option *option = config_option_find(given[i].option);
		struct config_value value = { 0 };
		int r;

		if (!given[i].text)
			continue;
		r = config_value_parse(option, &syntax, given[i].text, &value, e);
		if (r < 0) {
			(void)error_prefix(e, "%s: ", given[i].flag);
			return r;
		}
		r = config_value_put(&config->cli[config_option_index(option)], &value,
				     "command line %s", given[i].flag);
		config_value_clear(&value);
		if (r < 0)
			return error_set(e, r, "out of memory");
	}
	return 0;
}

static int config_load_files(struct config *config, const char *given, char *const *env,
			     struct error *e)
{
	CLEANUP(freep) char *file = NULL;

	if (given)
		return config_ini_load(config, given, true, e);
	if (config_default_file(env, geteuid(), &file) < 0)
		return error_set(e, -ENOMEM, "out of memory");
	return file ? config_ini_load(config, file, false, e) : 0;
}

/* The resolved path where there is one, each root once. Takes @path. */
static int config_add_root(struct config *config, char *path, struct error *e)
{
	char *real = realpath(path, NULL);

	if (!real && errno == ENOMEM) {
		free(path);
		return error_set(e, -ENOMEM, "out of memory");
	}
	if (real) {
		free(path);
		path = real;
	}
	for (size_t i = 0; i < config->roots.n; i++)
		if (strcmp(config->roots.v[i], path) == 0) {
			free(path);
			return 0;
		}
	if (config_strv_push(&config->roots, path) < 0)
		return error_set(e, -ENOMEM, "out of memory");
	return 0;
}

static int config_load_roots(struct config *config, const char *const *given, char *const *env,
			     struct error *e)
{
	char *path = NULL;
	int r = 0;

	if (given && given[0]) {
		for (size_t i = 0; r == 0 && given[i]; i++) {
			r = config_path(given[i], config->home, true, &path, e);
			if (r < 0)
				(void)error_prefix(e, "--root: ");
			else
				r = config_add_root(config, path, e);
		}
		return r;
	}
	for (size_t i = 0; r == 0 && i < config->section_roots.n; i++) {
		path = strdup(config->section_roots.v[i]);
		r = path ? config_add_root(config, path, e)
			 : error_set(e, -ENOMEM, "out of memory");
	}
	if (r == 0 && config->roots.n == 0) {
		r = config_root_from_env(env, &path, e);
		if (r == 0)
			r = config_add_root(config, path, e);
	}
	return r;
}

/* {task} and its like; another {word} is probably a slip, and would reach the program as is. */
static int config_check_placeholders(struct config *config, const struct config_value *command)
{
	static const char *const known[] = { "{board}", "{task}", "{run}", "{profile}" };

	for (size_t i = 0; command->list[i]; i++)
		for (const char *p = strchr(command->list[i], '{'); p; p = strchr(p + 1, '{')) {
			size_t n = 1 + strspn(p + 1, "abcdefghijklmnopqrstuvwxyz_");
			bool ok = n == 1 || p[n] != '}';

			for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
				ok = ok || strncmp(p, known[k], strlen(known[k])) == 0;
			if (!ok &&
			    config_warn(config,
					"%s: command: %.*s is no placeholder and stays "
					"as it is; there are {board}, {task}, {run} and "
					"{profile}",
					command->source, (int)(n < 40 ? n + 1 : 40), p) < 0)
				return -ENOMEM;
		}
	return 0;
}

/* command and launcher = command need each other. */
static int config_check_command(struct config *config, struct error *e)
{
	const struct config_value *launcher = config_process_value(config, "launcher");
	const struct config_value *command = config_process_value(config, "command");
	size_t i = config_option_index(config_option_find("launcher"));

	if (launcher->number == LAUNCHER_COMMAND && !command->list)
		return error_set(e, -EINVAL,
				 "%s: launcher = command needs [worker] command, which is not "
				 "set",
				 launcher->source);
	if (!command->list)
		return 0;
	/* a --launcher for once may leave it unused; the file may not */
	if (launcher->number != LAUNCHER_COMMAND && !config->cli[i].set)
		return error_set(e, -EINVAL,
				 "%s: command has no effect unless [worker] launcher = command",
				 command->source);
	if (config_check_placeholders(config, command) < 0)
		return error_set(e, -ENOMEM, "out of memory");
	return 0;
}

/* What is one for all roots is taken from the first; another root that differs is told so. */
static int config_check_yaml(struct config *config)
{
	for (size_t n = 1; n < config->yaml_count; n++)
		for (size_t i = 0; i < config_option_count; i++) {
			const struct config_option *option = &config_options[i];
			const struct config_value *other = &config->yaml[n].values[i];
			const struct config_value *holds;

			if (!config_is_process(option) || !other->set)
				continue;
			holds = config_lookup(config, option, NULL, NULL);
			if (config->base[i].set || holds->number == other->number)
				continue;
			if (config_warn(config,
					"%s: kanban.%s is one for all roots and taken from the "
					"first (%s); set it in [kanband]",
					other->source, option->name, holds->source) < 0)
				return -ENOMEM;
		}
	return 0;
}

static struct config *config_new(char *const *env)
{
	struct config *config = calloc(1, sizeof(*config));
	const char *home = config_getenv(env, "HOME");

	if (!config)
		return NULL;
	config->cli = config_values_new();
	config->env = config_values_new();
	config->base = config_values_new();
	config->def = config_values_new();
	if (home)
		config->home = strdup(home);
	if (!config->cli || !config->env || !config->base || !config->def ||
	    (home && !config->home))
		return config_free(config);
	return config;
}

int config_load(struct config **out, const struct config_cli *cli, char *const *env,
		struct error *e)
{
	CLEANUP(config_freep) struct config *config = config_new(env);
	int r;

	if (!config)
		return error_set(e, -ENOMEM, "out of memory");
	r = config_load_defaults(config, env, e);
	if (r == 0)
		r = config_load_cli(config, cli, e);
	if (r == 0 && config_env_load(config, env) < 0)
		r = error_set(e, -ENOMEM, "out of memory");
	if (r == 0)
		r = config_load_files(config, cli->file, env, e);
	if (r == 0)
		r = config_limits_load(config, e);
	if (r == 0)
		r = config_hooks_load(config, e);
	if (r == 0)
		r = config_check_command(config, e);
	if (r == 0)
		r = config_load_roots(config, cli->roots, env, e);
	for (size_t i = 0; r == 0 && i < config->roots.n; i++)
		if (config_yaml_load(config, config->roots.v[i]) < 0)
			r = error_set(e, -ENOMEM, "out of memory");
	if (r == 0 && config_limits_join(config) < 0)
		r = error_set(e, -ENOMEM, "out of memory");
	if (r == 0 && config_check_yaml(config) < 0)
		r = error_set(e, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	*out = STEAL(config);
	return 0;
}
