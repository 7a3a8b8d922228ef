/*
 * kanband.conf and its drop-ins, through inih.
 *
 * inih splits lines into keys and values, drops comments and knows continuation lines. What it
 * does not do is done by the line reader that we hand to it: count lines for the messages,
 * refuse what inih would cut (it keeps 49 bytes of a section header, which is less than many
 * [root PATH], and 197 of a line), and read the section headers. A header reaches inih as
 * "[-]"; the handler takes the section from struct ini_file.
 *
 * A value is parsed when the next key, header or the end of the file shows that it is complete,
 * because lists and the command may go on in indented lines.
 *
 * The first fault ends the reading: kanband.conf is right or it is refused as a whole, so that
 * a reload with a mistake in it changes nothing.
 */
#include "daemon.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "util/fs.h"

#define INI_FILE_MAX     (1024 * 1024)
#define INI_SECTIONS_MAX 4096 /* with a name: each is compared with all others */

struct ini_file {
	struct config *config;              /* borrowed */
	const char *path;                   /* for messages and sources, borrowed */
	const char *data;                   /* the content, borrowed */
	size_t len, pos;                    /* of data; next line starts at pos */
	unsigned line;                      /* number of the line in hand, from 1 */
	unsigned where;                     /* IN_* of the section, 0 before the first */
	char *title;                        /* "[board x]" for messages, owned */
	struct config_value *values;        /* of the section, borrowed from config */
	const struct config_option *option; /* the key in hand, or NULL */
	unsigned option_line;               /* where it stood */
	char *text;                         /* its value so far, owned */
	bool indented;                      /* the line in hand begins with a blank */
	unsigned failed_line;               /* 0, or the line of the first fault */
	int r;                              /* 0 or -errno of the first fault */
	struct error *e;                    /* its sentence */
};

static int ini_fail(struct ini_file *f, int r, unsigned line, const char *key)
{
	f->r = r;
	f->failed_line = line;
	if (key)
		(void)error_prefix(f->e, "%s:%u: %s: ", f->path, line, key);
	else
		(void)error_prefix(f->e, "%s:%u: ", f->path, line);
	return r;
}

/* Was @value given in this file already? Return: in which line, or NULL. */
static const char *ini_line_of(const struct ini_file *f, const struct config_value *value)
{
	size_t n = strlen(f->path);

	if (!value->set || !value->source || strncmp(value->source, f->path, n) != 0 ||
	    value->source[n] != ':')
		return NULL;
	return value->source + n + 1;
}

/* Parse the value in hand and keep it. */
static int ini_flush(struct ini_file *f)
{
	const struct config_option *option = f->option;
	const struct config_syntax syntax = { f->config->home, false, false };
	struct config_value value = { 0 };
	const char *before;
	int r;

	if (!option)
		return 0;
	f->option = NULL;
	before = ini_line_of(f, &f->values[config_option_index(option)]);
	if (before) {
		(void)error_set(f->e, -EINVAL,
				"is given twice, in line %s too; remove one of the two",
				before);
		return ini_fail(f, -EINVAL, f->option_line, option->name);
	}
	r = config_value_parse(option, &syntax, f->text, &value, f->e);
	if (r < 0)
		return ini_fail(f, r, f->option_line, option->name);
	r = config_value_put(&f->values[config_option_index(option)], &value, "%s:%u", f->path,
			     f->option_line);
	config_value_clear(&value);
	if (r < 0) {
		(void)error_set(f->e, r, "out of memory");
		return ini_fail(f, r, f->option_line, NULL);
	}
	return 0;
}

/* ---- section headers ---- */

static int ini_unknown_section(struct ini_file *f)
{
	const unsigned in_use = config_sections_in_use();
	char all[128] = "", buf[72], word[64];
	const char *near = NULL;
	size_t n = 0;

	(void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(f->title + 1, " \t]"),
		       f->title + 1);
	for (unsigned bit = 1; config_section_title(bit); bit <<= 1) {
		const char *title = config_section_title(bit);
		char name[16];

		if (!(in_use & bit))
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(title + 1, " ]"),
			       title + 1);
		if (config_near(word, name))
			near = title;
		if (n < sizeof(all))
			n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", n ? ", " : "",
					      title);
	}
	if (near)
		(void)error_set(f->e, -EINVAL, "unknown section %s; did you mean %s?",
				config_short(f->title, buf), near);
	else
		(void)error_set(f->e, -EINVAL, "unknown section %s; there are %s",
				config_short(f->title, buf), all);
	return ini_fail(f, -EINVAL, f->line, NULL);
}

