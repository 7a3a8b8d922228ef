/*
 * The outbox file.
 *
 *     1f0c6d0e6f3a9b22 ["format",1]
 *     09bb1c3de5a77c01 ["i1",{"board":…}]        put
 *     8d1f6a0b7c2e4f55 ["i1"]                    delete
 *
 * A line is the first 16 hex digits of the SHA-256 of the rest, a blank, and a JSON array of
 * key and value, newline. JSON has no raw newline, so lines find themselves again after any
 * damage.
 *
 * Happy path: opening reads the lines into a map; a write appends lines to the file and to the
 * map; when the file has grown to several times what holds, it is written anew beside itself
 * and renamed.
 *
 * Failure modes: a line whose checksum does not match is passed over. The last line of a write
 * that was cut off is such a line; the next append begins with a newline then. An append that
 * fails half-way is cut off again; if that fails too, or fsync does, what the disk has is
 * unknown, and the next write begins by writing the whole file anew. A file that holds
 * something but nothing of ours is moved to `<path>.bad` and not touched again.
 *
 * Shutdown: nothing to do; every write was complete.
 */
#include "notify/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/digest.h"
#include "util/fs.h"

#define HASH_NONFATAL_OOM 1 /* an entry without memory is an error, not an exit */
#include <uthash.h>

#define OUTBOX_FORMAT  1
#define OUTBOX_SUM     16                  /* hex digits */
#define OUTBOX_SMALL   ((size_t)256 << 10) /* below this it is not written anew while open */
#define OUTBOX_GROWTH  4                   /* … and only when so many times what holds */
#define OUTBOX_NUMBERS UINT64_C(0x7FFFFFFFFFFF)

struct outbox_entry {
	UT_hash_handle hh; /* by key, in the order of their puts */
	char *line;        /* as in the file, with its newline; owned */
	size_t len;        /* of @line */
	char key[];
};

struct outbox {
	pthread_mutex_t lock; /* all below but @numbers */
	char *path;
	int fd;                       /* append; -1: to be written anew first */
	struct outbox_entry *entries; /* what holds */
	size_t live;                  /* bytes of its lines */
	size_t bytes;                 /* of the file */
	atomic_uint_fast64_t numbers; /* the last one given out or seen in a key */
};

/* ---- lines --------------------------------------------------------------------------- */

static void outbox_sum(const char *data, size_t len, char out[static OUTBOX_SUM + 1])
{
	char hex[DIGEST_HEX + 1];
	struct digest d;

	digest_init(&d);
	digest_add(&d, data, len);
	digest_hex(&d, hex);
	memcpy(out, hex, OUTBOX_SUM);
	out[OUTBOX_SUM] = '\0';
}

/* A line with its newline, malloc'd; NULL when the parts are no UTF-8 or memory is out. */
static char *outbox_line(const char *key, const json_t *value, size_t *len)
{
	/* the cast: O takes a reference and gives it back */
	json_t *json =
		value ? json_pack("[s, O]", key, (json_t *)value) : json_pack("[s]", key);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL, *line = NULL;
	char sum[OUTBOX_SUM + 1];
	int n;

	json_decref(json);
	if (!text)
		return NULL;
	outbox_sum(text, strlen(text), sum);
	n = asprintf(&line, "%s %s\n", sum, text);
	free(text);
	if (n < 0)
		return NULL;
	*len = (size_t)n;
	return line;
}

/* The JSON of a line without its newline, or NULL if that is no line of ours. */
static json_t *outbox_line_read(const char *line, size_t len)
{
	char sum[OUTBOX_SUM + 1];
	json_t *json;
	const char *key;

	if (len < OUTBOX_SUM + 2 || line[OUTBOX_SUM] != ' ')
		return NULL;
	outbox_sum(line + OUTBOX_SUM + 1, len - OUTBOX_SUM - 1, sum);
	if (memcmp(line, sum, OUTBOX_SUM) != 0)
		return NULL;
	json = json_loadb(line + OUTBOX_SUM + 1, len - OUTBOX_SUM - 1, 0, NULL);
	key = json_string_value(json_array_get(json, 0));
	if (key && strlen(key) <= OUTBOX_KEY_MAX && json_array_size(json) <= 2)
		return json;
	json_decref(json);
	return NULL;
}

