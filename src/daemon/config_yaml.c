/*
 * The `kanban:` block of a root's config.yaml, through libyaml's events.
 *
 * The file belongs to Hermes and may hold anything. We read it as a stream and keep only the
 * keys that we know, so that its size (1 MiB at most) bounds the work: no tree is built, no
 * alias is followed, and what is nested is skipped by counting. Scalars are read as PyYAML
 * (YAML 1.1) reads them, because Hermes does.
 *
 * Nothing here is an error. A bad value is one warning and the default holds; the same for a
 * bad profile name in dispatch_profiles, which is left out while the rest of the list holds:
 * falling back to "every profile" would start workers that somebody excluded. A file that
 * cannot be read or is not YAML gives one warning and no value at all, whatever stood above the
 * fault; auto_decompose, which costs money, is then off, as the board contract wants it (§10).
 */
#include "daemon.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "util/fs.h"

#define YAML_FILE_MAX  (1024 * 1024)
#define YAML_WARNINGS  16 /* of one file; the rest is counted */
#define YAML_DEPTH_MAX 100

struct yaml_file {
	yaml_parser_t parser;
	const char *path;            /* borrowed */
	const char *data;            /* borrowed */
	size_t len;                  /* of data */
	struct config_value *values; /* read so far, one per option */
	struct config_strv warnings; /* said so far */
	unsigned more;               /* warnings that were only counted */
	unsigned depth;              /* of nesting, at the last event */
	unsigned blocks;             /* `kanban:` keys seen */
	int r;                       /* 0; -EINVAL: the file is no use, why is in @e; -ENOMEM */
	struct error e;
};

/* ---- events ---- */

static size_t yaml_line(const yaml_event_t *ev)
{
	return ev->start_mark.line + 1;
}

static int yaml_broken(struct yaml_file *f, size_t line, const char *what)
{
	f->r = -EINVAL;
	return error_set(&f->e, -EINVAL, "%s:%zu: %s", f->path, line, what);
}

static int yaml_syntax(struct yaml_file *f)
{
	const yaml_parser_t *p = &f->parser;
	size_t line = p->problem_mark.line + 1;
	char what[200];

	if (p->error == YAML_MEMORY_ERROR) {
		f->r = -ENOMEM;
		return error_set(&f->e, -ENOMEM, "%s: out of memory", f->path);
	}
	if (p->error == YAML_READER_ERROR) {
		/* bad bytes are met while reading ahead: only the offset is known */
		line = 1;
		for (size_t i = 0; i < p->problem_offset && i < f->len; i++)
			line += f->data[i] == '\n';
	}
	(void)snprintf(what, sizeof(what), "not YAML: %s",
		       p->problem ? p->problem : "cannot be parsed");
	return yaml_broken(f, line, what);
}

/* The next event into @ev, which the caller deletes. */
static int yaml_next(struct yaml_file *f, yaml_event_t *ev)
{
	yaml_event_delete(ev);
	if (!yaml_parser_parse(&f->parser, ev))
		return yaml_syntax(f);
	if (ev->type == YAML_MAPPING_START_EVENT || ev->type == YAML_SEQUENCE_START_EVENT)
		f->depth++;
	else if (ev->type == YAML_MAPPING_END_EVENT || ev->type == YAML_SEQUENCE_END_EVENT)
		f->depth--;
	/* libyaml's work per token grows with the depth */
	if (f->depth > YAML_DEPTH_MAX)
		return yaml_broken(f, yaml_line(ev), "nested too deeply");
	return 0;
}

/* @ev began a value, or is its last event: go on until that value has ended. */
static int yaml_skip(struct yaml_file *f, yaml_event_t *ev)
{
	size_t depth = 0;

	for (;;) {
		if (ev->type == YAML_MAPPING_START_EVENT ||
		    ev->type == YAML_SEQUENCE_START_EVENT)
			depth++;
		else if (depth > 0 && (ev->type == YAML_MAPPING_END_EVENT ||
				       ev->type == YAML_SEQUENCE_END_EVENT))
			depth--;
		if (depth == 0)
			return 0;
		if (yaml_next(f, ev) < 0)
			return f->r;
	}
}