/* [root PATH]: one section per folder, however it is written */
static int ini_root_section(struct ini_file *f, const char *arg)
{
	CLEANUP(freep) char *path = NULL;
	struct config_section *s = NULL;
	char *real;
	int r = config_path(arg, f->config->home, false, &path, f->e);

	if (r < 0)
		return ini_fail(f, r, f->line, "[root PATH]");
	real = realpath(path, NULL);
	r = !real && errno == ENOMEM ? -ENOMEM : 0;
	if (real) {
		free(path);
		path = real;
	}
	if (r == 0)
		s = config_section_get(&f->config->sections, &f->config->section_count, IN_ROOT,
				       path, true);
	if (!s)
		r = -ENOMEM;
	for (size_t i = 0; s && i < f->config->section_roots.n; i++)
		if (strcmp(f->config->section_roots.v[i], path) == 0)
			r = 1;
	if (r == 0)
		r = config_strv_push(&f->config->section_roots, STEAL(path));
	if (r < 0) {
		(void)error_set(f->e, r, "out of memory");
		return ini_fail(f, r, f->line, NULL);
	}
	f->where = IN_ROOT;
	f->values = s->values;
	return 0;
}

/* [board SLUG] and the others that are told apart by a name; @what: "name of a pool" */
static int ini_named_section(struct ini_file *f, unsigned where, const char *what,
			     const char *arg)
{
	struct config_section *s;
	char buf[72];

	if (!fs_is_slug(arg)) {
		(void)error_set(f->e, -EINVAL,
				"\"%s\" is no %s (a to z, 0 to 9, _ and -; at most 64, the "
				"first a letter or digit)",
				config_short(arg, buf), what);
		return ini_fail(f, -EINVAL, f->line, config_section_title(where));
	}
	if (f->config->section_count >= INI_SECTIONS_MAX) {
		(void)error_set(f->e, -EINVAL, "more than %d sections", INI_SECTIONS_MAX);
		return ini_fail(f, -EINVAL, f->line, config_section_title(where));
	}
	s = config_section_get(&f->config->sections, &f->config->section_count, where, arg,
			       true);
	if (!s) {
		(void)error_set(f->e, -ENOMEM, "out of memory");
		return ini_fail(f, -ENOMEM, f->line, NULL);
	}
	for (size_t i = 0; i < config_option_count; i++) {
		const char *before = ini_line_of(f, &s->values[i]);

		if (!before)
			continue;
		(void)error_set(f->e, -EINVAL,
				"stands in this file twice, around line %s too; put the two "
				"together, or give one another name",
				before);
		return ini_fail(f, -EINVAL, f->line, f->title);
	}
	f->where = where;
	f->values = s->values;
	return 0;
}

/* @name: what stands between the brackets, trimmed; it is written into */
static int ini_section(struct ini_file *f, char *name)
{
	static const struct {
		const char *name;
		unsigned bit;
	} plain[] = { { "kanband", IN_KANBAND },
		      { "worker", IN_WORKER },
		      { "notify", IN_NOTIFY },
		      { "health", IN_HEALTH } };
	static const struct {
		const char *name, *what;
		unsigned bit;
	} named[] = { { "board", "board's slug", IN_BOARD },
		      { "profile", "name of a profile", IN_PROFILE },
		      { "pool", "name of a pool", IN_POOL },
		      { "hook", "name of a hook", IN_HOOK } };
	char *arg;

	free(f->title);
	f->title = fs_path("[%s]", name);
	if (!f->title) {
		(void)error_set(f->e, -ENOMEM, "out of memory");
		return ini_fail(f, -ENOMEM, f->line, NULL);
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (strcmp(name, plain[i].name) != 0 ||
		    !(config_sections_in_use() & plain[i].bit))
			continue;
		f->where = plain[i].bit;
		f->values = f->config->base;
		return 0;
	}
	arg = name + strcspn(name, " \t");
	if (*arg)
		*arg++ = '\0';
	arg += strspn(arg, " \t");
	if (strcmp(name, "root") == 0)
		return ini_root_section(f, arg);
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		if (strcmp(name, named[i].name) == 0)
			return ini_named_section(f, named[i].bit, named[i].what, arg);
	return ini_unknown_section(f);
}

