/*
 * logs: what the workers of a task wrote, the rotated logs before the current one. With
 * --follow what is added, also behind rotations: then the file at the path is another one,
 * which is read from its beginning, and so is one that somebody has emptied.
 *
 * Unless --all asks for everything it is the end that is shown, whole lines of it: a worker may
 * have written without end, or made a hole of terabytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/view.h"
#include "ctl.h"
#include "ctl/logs_journal.h"
#include "db/db.h"
#include "util/fs.h"
#include "util/printable.h"

#define LOGS_ROTATED_MAX 100
#define LOGS_BLOCK       65536
#define LOGS_END         (INT64_C(16) << 20) /* of all files together, in bytes */
#define LOGS_LOOK_MS     1000 /* where inotify says nothing (a network file system) */

struct logs {
	struct ctl *ctl;
	char *path; /* of the current log */
	int fd;     /* … or -1 */
	ino_t ino;
	int64_t lines; /* still to be shown, counted from the end; -1: as many as there are */
	int64_t bytes; /* the same; -1: all */
	int64_t cut;   /* bytes that are left out because they are too many */
};

static void logs_close(struct logs *l)
{
	free(l->path);
	fs_closep(&l->fd);
}

/* An id becomes a file name. */
static bool logs_is_name(const char *task)
{
	return *task && task[0] != '.' && !strchr(task, '/') && strlen(task) < 200;
}

