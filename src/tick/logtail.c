/*
 * A worker may say with its last line how it ends: "[kanban-worker-exit] rc=N". Where nobody
 * saw it end, that tells. It need not begin a line: what was written to the same log before may
 * have ended without one. A trailer that something follows may be of an earlier run, which
 * wrote to the same log; of a first run it is its own, and what it started went on.
 */
#include "tick/logtail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/text.h"

#define LOGTAIL_BYTES 4000

static const char logtail_mark[] = "[kanban-worker-exit] rc=";

static bool logtail_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

static size_t logtail_trimmed(const char *text, size_t n)
{
	while (n > 0 && logtail_space(text[n - 1]))
		n--;
	return n;
}

/* The status in the @n bytes behind a mark, and how many they are; -1 if they are none. */
static int logtail_status(const char *text, size_t n, size_t *digits)
{
	int status = 0;

	for (*digits = 0; *digits < n && text[*digits] >= '0' && text[*digits] <= '9';
	     ++*digits) {
		if (*digits == 3)
			return -1;
		status = status * 10 + (text[*digits] - '0');
	}
	if (*digits == 0 || (*digits < n && (unsigned char)text[*digits] > ' '))
		return -1; /* more than a trailer: somebody speaks of one */
	return status <= 255 ? status : -1;
}

/* The last trailer of @text: its status, -1 none, where it begins, and where it is over. */
static int logtail_trailer(const char *text, size_t n, size_t *from, size_t *to)
{
	const size_t mark = sizeof(logtail_mark) - 1;
	size_t digits;

	for (size_t at = n > mark ? n - mark : 0; at > 0; at--) {
		int status;

		if (memcmp(text + at - 1, logtail_mark, mark) != 0)
			continue;
		status = logtail_status(text + at - 1 + mark, n - (at - 1 + mark), &digits);
		if (status < 0)
			continue;
		*from = at - 1;
		*to = at - 1 + mark + digits;
		return status;
	}
	return -1;
}

/* The last LOGTAIL_OUTPUT characters, with U+FFFD for what is no UTF-8 and blanks for controls.
 */
static void logtail_output(const char *text, size_t n, struct logtail *tail)
{
	size_t start, chars = 0, len = 0;
	CLEANUP(freep) char *valid = text_repair(text, n, &len);

	if (!valid) /* no memory: the end is told without it */
		return;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)valid[i] < ' ' && valid[i] != '\n')
			valid[i] = ' ';
	for (start = len; start > 0 && chars < LOGTAIL_OUTPUT; chars += start < len)
		while (--start > 0 && ((unsigned char)valid[start] & 0xC0) == 0x80)
			;
	while (start < len && logtail_space(valid[start]))
		start++;
	memcpy(tail->output, valid + start, len - start);
	tail->output[len - start] = '\0';
}

/* The same of @n bytes that are there already */
static void logtail_parse(const char *text, size_t n, struct logtail *tail)
{
	size_t from = 0, to = 0;
	int status;

	*tail = (struct logtail){ .exit_status = -1, .exit_before = -1 };
	n = logtail_trimmed(text, n);
	status = logtail_trailer(text, n, &from, &to);
	if (status >= 0 && to == n) {
		tail->exit_status = status;
		n = logtail_trimmed(text, from);
	} else {
		tail->exit_before = status;
	}
	logtail_output(text, n, tail);
}

static int logtail_open(const char *logs, const char *task)
{
	CLEANUP(freep) char *path = NULL;

	if (!logs || !*task || *task == '.' || strchr(task, '/'))
		return -1;
	path = fs_path("%s/%s.log", logs, task);
	return path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
		    : -1;
}

int logtail_held(const struct tick *t, const char *task)
{
	CLEANUP(fs_closep) int fd = logtail_open(t->rq->logs, task);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? 1 : -errno;
}

static void logtail_of(const char *logs, const char *task, int64_t since, struct logtail *tail)
{
	CLEANUP(fs_closep) int fd = logtail_open(logs, task);
	char text[LOGTAIL_BYTES];
	struct stat st;
	ssize_t n;

	*tail = (struct logtail){ .exit_status = -1, .exit_before = -1 };
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || since <= 0 ||
	    st.st_mtime < since)
		return;
	n = pread(fd, text, sizeof(text),
		  st.st_size > LOGTAIL_BYTES ? st.st_size - LOGTAIL_BYTES : 0);
	if (n > 0)
		logtail_parse(text, (size_t)n, tail);
}

void logtail_read(const struct tick *t, const struct running *row, struct logtail *tail)
{
	logtail_of(t->rq->logs, row->task, row->run_started_at, tail);
}

void logtail_last(const char *logs, const char *task, int64_t since, char *out, size_t size)
{
	struct logtail tail;
	const char *line;

	logtail_of(logs, task, since, &tail);
	line = strrchr(tail.output, '\n');
	(void)snprintf(out, size, "%s", line ? line + 1 : tail.output);
}
