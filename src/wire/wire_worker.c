/* Workers as JSON. */
#include "wire/wire_worker.h"

#include "root/dispatch.h"
#include "root/root.h"
#include "util/json.h"

json_t *wire_worker(const struct worker *w)
{
	const struct dispatch *d = w->dispatch;

	return json_pack("{s:o, s:s, s:o, s:o, s:o, s:I, s:i, s:I, s:o, s:b, s:b, s:b}", "root",
			 json_utf8(d->root->path), "board", d->board.place.slug, "task",
			 json_utf8(w->task), "title", json_or_null(w->title), "profile",
			 json_or_null(w->profile[0] ? w->profile : NULL), "run",
			 (json_int_t)w->run, "pid", (int)w->pid, "started_at",
			 (json_int_t)w->run_started_at, "heartbeat_at", json_time(w->heartbeat),
			 "child", w->child, "ending", w->ending, "left", w->left_ms != 0);
}
