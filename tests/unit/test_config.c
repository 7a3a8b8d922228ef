/* Layers and their precedence, environment, roots, socket, command line, --check-config. */
#include <errno.h>
#include <jansson.h>
#include <sys/wait.h>
#include <syslog.h>

#include "kit/config.h"
#include "util/log.h"
#include "util/memory.h"

/* ---- precedence ---- */

static void layer_fill(struct config_value *values, const char *source)
{
	for (size_t i = 0; i < config_option_count; i++) {
		struct config_value v = { .set = true };

		ck_assert_int_eq(config_value_put(&values[i], &v, "%s", source), 0);
	}
}

/* Every option, every set of layers that could have it: the strongest one wins. */
START_TEST(precedence_of_layers)
{
	static const char *const order[] = { "cli",  "env",  "board", "root",
					     "base", "yaml", "def" };
	struct config c = { 0 };

	for (unsigned have = 0; have < 64; have++) {
		struct config_section *s;
		unsigned strongest = 0;

		c = (struct config){ .cli = config_values_new(),
				     .env = config_values_new(),
				     .base = config_values_new(),
				     .def = config_values_new() };
		/* the first root's config.yaml is that of /r; the others must not be asked */
		s = config_section_get(&c.yaml, &c.yaml_count, IN_ROOT, "/r", true);
		if (have & 32)
			layer_fill(s->values, "yaml");
		s = config_section_get(&c.sections, &c.section_count, IN_BOARD, "other", true);
		layer_fill(s->values, "other board");
		s = config_section_get(&c.sections, &c.section_count, IN_ROOT, "/other", true);
		layer_fill(s->values, "other root");
		s = config_section_get(&c.yaml, &c.yaml_count, IN_ROOT, "/other", true);
		layer_fill(s->values, "other yaml");
		layer_fill(c.def, "def");
		if (have & 1)
			layer_fill(c.cli, "cli");
		if (have & 2)
			layer_fill(c.env, "env");
		s = config_section_get(&c.sections, &c.section_count, IN_BOARD, "b", true);
		if (have & 4)
			layer_fill(s->values, "board");
		s = config_section_get(&c.sections, &c.section_count, IN_ROOT, "/r", true);
		if (have & 8)
			layer_fill(s->values, "root");
		if (have & 16)
			layer_fill(c.base, "base");
		while (strongest < 6 && !(have & 1u << strongest))
			strongest++;
		for (size_t i = 0; i < config_option_count; i++)
			ck_assert_str_eq(
				config_lookup(&c, &config_options[i], "/r", "b")->source,
				order[strongest]);
		{
			/* what is no board's own does not see the board */
			unsigned rest = have & ~4u;
			unsigned n = 0;

			while (n < 6 && !(rest & 1u << n))
				n++;
			ck_assert_str_eq(
				config_lookup(&c, &config_options[0], "/r", NULL)->source,
				order[n]);
		}
		(void)config_values_free(c.cli);
		(void)config_values_free(c.env);
		(void)config_values_free(c.base);
		(void)config_values_free(c.def);
		for (size_t i = 0; i < c.section_count; i++) {
			free(c.sections[i].name);
			(void)config_values_free(c.sections[i].values);
		}
		for (size_t i = 0; i < c.yaml_count; i++) {
			free(c.yaml[i].name);
			(void)config_values_free(c.yaml[i].values);
		}
		free(c.sections);
		free(c.yaml);
	}
}
END_TEST

