/*
 * A worker may say with its last line how it ends: "[kanban-worker-exit] rc=N". Where nobody
 * saw it end, that tells; a trailer that something follows is of an earlier run, which wrote to
 * the same log.
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

/* Where the last line of @text begins. */
static size_t logtail_last_line(const char *text, size_t n)
{
	while (n > 0 && text[n - 1] != '\n')
		n--;
	return n;
}

/* The status in a trailer that is all of @line; -1 if it is none. */
static int logtail_status(const char *line, size_t n)
{
	size_t mark = sizeof(logtail_mark) - 1, digits = 0;
	int status = 0;

	while (n > 0 && logtail_space(*line)) {
		line++;
		n--;
	}
	if (n <= mark || memcmp(line, logtail_mark, mark) != 0)
		return -1;
	for (size_t i = mark; i < n; i++, digits++) {
		if (line[i] < '0' || line[i] > '9' || digits == 3)
			return -1;
		status = status * 10 + (line[i] - '0');
	}
	return status <= 255 ? status : -1;
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
	size_t line;

	*tail = (struct logtail){ .exit_status = -1 };
	n = logtail_trimmed(text, n);
	line = logtail_last_line(text, n);
	tail->exit_status = logtail_status(text + line, n - line);
	if (tail->exit_status >= 0)
		n = logtail_trimmed(text, line);
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

	*tail = (struct logtail){ .exit_status = -1 };
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
