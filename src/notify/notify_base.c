/* What all files of the notifier stand on: its clocks, its log, and asking for a turn. */
#include <stdio.h>

#include "notify.h"
#include "util/clock.h"

uint64_t notify_mono(const struct notify *n)
{
	return n->clock.mono_ms ? n->clock.mono_ms(n->clock.arg) : clock_mono_ms();
}

int64_t notify_wall(const struct notify *n)
{
	return n->clock.wall_s ? n->clock.wall_s(n->clock.arg) : clock_wall_s();
}

uint64_t notify_mono_of(const struct notify *n, int64_t wall_s)
{
	int64_t in = wall_s - notify_wall(n);

	/* a little later: the two clocks do not change seconds together */
	return notify_mono(n) + (in > 0 ? (uint64_t)in * 1000 : 0) + 100;
}

void notify_log_id(const struct notify *n, const char *id, int priority, const char *board,
		   const char *task, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	error_tidy(text, sizeof(text));
	n->calls.log(n->calls.arg, priority, id, board, task, text);
}

void notify_poke(struct notify *n)
{
	if (n->turning)
		n->turn_again = true;
	else if (!n->closed)
		IGNORE(uv_timer_start(&n->timer, n->on_timer, 0, 0)); /* never fails */
}