/* The same through real files, one neighbouring pair after the other. */
START_TEST(precedence_from_files)
{
	CLEANUP(freep) char *home = fs_path("HERMES_KANBAN_HOME=%s/root", dir);
	const char *env[] = { env_home[0], home, "HERMES_KANBAN_CLAIM_TTL_SECONDS=11", NULL };
	struct config_cli cli = { .log_level = "debug" };

	put("root/config.yaml", "kanban:\n  failure_limit: 6\n");
	load_ok();
	ck_assert_int_eq(settings_of(NULL).failure_limit, 6);
	ck_assert_str_eq(value_of("failure_limit", NULL)->source, here("%/root/config.yaml:2"));
	put("k.conf", "[kanband]\nfailure_limit = 5\nclaim_ttl = 12\nlog_level = error\n");
	load_ok();
	ck_assert_int_eq(settings_of(NULL).failure_limit, 5);
	put("k.conf", here("[kanband]\nfailure_limit = 5\nclaim_ttl = 12\nlog_level = error\n"
			   "[root %/root]\nfailure_limit = 4\n"
			   "[board b]\nfailure_limit = 3\nclaim_ttl = 13\n"));
	load_ok();
	ck_assert_int_eq(settings_of(NULL).failure_limit, 4);
	ck_assert_int_eq(settings_of("b").failure_limit, 3);
	ck_assert_int_eq(settings_of("c").failure_limit, 4);
	ck_assert_int_eq(settings_of(NULL).claim_ttl_s, 12);
	ck_assert_int_eq(settings_of("b").claim_ttl_s, 13);
	ck_assert_int_eq(config_log_level(config), LOG_ERR);
	ck_assert_int_eq(load_with(cli, env), 0);
	ck_assert_int_eq(settings_of("b").claim_ttl_s, 11);
	ck_assert_str_eq(value_of("claim_ttl", "b")->source,
			 "environment HERMES_KANBAN_CLAIM_TTL_SECONDS");
	ck_assert_int_eq(config_log_level(config), LOG_DEBUG);
	ck_assert_str_eq(value_of("log_level", NULL)->source, "command line --log-level");
}
END_TEST

START_TEST(defaults_are_those_of_the_contract)
{
	struct settings s;

	ck_assert_int_eq(fs_mkdir_p(here("%/root"), 0755), 0);
	put("root/config.yaml", "");
	load_ok();
	s = settings_of("b");
	ck_assert_uint_eq(warning_count(), 0);
	ck_assert_int_eq(s.dispatch_interval_s, 60);
	ck_assert_int_eq(s.max_spawn, -1);
	ck_assert_int_eq(s.max_in_progress, -1);
	ck_assert_int_eq(s.max_in_progress_per_profile, -1);
	ck_assert_int_eq(s.failure_limit, 2);
	ck_assert_int_eq(s.stale_timeout_s, 14400);
	ck_assert_ptr_null(s.default_assignee);
	ck_assert(!s.review_dispatch);
	ck_assert(s.auto_decompose);
	ck_assert_int_eq(s.auto_decompose_per_tick, 3);
	ck_assert(!s.profiles_limited);
	ck_assert_ptr_nonnull(s.dispatch_profiles);
	ck_assert(!s.guard_check_pr_state);
	ck_assert(!s.paused);
	ck_assert_int_eq(s.claim_ttl_s, 900);
	ck_assert_int_eq(s.heartbeat_stale_s, 3600);
	ck_assert_int_eq(s.reclaim_defer_s, 120);
	ck_assert_int_eq(s.crash_grace_s, 30);
	ck_assert_int_eq(s.rate_limit_cooldown_s, 300);
	ck_assert_int_eq(s.busy_timeout_ms, 120000);
	ck_assert_int_eq(s.checkpoint_interval_s, 300);
	ck_assert_int_eq(s.terminate_grace_ms, 5000);
	ck_assert_int_eq(s.worker_log_rotate_bytes, 2 * 1024 * 1024);
	ck_assert_int_eq(s.worker_log_backup_count, 1);
	ck_assert_str_eq(s.hermes, "hermes");
	ck_assert_ptr_null(s.workspaces_root);
	ck_assert_ptr_null(s.pinned_db);
	ck_assert(s.memory_guard);
	ck_assert_int_eq(config_launcher(config), LAUNCHER_AUTO);
	ck_assert_ptr_null(config_command(config));
	ck_assert_int_eq(config_log_level(config), LOG_INFO);
}
END_TEST

