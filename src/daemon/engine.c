/*
 * Makes what a configuration asks for: the launcher, the pools and their caps. A new
 * configuration is made as a whole before it takes the place of the old one, which stays until
 * no job uses it.
 */
#include "daemon/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "db/db.h"
#include "launch/group.h"
#include "util/fs.h"
#include "util/log.h"
#include "util/memory.h"

#define ENGINE_OPEN_BOARDS 16    /* connections that may stay open, all roots */
#define ENGINE_FILES       65536 /* RLIMIT_NOFILE that is asked for at the most */

static struct bundle *bundle_free(struct bundle *b)
{
	if (!b)
		return NULL;
	for (size_t i = 0; i < b->n_launchers; i++)
		launcher_deinit(&b->launchers[i]);
	free(b->launchers);
	config_free(b->config);
	free(b);
	return NULL;
}

/* What the configured one comes to on this host. */
static enum launcher_kind bundle_kind(const struct bundle *b, const struct engine *engine)
{
	enum launcher_kind launcher = config_launcher(b->config);

	if (launcher != LAUNCHER_AUTO && launcher != LAUNCHER_SYSTEMD)
		return launcher;
	return engine->manager != UNIT_MANAGER_NONE ? LAUNCHER_SYSTEMD : LAUNCHER_FORK;
}

