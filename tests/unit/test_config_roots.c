/* Which roots and which places a configuration means. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/config.h"
#include "kit/suite.h"
#include "util/fs.h"
#include "util/log.h"
#include "util/memory.h"

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
	ck_assert_msg(config_root_from_env(env, &root, &why) == 0, "%s", why.text);
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

	ck_assert_int_eq(config_root_from_env((char *const *)none, &root, &why), -ENOENT);
	ck_assert_str_eq(why.text,
			 "no kanban root: neither HERMES_KANBAN_HOME, HERMES_HOME nor "
			 "HOME is set; give one with --root or [root PATH]");
	ck_assert_int_eq(config_root_from_env((char *const *)home_only, &root, &why), -EINVAL);
	ck_assert_str_eq(why.text,
			 "HERMES_HOME: \"~/x\" needs HOME, which is not set to a folder");
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, none), -ENOENT);
	/* with a section nobody asks the environment */
	put("k.conf", here("[root %/r]\n"));
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, none), 0);
}
END_TEST

/* Where an ESTOP may lie beside that of the root. */
START_TEST(hermes_home)
{
	static const char *const cases[][4] = {
		/* HERMES_HOME, HERMES_KANBAN_HOME, HOME → */
		{ "HERMES_HOME= /srv/h/ ", "X=", "HOME=/home/a", "/srv/h" },
		{ "HERMES_HOME=~/x", "X=", "HOME=/home/a", "/home/a/x" },
		{ "X=", "HERMES_KANBAN_HOME=/srv/k", "HOME=/home/a", "/home/a/.hermes" },
		{ "HERMES_HOME=", "HERMES_KANBAN_HOME=/srv/k", "HOME=/home/a",
		  "/home/a/.hermes" },
		{ "X=", "X=", "HOME=/home/a", NULL }, /* told by --root */
		{ "HERMES_HOME=~/x", "X=", "X=", NULL },
		{ "X=", "HERMES_KANBAN_HOME=/srv/k", "X=", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *env[] = { cases[i][0], cases[i][1], cases[i][2], NULL };
		CLEANUP(freep) char *path = NULL;

		ck_assert_int_eq(config_hermes_home((char *const *)env, &path), 0);
		if (cases[i][3])
			ck_assert_str_eq(path, cases[i][3]);
		else
			ck_assert_ptr_null(path);
	}
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
	ck_assert_str_eq(why.text, "--root: \"\" is not an absolute path");
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
			if (config_load(&config, &cli, (char *const *)env_home, &why) < 0)
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
	struct config_cli cli = { .launcher = "nomad" };

	ck_assert_int_eq(load_with(cli, env_home), -EINVAL);
	ck_assert_ptr_eq(
		strstr(why.text, "--launcher: \"nomad\" is not one of auto, systemd, "),
		why.text);
	cli = (struct config_cli){ .log_level = "" };
	ck_assert_int_eq(load_with(cli, env_home), -EINVAL);
	ck_assert_str_eq(why.text, "--log-level: \"\" is not one of error, warning, notice, "
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

Suite *test_suite(void)
{
	Suite *suite = suite_create("config_roots");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
	tcase_add_loop_test(tc, root_from_environment, 0,
			    sizeof(env_roots) / sizeof(env_roots[0]));
	tcase_add_test(tc, no_root_at_all);
	tcase_add_test(tc, hermes_home);
	tcase_add_test(tc, roots);
	tcase_add_loop_test(tc, default_file, 0,
			    sizeof(default_files) / sizeof(default_files[0]));
	tcase_add_test(tc, default_file_is_read);
	tcase_add_test(tc, socket_path);
	tcase_add_test(tc, bad_command_line);
	tcase_add_test(tc, one_value_for_all_roots);
	suite_add_tcase(suite, tc);
	return suite;
}
