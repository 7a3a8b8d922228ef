/*
 * The syntax of unit files and of environment files, see systemd.syntax(7) and systemd.exec(5):
 * sections, comments, lines that go on behind a backslash, words in quotes. Specifiers are
 * filled in as far as they can be known without a manager: %h, %n, %i, %%.
 */
#include "gateway/unit_parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/fs.h"
#include "util/strv.h"

#define UNIT_LINES_MAX    4096
#define UNIT_WORDS_MAX    4096 /* of one line */
#define UNIT_ENV_MAX      512  /* variables of one unit */
#define UNIT_ENV_FILE_MAX ((size_t)256 << 10)
#define UNIT_BLANKS       " \t\r\n"

/* ---- words --------------------------------------------------------------------------- */

/* One word at *@s into @out, which has room for all of it; moves *@s behind it. */
static void words_one(const char **s, char *out)
{
	char quote = '\0';
	const char *p = *s;

	for (; *p && (quote || !strchr(UNIT_BLANKS, *p)); p++) {
		if (*p == '\\' && p[1]) {
			p++;
			*out++ = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 's' ? ' ' : *p;
		} else if (quote ? *p == quote : (*p == '"' || *p == '\'')) {
			quote = quote ? '\0' : *p;
		} else {
			*out++ = *p;
		}
	}
	*out = '\0';
	*s = p;
}

/* Bytes of the word at @s as it stands there. */
static size_t words_length(const char *s)
{
	const char *p = s;
	char quote = '\0';

	for (; *p && (quote || !strchr(UNIT_BLANKS, *p)); p++) {
		if (*p == '\\' && p[1])
			p++;
		else if (quote ? *p == quote : (*p == '"' || *p == '\''))
			quote = quote ? '\0' : *p;
	}
	return (size_t)(p - s);
}

/* As systemd splits: blanks separate, quotes join, a backslash protects. A quote without its
 * end reaches to the end of the line. */
static int parse_words(const char *text, char ***words)
{
	CLEANUP(strv_freep) char **list = calloc(1, sizeof(*list));
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	for (;;) {
		char *word;

		text += strspn(text, UNIT_BLANKS);
		if (!*text)
			break;
		if (n == UNIT_WORDS_MAX)
			break;
		word = malloc(words_length(text) + 1);
		if (word)
			words_one(&text, word);
		if (strv_push(&list, &n, word) < 0)
			return -ENOMEM;
	}
	*words = STEAL(list);
	return 0;
}

/* ---- files --------------------------------------------------------------------------- */

static int parse_line(struct unit *unit, const char *section, char *line)
{
	struct unit_line *more;
	char *equals = strchr(line, '='), *value;
	size_t n;

	if (!equals || unit->n_lines >= UNIT_LINES_MAX)
		return 0;
	value = equals + 1 + strspn(equals + 1, UNIT_BLANKS);
	for (n = (size_t)(equals - line); n > 0 && strchr(UNIT_BLANKS, line[n - 1]);)
		n--;
	line[n] = '\0';
	for (n = strlen(value); n > 0 && strchr(UNIT_BLANKS, value[n - 1]);)
		n--;
	value[n] = '\0';
	more = reallocarray(unit->lines, unit->n_lines + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	unit->lines = more;
	more += unit->n_lines++;
	more->key = fs_path("%s.%s", section, line);
	more->value = strdup(value);
	return more->key && more->value ? 0 : -ENOMEM;
}

/* Bytes of the line at @p with all that it goes on in: at least what parse_next() takes */
static size_t parse_length(const char *p, const char *end)
{
	const char *begin = p;

	while (p < end) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));

		if (!stop)
			return (size_t)(end - begin);
		p = stop + 1;
		if (stop == begin || stop[-1] != '\\')
			break;
		/* comments between the parts do not end them */
		while (p < end && (*p == '#' || *p == ';')) {
			stop = memchr(p, '\n', (size_t)(end - p));
			p = stop ? stop + 1 : end;
		}
	}
	return (size_t)(p - begin);
}

