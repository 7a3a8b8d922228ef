/*
 * board.json, as Hermes writes it and as an operator may have left it: what cannot be used is a
 * note to whoever looks for boards, and the defaults hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board.h"
#include "util/fs.h"

#define DISCOVER_META_MAX (1024 * 1024) /* bytes of a board.json */

void discover_free_list(char ***list, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
	*n = 0;
}

/* Append @text (taken, may be NULL) to a list. Out of memory drops it: a note is no state. */
void discover_push(char ***list, size_t *n, char *text)
{
	char **more;

	if (!text)
		return;
	more = realloc(*list, (*n + 1) * sizeof(**list));
	if (!more) {
		free(text);
		return;
	}
	*list = more;
	more[(*n)++] = text;
}

void discover_note(struct discovery *d, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	if (!d)
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	discover_push(&d->notes, &d->n_notes, text);
}

/* The key `archived` as Hermes takes it: anything that is true in Python. */
static bool discover_truth(const json_t *value)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_TRUE:
		return true;
	case JSON_INTEGER:
		return json_integer_value(value) != 0;
	case JSON_REAL:
		return json_real_value(value) != 0.0;
	case JSON_STRING:
		return json_string_length(value) > 0;
	case JSON_ARRAY:
		return json_array_size(value) > 0;
	case JSON_OBJECT:
		return json_object_size(value) > 0;
	default:
		return false;
	}
}

/* Read @name below @dir into a JSON object; NULL with the reason in @e otherwise. */
static json_t *discover_load(int dir, const char *name, struct error *e)
{
	CLEANUP(fs_closep) int fd = -1;
	CLEANUP(freep) char *data = NULL;
	size_t len = 0, size, skip;
	json_error_t why;
	struct stat st;
	json_t *meta;

	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		error_set(e, -errno, "%s", strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > DISCOVER_META_MAX) {
		error_set(e, -EINVAL, "%s",
			  S_ISREG(st.st_mode) ? "larger than 1 MiB" : "not a regular file");
		return NULL;
	}
	size = (size_t)st.st_size;
	data = malloc(size + 1);
	if (!data) {
		error_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	while (len < size) {
		ssize_t n = read(fd, data + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_set(e, -errno, "%s", strerror(errno));
			return NULL;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	skip = len >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0; /* byte order mark */
	meta = json_loadb(data + skip, len - skip, JSON_ALLOW_NUL, &why);
	if (!json_is_object(meta)) {
		error_set(e, -EBADMSG, "%s%s",
			  meta ? "not a JSON object" : "no JSON: ", meta ? "" : why.text);
		json_decref(meta);
		return NULL;
	}
	return meta;
}

/* default_workdir of a board.json: absolute, or below the home folder, or not used. */
static int discover_workdir(struct discovery *d, const json_t *value, struct board_place *place)
{
	const char *path = json_string_value(value);

	free(place->default_workdir);
	place->default_workdir = NULL;
	if (!path || !*path)
		return 0;
	if ((path[0] != '/' && path[0] != '~') || strlen(path) != json_string_length(value)) {
		discover_note(d,
			      "board %s: default_workdir in its board.json is not an absolute "
			      "path and is not used",
			      place->slug);
		return 0;
	}
	place->default_workdir = strdup(path);
	return place->default_workdir ? 0 : -ENOMEM;
}

/*
 * (Re-)read the board.json at @name below @dir, whose stamp is @stamp, into @place. One that
 * cannot be used leaves what the last good one said: Hermes writes it in place, and half a file
 * must not set an archived board going. Only running out of memory is an error.
 */
int discover_meta(struct discovery *d, int dir, const char *name, const struct fs_stamp *stamp,
		  struct board_place *place)
{
	struct error why = ERROR_NULL;
	json_t *meta;
	int r;

	place->meta = *stamp;
	place->meta_bad = false;
	if (stamp->ino == 0) {
		place->archived = false;
		return discover_workdir(d, NULL, place);
	}
	if (d)
		d->meta_reads++;
	meta = discover_load(dir, name, &why);
	if (!meta) {
		if (why.code == -ENOMEM)
			return -ENOMEM;
		if (why.code == -ENOENT) { /* gone since it was seen: look again next time */
			place->meta = (struct fs_stamp){ 0 };
			return 0;
		}
		place->meta_bad = true;
		discover_note(d, "board %s: its board.json cannot be used (%s)", place->slug,
			      why.text);
		return 0;
	}
	place->archived = strcmp(place->slug, DISCOVER_DEFAULT) != 0 &&
			  discover_truth(json_object_get(meta, "archived"));
	r = discover_workdir(d, json_object_get(meta, "default_workdir"), place);
	json_decref(meta);
	return r;
}