START_TEST(table_is_sound)
{
	const struct config_syntax syntax = { "/home/x", false, false };

	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];
		struct config_value v = { 0 };
		CLEANUP(freep) char *text = NULL;

		ck_assert_ptr_eq(config_option_find(o->name), o);
		ck_assert_msg(config_value_parse(o, &syntax, o->def, &v, &err) == 0, "%s: %s",
			      o->name, err.text);
		text = config_value_text(o, &v);
		ck_assert_str_eq(text, o->def);
		config_value_clear(&v);
		ck_assert(o->sections || o->env);
		ck_assert((o->kind == KIND_CHOICE) == (o->choices != NULL));
		ck_assert(strcmp(o->name, "log_level") != 0 ||
			  log_level_from_text("error") == o->choices[0].number);
		if (strcmp(o->name, "log_level") == 0)
			for (const struct config_choice *c = o->choices; c->word; c++)
				ck_assert_int_eq(log_level_from_text(c->word), c->number);
	}
}
END_TEST

/* ---- environment ---- */

START_TEST(environment)
{
	const char *env[] = { env_home[0],
			      env_home[1],
			      "HERMES_KANBAN_CLAIM_TTL_SECONDS= 42 ",
			      "HERMES_KANBAN_CRASH_GRACE_SECONDS=0",
			      "HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS=0",
			      "HERMES_KANBAN_BUSY_TIMEOUT_MS=1500",
			      "HERMES_KANBAN_WORKSPACES_ROOT=~/ws/",
			      "HERMES_KANBAN_DB=/x//y.db",
			      "HERMES_BIN=/opt/hermes",
			      "HERMES_KANBAN_DISPATCH_IN_GATEWAY=0",
			      NULL };
	struct settings s;

	ck_assert_int_eq(load_with((struct config_cli){ 0 }, env), 0);
	ck_assert_uint_eq(warning_count(), 0);
	s = settings_of("b");
	ck_assert_int_eq(s.claim_ttl_s, 42);
	ck_assert_int_eq(s.crash_grace_s, 0);
	ck_assert_int_eq(s.rate_limit_cooldown_s, 0);
	ck_assert_int_eq(s.busy_timeout_ms, 1500);
	ck_assert_str_eq(s.workspaces_root, here("%/ws"));
	ck_assert_str_eq(s.pinned_db, "/x/y.db");
	ck_assert_str_eq(s.hermes, "/opt/hermes");
}
END_TEST

START_TEST(environment_bad_values)
{
	const char *env[] = { env_home[0],
			      env_home[1],
			      "HERMES_KANBAN_CLAIM_TTL_SECONDS=15min",
			      "HERMES_KANBAN_CRASH_GRACE_SECONDS=-1",
			      "HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS=",
			      "HERMES_KANBAN_BUSY_TIMEOUT_MS=5.5",
			      "HERMES_KANBAN_DB=~bob/k.db",
			      NULL };

	put("k.conf", "[kanband]\ncrash_grace = 7\n");
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, env), 0);
	ck_assert_uint_eq(warning_count(), 4);
	ck_assert_str_eq(
		config_warnings(config)[0],
		"environment HERMES_KANBAN_CLAIM_TTL_SECONDS: \"15min\" is not a whole "
		"number of seconds; it is ignored");
	ck_assert_str_eq(config_warnings(config)[1],
			 "environment HERMES_KANBAN_CRASH_GRACE_SECONDS: -1s is out of range; "
			 "allowed is 0s to 366d; it is ignored");
	ck_assert_str_eq(config_warnings(config)[2],
			 "environment HERMES_KANBAN_BUSY_TIMEOUT_MS: \"5.5\" is not a whole "
			 "number of milliseconds; it is ignored");
	ck_assert_str_eq(config_warnings(config)[3],
			 "environment HERMES_KANBAN_DB: \"~bob/k.db\": only ~ and ~/... stand "
			 "for a home folder; it is ignored");
	ck_assert_int_eq(settings_of(NULL).claim_ttl_s, 900);
	ck_assert_int_eq(settings_of(NULL).crash_grace_s, 7);
	ck_assert_int_eq(settings_of(NULL).rate_limit_cooldown_s, 300);
	ck_assert_int_eq(settings_of(NULL).busy_timeout_ms, 120000);
	ck_assert_ptr_null(settings_of(NULL).pinned_db);
}
END_TEST

