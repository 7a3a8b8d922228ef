/* Workers as a table: what they are at, for how long, what they use. */
#include "ctl/workers_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/ctl_table.h"
#include "ctl/table.h"
#include "util/clock.h"
#include "util/json.h"

const char *workers_state(const json_t *w)
{
	return json_flag(w, "ending")  ? "ending"
	       : json_flag(w, "left")  ? "left its task"
	       : json_flag(w, "child") ? "running"
				       : "adopted";
}

static int workers_text(struct table *t, const char *text, enum table_colour colour)
{
	return table_cell(t, text, text ? strlen(text) : 0, colour);
}

/* So long ago; "-" for never. */
static int workers_age(struct table *t, int64_t at, int64_t now)
{
	char text[32];

	if (at <= 0)
		return workers_text(t, NULL, TABLE_DIM);
	clock_span(now > at ? now - at : 0, text);
	return workers_text(t, text, TABLE_PLAIN);
}

static int workers_memory(struct table *t, const json_t *w)
{
	int64_t bytes = json_number(w, "memory", -1);
	char text[32];

	if (bytes < 0)
		return workers_text(t, NULL, TABLE_DIM);
	screen_bytes(bytes, text);
	return workers_text(t, text, TABLE_PLAIN);
}

static int workers_cpu(struct table *t, const json_t *w)
{
	const json_t *cpu = json_object_get(w, "cpu_s");
	char text[32];

	if (!json_is_real(cpu))
		return workers_text(t, NULL, TABLE_DIM);
	(void)snprintf(text, sizeof(text), "%.1fs", json_real_value(cpu));
	return workers_text(t, text, TABLE_PLAIN);
}

/* Its job of a cluster, else its unit. */
static int workers_place(struct table *t, const json_t *w)
{
	const json_t *job = json_object_get(w, "job");
	char text[40];

	if (!json_is_string(job))
		return cells_add(t, json_object_get(w, "unit"), TABLE_PLAIN);
	(void)snprintf(text, sizeof(text), "job %.30s", json_string_value(job));
	return workers_text(t, text, TABLE_PLAIN);
}

static int workers_row(struct table *t, const json_t *w, int64_t now)
{
	const char *state = workers_state(w);
	int r = cells_add(t, json_object_get(w, "board"), TABLE_PLAIN);

	if (r == 0)
		r = cells_add(t, json_object_get(w, "task"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(w, "title"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(w, "profile"), TABLE_PLAIN);
	if (r == 0)
		r = workers_text(t, state,
				 strcmp(state, "running") == 0 ? TABLE_GREEN : TABLE_YELLOW);
	if (r == 0)
		r = workers_age(t, json_number(w, "started_at", 0), now);
	if (r == 0)
		r = workers_age(t, json_number(w, "heartbeat_at", 0), now);
	if (r == 0)
		r = workers_memory(t, w);
	if (r == 0)
		r = workers_cpu(t, w);
	if (r == 0)
		r = cells_add(t, json_object_get(w, "tasks"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(w, "pid"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(w, "run"), TABLE_PLAIN);
	if (r == 0)
		r = workers_place(t, w);
	return r;
}

int workers_print(const struct ctl *ctl, const json_t *workers)
{
	static const struct table_column columns[] = {
		{ "BOARD", false, 6 },       { "TASK", false, 10 }, { "TITLE", false, 10 },
		{ "PROFILE", false, 6 },     { "STATE", false, 0 }, { "AGE", true, 0 },
		{ "HEARTBEAT", true, 0 },    { "MEMORY", true, 0 }, { "CPU", true, 0 },
		{ "TASKS", true, 0 },        { "PID", true, 0 },    { "RUN", true, 0 },
		{ "UNIT OR JOB", false, 6 }, { NULL, false, 0 },
	};
	CLEANUP(table_freep) struct table *t = table_new(columns);
	int64_t now = clock_wall_s();
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_array_size(workers); i++)
		r = workers_row(t, json_array_get(workers, i), now);
	if (r < 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	return ctl_table(ctl, t, 0);
}
