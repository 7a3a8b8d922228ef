/*
 * The file has a JSON object a line. What is told of a run is looked for by board, task, run
 * and pid, the newest first, so that neither a board that was put back to an earlier time nor a
 * pid that came again is taken for another's. A file that grew is set aside once, under
 * another name, and both are read: what is in neither was booked long ago.
 */
#include "root/ends.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/log.h"

#define ENDS_KEPT     1024        /* in memory */
#define ENDS_FILE_MAX (64 * 1024) /* of a file that is not set aside yet */
#define ENDS_READ_MAX (1024 * 1024)

struct ends_one {
	char *db, *task;
	int64_t run;
	pid_t pid;
	struct ending ending;
};

struct ends {
	pthread_mutex_t lock; /* held for copies and one write, never for more */
	struct ends_one kept[ENDS_KEPT];
	size_t n; /* noted so far; the newest is kept[(n - 1) % ENDS_KEPT] */
	int fd;   /* -1: none */
	bool told;
	char *path; /* of the file; written by ends_load_work() only */
};

struct ends *ends_new(void)
{
	struct ends *ends = calloc(1, sizeof(*ends));

	if (!ends)
		return NULL;
	ends->fd = -1;
	(void)pthread_mutex_init(&ends->lock, NULL); /* never fails for a plain mutex */
	return ends;
}

static void ends_one_free(struct ends_one *one)
{
	free(one->db);
	free(one->task);
}

struct ends *ends_free(struct ends *ends)
{
	if (!ends)
		return NULL;
	for (size_t i = 0; i < ENDS_KEPT; i++)
		ends_one_free(&ends->kept[i]);
	fs_closep(&ends->fd);
	(void)pthread_mutex_destroy(&ends->lock);
	free(ends->path);
	free(ends);
	return NULL;
}

/* With the lock held. */
static void ends_keep(struct ends *ends, const struct ends_run *run, struct ending ending)
{
	struct ends_one one = { .db = strdup(run->db),
				.task = strdup(run->task),
				.run = run->run,
				.pid = run->pid,
				.ending = ending };
	struct ends_one *slot = &ends->kept[ends->n % ENDS_KEPT];

	if (!one.db || !one.task) {
		ends_one_free(&one); /* the end is then unknown, as it was before */
		return;
	}
	ends_one_free(slot);
	*slot = one;
	ends->n++;
}

/* ---- the file ------------------------------------------------------------------------ */

/* "exited", "signaled" or NULL */
static const char *ends_word(enum ending_kind kind)
{
	return kind == ENDING_EXITED ? "exited" : kind == ENDING_SIGNALED ? "signaled" : NULL;
}

static void ends_line(struct ends *ends, const char *line, size_t len)
{
	CLEANUP(json_freep) json_t *j = json_loadb(line, len, 0, NULL);
	const char *kind = json_string_value(json_object_get(j, "kind"));
	struct ends_run run = { .db = json_string_value(json_object_get(j, "db")),
				.task = json_string_value(json_object_get(j, "task")),
				.run = json_integer_value(json_object_get(j, "run")) };
	json_int_t pid = json_integer_value(json_object_get(j, "pid"));
	json_int_t value = json_integer_value(json_object_get(j, "value"));
	struct ending ending = { .kind = ENDING_EXITED, .value = (int)value };

	if (!kind || !run.db || !run.task || run.run <= 0 || pid <= 1 || pid > INT32_MAX ||
	    value < 0 || value > 255)
		return; /* it was cut off, or is none of ours */
	if (strcmp(kind, "signaled") == 0)
		ending.kind = ENDING_SIGNALED;
	if (json_is_true(json_object_get(j, "host")))
		ending.why = ENDING_BY_HOST;
	run.pid = (pid_t)pid;
	(void)pthread_mutex_lock(&ends->lock);
	ends_keep(ends, &run, ending);
	(void)pthread_mutex_unlock(&ends->lock);
}

static void ends_read(struct ends *ends, const char *path)
{
	CLEANUP(freep) char *data = NULL;
	size_t len = 0;

	if (fs_read_file(path, ENDS_READ_MAX, &data, &len) < 0)
		return; /* none, or nothing that we wrote */
	for (char *p = data, *end; p < data + len; p = end + 1) {
		end = memchr(p, '\n', len - (size_t)(p - data));
		if (!end)
			return; /* cut off */
		ends_line(ends, p, (size_t)(end - p));
	}
}

