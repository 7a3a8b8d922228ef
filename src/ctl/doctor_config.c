/*
 * doctor: the configuration. What is wrong with it comes with a file and a line, and most of it
 * is put right by taking that line out: the default holds then, as it does of a value that is
 * ignored. The file as it was stays beside it. What a line is part of goes with it: the values
 * of a list below its key, the keys of a section below its header, which would count for the
 * section above it otherwise. A line of config.yaml that is more than a key and a word is left
 * to an editor.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl.h"
#include "ctl/doctor.h"
#include "ctl/profile_note.h"
#include "ctl/root_config.h"
#include "daemon/config.h"
#include "root/tick_host.h"
#include "util/fs.h"
#include "util/quote.h"

#define FAULT_FILE_MAX ((size_t)1 << 20)

/* Where the fault is. */
struct fault {
	char *file; /* owned */
	unsigned long line;
	char *text; /* of the line; owned */
};

static void fault_deinit(struct fault *f)
{
	free(f->file);
	free(f->text);
}

/* Line @n of @file, malloc'd; NULL if there is none */
static char *fault_text(const char *file, unsigned long n)
{
	CLEANUP(freep) char *all = NULL;
	const char *at;

	if (n == 0 || fs_read_file(file, FAULT_FILE_MAX, &all, NULL) < 0)
		return NULL;
	for (at = all; --n > 0; at++) {
		at = strchr(at, '\n');
		if (!at)
			return NULL;
	}
	return strndup(at, strcspn(at, "\n"));
}