static int bundle_launchers(struct bundle *b, const struct engine *engine)
{
	const char *const *roots = config_roots(b->config);
	size_t n = 0;

	while (roots[n])
		n++;
	b->launchers = calloc(n, sizeof(*b->launchers));
	if (!b->launchers)
		return -ENOMEM;
	for (; b->n_launchers < n; b->n_launchers++) {
		struct launcher *l = &b->launchers[b->n_launchers];
		struct settings set;
		int r;

		config_settings(b->config, roots[b->n_launchers], NULL, &set);
		*l = (struct launcher){
			.command = config_launcher(b->config) == LAUNCHER_COMMAND
					   ? config_command(b->config)
					   : NULL,
			.hermes = set.hermes,
			.log_rotate_bytes = set.worker_log_rotate_bytes,
			.log_backup_count = (int)set.worker_log_backup_count,
			.environ = engine->environ,
			.pass_environment = set.pass_environment,
			.kind = bundle_kind(b, engine),
			.manager = engine->manager,
			.self = engine->self,
			.groups = engine->groups,
			.grace_ms = set.terminate_grace_ms,
			.nofile = engine->nofile,
		};
		r = launcher_init(l);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where workers are to be units of a service manager: which one. Before the loop runs. */
static int engine_children(struct engine *engine)
{
	engine->groups = group_base();
	if (engine->groups)
		log_info("workers have control groups of their own below %s", engine->groups);
	return 0;
}

static int engine_manager(struct engine *engine, const struct config *config, struct error *e)
{
	enum launcher_kind launcher = config_launcher(config);
	struct error why = ERROR_NULL;
	ssize_t n;

	n = readlink("/proc/self/exe", engine->self, sizeof(engine->self) - 1);
	if (n < 0)
		return error_errno(e, -errno, "cannot find out which program this is");
	engine->self[n] = '\0';
	if (launcher == LAUNCHER_FORK || launcher == LAUNCHER_COMMAND)
		return engine_children(engine);
	engine->manager = unit_manager_find(&why);
	if (engine->manager != UNIT_MANAGER_NONE)
		return 0;
	if (launcher == LAUNCHER_SYSTEMD)
		return error_set(e, -ENOENT, "launcher = systemd: %s", why.text);
	/* a host without systemd has nothing to be mended */
	if (launcher == LAUNCHER_AUTO && fs_is_dir("/run/systemd/system"))
		log_warning("workers are started as children, without limits of their own: %s",
			    why.text);
	return engine_children(engine);
}

static int bundle_new(struct bundle **out, struct engine *engine, struct config *config)
{
	struct bundle *b = calloc(1, sizeof(*b));
	int r;

	if (!b) {
		config_free(config);
		return -ENOMEM;
	}
	b->config = config;
	r = bundle_launchers(b, engine);
	if (r < 0) {
		bundle_free(b);
		return r;
	}
	*out = b;
	return 0;
}

static const struct launcher *engine_launcher(void *arg, const char *root)
{
	struct engine *engine = arg;
	const char *const *roots = config_roots(engine->bundle->config);
	size_t i = 0;

	while (roots[i] && strcmp(roots[i], root) != 0)
		i++;
	/* roots never change in a process, so every root is there */
	return &engine->bundle->launchers[roots[i] ? i : 0];
}

static void engine_settings(void *arg, const char *root, const char *slug, struct settings *out)
{
	struct engine *engine = arg;

	config_settings(engine->bundle->config, root, slug, out);
}

static void engine_worker_settings(void *arg, const char *root, const char *slug,
				   const char *profile, struct settings *out)
{
	struct engine *engine = arg;

	config_settings_worker(engine->bundle->config, root, slug, profile, out);
}

static int64_t engine_max(const struct config *config)
{
	struct settings set;

	config_settings(config, config_roots(config)[0], NULL, &set);
	return set.max_in_progress >= 0 ? set.max_in_progress : memory_default_in_progress();
}

static void engine_pools(struct engine *engine, const struct config *config)
{
	int64_t limits[TURNS_POOLS_MAX];
	struct settings set;

	config_settings(config, config_roots(config)[0], NULL, &set);
	for (size_t i = 0; i < set.n_pools; i++)
		limits[i] = set.pools[i].limit;
	caps_set_pools(&engine->caps, limits, set.n_pools, set.pools_generation);
}

/* Many boards need many descriptors; workers get the old limit back. */
static void engine_files(struct engine *engine)
{
	struct rlimit more;

	if (getrlimit(RLIMIT_NOFILE, &more) < 0)
		return;
	engine->nofile = more;
	if (more.rlim_cur >= ENGINE_FILES || more.rlim_cur == more.rlim_max)
		return;
	more.rlim_cur = more.rlim_max < ENGINE_FILES ? more.rlim_max : ENGINE_FILES;
	if (setrlimit(RLIMIT_NOFILE, &more) < 0)
		engine->nofile = (struct rlimit){ 0 };
}

static int engine_host(struct engine *engine, struct error *e)
{
	if (gethostname(engine->host, sizeof(engine->host)) < 0)
		return error_errno(e, -errno, "cannot get the host name");
	engine->host[sizeof(engine->host) - 1] = '\0';
	(void)snprintf(engine->claim_lock, sizeof(engine->claim_lock), "%s:%d", engine->host,
		       (int)getpid());
	return 0;
}

/* The systemd unit that we run in, by the last service or scope of our cgroup; "" if none. */
static void engine_unit(struct engine *engine)
{
	CLEANUP(freep) char *text = NULL;
	char *line, *save = NULL;

	if (fs_read_file("/proc/self/cgroup", 65536, &text, NULL) < 0)
		return;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *name = strrchr(line, '/');
		bool systemd = strncmp(line, "0::", 3) == 0 || strstr(line, ":name=systemd:");

		if (systemd && name && (strstr(name, ".service") || strstr(name, ".scope")))
			(void)snprintf(engine->unit, sizeof(engine->unit), "%s", name + 1);
	}
}

static void engine_ignore(void *arg)
{
	(void)arg;
}

/* Read once: where `hermes pause` of whoever started us puts its file. */
static int engine_hermes_home(struct engine *engine)
{
	CLEANUP(freep) char *path = NULL;
	int r = config_hermes_home(engine->environ, &path);

	if (r == 0 && path && strlen(path) < sizeof(engine->hermes_home))
		strcpy(engine->hermes_home, path);
	return r;
}

int engine_init(struct engine *engine, struct config *config, char *const *env, struct error *e)
{
	int r;

	*engine = (struct engine){ .environ = env };
	engine_files(engine);
	db_library_init();
	job_threads_init();
	r = engine_manager(engine, config, e);
	if (r < 0) {
		config_free(config);
		return r;
	}
	r = bundle_new(&engine->bundle, engine, config);
	if (r < 0)
		return error_errno(e, r, "cannot start");
	engine_unit(engine);
	r = engine_hermes_home(engine);
	r = r < 0 ? error_set(e, r, "out of memory") : engine_host(engine, e);
	if (r < 0) {
		engine->bundle = bundle_free(engine->bundle);
		return r;
	}
	r = uv_loop_init(&engine->loop);
	if (r < 0) {
		engine->bundle = bundle_free(engine->bundle);
		return error_errno(e, r, "cannot start the event loop");
	}
	engine->loop_open = true;
	jobs_init(&engine->jobs, &engine->loop);
	caps_init(&engine->caps, engine_max(config));
	engine_pools(engine, config);
	engine->env = (struct root_env){
		.hermes_home = *engine->hermes_home ? engine->hermes_home : NULL,
		.loop = &engine->loop,
		.jobs = &engine->jobs,
		.caps = &engine->caps,
		.host = engine->host,
		.claim_lock = engine->claim_lock,
		.who = { .host = engine->host,
			 .unit = engine->unit,
			 .socket = config_socket(config) },
		.open_max = ENGINE_OPEN_BOARDS,
		.settings = engine_settings,
		.worker_settings = engine_worker_settings,
		.launcher = engine_launcher,
		.changed = engine_ignore,
		.counted = engine_ignore,
		.worker_ended = engine_ignore,
		.arg = engine,
	};
	return 0;
}

int engine_replace(struct engine *engine, struct config *config)
{
	struct bundle *b = NULL;
	int r = bundle_new(&b, engine, config);

	if (r < 0)
		return r;
	engine->bundle->next = engine->retired;
	engine->retired = engine->bundle;
	engine->bundle = b;
	caps_set_max(&engine->caps, engine_max(config));
	engine_pools(engine, config);
	return 0;
}

void engine_deinit(struct engine *engine)
{
	if (engine->loop_open) {
		caps_deinit(&engine->caps);
		if (uv_loop_close(&engine->loop) < 0)
			log_debug("the event loop still had handles at the end");
	}
	engine->bundle = bundle_free(engine->bundle);
	while (engine->retired) {
		struct bundle *b = engine->retired;

		engine->retired = b->next;
		bundle_free(b);
	}
	freep(&engine->groups);
}