/* ---- what holds ---------------------------------------------------------------------- */

static void outbox_entry_free(struct outbox_entry *entry)
{
	if (entry)
		free(entry->line);
	free(entry);
}

static struct outbox_entry *outbox_find(struct outbox *o, const char *key)
{
	struct outbox_entry *entry;

	HASH_FIND_STR(o->entries, key, entry);
	return entry;
}

static void outbox_drop(struct outbox *o, const char *key)
{
	struct outbox_entry *entry = outbox_find(o, key);

	if (!entry)
		return;
	HASH_DEL(o->entries, entry);
	o->live -= entry->len;
	outbox_entry_free(entry);
}

/* An entry that is not in the map yet. @line is copied. */
static struct outbox_entry *outbox_entry_new(const char *key, const char *line, size_t len)
{
	struct outbox_entry *entry = calloc(1, sizeof(*entry) + strlen(key) + 1);

	if (!entry)
		return NULL;
	(void)memcpy(entry->key, key, strlen(key) + 1);
	entry->len = len;
	entry->line = malloc(len + 1);
	if (!entry->line) {
		free(entry);
		return NULL;
	}
	(void)memcpy(entry->line, line, len);
	entry->line[len] = '\0';
	return entry;
}

/* Into the map, in place of what had its key. @entry is taken. Return: 0 or -ENOMEM. */
static int outbox_hold(struct outbox *o, struct outbox_entry *entry)
{
	struct outbox_entry *added;

	outbox_drop(o, entry->key);
	HASH_ADD_STR(o->entries, key, entry);
	added = outbox_find(o, entry->key);
	if (added != entry) {
		outbox_entry_free(entry);
		return -ENOMEM;
	}
	o->live += entry->len;
	return 0;
}

/* Numbers in keys ("i17") are taken. */
static void outbox_number_seen(struct outbox *o, const char *key)
{
	uint64_t n = strtoull(key + strcspn(key, "0123456789"), NULL, 10);

	if (n > atomic_load(&o->numbers) && n < OUTBOX_NUMBERS)
		atomic_store(&o->numbers, n);
}

uint64_t outbox_next(struct outbox *o)
{
	return atomic_fetch_add(&o->numbers, 1) + 1;
}

/* ---- reading ------------------------------------------------------------------------- */

/* Take one line in. Return: 0; -EBADMSG no line of ours; -EPROTONOSUPPORT; -ENOMEM. */
static int outbox_take(struct outbox *o, const char *line, size_t len)
{
	json_t *json = outbox_line_read(line, len);
	const char *key;
	json_t *value;
	struct outbox_entry *entry;
	int r = 0;

	if (!json)
		return -EBADMSG;
	key = json_string_value(json_array_get(json, 0));
	value = json_array_get(json, 1);
	if (strcmp(key, "format") == 0) {
		if (json_integer_value(value) > OUTBOX_FORMAT)
			r = -EPROTONOSUPPORT;
	} else if (json_array_size(json) == 1) {
		outbox_number_seen(o, key);
		outbox_drop(o, key);
	} else if (!json_is_object(value)) {
		r = -EBADMSG;
	} else {
		outbox_number_seen(o, key);
		entry = outbox_entry_new(key, line, len + 1);
		if (entry)
			entry->line[len] = '\n';
		r = entry ? outbox_hold(o, entry) : -ENOMEM;
	}
	json_decref(json);
	return r;
}

/* Every line of @data. @good: lines that are ours. */
static int outbox_take_all(struct outbox *o, const char *data, size_t len, size_t *good,
			   struct outbox_found *found)
{
	size_t i = 0;

	*good = 0;
	while (i < len) {
		const char *end = memchr(data + i, '\n', len - i);
		size_t n = end ? (size_t)(end - data) - i : len - i;
		int r = end ? outbox_take(o, data + i, n) : -EBADMSG;

		if (r == 0)
			++*good;
		else if (r != -EBADMSG)
			return r;
		else if (!end)
			found->torn = true;
		else if (n > 0) /* an empty line stands where an append began anew */
			found->bad++;
		i += n + 1;
	}
	return 0;
}