/* All that is there from where it was read to. Return: 0, or an exit code after telling. */
static int logs_copy(const struct logs *l, int fd, const char *path)
{
	char *block = malloc(LOGS_BLOCK);
	ssize_t n = 0;

	while (block && (n = read(fd, block, LOGS_BLOCK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		/* on a terminal nothing in it may act */
		if (l->ctl->screen.width)
			printable_put(l->ctl->out, block, (size_t)n, PRINTABLE_LINES);
		else
			(void)fwrite(block, 1, (size_t)n, l->ctl->out);
		if (ferror(l->ctl->out))
			break;
	}
	free(block);
	if (!block)
		return ctl_say(l->ctl, CTL_IO, "out of memory");
	if (n < 0)
		return ctl_say(l->ctl, CTL_IO, "cannot read %s: %s", path, strerror(errno));
	return ferror(l->ctl->out) ? CTL_END_OF_READER : 0;
}

static int logs_open(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);

	if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	if (fd >= 0)
		(void)close(fd);
	else
		return -errno;
	return -EINVAL;
}

/* ---- where to begin ------------------------------------------------------------------ */

/* Walks back from the end; the line end that is the last byte begins no line. */
static off_t logs_lines_from(struct logs *l, int fd, off_t from, off_t size, char *block)
{
	for (off_t end = size; end > from;) {
		off_t at = end - from > LOGS_BLOCK ? end - LOGS_BLOCK : from;
		ssize_t n = pread(fd, block, (size_t)(end - at), at);

		for (; n > 0; n--) {
			if (block[n - 1] != '\n' || at + n == size)
				continue;
			if (--l->lines == 0)
				return at + n;
		}
		end = at;
	}
	if (size > from)
		l->lines--; /* the first one */
	return from;
}

/* The beginning of the first whole line behind @from, if it is near; else @from. */
static off_t logs_whole_line(int fd, off_t from, char *block)
{
	ssize_t n = pread(fd, block, LOGS_BLOCK, from);
	const char *end = n > 0 ? memchr(block, '\n', (size_t)n) : NULL;

	return end ? from + (end - block) + 1 : from;
}

/* Where the part of @fd begins that is shown: files are asked from the newest to the oldest. */
static off_t logs_begin(struct logs *l, int fd, off_t size)
{
	CLEANUP(freep) char *block = malloc(LOGS_BLOCK);
	off_t from = 0;

	if (!block) /* then nothing of it is shown either, see logs_copy() */
		return 0;
	if (l->bytes >= 0 && size > l->bytes) {
		from = l->bytes > 0 ? logs_whole_line(fd, size - l->bytes, block) : size;
		l->bytes = 0;
	} else if (l->bytes >= 0) {
		l->bytes -= size;
	}
	if (l->lines == 0)
		return size;
	if (l->lines > 0)
		size = logs_lines_from(l, fd, from, size, block);
	if (l->lines < 0 || size == from)
		l->cut += from;
	return l->lines < 0 ? from : size;
}

/* PATH.N … PATH.1, the oldest first. */
static int logs_rotated(struct logs *l, bool *any)
{
	off_t from[LOGS_ROTATED_MAX + 1] = { 0 };
	int fds[LOGS_ROTATED_MAX + 1], r = 0;

	for (int i = 1; i <= LOGS_ROTATED_MAX; i++) {
		CLEANUP(freep) char *path = fs_path("%s.%d", l->path, i);
		struct stat st = { 0 };

		fds[i] = path ? logs_open(path, &st) : -1;
		if (fds[i] < 0)
			continue;
		*any = true;
		from[i] = logs_begin(l, fds[i], st.st_size);
	}
	for (int i = LOGS_ROTATED_MAX; i > 0; i--) {
		CLEANUP(freep) char *path = fs_path("%s.%d", l->path, i);

		if (fds[i] >= 0 && r == 0)
			r = lseek(fds[i], from[i], SEEK_SET) < 0 ? 0
								 : logs_copy(l, fds[i], path);
		fs_closep(&fds[i]);
	}
	return r;
}

/* The rest of a log that was rotated away, and those that came and went behind it. */
static int logs_past(const struct logs *l)
{
	int fds[LOGS_ROTATED_MAX], n = 0, r = logs_copy(l, l->fd, l->path);
	struct stat st = { 0 };
	bool found = false;

	while (n < LOGS_ROTATED_MAX && !found) {
		CLEANUP(freep) char *path = fs_path("%s.%d", l->path, n + 1);

		fds[n] = path ? logs_open(path, &st) : -1;
		if (fds[n] < 0)
			break;
		found = st.st_ino == l->ino;
		n++;
	}
	/* where it was removed instead, the others are those that were shown before it */
	for (int ours = n - 1; n-- > 0;) {
		if (r == 0 && found && n < ours)
			r = logs_copy(l, fds[n], l->path);
		fs_closep(&fds[n]);
	}
	return r;
}

/* Open the current log if it is not open, or another file than it was. */
static int logs_current(struct logs *l)
{
	struct stat st = { 0 };
	int fd, r;

	if (l->fd >= 0 && stat(l->path, &st) == 0 && st.st_ino == l->ino)
		return 0;
	fd = logs_open(l->path, &st);
	if (fd == -ENOENT && l->fd < 0)
		return 0;
	if (fd < 0)
		return fd == -ENOENT ? 0
				     : ctl_say(l->ctl, fd == -EACCES ? CTL_NOT_ALLOWED : CTL_IO,
					       "cannot read %s: %s", l->path, strerror(-fd));
	r = l->fd >= 0 ? logs_past(l) : 0;
	fs_closep(&l->fd);
	l->fd = fd;
	l->ino = st.st_ino;
	return r;
}

/* What was written since. */
static int logs_added(const struct logs *l)
{
	struct stat st;

	if (l->fd < 0)
		return 0;
	if (fstat(l->fd, &st) == 0 && lseek(l->fd, 0, SEEK_CUR) > st.st_size)
		(void)lseek(l->fd, 0, SEEK_SET); /* of a plain file: cannot fail */
	return logs_copy(l, l->fd, l->path);
}

static int logs_follow(struct logs *l)
{
	CLEANUP(fs_closep) int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	CLEANUP(freep) char *folder = strdup(l->path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (slash)
		*slash = '\0';
	if (notify >= 0 && folder &&
	    inotify_add_watch(notify, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
		fs_closep(&notify); /* then it is looked at once a second */
	for (;;) {
		struct pollfd p[2] = { { .fd = notify, .events = POLLIN },
				       { .fd = STDOUT_FILENO, .events = 0 } };
		char events[4096];
		const ino_t before = l->ino;
		int r = logs_added(l);

		if (r == 0 && fflush(l->ctl->out) != 0)
			r = CTL_END_OF_READER;
		if (r == 0)
			r = logs_current(l);
		if (r != 0)
			return r;
		if (l->ino != before)
			continue;
		if (poll(p, 2, LOGS_LOOK_MS) > 0 && (p[1].revents & (POLLERR | POLLHUP)))
			return CTL_END_OF_READER;
		while (notify >= 0 && read(notify, events, sizeof(events)) > 0)
			; /* what happened does not matter: the file is looked at */
	}
}

/* All that there is now, from where it is to begin. @any: there is a log */
static int logs_show(struct logs *l, bool rotated, bool *any)
{
	off_t from = 0;
	struct stat st;
	int r = logs_current(l);

	if (r != 0)
		return r;
	*any = l->fd >= 0;
	if (l->fd >= 0 && fstat(l->fd, &st) == 0)
		from = logs_begin(l, l->fd, st.st_size);
	r = rotated ? logs_rotated(l, any) : 0;
	if (r == 0 && l->fd >= 0 && lseek(l->fd, from, SEEK_SET) >= 0)
		r = logs_copy(l, l->fd, l->path);
	if (r == 0 && l->cut > 0) {
		(void)fflush(l->ctl->out); /* whoever closes it looks at its error flag */
		(void)ctl_say(l->ctl, 0,
			      "%" PRId64 " bytes before that are left out; --all shows them",
			      l->cut);
	}
	return r;
}

/* Is there no log, or no task. A board that cannot be read has its logs all the same. */
static int logs_none(const struct logs *l, const struct board_place *place, const char *task)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	json_t *all = NULL;
	int r = view_open(&db, place->db_path, ctl_busy_timeout_ms(l->ctl, false), &e);

	if (r == 0)
		r = view_task(db, task, 0, &all, &e);
	json_decref(all);
	if (r == EDIT_NO_TASK)
		return ctl_fail(l->ctl, r, &e);
	return ctl_say(l->ctl, CTL_NO_INPUT,
		       "task %s has no log at %s: no worker was started, or it was removed",
		       task, l->path);
}

static int verb_logs_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(logs_close)
	struct logs l = { .ctl = ctl, .fd = -1, .lines = -1, .bytes = LOGS_END };
	bool follow = false, last = false, all = false, any = false;
	const struct ctl_arg options[] = {
		{ "follow", CTL_ARG_FLAG, &follow, NULL, "go on with what is written", 0, 0 },
		{ "limit", CTL_ARG_INT, &l.lines, "LINES", "only the last LINES", 0,
		  INT64_MAX },
		{ "all", CTL_ARG_FLAG, &all, NULL, "everything, not only the last 16 MiB", 0,
		  0 },
		{ "current", CTL_ARG_FLAG, &last, NULL, "without the rotated logs", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	const char *task;
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	if (all)
		l.bytes = -1;
	task = args[0] ? args[0] : ctl_env(ctl, "HERMES_KANBAN_TASK");
	if (!task)
		return ctl_say(ctl, CTL_USAGE,
			       "which task? name it, or set HERMES_KANBAN_TASK");
	if (!logs_is_name(task))
		return ctl_say(ctl, CTL_USAGE, "\"%s\" is no id of a task", task);
	r = ctl_place(ctl, &place);
	if (r != 0)
		return r;
	l.path = fs_path("%s/%s.log", place.logs_dir, task);
	if (!l.path)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = logs_show(&l, !last, &any);
	if (r == 0 && !any) /* its units may write into the journal instead */
		r = logs_journal(ctl, place.slug, task, follow, &any);
	if (r == 0 && !any && !follow)
		return logs_none(&l, &place, task);
	if (r == 0 && follow)
		r = logs_follow(&l);
	return r == CTL_END_OF_READER ? CTL_OK : r;
}

static const struct ctl_verb verb_logs = {
	.name = "logs",
	.args = "[TASK]",
	.what = "show what the workers of a task wrote",
	.group = CTL_WATCH,
	.rank = 60,
	.run = verb_logs_run,
};
CTL_VERB(verb_logs);