static int yaml_warn(struct yaml_file *f, size_t line, const char *fmt, ...) PRINTF(3, 4);
static int yaml_warn(struct yaml_file *f, size_t line, const char *fmt, ...)
{
	struct error text = ERROR_NULL;
	char *what = NULL;
	va_list ap;
	int n;

	if (f->warnings.n >= YAML_WARNINGS) {
		f->more++;
		return 0;
	}
	va_start(ap, fmt);
	n = vasprintf(&what, fmt, ap);
	va_end(ap);
	if (n < 0)
		return f->r = -ENOMEM;
	/* the same tidying as every other sentence */
	(void)error_set(&text, -EINVAL, "%s:%zu: %s", f->path, line, what);
	free(what);
	if (config_strv_push(&f->warnings, strdup(text.text)) < 0)
		return f->r = -ENOMEM;
	return 0;
}

/* ---- scalars as PyYAML reads them ---- */

static const char *yaml_text(const yaml_event_t *ev)
{
	return (const char *)ev->data.scalar.value;
}

/* Quoted, or tagged !!str: a string whatever it looks like. */
static bool yaml_is_string(const yaml_event_t *ev)
{
	const char *tag = (const char *)ev->data.scalar.tag;

	if (tag)
		return strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, "!") == 0;
	return ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
}

static bool yaml_is_null(const yaml_event_t *ev)
{
	const char *s = yaml_text(ev);

	return ev->type == YAML_SCALAR_EVENT && !yaml_is_string(ev) &&
	       (!*s || strcmp(s, "~") == 0 || strcasecmp(s, "null") == 0);
}

/* Digits of @base up to the end (underscores may stand between), as strtoll would. */
static int yaml_digits(const char *s, int base, int64_t *number)
{
	int64_t n = 0;
	bool any = false;

	for (; *s; s++) {
		int d = isdigit((unsigned char)*s)    ? *s - '0'
			: isxdigit((unsigned char)*s) ? tolower((unsigned char)*s) - 'a' + 10
						      : 99;

		if (*s == '_' && any)
			continue;
		if (d >= base)
			return -EINVAL;
		any = true;
		if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, d, &n))
			return -ERANGE;
	}
	*number = n;
	return any ? 0 : -EINVAL;
}

/* 1:30 is 90 in YAML 1.1 */
static int yaml_sexagesimal(char *s, int64_t *number)
{
	int64_t n = 0, part = 0;
	char *first = s, *piece;

	while ((piece = strsep(&s, ":"))) {
		int r = yaml_digits(piece, 10, &part);

		if (r < 0)
			return r;
		/* behind the first colon at most two digits, and less than 60 */
		if (piece != first && (part > 59 || strlen(piece) > 2 || strchr(piece, '_')))
			return -EINVAL;
		if (__builtin_mul_overflow(n, 60, &n) || __builtin_add_overflow(n, part, &n))
			return -ERANGE;
	}
	*number = n;
	return 0;
}

static int yaml_integer(const char *text, int64_t *number)
{
	bool negative = *text == '-';
	CLEANUP(freep) char *s = strdup(text + (negative || *text == '+'));
	char *dot;
	int r;

	if (!s)
		return -ENOMEM;
	/* 60.0 is a number without a fraction */
	dot = strchr(s, '.');
	if (dot && dot > s && dot[1] && dot[1 + strspn(dot + 1, "0")] == '\0')
		*dot = '\0';
	if (s[0] == '0' && s[1] == 'x')
		r = yaml_digits(s + 2 + strspn(s + 2, "_"), 16, number);
	else if (s[0] == '0' && s[1] == 'b')
		r = yaml_digits(s + 2 + strspn(s + 2, "_"), 2, number);
	else if (s[0] == '0' && s[1])
		r = yaml_digits(s, 8, number);
	else if (strchr(s, ':'))
		r = yaml_sexagesimal(s, number);
	else
		r = yaml_digits(s, 10, number);
	if (r == 0 && negative)
		*number = -*number;
	return r;
}