/* A line that begins with '[': up to its last ']', behind which only a comment may stand */
static int ini_header(struct ini_file *f, const char *line, size_t len)
{
	CLEANUP(freep) char *copy = strndup(line, len);
	char *end, *name, *rest;

	if (!copy) {
		(void)error_set(f->e, -ENOMEM, "out of memory");
		return ini_fail(f, -ENOMEM, f->line, NULL);
	}
	if (ini_flush(f) < 0)
		return f->r;
	for (char *p = copy + 1; *p; p++)
		if (*p == ';' && isspace((unsigned char)p[-1])) {
			*p = '\0';
			break;
		}
	end = strrchr(copy, ']');
	for (rest = end ? end + 1 : copy; isspace((unsigned char)*rest); rest++)
		;
	if (!end || *rest) {
		(void)error_set(f->e, -EINVAL, "a section header has to end in ]");
		return ini_fail(f, -EINVAL, f->line, NULL);
	}
	for (name = copy + 1; isspace((unsigned char)*name); name++)
		;
	while (end > name && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return ini_section(f, name);
}

/* ---- keys ---- */

static int ini_misplaced_key(struct ini_file *f, const struct config_option *option)
{
	char places[128] = "";
	size_t n = 0;

	if (option->sections == 0) {
		(void)error_set(f->e, -EINVAL, "is taken from the environment only (%s)",
				option->env);
		return ini_fail(f, -EINVAL, f->line, option->name);
	}
	for (unsigned bit = 1; config_section_title(bit); bit <<= 1)
		if (option->sections & bit && n < sizeof(places))
			n += (size_t)snprintf(places + n, sizeof(places) - n, "%s%s",
					      n ? " or " : "", config_section_title(bit));
	(void)error_set(f->e, -EINVAL, "has no effect in %s; it belongs in %s", f->title,
			places);
	return ini_fail(f, -EINVAL, f->line, option->name);
}

static int ini_unknown_key(struct ini_file *f, const char *name)
{
	const char *near = NULL;
	bool near_here = false;
	char buf[72];

	/* one of this section first; of two the shorter one, of which less is added */
	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];
		bool here = o->sections & f->where;

		if (!o->sections || !config_near(name, o->name) || (near_here && !here))
			continue;
		if (near && near_here == here && strlen(near) <= strlen(o->name))
			continue;
		near = o->name;
		near_here = here;
	}
	if (near)
		(void)error_set(f->e, -EINVAL, "unknown key in %s; did you mean %s?", f->title,
				near);
	else
		(void)error_set(f->e, -EINVAL, "unknown key in %s; see kanband.conf(5)",
				f->title);
	return ini_fail(f, -EINVAL, f->line, config_short(name, buf));
}

static int ini_new_key(struct ini_file *f, const char *name, const char *text)
{
	const struct config_option *option = config_option_find(name);

	if (ini_flush(f) < 0)
		return f->r;
	if (!*name) {
		(void)error_set(f->e, -EINVAL, "the key before = is missing");
		return ini_fail(f, -EINVAL, f->line, NULL);
	}
	if (f->where == 0) {
		(void)error_set(f->e, -EINVAL,
				"stands before any section; put [kanband] or another above it");
		return ini_fail(f, -EINVAL, f->line, name);
	}
	if (!option)
		return ini_unknown_key(f, name);
	if (!(option->sections & f->where))
		return ini_misplaced_key(f, option);
	free(f->text);
	f->text = strdup(text);
	if (!f->text) {
		(void)error_set(f->e, -ENOMEM, "out of memory");
		return ini_fail(f, -ENOMEM, f->line, NULL);
	}
	f->option = option;
	f->option_line = f->line;
	return 0;
}

static int ini_more_text(struct ini_file *f, const char *text)
{
	size_t n = strlen(text);
	char *more;

	if (f->option->kind != KIND_COMMAND && f->option->kind != KIND_PROFILES &&
	    f->option->kind != KIND_EVENTS) {
		(void)error_set(f->e, -EINVAL,
				"an indented line goes on with the value above it, and %s has "
				"only one; remove the indent to begin a new key",
				f->option->name);
		return ini_fail(f, -EINVAL, f->line, NULL);
	}
	/* inih 55 does not look for a comment in these */
	for (size_t i = 0; i < n; i++)
		if (text[i] == ';' && (i == 0 || isspace((unsigned char)text[i - 1])))
			n = i;
	more = fs_path("%s %.*s", f->text, (int)n, text);
	if (!more) {
		(void)error_set(f->e, -ENOMEM, "out of memory");
		return ini_fail(f, -ENOMEM, f->line, NULL);
	}
	free(f->text);
	f->text = more;
	return 0;
}

static int ini_on_value(void *arg, const char *section, const char *name, const char *text)
{
	struct ini_file *f = arg;

	(void)section; /* always "-", see the top */
	if (f->r < 0)
		return 0;
	if (f->indented && f->option)
		return ini_more_text(f, text) == 0;
	return ini_new_key(f, name, text) == 0;
}

/* ---- lines ---- */