/* ---- roots ---- */

/* % is the folder of the case, which is also HOME where it is set */
static const struct {
	const char *kanban_home, *hermes_home, *home, *root;
} env_roots[] = {
	{ NULL, NULL, "%", "%/.hermes" },
	{ NULL, "", "%", "%/.hermes" },
	{ "", " ", "%", "%/.hermes" },
	{ "/k", "/h", "%", "/k" },
	{ " ~/k/ ", "/h", "%", "%/k" },
	{ "~", NULL, "%", "%" },
	{ "k/./x", NULL, NULL, "%/k/x" }, /* the case's working folder */
	{ NULL, "%/.hermes", "%", "%/.hermes" },
	{ NULL, "%/.hermes/", "%", "%/.hermes" },
	{ NULL, "%/.hermes/profiles/coder", "%", "%/.hermes" },
	{ NULL, "%/.hermes/any/thing", "%", "%/.hermes" },
	{ NULL, "%/.hermesx", "%", "%/.hermesx" },
	{ NULL, "%/linked/profiles/x", "%", "%/.hermes" },
	{ NULL, "/srv/h", "%", "/srv/h" },
	{ NULL, "/srv/h/profiles/coder", "%", "/srv/h" },
	{ NULL, "/srv/h/profiles/coder/", "%", "/srv/h" },
	{ NULL, "/srv/h/profiles", "%", "/srv/h/profiles" },
	{ NULL, "/srv/h/profiles/a/b", "%", "/srv/h/profiles/a/b" },
	{ NULL, "/profiles/a", "%", "/" },
	{ NULL, "/srv/h", NULL, "/srv/h" },
	{ NULL, "/", NULL, "/" },
	{ NULL, "/x", NULL, "/x" },
};

START_TEST(root_from_environment)
{
	char *env[4] = { NULL }, *root = NULL;
	CLEANUP(freep) char *link = fs_path("%s/linked", dir);
	CLEANUP(freep) char *native = fs_path("%s/.hermes/profiles/x", dir);
	CLEANUP(freep) char *target = fs_path("%s/.hermes", dir);
	size_t n = 0;

	ck_assert_int_eq(fs_mkdir_p(native, 0755), 0);
	ck_assert_int_eq(symlink(target, link), 0);
	ck_assert_int_eq(chdir(dir), 0);
	if (env_roots[_i].kanban_home)
		env[n++] = fs_path("HERMES_KANBAN_HOME=%s", here(env_roots[_i].kanban_home));
	if (env_roots[_i].hermes_home)
		env[n++] = fs_path("HERMES_HOME=%s", here(env_roots[_i].hermes_home));
	if (env_roots[_i].home)
		env[n++] = fs_path("HOME=%s", here(env_roots[_i].home));
	ck_assert_msg(config_root_from_env(env, &root, &err) == 0, "%s", err.text);
	ck_assert_str_eq(root, here(env_roots[_i].root));
	free(root);
	while (n > 0)
		free(env[--n]);
}
END_TEST

START_TEST(no_root_at_all)
{
	const char *none[] = { NULL }, *home_only[] = { "HERMES_HOME=~/x", NULL };
	char *root = NULL;

	ck_assert_int_eq(config_root_from_env((char *const *)none, &root, &err), -ENOENT);
	ck_assert_str_eq(err.text,
			 "no kanban root: neither HERMES_KANBAN_HOME, HERMES_HOME nor "
			 "HOME is set; give one with --root or [root PATH]");
	ck_assert_int_eq(config_root_from_env((char *const *)home_only, &root, &err), -EINVAL);
	ck_assert_str_eq(err.text,
			 "HERMES_HOME: \"~/x\" needs HOME, which is not set to a folder");
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, none), -ENOENT);
	/* with a section nobody asks the environment */
	put("k.conf", here("[root %/r]\n"));
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, none), 0);
}
END_TEST