/* ---- values ---- */

/* Tags of plain data. Others would make PyYAML build objects, or refuse. */
static bool yaml_tag_known(const char *tag)
{
	static const char *const known[] = { "!",           YAML_STR_TAG,  YAML_INT_TAG,
					     YAML_BOOL_TAG, YAML_NULL_TAG, YAML_FLOAT_TAG };

	for (size_t i = 0; tag && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(tag, known[i]) == 0)
			return true;
	return !tag;
}

/* Return: 0, or -EINVAL with the reason in @e, or -ENOMEM. */
static int yaml_scalar(const struct config_option *option, const yaml_event_t *ev,
		       struct config_value *value, struct error *e)
{
	const struct config_syntax syntax = { NULL, false, true };
	const char *text = yaml_text(ev), *tag = (const char *)ev->data.scalar.tag;
	char buf[72];
	int64_t number = 0;
	int r;

	if (!yaml_tag_known(tag))
		return error_set(e, -EINVAL, "the tag %s is not known", config_short(tag, buf));
	if (strlen(text) != ev->data.scalar.length)
		return error_set(e, -EINVAL, "a NUL character does not belong there");
	switch (option->kind) {
	case KIND_BOOL:
		return config_value_parse(option, &syntax, text, value, e);
	case KIND_PROFILE:
		return config_value_parse(option, &syntax, text, value, e);
	case KIND_PROFILES:
		return error_set(e, -EINVAL, "\"%s\" is not a list", config_short(text, buf));
	default:
		r = yaml_integer(text, &number);
		if (r == -ENOMEM)
			return error_set(e, r, "out of memory");
		if (r < 0)
			return error_set(e, -EINVAL, "\"%s\" is %s", config_short(text, buf),
					 r == -ERANGE ? "too large a number"
						      : "not a whole number");
		return config_value_number(option, number, value, e);
	}
}

/* dispatch_profiles: [a, b].  @ev is the start of the sequence, at the end its end. */
static int yaml_profiles(struct yaml_file *f, const struct config_option *option,
			 yaml_event_t *ev, struct config_value *value)
{
	bool full = false; /* no room for the rest, which was said once */

	value->set = true;
	value->list = calloc(1, sizeof(*value->list));
	if (!value->list)
		return f->r = -ENOMEM;
	for (;;) {
		struct error e = ERROR_NULL;
		size_t line;
		int r;

		if (yaml_next(f, ev) < 0)
			return f->r;
		if (ev->type == YAML_SEQUENCE_END_EVENT)
			return 0;
		line = yaml_line(ev);
		if (full)
			r = 0;
		else if (ev->type == YAML_SCALAR_EVENT &&
			 strlen(yaml_text(ev)) == ev->data.scalar.length)
			r = config_value_profile(value, yaml_text(ev), &e);
		else
			r = error_set(&e, -EINVAL, "an entry is not a plain name");
		if (r == -ENOMEM)
			return f->r = r;
		full = full || r == -E2BIG;
		if (r < 0)
			r = yaml_warn(f, line, "kanban.%s: %s; it is left out", option->name,
				      e.text);
		if (r < 0 || yaml_skip(f, ev) < 0)
			return f->r;
	}
}