static char *ini_next_line(char *out, int size, void *arg)
{
	struct ini_file *f = arg;
	const char *line = f->data + f->pos, *newline, *first;
	size_t len;

	if (f->r < 0 || f->pos >= f->len)
		return NULL;
	newline = memchr(line, '\n', f->len - f->pos);
	len = newline ? (size_t)(newline - line) : f->len - f->pos;
	f->pos += len + (newline != NULL);
	f->line++;
	if (memchr(line, '\0', len)) {
		(void)error_set(f->e, -EINVAL, "a NUL byte does not belong in a text file");
		(void)ini_fail(f, -EINVAL, f->line, NULL);
		return NULL;
	}
	for (first = line; first < line + len && isspace((unsigned char)*first); first++)
		;
	f->indented = first > line;
	if (first < line + len && *first == '[')
		return ini_header(f, first, len - (size_t)(first - line)) < 0
			       ? NULL
			       : strcpy(out, "[-]\n");
	if (first == line + len || *first == '#' || *first == ';')
		return strcpy(out, "\n");
	if (len + 3 > (size_t)size) {
		(void)error_set(f->e, -EINVAL,
				"the line has %zu bytes, at most %d are possible; lists and "
				"the command may go on in indented lines",
				len, size - 3);
		(void)ini_fail(f, -EINVAL, f->line, NULL);
		return NULL;
	}
	memcpy(out, line, len);
	memcpy(out + len, "\n", 2);
	return out;
}

/* ---- files ---- */

static int ini_parse_data(struct ini_file *f)
{
	int r;

	if (f->len >= 3 && memcmp(f->data, "\xEF\xBB\xBF", 3) == 0)
		f->pos = 3;
	r = ini_parse_stream(ini_next_line, f, ini_on_value, f);
	if (r < 0) /* inih knows one such reason */
		return error_set(f->e, -ENOMEM, "%s: out of memory", f->path);
	if (f->r == 0)
		(void)ini_flush(f); /* the last one; a fault of it is in f->r */
	/* inih's own complaint counts if it is about an earlier line than ours */
	if (r > 0 && (f->r == 0 || (unsigned)r < f->failed_line)) {
		(void)error_set(f->e, -EINVAL,
				"is neither a [section], nor key = value, nor a comment");
		return ini_fail(f, -EINVAL, (unsigned)r, NULL);
	}
	return f->r;
}

/* Return: 0; -ENOENT without a message if there is no such file; other -errno. */
static int ini_load_file(struct config *config, const char *path, struct error *e)
{
	CLEANUP(freep) char *data = NULL;
	struct ini_file f = { .config = config, .path = path, .e = e };
	int r;

	r = fs_read_file(path, INI_FILE_MAX, &data, &f.len);
	if (r == -ENOENT)
		return r;
	if (r == -EFBIG)
		return error_set(e, -EINVAL,
				 "%s: larger than %d bytes, which is no kanband.conf", path,
				 INI_FILE_MAX);
	if (r < 0)
		return error_errno(e, r, "%s: cannot be read", path);
	f.data = data;
	r = ini_parse_data(&f);
	free(f.title);
	free(f.text);
	if (r == 0 && config_strv_push(&config->files, strdup(path)) < 0)
		r = error_set(e, -ENOMEM, "%s: out of memory", path);
	return r;
}

static int ini_is_dropin(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

/* Not alphasort(): the order of bytes is the same in every locale. */
static int ini_byte_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int ini_load_dropins(struct config *config, const char *file, struct error *e)
{
	CLEANUP(freep) char *folder = fs_path("%s.d", file);
	struct dirent **entries = NULL;
	int r = 0, n;

	if (!folder)
		return error_set(e, -ENOMEM, "%s: out of memory", file);
	n = scandir(folder, &entries, ini_is_dropin, ini_byte_order);
	if (n < 0)
		return errno == ENOENT ? 0
				       : error_errno(e, -errno, "%s: cannot be read", folder);
	for (int i = 0; i < n; i++) {
		if (r == 0) {
			CLEANUP(freep)
			char *path = fs_path("%s/%s", folder, entries[i]->d_name);

			r = path ? ini_load_file(config, path, e)
				 : error_set(e, -ENOMEM, "%s: out of memory", folder);
			if (r == -ENOENT) /* a dangling link, or removed meanwhile */
				r = error_errno(e, r, "%s: cannot be read", path);
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

int config_ini_load(struct config *config, const char *file, bool must, struct error *e)
{
	int r = ini_load_file(config, file, e);

	if (r == -ENOENT && must)
		return error_errno(e, r, "%s: cannot be read", file);
	if (r < 0 && r != -ENOENT)
		return r;
	return ini_load_dropins(config, file, e);
}