START_TEST(roots)
{
	CLEANUP(freep) char *a = fs_path("%s/a", dir);
	CLEANUP(freep) char *link = fs_path("%s/link", dir);
	const char *given[] = { "a/", link, "b", "./b/.", NULL };
	const char *empty[] = { "", NULL };
	struct config_cli cli = { .roots = given };

	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(mkdir(a, 0755), 0);
	ck_assert_int_eq(symlink(a, link), 0);
	put("k.conf", here("[root %/c]\nmax_spawn = 1\n[root %/link]\nmax_spawn = 2\n"));
	load_ok();
	ck_assert_str_eq(config_roots(config)[0], here("%/c"));
	ck_assert_str_eq(config_roots(config)[1], here("%/a"));
	ck_assert_ptr_null(config_roots(config)[2]);
	/* --root wins; the section of the same folder holds for it, by whatever name */
	ck_assert_int_eq(load_with(cli, env_home), 0);
	ck_assert_str_eq(config_roots(config)[0], a);
	ck_assert_str_eq(config_roots(config)[1], here("%/b"));
	ck_assert_ptr_null(config_roots(config)[2]);
	ck_assert_int_eq(settings_of(NULL).max_spawn, 2);
	cli.roots = empty;
	ck_assert_int_eq(load_with(cli, env_home), -EINVAL);
	ck_assert_str_eq(err.text, "--root: \"\" is not an absolute path");
}
END_TEST

/* ---- places ---- */

static const struct {
	const char *env[3];
	unsigned euid;
	const char *file;
} default_files[] = {
	{ { "HOME=/h" }, 0, KANBAND_SYSCONFDIR "/kanband/kanband.conf" },
	{ { NULL }, 0, KANBAND_SYSCONFDIR "/kanband/kanband.conf" },
	{ { "HOME=/h" }, 1000, "/h/.config/kanband/kanband.conf" },
	{ { "HOME=/h", "XDG_CONFIG_HOME=/x" }, 1000, "/x/kanband/kanband.conf" },
	{ { "HOME=/h", "XDG_CONFIG_HOME=x" }, 1000, "/h/.config/kanband/kanband.conf" },
	{ { "HOME=/h", "RUNTIME_DIRECTORY=/run/kanband" },
	  1000,
	  KANBAND_SYSCONFDIR "/kanband/kanband.conf" },
	{ { "HOME=/h", "RUNTIME_DIRECTORY=/run/user/1000/kanband" },
	  1000,
	  "/h/.config/kanband/kanband.conf" },
	{ { NULL }, 1000, NULL },
};

START_TEST(default_file)
{
	CLEANUP(freep) char *path = NULL;

	ck_assert_int_eq(config_default_file((char *const *)default_files[_i].env,
					     default_files[_i].euid, &path),
			 0);
	ck_assert_pstr_eq(path, default_files[_i].file);
}
END_TEST