static int ends_open(const char *path)
{
	struct stat st;
	int fd = open(path,
		      O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY |
			      O_NONBLOCK,
		      0600);

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		fs_closep(&fd);
		errno = EINVAL;
	}
	return fd < 0 ? -errno : fd;
}

/* @fd is written to from now on; the one before is closed. */
static void ends_use(struct ends *ends, int fd)
{
	int was;

	(void)pthread_mutex_lock(&ends->lock);
	was = ends->fd;
	ends->fd = fd;
	ends->told = false;
	(void)pthread_mutex_unlock(&ends->lock);
	fs_closep(&was);
}

void ends_load_work(struct ends *ends, const char *root)
{
	CLEANUP(freep) char *path = fs_path("%s/kanban/.kanband.ends", root);
	CLEANUP(freep) char *old = fs_path("%s/kanban/.kanband.ends.old", root);
	int fd;

	if (!path || !old)
		return;
	ends_read(ends, old);
	ends_read(ends, path);
	free(ends->path);
	ends->path = STEAL(path);
	fd = ends_open(ends->path);
	if (fd < 0)
		log_warning("%s cannot be written: %s; how a worker ended is forgotten if "
			    "kanband is killed before that is in the board",
			    ends->path, strerror(-fd));
	ends_use(ends, fd < 0 ? -1 : fd);
}

void ends_trim_work(struct ends *ends)
{
	CLEANUP(freep) char *old = ends->path ? fs_path("%s.old", ends->path) : NULL;
	struct fs_stamp stamp = { 0 };
	int fd;

	if (!old)
		return;
	stamp = fs_stamp_of(ends->path);
	if (stamp.ino && stamp.size < ENDS_FILE_MAX)
		return;
	/* it is gone, or the next begins; what is written meanwhile goes into the old one */
	if (stamp.ino && rename(ends->path, old) < 0)
		return;
	fd = ends_open(ends->path);
	if (fd >= 0)
		ends_use(ends, fd);
}

/* ---- news ---------------------------------------------------------------------------- */

void ends_note(struct ends *ends, const struct ends_run *ended, struct ending ending)
{
	const char *word = ends_word(ending.kind);
	CLEANUP(freep) char *text = NULL;
	CLEANUP(json_freep) json_t *j = NULL;
	bool failed = false;

	if (!word)
		return; /* nothing is known */
	j = json_pack("{s:o, s:o, s:I, s:I, s:s, s:i, s:b, s:I}", "db", json_utf8(ended->db),
		      "task", json_utf8(ended->task), "run", (json_int_t)ended->run, "pid",
		      (json_int_t)ended->pid, "kind", word, "value", ending.value, "host",
		      ending.why == ENDING_BY_HOST, "at", (json_int_t)clock_wall_s());
	text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	(void)pthread_mutex_lock(&ends->lock);
	ends_keep(ends, ended, ending);
	if (text && ends->fd >= 0) {
		size_t n = strlen(text);

		text[n] = '\n'; /* over its NUL */
		failed = write(ends->fd, text, n + 1) != (ssize_t)n + 1 && !ends->told;
		ends->told |= failed;
	}
	(void)pthread_mutex_unlock(&ends->lock);
	if (failed)
		log_warning("%s cannot be written: %s; how a worker ended is forgotten if "
			    "kanband is killed before that is in the board",
			    ends->path, strerror(errno));
}

bool ends_find(struct ends *ends, const struct ends_run *run, struct ending *ending, pid_t *pid)
{
	bool found = false;

	(void)pthread_mutex_lock(&ends->lock);
	for (size_t i = 0; !found && i < ends->n && i < ENDS_KEPT; i++) {
		const struct ends_one *one = &ends->kept[(ends->n - 1 - i) % ENDS_KEPT];

		found = one->run == run->run && (run->pid == 0 || one->pid == run->pid) &&
			strcmp(one->task, run->task) == 0 && strcmp(one->db, run->db) == 0;
		if (found) {
			*ending = one->ending;
			*pid = one->pid;
		}
	}
	(void)pthread_mutex_unlock(&ends->lock);
	return found;
}