static int outbox_load(struct outbox *o, struct outbox_found *found, size_t *good,
		       struct error *e)
{
	CLEANUP(freep) char *data = NULL;
	size_t len = 0;
	int r = fs_read_file(o->path, OUTBOX_FILE_MAX, &data, &len);

	*good = 0;
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = outbox_take_all(o, data, len, good, found);
	o->bytes = len;
	if (r == -EPROTONOSUPPORT)
		return error_set(e, r, "%s was written by a newer kanband; use that one",
				 o->path);
	if (r < 0 && r != -EFBIG)
		return error_errno(e, r, "cannot read the outbox %s", o->path);
	found->set_aside = r == -EFBIG || (*good == 0 && (found->bad > 0 || found->torn));
	return 0;
}

/* ---- writing ------------------------------------------------------------------------- */

/* Everything that holds, as a file. */
static int outbox_whole(struct outbox *o, char **data, size_t *len)
{
	json_t *format = json_integer(OUTBOX_FORMAT);
	size_t size = 0, head_len = 0;
	CLEANUP(freep) char *head = format ? outbox_line("format", format, &head_len) : NULL;
	char *whole, *p;

	json_decref(format);
	if (!head)
		return -ENOMEM;
	size = o->live + head_len;
	whole = malloc(size + 1);
	if (!whole)
		return -ENOMEM;
	p = mempcpy(whole, head, head_len);
	for (struct outbox_entry *i = o->entries; i; i = i->hh.next)
		p = mempcpy(p, i->line, i->len);
	*data = whole;
	*len = (size_t)(p - whole);
	return 0;
}

static int outbox_append_fd(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

/* Write the file anew. */
static int outbox_rewrite(struct outbox *o)
{
	CLEANUP(freep) char *data = NULL;
	size_t len = 0;
	int r = outbox_whole(o, &data, &len);

	if (r == 0)
		r = fs_write_atomic(o->path, data, len, 0600);
	if (r < 0)
		return r;
	fs_closep(&o->fd);
	r = outbox_append_fd(o->path);
	if (r < 0)
		return r;
	o->fd = r;
	o->bytes = len;
	return 0;
}

static int outbox_append(struct outbox *o, const char *data, size_t len, bool sync)
{
	size_t done = 0;
	int r = 0;

	while (r == 0 && done < len) {
		ssize_t n = write(o->fd, data + done, len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			r = -errno;
	}
	if (r == 0 && sync && fsync(o->fd) < 0)
		r = -errno;
	if (r == 0) {
		o->bytes += len;
		return 0;
	}
	/* what the disk has of it is unknown: written anew before the next append, and until
	 * then without it where that can be had */
	(void)!ftruncate(o->fd, (off_t)o->bytes);
	fs_closep(&o->fd);
	return r;
}

/* The changes as lines in one text, and as entries that are not in the map yet. */
static int outbox_render(const struct outbox_change *changes, size_t n, char **data,
			 size_t *len, struct outbox_entry **entries)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r = 0;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct outbox_change *c = &changes[i];
		size_t line_len = 0;
		CLEANUP(freep) char *line = NULL;

		if (strlen(c->key) > OUTBOX_KEY_MAX || (c->value && !json_is_object(c->value)))
			r = -EINVAL;
		else
			line = outbox_line(c->key, c->value, &line_len);
		if (r == 0 && !line)
			r = -EINVAL;
		if (r == 0 && c->value) {
			entries[i] = outbox_entry_new(c->key, line, line_len);
			r = entries[i] ? 0 : -ENOMEM;
		}
		if (r == 0)
			(void)fwrite(line, 1, line_len, out);
	}
	if (fclose(out) != 0 && r == 0)
		r = -ENOMEM;
	*data = text;
	*len = size;
	return r;
}

static int outbox_write_locked(struct outbox *o, const char *data, size_t len, bool sync)
{
	int r = 0;

	if (o->fd < 0 || (o->bytes > OUTBOX_SMALL && o->bytes > o->live * OUTBOX_GROWTH))
		r = outbox_rewrite(o);
	return r < 0 ? r : outbox_append(o, data, len, sync);
}