/* The value of a key that we know; @ev is its first event, at the end its last. */
static int yaml_value(struct yaml_file *f, const struct config_option *option, yaml_event_t *ev)
{
	struct config_value *slot = &f->values[config_option_index(option)];
	struct config_value value = { 0 };
	struct error e = ERROR_NULL;
	size_t line = yaml_line(ev);
	int r = 0;

	if (slot->source && yaml_warn(f, line, "kanban.%s is given twice; the last one holds",
				      option->name) < 0)
		return f->r;
	config_value_clear(slot);
	if (ev->type == YAML_SEQUENCE_START_EVENT && option->kind == KIND_PROFILES)
		r = yaml_profiles(f, option, ev, &value);
	else if (ev->type == YAML_ALIAS_EVENT)
		r = error_set(&e, -EINVAL, "an alias is not followed");
	else if (ev->type != YAML_SCALAR_EVENT)
		r = error_set(&e, -EINVAL, "a %s where a plain value is meant",
			      ev->type == YAML_SEQUENCE_START_EVENT ? "list" : "mapping");
	else if (!yaml_is_null(ev))
		r = yaml_scalar(option, ev, &value, &e);
	if (f->r == 0 && r == -EINVAL)
		r = yaml_warn(f, line, "kanban.%s: %s; the default (%s) holds", option->name,
			      e.text, *option->def ? option->def : "none");
	/* a null and a bad value leave the slot unset, but remember that the key was there */
	if (r == 0 && config_value_put(slot, &value, "%s:%zu", f->path, line) < 0)
		r = -ENOMEM;
	config_value_clear(&value);
	if (r == -ENOMEM)
		f->r = r;
	return f->r < 0 ? f->r : yaml_skip(f, ev);
}

/* ---- the file ---- */

/* A key of the block is in @ev; on return its value has passed. */
static int yaml_block_key(struct yaml_file *f, yaml_event_t *ev)
{
	const struct config_option *option = NULL;
	bool merge = false;

	if (ev->type == YAML_SCALAR_EVENT) {
		option = config_option_find(yaml_text(ev));
		merge = !yaml_is_string(ev) && strcmp(yaml_text(ev), "<<") == 0;
	}
	if (option && !option->yaml)
		option = NULL;
	if (yaml_skip(f, ev) < 0 || yaml_next(f, ev) < 0)
		return f->r;
	if (merge &&
	    yaml_warn(f, yaml_line(ev), "kanban: a merge key (<<) is not followed") < 0)
		return f->r;
	return option ? yaml_value(f, option, ev) : yaml_skip(f, ev);
}

/* What `kanban:` holds; @ev is its first event. */
static int yaml_block(struct yaml_file *f, yaml_event_t *ev)
{
	size_t line = yaml_line(ev);

	if (f->blocks++ > 0) {
		/* as for PyYAML, the last block is the block */
		config_strv_clear(&f->warnings);
		f->more = 0;
		for (size_t i = 0; i < config_option_count; i++)
			config_value_clear(&f->values[i]);
		if (yaml_warn(f, line, "kanban: is given twice; the last one holds") < 0)
			return f->r;
	}
	if (yaml_is_null(ev))
		return 0;
	if (ev->type == YAML_ALIAS_EVENT)
		return yaml_warn(f, line,
				 "kanban: is an alias, which is not followed; "
				 "defaults hold");
	if (ev->type != YAML_MAPPING_START_EVENT) {
		if (yaml_warn(f, line, "kanban: is not a mapping; defaults hold") < 0)
			return f->r;
		return yaml_skip(f, ev);
	}
	for (;;) {
		if (yaml_next(f, ev) < 0)
			return f->r;
		if (ev->type == YAML_MAPPING_END_EVENT)
			return 0;
		if (yaml_block_key(f, ev) < 0)
			return f->r;
	}
}

