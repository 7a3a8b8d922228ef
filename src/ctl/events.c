/* Events of the daemon as lines. */
#include "ctl/events.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "ctl/table.h"
#include "util/json.h"
#include "util/printable.h"

/* "12:30:05.123" of local time; with its date where that is another day than today */
static void events_time(double at, char out[40])
{
	time_t s = (time_t)at, now = time(NULL);
	unsigned ms = at > (double)s ? (unsigned)((at - (double)s) * 1000) : 0;
	struct tm tm, today;
	char text[24];
	bool same;

	if (at < 0 || at > 253402300799.0 || !localtime_r(&s, &tm) ||
	    !localtime_r(&now, &today)) {
		(void)snprintf(out, 40, "-");
		return;
	}
	same = tm.tm_yday == today.tm_yday && tm.tm_year == today.tm_year;
	if (strftime(text, sizeof(text), same ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm) == 0)
		(void)snprintf(out, 40, "-");
	else
		(void)snprintf(out, 40, "%s.%03u", text, ms < 1000 ? ms : 999);
}

static enum table_colour events_colour(const char *level)
{
	return strcmp(level, "error") == 0 || strcmp(level, "critical") == 0 ? TABLE_RED
	       : strcmp(level, "warning") == 0                               ? TABLE_YELLOW
	       : strcmp(level, "debug") == 0                                 ? TABLE_DIM
									     : TABLE_PLAIN;
}

void events_put(const struct ctl *ctl, const json_t *event)
{
	const char *message = json_text(event, "message"), *board = json_text(event, "board");
	const char *task = json_text(event, "task"), *kind = json_text(event, "kind");
	enum table_colour colour = events_colour(json_text(event, "level"));
	char at[40];

	events_time(json_number_value(json_object_get(event, "at")), at);
	/* writes go to ctl->out; ctl_main() looks at its error flag */
	(void)fprintf(ctl->out, "%s%s%s ", table_colour_on(&ctl->screen, TABLE_DIM), at,
		      table_colour_off(&ctl->screen, TABLE_DIM));
	(void)fputs(table_colour_on(&ctl->screen, colour), ctl->out);
	printable_put(ctl->out, kind, strlen(kind), 0);
	(void)fputs(table_colour_off(&ctl->screen, colour), ctl->out);
	if (*board || *task) {
		(void)fputs(" [", ctl->out);
		printable_put(ctl->out, board, strlen(board), 0);
		if (*task) {
			(void)fputs(*board ? " " : "", ctl->out);
			printable_put(ctl->out, task, strlen(task), 0);
		}
		(void)fputc(']', ctl->out);
	}
	(void)fputs(": ", ctl->out);
	printable_put(ctl->out, message, strlen(message), 0);
	(void)fputc('\n', ctl->out);
}

bool events_about(const json_t *event, const char *root, const char *board)
{
	const char *theirs = json_text(event, "root"), *slug = json_text(event, "board");

	return (!*theirs || strcmp(theirs, root) == 0) && (!board || strcmp(slug, board) == 0);
}
