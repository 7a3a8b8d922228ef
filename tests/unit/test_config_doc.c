/*
 * The option scan: man/kanband.conf.5 and conf/kanband.conf say what the table says. Run from
 * the top of the source tree, as `make unit` does.
 */
#include <check.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/config.h"
#include "kit/suite.h"
#include "util/fs.h"

#define MANUAL "man/kanband.conf.5"
#define SAMPLE "conf/kanband.conf"

static char *read_source(const char *path)
{
	char *text = NULL;
	int r = fs_read_file(path, 1024 * 1024, &text, NULL);

	ck_assert_msg(r == 0, "%s: %s; run from the top of the source tree", path,
		      strerror(-r));
	return text;
}

/* The text of @option's item: from its .It line to the next .It, .El or .Sh. */
static char *manual_item(const char *manual, const struct config_option *option)
{
	CLEANUP(freep) char *head = fs_path("\n.It Ic %s No =", option->name);
	const char *from = strstr(manual, head), *to;

	ck_assert_msg(from != NULL, MANUAL ": no item for %s", option->name);
	ck_assert_msg(strstr(from + 1, head) == NULL, MANUAL ": two items for %s",
		      option->name);
	to = from + 1;
	do {
		to = strchr(to, '\n') + 1;
	} while (strncmp(to, ".It", 3) != 0 && strncmp(to, ".El", 3) != 0 &&
		 strncmp(to, ".Sh", 3) != 0);
	return strndup(from, (size_t)(to - from));
}

static void check_line(const struct config_option *option, const char *item, const char *line)
{
	CLEANUP(freep) char *whole = fs_path("\n%s\n", line);

	ck_assert_msg(strstr(item, whole) != NULL, MANUAL ": %s: no line \"%s\"", option->name,
		      line);
}

/* "In [worker], [root]." in the order of the section list */
static char *sections_line(unsigned sections)
{
	char text[128] = "In ";
	size_t n = 3;

	for (unsigned bit = 1; config_section_title(bit); bit <<= 1) {
		const char *title = config_section_title(bit);

		if (sections & bit)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s]",
					      n > 3 ? ", " : "", (int)strcspn(title, " ]"),
					      title);
	}
	ck_assert_uint_lt(n, sizeof(text));
	return fs_path("%s.", text);
}

START_TEST(manual_has_every_option)
{
	CLEANUP(freep) char *manual = read_source(MANUAL);

	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];
		CLEANUP(freep) char *item = manual_item(manual, o);
		CLEANUP(freep) char *def = fs_path("Default: %s", *o->def ? o->def : "empty");
		CLEANUP(freep) char *in = sections_line(o->sections);

		check_line(o, item, def);
		if (o->sections)
			check_line(o, item, in);
		if (o->env) {
			CLEANUP(freep) char *env = fs_path(".Ev %s", o->env);

			check_line(o, item, env);
		}
		ck_assert_msg(!o->env == !strstr(item, "\nEnvironment:\n"),
			      MANUAL ": %s: environment", o->name);
		ck_assert_msg(o->yaml == (strstr(item, "\nAlso in config.yaml") != NULL),
			      MANUAL ": %s: config.yaml", o->name);
		for (const struct config_choice *c = o->choices; c && c->word; c++)
			ck_assert_msg(c->refused || strstr(item, c->word),
				      MANUAL ": %s: choice %s", o->name, c->word);
		ck_assert_msg(!o->unset || strstr(item, o->unset), MANUAL ": %s: %s", o->name,
			      o->unset);
	}
}
END_TEST

/* Nothing is described that is not there. */
START_TEST(manual_has_no_other_option)
{
	CLEANUP(freep) char *manual = read_source(MANUAL);
	size_t n = 0;

	for (const char *p = strstr(manual, "\n.It Ic "); p; p = strstr(p + 1, "\n.It Ic ")) {
		char name[64];

		if (p[8] == '[') /* a section */
			continue;
		ck_assert_int_eq(sscanf(p + 8, "%63s", name), 1);
		ck_assert_msg(config_option_find(name) != NULL, MANUAL ": %s is no option",
			      name);
		n++;
	}
	ck_assert_uint_eq(n, config_option_count);
}
END_TEST