/* As somebody who is not root, without --config: a missing file is fine, one is found. */
START_TEST(default_file_is_read)
{
	struct config_cli cli = { 0 };
	pid_t pid;
	int status;

	put("unused", "");
	ck_assert_int_eq(chmod(dir, 0755), 0);
	for (int round = 0; round < 3; round++) {
		if (round == 1)
			put(".config/kanband/kanband.conf.d/x.conf",
			    "[kanband]\nmax_spawn = 8\n");
		if (round == 2)
			put(".config/kanband/kanband.conf",
			    "[kanband]\nfailure_limit = 9\nmax_spawn = 1\n");
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			if (geteuid() == 0 && seteuid(65534) < 0)
				_exit(2);
			if (config_load(&config, &cli, (char *const *)env_home, &err) < 0)
				_exit(3);
			if (settings_of(NULL).max_spawn != (round == 0 ? -1 : 8))
				_exit(4);
			if (settings_of(NULL).failure_limit != (round == 2 ? 9 : 2))
				_exit(5);
			config = config_free(config);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
}
END_TEST

START_TEST(socket_path)
{
	const char *env[] = { env_home[0], env_home[1], NULL, NULL, NULL };
	struct config_cli cli = { 0 };
	CLEANUP(freep) char *long_dir = malloc(200);

	ck_assert_ptr_nonnull(long_dir);
	ck_assert_int_eq(chdir(dir), 0);
	load_ok();
	ck_assert_ptr_null(config_socket(config));
	env[2] = "XDG_RUNTIME_DIR=/run/user/7";
	ck_assert_int_eq(load_with(cli, env), 0);
	ck_assert_str_eq(config_socket(config), "/run/user/7/kanband/control.sock");
	ck_assert_str_eq(value_of("socket", NULL)->source, "default in XDG_RUNTIME_DIR");
	env[3] = "RUNTIME_DIRECTORY=/run/kanband:/run/more";
	ck_assert_int_eq(load_with(cli, env), 0);
	ck_assert_str_eq(config_socket(config), "/run/kanband/control.sock");
	put("k.conf", "[kanband]\nsocket = ~/s\n");
	ck_assert_int_eq(load_with(cli, env), 0);
	ck_assert_str_eq(config_socket(config), here("%/s"));
	cli.socket = "t.sock";
	ck_assert_int_eq(load_with(cli, env), 0);
	ck_assert_str_eq(config_socket(config), here("%/t.sock"));
	put("k.conf", "");
	cli.socket = NULL;
	memset(long_dir, 'd', 199);
	memcpy(long_dir, "RUNTIME_DIRECTORY=/", 19);
	long_dir[199] = '\0';
	env[3] = long_dir;
	ck_assert_int_eq(load_with(cli, env), 0);
	ck_assert_ptr_null(config_socket(config));
	ck_assert_uint_eq(warning_count(), 1);
}
END_TEST

START_TEST(bad_command_line)
{
	struct config_cli cli = { .launcher = "systemd" };

	ck_assert_int_eq(load_with(cli, env_home), -EINVAL);
	ck_assert_str_eq(err.text, "--launcher: systemd: this version has no systemd launcher "
				   "yet; use auto, fork or command");
	cli = (struct config_cli){ .log_level = "" };
	ck_assert_int_eq(load_with(cli, env_home), -EINVAL);
	ck_assert_str_eq(err.text, "--log-level: \"\" is not one of error, warning, notice, "
				   "info, debug");
}
END_TEST

START_TEST(one_value_for_all_roots)
{
	struct settings s;

	put("a/config.yaml", "kanban: {max_in_progress: 3}\n");
	put("b/config.yaml", "kanban: {max_in_progress: 4}\n");
	put("c/config.yaml", "kanban: {max_in_progress: 3}\n");
	put("k.conf", here("[root %/a]\n[root %/b]\n[root %/c]\n"));
	load_ok();
	for (int i = 0; i < 3; i++) {
		config_settings(config, config_roots(config)[i], NULL, &s);
		ck_assert_int_eq(s.max_in_progress, 3);
	}
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert_str_eq(config_warnings(config)[0],
			 here("%/b/config.yaml:1: kanban.max_in_progress is one for all roots "
			      "and taken from the first (%/a/config.yaml:1); set it in "
			      "[kanband]"));
	put("k.conf", here("[kanband]\nmax_in_progress = 5\n[root %/a]\n[root %/b]\n"));
	load_ok();
	ck_assert_uint_eq(warning_count(), 0);
	config_settings(config, config_roots(config)[1], NULL, &s);
	ck_assert_int_eq(s.max_in_progress, 5);
}
END_TEST

/* ---- reload ---- */

START_TEST(same_process)
{
	CLEANUP(config_freep) struct config *old = NULL;
	struct config_cli cli = { .socket = "/run/a" };

	put("k.conf", here("[root %/a]\n[root %/b]\n"));
	load_ok();
	old = STEAL(config);
	put("k.conf", here("[kanband]\nmax_spawn = 3\n[worker]\nlauncher = fork\n"
			   "[root %/a]\n[root %/b]\nmax_spawn = 1\n[board x]\n"));
	load_ok();
	ck_assert(config_same_process(old, config));
	ck_assert_int_eq(load_with(cli, env_home), 0);
	ck_assert(!config_same_process(old, config));
	ck_assert(!config_same_process(config, old));
	put("k.conf", here("[root %/a]\n"));
	load_ok();
	ck_assert(!config_same_process(old, config));
	put("k.conf", here("[root %/b]\n[root %/a]\n"));
	load_ok();
	ck_assert(!config_same_process(old, config));
}
END_TEST

/* ---- --check-config ---- */

static char *printed(bool json)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(config_print(config, f, json), 0);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static void print_load(void)
{
	const char *env[] = { env_home[0], env_home[1], "HERMES_BIN=/opt/hermes", NULL };

	put("k.conf", here("[kanband]\nclaim_ttl = 90s\nbusy_timeout = 1500ms\n"
			   "dispatch_profiles = a b\n[worker]\nlauncher = command\n"
			   "command = srun 'a b'\n[root %/r\xFF]\nfailure_limit = 5\n"
			   "[root %/root]\n[board x]\npaused = yes\nclaim_ttl = 2h\n"));
	put("root/config.yaml", "kanban:\n  failure_limit: 6\n  max_spawn: no\n");
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, env), 0);
}