/* The next line at *@at, with those that it goes on in; malloc'd */
static char *parse_next(const char **at, const char *end)
{
	size_t room = parse_length(*at, end) + 1;
	char *line = malloc(room), *out = line;
	const char *p = *at;

	if (!line)
		return NULL;
	for (;;) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		const char *next = stop ? stop + 1 : end;
		size_t n = (size_t)((stop ? stop : end) - p);

		memcpy(out, p, n);
		out += n;
		p = next;
		if (n == 0 || out[-1] != '\\' || p >= end)
			break;
		out[-1] = ' ';
		/* comments between the parts do not end them */
		while (p < end && (*p == '#' || *p == ';')) {
			stop = memchr(p, '\n', (size_t)(end - p));
			p = stop ? stop + 1 : end;
		}
	}
	*out = '\0';
	*at = p;
	return line;
}

int unit_parse(struct unit *unit, const char *text, size_t len)
{
	const char *end = text + len;
	char section[32] = "";
	int r = 0;

	while (r == 0 && text < end) {
		CLEANUP(freep) char *whole = parse_next(&text, end);
		char *line = whole ? whole + strspn(whole, UNIT_BLANKS) : NULL;

		if (!line)
			return -ENOMEM;
		if (*line == '[')
			(void)snprintf(section, sizeof(section), "%.*s",
				       (int)strcspn(line + 1, "]"), line + 1);
		else if (*line && *line != '#' && *line != ';')
			r = parse_line(unit, section, line);
	}
	return r;
}

/* ---- the environment ----------------------------------------------------------------- */

/* Where "NAME=" stands in unit->env; the end of the list if nowhere. */
static size_t env_find(char **env, const char *assignment)
{
	size_t n = strcspn(assignment, "="), i = 0;

	while (env && env[i] &&
	       !(strncmp(env[i], assignment, n) == 0 && (env[i][n] == '=' || !env[i][n])))
		i++;
	return i;
}

int unit_env_put(struct unit *unit, char *owned)
{
	size_t i = owned ? env_find(unit->env, owned) : 0, n = 0;

	if (!owned)
		return -ENOMEM;
	if (!strchr(owned, '=')) {
		free(owned);
		return 0;
	}
	while (unit->env && unit->env[n])
		n++;
	if (n >= UNIT_ENV_MAX && !unit->env[i]) {
		free(owned); /* nobody's installation */
		return 0;
	}
	if (!unit->env || !unit->env[i])
		return strv_push(&unit->env, &n, owned);
	free(unit->env[i]);
	unit->env[i] = owned;
	return 0;
}

void unit_env_unset(struct unit *unit, const char *word)
{
	size_t i = env_find(unit->env, word);

	if (!unit->env || !unit->env[i])
		return;
	/* UnsetEnvironment=NAME=value only takes that value away */
	if (strchr(word, '=') && strcmp(unit->env[i], word) != 0)
		return;
	free(unit->env[i]);
	for (; unit->env[i]; i++)
		unit->env[i] = unit->env[i + 1];
}

/* Specifiers; malloc'd */
static char *env_expand(const struct unit *unit, const char *text)
{
	char *out = NULL;
	size_t size = 0;
	const char *at = strchr(unit->name, '@');
	FILE *f = open_memstream(&out, &size);

	if (!f)
		return NULL;
	for (; *text; text++) {
		if (*text != '%' || !text[1]) {
			(void)fputc(*text, f); /* a failure shows in fclose() */
			continue;
		}
		text++;
		if (*text == 'h')
			(void)fputs(unit->scope == UNIT_USER && unit->home ? unit->home
									   : "/root",
				    f);
		else if (*text == 'n')
			(void)fputs(unit->name, f);
		else if (*text == 'i' || *text == 'I')
			(void)fprintf(f, "%.*s", at ? (int)strcspn(at + 1, ".") : 0,
				      at ? at + 1 : "");
		else if (*text == '%')
			(void)fputc('%', f);
		else
			(void)fprintf(f, "%%%c", *text);
	}
	if (fclose(f) == 0)
		return out;
	free(out);
	return NULL;
}