/* Each option once, commented out with its default, and a line of sense above it. */
START_TEST(sample_has_every_option)
{
	CLEANUP(freep) char *sample = read_source(SAMPLE);

	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];
		CLEANUP(freep)
		char *line = fs_path("\n#%s =%s%s\n", o->name, *o->def ? " " : "", o->def);
		CLEANUP(freep) char *key = fs_path("\n#%s =", o->name);
		char *at = strstr(sample, line), *above = at;

		if (!o->sections) {
			ck_assert_msg(!strstr(sample, key), SAMPLE ": %s has no place there",
				      o->name);
			continue;
		}
		ck_assert_msg(at != NULL, SAMPLE ": no line%s", line);
		ck_assert_msg(strstr(sample, key) == at && !strstr(at + 1, key),
			      SAMPLE ": %s stands there twice", o->name);
		while (above > sample && above[-1] != '\n')
			above--;
		ck_assert_msg(strncmp(above, "# ", 2) == 0, SAMPLE ": nothing said about %s",
			      o->name);
	}
}
END_TEST

/* @sample without its comment signs, the prose kept; only what is told apart by no blank. */
static void uncomment(char *sample)
{
	char *out = sample;

	for (char *p = sample; *p; p++) {
		bool begin = p == sample || p[-1] == '\n';

		if (begin && *p == '#' && (islower((unsigned char)p[1]) || p[1] == '['))
			continue;
		*out++ = *p;
	}
	*out = '\0';
}

/* As installed, and with every option uncommented, the sample changes nothing. */
START_TEST(sample_is_the_default)
{
	CLEANUP(freep) char *sample = read_source(SAMPLE);
	CLEANUP(config_freep) struct config *plain = NULL;
	size_t from_file = 0;

	put("k.conf", sample);
	load_ok();
	plain = STEAL(config);
	for (size_t i = 0; i < config_option_count; i++)
		ck_assert_str_eq(
			config_lookup(plain, &config_options[i], NULL, "example")->source,
			"default");
	uncomment(sample);
	put("k.conf", sample);
	load_ok();
	ck_assert_str_eq(config_roots(config)[0], "/var/lib/hermes");
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];
		const struct config_value *a = config_lookup(plain, o, NULL, "example");
		const struct config_value *b = config_lookup(config, o, NULL, "example");
		CLEANUP(freep) char *ta = config_value_text(o, a);
		CLEANUP(freep) char *tb = config_value_text(o, b);

		ck_assert_str_eq(ta, tb);
		from_file += strcmp(b->source, "default") != 0;
		/* what stands in [pool example] is no board's */
		ck_assert_msg(!o->sections || config_is_named(o) ||
				      strcmp(b->source, "default") != 0,
			      "%s was not uncommented", o->name);
	}
	ck_assert_uint_gt(from_file, 20);
}
END_TEST

/* What the manual shows as examples is right. */
START_TEST(examples_load)
{
	CLEANUP(freep) char *manual = read_source(MANUAL);
	CLEANUP(freep) char *all = calloc(1, strlen(manual));
	char *end = all;
	int n = 0;

	ck_assert_ptr_nonnull(all);
	for (const char *p = strstr(manual, ".Bd -literal"); p; p = strstr(p, ".Bd -literal")) {
		const char *to = strstr(p, "\n.Ed");

		ck_assert_ptr_nonnull(to);
		p = strchr(p, '\n');
		memcpy(end, p, (size_t)(to - p));
		end += to - p;
		*end++ = '\n';
		n++;
	}
	ck_assert_int_eq(n, 3);
	put("k.conf", all);
	load_ok();
	ck_assert_uint_eq(warning_count(), 0);
	ck_assert_int_eq(config_launcher(config), LAUNCHER_SLURM);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("config_doc");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
	tcase_add_test(tc, manual_has_every_option);
	tcase_add_test(tc, manual_has_no_other_option);
	tcase_add_test(tc, sample_has_every_option);
	tcase_add_test(tc, sample_is_the_default);
	tcase_add_test(tc, examples_load);
	suite_add_tcase(suite, tc);
	return suite;
}