START_TEST(prints_text)
{
	static const char *const lines[] = {
		"# read: %/k.conf\n",
		"[kanband] log_level = info   # default\n",
		"[kanband] socket =   # default\n",
		"[worker] command = srun 'a b'   # %/k.conf:7\n",
		"\n[root %/r\xFF] dispatch_interval_seconds = 1min   # default\n",
		"[root %/r\xFF] failure_limit = 5   # %/k.conf:9\n",
		"[root %/root] failure_limit = 6   # %/root/config.yaml:2\n",
		"[root %/root] max_spawn = none   # default\n",
		"[root %/root] claim_ttl = 90s   # %/k.conf:2\n",
		"[root %/root] busy_timeout = 1500ms   # %/k.conf:3\n",
		"[root %/root] dispatch_profiles = a b   # %/k.conf:4\n",
		"[root %/root] hermes = /opt/hermes   # environment HERMES_BIN\n",
		"[root %/root] worker_log_rotate_bytes = 2M   # default\n",
		("\n[board x] paused = yes   # %/k.conf:12\n"
		 "[board x] claim_ttl = 2h   # %/k.conf:13\n"),
	};
	CLEANUP(freep) char *text = NULL;
	CLEANUP(freep) char *in_progress = NULL;
	size_t n = 0;

	print_load();
	text = printed(false);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		ck_assert_msg(strstr(text, here(lines[i])) != NULL, "missing: %s in\n%s",
			      here(lines[i]), text);
	in_progress = fs_path("[kanband] max_in_progress = auto   # default, here %ld\n",
			      memory_default_in_progress());
	ck_assert_ptr_nonnull(strstr(text, in_progress));
	/* every option, once per root or once at all */
	for (size_t i = 0; i < config_option_count; i++) {
		CLEANUP(freep) char *key = fs_path("] %s =", config_options[i].name);
		size_t count = 0;

		for (char *p = strstr(text, key); p; p = strstr(p + 1, key))
			count++;
		ck_assert_msg(count > 0, "%s is not printed", config_options[i].name);
		n += count;
	}
	/* 6 of the process, the rest but paused for each root, 2 of the board */
	ck_assert_uint_eq(n, 6 + 2 * (config_option_count - 7) + 2);
}
END_TEST