/* A message begins with "FILE:LINE: ". Return: whether it does, and there is such a line. */
static bool fault_find(const char *message, struct fault *f)
{
	for (const char *colon = strchr(message, ':'); colon; colon = strchr(colon + 1, ':')) {
		CLEANUP(freep) char *file = NULL;
		struct stat st;
		char *end;

		if (!isdigit((unsigned char)colon[1]))
			continue;
		f->line = strtoul(colon + 1, &end, 10);
		file = strndup(message, (size_t)(colon - message));
		if (!file || strncmp(end, ": ", 2) != 0 || stat(file, &st) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		f->text = fault_text(file, f->line);
		f->file = STEAL(file);
		return f->text != NULL;
	}
	return false;
}

/* Is the line a key with a word behind it, or an item of a list, and nothing more */
static bool fault_is_plain(const char *text)
{
	const char *s = text + strspn(text, " ");
	size_t n;

	if (strpbrk(text, "{}[]&*|>\"'#"))
		return false;
	if (strncmp(s, "- ", 2) == 0)
		return strchr(s, ':') == NULL;
	n = strspn(s, "abcdefghijklmnopqrstuvwxyz_");
	s += n;
	return n > 0 && *s == ':' && s[1 + strspn(s + 1, " \t\r")] != '\0';
}

/* The script of sed that makes comments of it; malloc'd */
static char *fault_script(const struct fault *f)
{
	if (f->text[strspn(f->text, " \t")] == '[')
		return fs_path("%lu{s/^/# /;:a;n;/^[[:space:]]*\\[/!{s/^/# /;ba;};}", f->line);
	return fs_path("%lu{s/^/# /;:a;n;/^[[:space:]][[:space:]]*[^[:space:]]/{s/^/# /;ba;};}",
		       f->line);
}

static char *fault_edit(const struct fault *f)
{
	char line[32];

	(void)snprintf(line, sizeof(line), "+%lu", f->line);
	return quote_command("${EDITOR:-vi} %q %q", line, f->file);
}

/* Who changes the file: what is in the root, its owner. */
static const char *fault_whose(const struct doctor *d, const struct fault *f)
{
	return remedy_within(&d->remedy, f->file) ? d->remedy.as_owner : "";
}

static char *config_check(const struct doctor *d)
{
	return d->config_file
		       ? quote_command("kanband --check-config --config %q", d->config_file)
		       : strdup("kanband --check-config");
}

static char *config_remedy(const struct doctor *d, const char *message)
{
	CLEANUP(fault_deinit) struct fault f = { 0 };
	CLEANUP(freep) char *check = config_check(d);
	CLEANUP(freep) char *script = NULL, *first = NULL;

	if (!check || !fault_find(message, &f))
		return STEAL(check);
	script = fault_script(&f);
	first = script ? quote_command("%ssed -i.bak --follow-symlinks %q %q",
				       fault_whose(d, &f), script, f.file)
		       : NULL;
	return first ? fs_path("%s && %s", first, check) : NULL;
}

/* What is ignored: of the environment or of config.yaml. */
static char *config_odd_remedy(const struct doctor *d, const char *message)
{
	static const char environment[] = "environment ";
	CLEANUP(fault_deinit) struct fault f = { 0 };
	CLEANUP(freep) char *script = NULL;

	if (strncmp(message, environment, sizeof(environment) - 1) == 0) {
		const char *name = message + sizeof(environment) - 1;
		CLEANUP(freep) char *copy = strndup(name, strcspn(name, ": "));

		return copy ? quote_command("unset %q", copy) : NULL;
	}
	if (!fault_find(message, &f))
		return config_check(d);
	/* the default holds already, or the item is left out */
	if (!fault_is_plain(f.text) ||
	    !(strstr(message, "the default (") || strstr(message, "it is left out")))
		return fault_edit(&f);
	script = fs_path("%lus/^/# /", f.line);
	return script ? quote_command("%ssed -i.bak --follow-symlinks %q %q",
				      fault_whose(d, &f), script, f.file)
		      : NULL;
}

/* Is there a profile @name, in this root or in another one of the same configuration? */
static bool config_profile(const struct doctor *d, const char *name)
{
	const char *const *roots = config_roots(d->config);
	bool found = strcmp(name, "default") == 0 || tick_host_profile(d->root, name);

	for (size_t i = 0; !found && roots[i]; i++)
		found = tick_host_profile(roots[i], name);
	return found;
}

/* A limit of a profile that is not there limits nobody: likely a slip. */
static void config_name(struct doctor *d, const char *where, const char *name)
{
	CLEANUP(freep) char *near = NULL;

	if (config_profile(d, name))
		return;
	near = profile_near(d->root, name);
	doctor_say(d, DOCTOR_CONFIG_ODD, NULL, config_check(d),
		   "%s names the profile %s, and no root has one of that name%s%s%s", where,
		   name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static void config_names(struct doctor *d)
{
	char where[96];

	for (size_t i = 0; i < d->set.n_pools; i++)
		for (const char *const *p = d->set.pools[i].profiles; *p; p++) {
			(void)snprintf(where, sizeof(where), "[pool %.64s]",
				       d->set.pools[i].name);
			config_name(d, where, *p);
		}
	for (size_t i = 0; i < d->set.n_profile_caps; i++)
		config_name(d, "max_in_progress_per_profile", d->set.profile_caps[i].profile);
	for (const char *const *p = d->set.dispatch_profiles;
	     d->set.profiles_limited && p && *p; p++)
		config_name(d, "dispatch_profiles", *p);
	if (d->set.default_assignee)
		config_name(d, "default_assignee", d->set.default_assignee);
}

void doctor_config(struct doctor *d)
{
	size_t before = json_array_size(d->checks);
	const char *const *warnings;
	struct error e = ERROR_NULL;

	if (root_config_load(&d->config, d->ctl, d->config_file, d->root, &e) < 0) {
		doctor_say(d, DOCTOR_CONFIG_BAD, NULL, config_remedy(d, e.text), "%s", e.text);
		return;
	}
	config_settings(d->config, d->root, NULL, &d->set);
	warnings = config_warnings(d->config);
	for (size_t i = 0; warnings[i]; i++)
		doctor_say(d, DOCTOR_CONFIG_ODD, NULL, config_odd_remedy(d, warnings[i]), "%s",
			   warnings[i]);
	config_names(d);
	if (json_array_size(d->checks) == before)
		doctor_well(d, "config", NULL,
			    "kanband.conf, the environment and config.yaml are in order");
}