int outbox_write(struct outbox *o, const struct outbox_change *changes, size_t n, bool sync,
		 struct error *e)
{
	CLEANUP(freep)
	struct outbox_entry **entries = calloc(n + 1, sizeof(struct outbox_entry *));
	CLEANUP(freep) char *data = NULL;
	size_t len = 0;
	int r;

	if (!entries)
		return error_set(e, -ENOMEM, "out of memory");
	r = outbox_render(changes, n, &data, &len, entries);
	(void)pthread_mutex_lock(&o->lock);
	if (r == 0)
		r = outbox_write_locked(o, data, len, sync);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!changes[i].value) {
			outbox_drop(o, changes[i].key);
		} else if (outbox_hold(o, STEAL(entries[i])) < 0) {
			/* it is on the disk, and lost to a rewrite: only memory can do that */
			(void)pthread_mutex_unlock(&o->lock);
			return error_set(e, -ENOMEM, "out of memory");
		}
	}
	(void)pthread_mutex_unlock(&o->lock);
	for (size_t i = 0; r < 0 && i < n; i++)
		outbox_entry_free(entries[i]);
	return r < 0 ? error_errno(e, r, "cannot write the outbox %s", o->path) : 0;
}

/* ---- the rest ------------------------------------------------------------------------ */

static struct outbox *outbox_new(const char *path)
{
	struct outbox *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->fd = -1;
	o->path = strdup(path);
	if (!o->path || pthread_mutex_init(&o->lock, NULL) != 0) {
		free(o->path);
		free(o);
		return NULL;
	}
	return o;
}

int outbox_open(struct outbox **out, const char *path, struct outbox_found *found,
		struct error *e)
{
	CLEANUP(outbox_freep) struct outbox *o = outbox_new(path);
	struct outbox_found seen = { 0 };
	size_t good = 0;
	int r;

	if (!o)
		return error_set(e, -ENOMEM, "out of memory");
	r = outbox_load(o, &seen, &good, e);
	if (r < 0)
		return r;
	if (seen.set_aside) {
		CLEANUP(freep) char *aside = fs_path("%s.bad", path);

		if (!aside || rename(path, aside) < 0)
			return error_errno(e, aside ? -errno : -ENOMEM,
					   "cannot move aside %s, which is no outbox", path);
	}
	seen.entries = HASH_COUNT(o->entries);
	/* one line of ours says the format; more than what holds is dead weight */
	if (seen.set_aside || seen.bad || seen.torn || good != seen.entries + 1)
		r = outbox_rewrite(o);
	else
		r = o->fd = outbox_append_fd(path);
	if (r < 0)
		return error_errno(e, r, "cannot write the outbox %s", path);
	if (found)
		*found = seen;
	*out = STEAL(o);
	return 0;
}

struct outbox *outbox_free(struct outbox *o)
{
	struct outbox_entry *entry, *next;

	if (!o)
		return NULL;
	HASH_ITER(hh, o->entries, entry, next)
	{
		HASH_DEL(o->entries, entry);
		outbox_entry_free(entry);
	}
	fs_closep(&o->fd);
	(void)pthread_mutex_destroy(&o->lock);
	free(o->path);
	free(o);
	return NULL;
}

int outbox_each(struct outbox *o, outbox_fn fn, void *arg)
{
	for (struct outbox_entry *i = o->entries; i; i = i->hh.next) {
		json_t *json = outbox_line_read(i->line, i->len - 1);
		int r = json ? fn(arg, i->key, json_array_get(json, 1)) : -ENOMEM;

		json_decref(json);
		if (r < 0)
			return r;
	}
	return 0;
}

int outbox_peek(const char *path, outbox_fn fn, void *arg, struct error *e)
{
	CLEANUP(outbox_freep) struct outbox *o = outbox_new(path);
	struct outbox_found found = { 0 };
	size_t good = 0;
	int r;

	if (!o)
		return error_set(e, -ENOMEM, "out of memory");
	r = outbox_load(o, &found, &good, e);
	return r < 0 ? r : outbox_each(o, fn, arg);
}