static int env_words(struct unit *unit, const char *value, bool unset)
{
	CLEANUP(freep) char *text = env_expand(unit, value);
	CLEANUP(strv_freep) char **words = NULL;
	int r = text ? parse_words(text, &words) : -ENOMEM;

	for (char **w = words; r == 0 && *w; w++) {
		if (unset) {
			unit_env_unset(unit, *w);
			continue;
		}
		r = unit_env_put(unit, strdup(*w));
	}
	return r;
}

int unit_env_file(const char *text, int (*fn)(void *arg, const char *name, const char *value),
		  void *arg)
{
	const char *end = text + strlen(text);
	int r = 0;

	while (r == 0 && text < end) {
		CLEANUP(freep) char *whole = parse_next(&text, end);
		char *line = whole ? whole + strspn(whole, UNIT_BLANKS) : NULL, *equals;
		const char *value;

		if (!line)
			return -ENOMEM;
		if (!*line || *line == '#' || *line == ';')
			continue;
		if (strncmp(line, "export ", 7) == 0)
			line += 7 + strspn(line + 7, UNIT_BLANKS);
		equals = strchr(line, '=');
		if (!equals)
			continue;
		*equals = '\0';
		line[strcspn(line, UNIT_BLANKS)] = '\0';
		value = equals + 1 + strspn(equals + 1, UNIT_BLANKS);
		/* the value is one word: quotes join, a comment does not follow it */
		words_one(&value, equals + 1);
		r = fn(arg, line, equals + 1);
	}
	return r;
}

static int env_file_one(void *arg, const char *name, const char *value)
{
	return unit_env_put(arg, fs_path("%s=%s", name, value));
}

int unit_env_put_file(struct unit *unit, const char *path)
{
	CLEANUP(freep) char *text = NULL;
	int r = fs_read_file(path, UNIT_ENV_FILE_MAX, &text, NULL);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	return unit_env_file(text, env_file_one, unit);
}

static int env_file(struct unit *unit, const char *value)
{
	CLEANUP(freep) char *path = env_expand(unit, value + (*value == '-'));

	return path ? unit_env_put_file(unit, path) : -ENOMEM;
}

static int settle_environment(struct unit *unit)
{
	int r = 0;

	/* all assignments, then all files, then what is taken away: in that order they win */
	for (size_t i = 0; r == 0 && i < unit->n_lines; i++) {
		const struct unit_line *l = &unit->lines[i];

		if (strcmp(l->key, "Service.Environment") != 0)
			continue;
		if (!*l->value)
			unit->env = strv_free(unit->env);
		else
			r = env_words(unit, l->value, false);
	}
	for (size_t i = 0; r == 0 && i < unit->n_lines; i++)
		if (strcmp(unit->lines[i].key, "Service.EnvironmentFile") == 0 &&
		    *unit->lines[i].value)
			r = env_file(unit, unit->lines[i].value);
	for (size_t i = 0; r == 0 && i < unit->n_lines; i++)
		if (strcmp(unit->lines[i].key, "Service.UnsetEnvironment") == 0)
			r = env_words(unit, unit->lines[i].value, true);
	return r;
}

/* The command, and whose it is. */
static int settle_service(struct unit *unit, const char *exec, const char *user)
{
	CLEANUP(freep) char *text = exec ? env_expand(unit, exec) : NULL;

	if (exec && (!text || parse_words(text, &unit->exec) < 0))
		return -ENOMEM;
	unit->account = user && *user ? env_expand(unit, user) : NULL;
	return !user || !*user || unit->account ? 0 : -ENOMEM;
}

int unit_settle(struct unit *unit, const char *exec, const char *user)
{
	int r = settle_environment(unit);

	return r == 0 ? settle_service(unit, exec, user) : r;
}