static int yaml_document(struct yaml_file *f, yaml_event_t *ev)
{
	if (ev->type == YAML_SCALAR_EVENT && yaml_is_null(ev))
		return 0;
	if (ev->type != YAML_MAPPING_START_EVENT)
		return yaml_broken(f, yaml_line(ev), "the file is not a mapping of keys");
	for (;;) {
		bool ours;

		if (yaml_next(f, ev) < 0)
			return f->r;
		if (ev->type == YAML_MAPPING_END_EVENT)
			return 0;
		ours = ev->type == YAML_SCALAR_EVENT && strcmp(yaml_text(ev), "kanban") == 0;
		if (yaml_skip(f, ev) < 0 || yaml_next(f, ev) < 0)
			return f->r;
		if ((ours ? yaml_block(f, ev) : yaml_skip(f, ev)) < 0)
			return f->r;
	}
}

static int yaml_stream(struct yaml_file *f)
{
	CLEANUP(yaml_event_delete) yaml_event_t ev = { 0 };

	for (int i = 0; i < 2; i++) /* stream, document */
		if (yaml_next(f, &ev) < 0)
			return f->r;
	if (ev.type == YAML_STREAM_END_EVENT)
		return 0;
	if (yaml_next(f, &ev) < 0 || yaml_document(f, &ev) < 0 || yaml_next(f, &ev) < 0 ||
	    yaml_next(f, &ev) < 0) /* end of the document, and what comes then */
		return f->r;
	if (ev.type != YAML_STREAM_END_EVENT)
		return yaml_broken(f, yaml_line(&ev), "a second document begins here");
	return 0;
}

/* The file is of no use: one warning, no values, no decomposing. */
static int yaml_give_up(struct config *config, struct yaml_file *f)
{
	const struct config_option *option = config_option_find("auto_decompose");
	struct config_value off = { .set = true };
	int r;

	for (size_t i = 0; i < config_option_count; i++)
		config_value_clear(&f->values[i]);
	r = config_value_put(&f->values[config_option_index(option)], &off,
			     "%s, which cannot be read", f->path);
	config_value_clear(&off);
	if (r < 0)
		return r;
	return config_warn(config,
			   "%s; its settings keep their defaults, auto_decompose is off",
			   f->e.text);
}

static int yaml_keep(struct config *config, struct yaml_file *f)
{
	for (size_t i = 0; i < f->warnings.n; i++)
		if (config_warn(config, "%s", f->warnings.v[i]) < 0)
			return -ENOMEM;
	if (f->more > 0)
		return config_warn(config, "%s: %u more faults are not listed", f->path,
				   f->more);
	return 0;
}

static int yaml_parse(struct yaml_file *f)
{
	if (!yaml_parser_initialize(&f->parser))
		return f->r = -ENOMEM;
	yaml_parser_set_input_string(&f->parser, (const unsigned char *)f->data, f->len);
	(void)yaml_stream(f); /* how it went is in f->r */
	yaml_parser_delete(&f->parser);
	return f->r;
}

int config_yaml_load(struct config *config, const char *root)
{
	CLEANUP(freep) char *path = fs_path("%s/config.yaml", strcmp(root, "/") ? root : "");
	CLEANUP(freep) char *data = NULL;
	struct config_section *s;
	struct yaml_file f = { .path = path };
	int r;

	s = config_section_get(&config->yaml, &config->yaml_count, IN_ROOT, root, true);
	if (!path || !s)
		return -ENOMEM;
	f.values = s->values;
	r = fs_read_file(path, YAML_FILE_MAX, &data, &f.len);
	if (r == -ENOMEM)
		return r;
	if (r == -ENOENT)
		return 0; /* a root that was never configured: the defaults are what it wants */
	if (r == -EFBIG)
		f.r = error_set(&f.e, -EINVAL, "%s: larger than %d bytes", path, YAML_FILE_MAX);
	else if (r < 0)
		f.r = error_errno(&f.e, r, "%s: cannot be read", path);
	f.data = data;
	if (f.r == 0)
		(void)yaml_parse(&f);
	if (f.r == -ENOMEM)
		r = f.r;
	else
		r = f.r < 0 ? yaml_give_up(config, &f) : yaml_keep(config, &f);
	config_strv_clear(&f.warnings);
	return r;
}
