/*
 * Writes log lines: to the journal with fields when stderr is the journal, else as text on
 * stderr.
 */
#include "util/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

/* The one process-wide sink, set once by log_open() before threads start. */
static struct {
	int level;
	bool journal;
	struct log_hook *hooks;
} log_sink = { LOG_INFO, false, NULL };

/* Is stderr the stream that systemd connected to the journal (systemd.exec(5))? */
static bool log_stderr_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!env || sscanf(env, "%llu:%llu", &dev, &ino) != 2 || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == dev && st.st_ino == ino;
}

void log_open(int level)
{
	log_sink.level = level;
	log_sink.journal = log_stderr_is_journal();
}

void log_set_level(int level)
{
	log_sink.level = level;
}

void log_join(struct log_hook *hook)
{
	hook->next = log_sink.hooks;
	log_sink.hooks = hook;
}

void log_leave(struct log_hook *hook)
{
	for (struct log_hook **p = &log_sink.hooks; *p; p = &(*p)->next)
		if (*p == hook) {
			*p = hook->next;
			return;
		}
}

int log_level_from_text(const char *text)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{ "error", LOG_ERR },     { "err", LOG_ERR },   { "warning", LOG_WARNING },
		{ "notice", LOG_NOTICE }, { "info", LOG_INFO }, { "debug", LOG_DEBUG },
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(text, levels[i].name) == 0)
			return levels[i].level;
	return -1;
}

struct log_fields {
	struct iovec iov[12];
	int n;
	char *text[12]; /* what to free */
};

static void log_field(struct log_fields *f, const char *fmt, ...) PRINTF(2, 3);

static void log_field(struct log_fields *f, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0) /* out of memory: the line goes out with a field less */
		return;
	f->text[f->n] = s;
	f->iov[f->n].iov_base = s;
	f->iov[f->n].iov_len = (size_t)n;
	f->n++;
}

/* "[board task] ", for those who see the text alone, as in systemctl status. */
static void log_where(const struct log_about *a, char *where, size_t size)
{
	where[0] = '\0';
	if (a && a->board)
		(void)snprintf(where, size, "[%s%s%s] ", a->board, a->task ? " " : "",
			       a->task ? a->task : "");
	error_tidy(where, size); /* a task's id is its writer's choice */
}

static void log_to_journal(int priority, const struct log_about *a, const char *text)
{
	struct log_fields f = { .n = 0 };
	char where[256];

	log_field(&f, "PRIORITY=%d", priority);
	log_field(&f, "SYSLOG_IDENTIFIER=kanband");
	/* a line about a board as a whole names it in its text */
	log_where(a && a->task ? a : NULL, where, sizeof(where));
	log_field(&f, "MESSAGE=%s%s", where, text);
	if (a && a->id)
		log_field(&f, "MESSAGE_ID=%s", a->id);
	if (a && a->root)
		log_field(&f, "KANBAN_ROOT=%s", a->root);
	if (a && a->board)
		log_field(&f, "KANBAN_BOARD=%s", a->board);
	if (a && a->task)
		log_field(&f, "KANBAN_TASK=%s", a->task);
	if (a && a->run)
		log_field(&f, "KANBAN_RUN=%" PRId64, a->run);
	if (a && a->epoch)
		log_field(&f, "KANBAN_EPOCH=%" PRId64, a->epoch);
	if (a && a->errnum)
		log_field(&f, "ERRNO=%d", a->errnum);
	(void)sd_journal_sendv(f.iov, f.n); /* nowhere to report a failing log to */
	for (int i = 0; i < f.n; i++)
		free(f.text[i]);
}

static void log_to_stderr(int priority, const struct log_about *a, const char *text)
{
	static const char *const names[] = { "emerg",   "alert",  "critical", "error",
					     "warning", "notice", "info",     "debug" };
	char line[ERROR_TEXT_MAX + 512];
	char where[256];
	int n;

	log_where(a, where, sizeof(where));
	/* one write per line, so that lines of several processes never mix; dprintf(3) makes
	 * several of a long one */
	n = snprintf(line, sizeof(line), "kanband: %s: %s%s\n", names[priority & 7], where,
		     text);
	if (n > 0)
		(void)!write(STDERR_FILENO, line, (size_t)n); /* nowhere to report it to */
}

void log_about(int priority, const struct log_about *about, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	bool hook = log_sink.hooks && about && about->id;
	va_list ap;

	if (priority > log_sink.level && !hook)
		return;
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	error_tidy(text, sizeof(text)); /* one line, whatever is in it */
	for (struct log_hook *h = hook ? log_sink.hooks : NULL; h; h = h->next)
		h->fn(h->arg, priority, about, text);
	if (priority > log_sink.level)
		return;
	if (log_sink.journal)
		log_to_journal(priority, about, text);
	else
		log_to_stderr(priority, about, text);
}