static const json_t *json_at(const json_t *json, const char *group, const char *name,
			     const char *key)
{
	const json_t *value =
		json_object_get(json_object_get(json_object_get(json, group), name), key);

	ck_assert_msg(value != NULL, "no %s / %s / %s", group, name, key);
	return value;
}

START_TEST(prints_json)
{
	CLEANUP(freep) char *text = NULL;
	CLEANUP(json_decrefp) json_t *json = NULL;
	const json_t *v;
	json_error_t je;

	print_load();
	text = printed(true);
	json = json_loads(text, JSON_REJECT_DUPLICATES, &je);
	ck_assert_msg(json != NULL, "%s", je.text);
	v = json_at(json, "roots", here("%/root"), "claim_ttl");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "value")), 90);
	ck_assert_str_eq(json_string_value(json_object_get(v, "unit")), "s");
	ck_assert_str_eq(json_string_value(json_object_get(v, "source")), here("%/k.conf:2"));
	v = json_at(json, "roots", here("%/root"), "busy_timeout");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "value")), 1500);
	ck_assert_str_eq(json_string_value(json_object_get(v, "unit")), "ms");
	v = json_at(json, "roots", here("%/root"), "max_spawn");
	ck_assert(json_is_null(json_object_get(v, "value")));
	v = json_at(json, "roots", here("%/root"), "dispatch_profiles");
	ck_assert_uint_eq(json_array_size(json_object_get(v, "value")), 2);
	v = json_at(json, "roots", here("%/root"), "review_dispatch");
	ck_assert(json_is_false(json_object_get(v, "value")));
	v = json_at(json, "roots", here("%/root"), "hermes");
	ck_assert_str_eq(json_string_value(json_object_get(v, "value")), "/opt/hermes");
	v = json_object_get(json_object_get(json, "process"), "max_in_progress");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "here")),
			 memory_default_in_progress());
	/* bytes that are not UTF-8 */
	v = json_at(json, "roots", here("%/r?"), "failure_limit");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "value")), 5);
	v = json_at(json, "boards", "x", "paused");
	ck_assert(json_is_true(json_object_get(v, "value")));
	v = json_object_get(json_object_get(json_object_get(json, "process"), "command"),
			    "value");
	ck_assert_str_eq(json_string_value(json_array_get(v, 1)), "a b");
	ck_assert_uint_eq(json_array_size(json_object_get(json, "files")), 1);
	ck_assert_uint_eq(json_array_size(json_object_get(json, "warnings")), 1);
	ck_assert_uint_eq(json_object_size(json_object_get(json_object_get(json, "roots"),
							   here("%/root"))),
			  config_option_count - 7);
}
END_TEST

START_TEST(print_to_a_full_disk)
{
	FILE *full = fopen("/dev/full", "we");

	if (!full)
		return;
	load_ok();
	ck_assert_int_eq(config_print(config, full, false), -ENOSPC);
	ck_assert_int_lt(config_print(config, full, true), 0);
	(void)fclose(full); /* fails again, as it must */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
	tcase_add_test(tc, precedence_of_layers);
	tcase_add_test(tc, precedence_from_files);
	tcase_add_test(tc, defaults_are_those_of_the_contract);
	tcase_add_test(tc, table_is_sound);
	tcase_add_test(tc, environment);
	tcase_add_test(tc, environment_bad_values);
	tcase_add_loop_test(tc, root_from_environment, 0,
			    sizeof(env_roots) / sizeof(env_roots[0]));
	tcase_add_test(tc, no_root_at_all);
	tcase_add_test(tc, roots);
	tcase_add_loop_test(tc, default_file, 0,
			    sizeof(default_files) / sizeof(default_files[0]));
	tcase_add_test(tc, default_file_is_read);
	tcase_add_test(tc, socket_path);
	tcase_add_test(tc, bad_command_line);
	tcase_add_test(tc, one_value_for_all_roots);
	tcase_add_test(tc, same_process);
	tcase_add_test(tc, prints_text);
	tcase_add_test(tc, prints_json);
	tcase_add_test(tc, print_to_a_full_disk);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
