/* A text that is read instead of the list: a task, a board, an event, a log, the help. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/top.h"
#include "util/fs.h"
#include "util/printable.h"

#define TOP_LOG_MAX 65536 /* bytes of the end of a log */

void top_page_close(struct top *t)
{
	free(t->page.title);
	free(t->page.text);
	free(t->page.log);
	t->page = (struct top_page){ 0 };
}

void top_page_open(struct top *t, const char *title, char *text)
{
	top_page_close(t);
	t->page.title = printable_text(title, strlen(title), 200, 0);
	t->page.text = text ? text : strdup("out of memory");
}

/* The end of it, printable; malloc'd */
static char *top_page_read(const char *path)
{
	CLEANUP(fs_closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	CLEANUP(freep) char *raw = malloc(TOP_LOG_MAX);
	struct stat st;
	ssize_t n;

	if (fd < 0 || !raw || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return fs_path("there is no log at %s: %s", path, strerror(errno));
	n = pread(fd, raw, TOP_LOG_MAX,
		  st.st_size > TOP_LOG_MAX ? st.st_size - TOP_LOG_MAX : 0);
	return printable_text(raw, n > 0 ? (size_t)n : 0, 0, PRINTABLE_LINES);
}

void top_page_refresh(struct top *t)
{
	char *text = t->page.log ? top_page_read(t->page.log) : NULL;

	if (!text)
		return;
	free(t->page.text);
	t->page.text = text;
}

void top_page_log(struct top *t, const char *task, char *path)
{
	CLEANUP(freep) char *title = fs_path("log of %s", task);

	top_page_open(t, title ? title : "log", path ? top_page_read(path) : NULL);
	t->page.log = path;
	t->page.end = true;
}

static size_t top_page_lines(const struct top_page *p)
{
	size_t n = 0;

	for (const char *s = p->text; s && *s; n++)
		s += strcspn(s, "\n") + (s[strcspn(s, "\n")] != '\0');
	return n;
}

void top_page_move(struct top *t, long by, unsigned rows)
{
	size_t lines = top_page_lines(&t->page);
	long last = lines > rows ? (long)(lines - rows) : 0;
	long first = t->page.end && by == 0 ? last : (long)t->page.first + by;

	first = first < 0 ? 0 : first > last ? last : first;
	t->page.first = (size_t)first;
	if (by != 0)
		t->page.end = t->page.log && first == last;
}
