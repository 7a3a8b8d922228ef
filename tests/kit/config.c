#include "config.h"

#include <check.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *dir;
const char *env_home[3];
struct config *config;
struct error why;

static int fixture_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void fixture_setup(void)
{
	const char *tmp = getenv("TMPDIR");
	CLEANUP(freep) char *template = fs_path("%s/kanband-config.XXXXXX", tmp ? tmp : "/tmp");

	ck_assert_ptr_nonnull(template);
	ck_assert_ptr_nonnull(mkdtemp(template));
	dir = realpath(template, NULL);
	ck_assert_ptr_nonnull(dir);
	env_home[0] = fs_path("HOME=%s", dir);
	env_home[1] = fs_path("HERMES_KANBAN_HOME=%s/root", dir);
	ck_assert_ptr_nonnull(env_home[0]);
	ck_assert_ptr_nonnull(env_home[1]);
}

void fixture_teardown(void)
{
	config = config_free(config);
	ck_assert_int_eq(nftw(dir, fixture_unlink, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(dir);
	free((char *)env_home[0]);
	free((char *)env_home[1]);
}

void put_bytes(const char *name, const void *data, size_t len)
{
	CLEANUP(freep) char *path = fs_path("%s/%s", dir, name);
	char *slash;
	FILE *f;

	ck_assert_ptr_nonnull(path);
	slash = strrchr(path, '/');
	*slash = '\0';
	ck_assert_int_eq(fs_mkdir_p(path, 0755), 0);
	*slash = '/';
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

void put(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text));
}

int load_with(struct config_cli cli, const char *const *env)
{
	CLEANUP(freep) char *file = fs_path("%s/k.conf", dir);

	ck_assert_ptr_nonnull(file);
	if (!cli.file && access(file, F_OK) < 0)
		put("k.conf", "");
	if (!cli.file)
		cli.file = file;
	config = config_free(config);
	why = (struct error)ERROR_NULL;
	return config_load(&config, &cli, (char *const *)env, &why);
}

int load(void)
{
	return load_with((struct config_cli){ 0 }, env_home);
}

void load_ok(void)
{
	int r = load();

	ck_assert_msg(r == 0, "load: %d, %s", r, why.text);
}

const char *here(const char *fmt)
{
	static char buf[4096];
	size_t n = 0;

	for (; *fmt && n < sizeof(buf) - 1; fmt++)
		if (*fmt == '%')
			n += (size_t)snprintf(buf + n, sizeof(buf) - n, "%s", dir);
		else
			buf[n++] = *fmt;
	ck_assert_uint_lt(n, sizeof(buf));
	buf[n] = '\0';
	return buf;
}

struct settings settings_of(const char *slug)
{
	struct settings s;

	config_settings(config, config_roots(config)[0], slug, &s);
	return s;
}

const struct config_value *value_of(const char *name, const char *slug)
{
	const struct config_option *option = config_option_find(name);

	ck_assert_ptr_nonnull(option);
	return config_lookup(config, option, config_roots(config)[0], slug);
}

size_t warning_count(void)
{
	size_t n = 0;

	while (config_warnings(config)[n])
		n++;
	return n;
}
