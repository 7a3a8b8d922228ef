/*
 * What the files say about boards, and how boards are printed, wherever what is printed comes
 * from. A board in trouble is told by its health record first: whoever looks at a damaged file
 * again and again wears it down and learns nothing. Only when its bytes have changed since is
 * it opened.
 */
#include "ctl/boards.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "board/view.h"
#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/table.h"
#include "db/db.h"
#include "recovery/health.h"
#include "util/json.h"

/* ---- from the files ------------------------------------------------------------------------
 */

/* The state of a board by what opening it said. */
static const char *boards_word(int r, const struct board_place *place)
{
	switch (r) {
	case 0:
		return place->archived ? "archived" : "healthy";
	case DB_MISSING:
		return place->archived ? "archived" : "missing";
	case DB_SCHEMA_BAD:
		return "schema";
	case DB_CORRUPT:
		return "corrupt";
	case DB_TRANSIENT:
		return "busy";
	default:
		return "unreadable";
	}
}

static json_t *boards_record(const struct health *h)
{
	const struct health_good *g = &h->good;

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:I,"
			 " s:{s:I, s:I, s:I, s:I, s:I, s:o, s:o}}",
			 "state", health_state_name(h->state), "kind", json_or_null(h->kind),
			 "reason", json_or_null(h->reason), "evidence",
			 json_or_null(h->evidence), "first_seen",
			 h->first_seen ? json_integer(h->first_seen) : json_null(), "last_seen",
			 h->last_seen ? json_integer(h->last_seen) : json_null(), "attempts",
			 (json_int_t)h->attempts, "retry_at",
			 h->retry_at ? json_integer(h->retry_at) : json_null(), "last_epoch",
			 (json_int_t)h->last_epoch, "good", "event_seq",
			 (json_int_t)g->event_seq, "tasks", (json_int_t)g->tasks, "links",
			 (json_int_t)g->links, "runs", (json_int_t)g->runs, "events",
			 (json_int_t)g->events, "at", g->at ? json_integer(g->at) : json_null(),
			 "snapshot", json_or_null(g->snapshot));
}

/* What opening it says. Return: 0 or -ENOMEM. */
static int boards_look(const struct ctl *ctl, const struct board_place *place,
		       const char **state, const char **mode, json_t **tasks, struct error *e)
{
	CLEANUP(db_freep) struct db *db = NULL;
	int r = view_open(&db, place->db_path, ctl_busy_timeout_ms(ctl, false), e);

	if (r == 0) {
		*mode = db_is_wal(db) ? "wal" : "delete";
		r = view_counts(db, tasks, e);
	}
	*state = boards_word(r, place);
	return r == -ENOMEM ? r : 0;
}

json_t *boards_one(const struct ctl *ctl, const struct board_place *place)
{
	CLEANUP(json_freep) json_t *tasks = NULL;
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	struct error e = ERROR_NULL;
	const char *mode = NULL, *state = "duplicate";
	enum health_state standing;

	if (!h)
		return NULL;
	/* a record that cannot be read says nothing */
	if (health_read(place->db_path, h) < 0)
		*h = (struct health){ 0 };
	standing = *place->duplicate_of ? HEALTH_HEALTHY : health_standing(place->db_path, &e);
	if (standing != HEALTH_HEALTHY) {
		state = health_state_name(standing);
		if (!e.text[0])
			(void)error_set(&e, 0, "no reason is recorded");
	} else if (!*place->duplicate_of) {
		if (boards_look(ctl, place, &state, &mode, &tasks, &e) < 0)
			return NULL;
	}
	return json_pack("{s:s, s:s, s:s, s:o, s:b, s:o, s:s?, s:O, s:o}", "slug", place->slug,
			 "db", place->db_path, "state", state, "error",
			 boards_is_bad(state) ? json_or_null(e.text) : json_null(), "archived",
			 place->archived, "duplicate_of", json_or_null(place->duplicate_of),
			 "journal_mode", mode, "tasks", tasks ? tasks : json_null(), "record",
			 boards_record(h));
}

int boards_list(const struct ctl *ctl, const char *root, json_t **out)
{
	const char *pin = ctl->root_arg ? NULL : ctl_env(ctl, "HERMES_KANBAN_DB");
	CLEANUP(discovery_deinit) struct discovery d = { 0 };
	CLEANUP(json_freep) json_t *list = json_array();
	struct error e = ERROR_NULL;
	int r;

	r = discover_boards(&d, root, pin, &e);
	if (r < 0)
		return ctl_fail(ctl, r, &e);
	for (size_t i = 0; i < d.n_notes; i++)
		(void)ctl_say(ctl, 0, "note: %s", d.notes[i]);
	for (size_t i = 0; i < d.count; i++)
		if (json_array_append_new(list, boards_one(ctl, &d.boards[i])) < 0)
			return ctl_say(ctl, CTL_IO, "out of memory");
	*out = STEAL(list);
	return 0;
}

bool boards_is_bad(const char *state)
{
	static const char *const good[] = { "healthy",   "archived", "missing",
					    "duplicate", "new",      "paused" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (strcmp(state, good[i]) == 0)
			return false;
	return true;
}

bool boards_any_bad(const json_t *boards)
{
	for (size_t i = 0; i < json_array_size(boards); i++)
		if (boards_is_bad(json_text(json_array_get(boards, i), "state")))
			return true;
	return false;
}

/* ---- for people ----------------------------------------------------------------------------
 */

static enum table_colour boards_colour(const char *state)
{
	return boards_is_bad(state)            ? TABLE_RED
	       : strcmp(state, "healthy") == 0 ? TABLE_GREEN
	       : strcmp(state, "paused") == 0  ? TABLE_YELLOW
					       : TABLE_DIM;
}

/* What is to be said behind the numbers; "" for nothing. */
static void boards_remark(const json_t *board, char *out, size_t size)
{
	const char *error = json_text(board, "error"), *same = json_text(board, "duplicate_of");
	const char *memory = json_text(board, "memory");
	const json_t *paused = json_object_get(board, "paused");

	out[0] = '\0';
	if (*error)
		(void)snprintf(out, size, "%s", error);
	else if (*same)
		(void)snprintf(out, size, "same file as %s", same);
	else if (json_is_object(paused))
		(void)snprintf(out, size, "paused by %s", json_text(paused, "by"));
	else if (*memory)
		(void)snprintf(out, size, "waits for memory: %s", memory);
}

static int boards_row(struct table *t, const json_t *board)
{
	static const char *const lanes[] = { "triage", "todo",    "ready", "running",
					     "review", "blocked", "done" };
	const json_t *tasks = json_object_get(board, "tasks");
	const char *state = json_text(board, "state");
	char remark[ERROR_TEXT_MAX];
	int r;

	boards_remark(board, remark, sizeof(remark));
	r = cells_add(t, json_object_get(board, "slug"), TABLE_PLAIN);
	if (r == 0)
		r = table_cell(t, state, strlen(state), boards_colour(state));
	for (size_t i = 0; r == 0 && i < sizeof(lanes) / sizeof(lanes[0]); i++)
		r = cells_add(t, json_object_get(tasks, lanes[i]), TABLE_PLAIN);
	return r == 0 ? table_cell(t, remark, strlen(remark), TABLE_PLAIN) : r;
}

int boards_print(const struct ctl *ctl, const json_t *boards)
{
	static const struct table_column columns[] = {
		{ "BOARD", false, 8 },   { "STATE", false, 0 },  { "TRIAGE", true, 0 },
		{ "TODO", true, 0 },     { "READY", true, 0 },   { "RUNNING", true, 0 },
		{ "REVIEW", true, 0 },   { "BLOCKED", true, 0 }, { "DONE", true, 0 },
		{ "REMARK", false, 10 }, { NULL, false, 0 },
	};
	CLEANUP(table_freep) struct table *t = table_new(columns);
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_array_size(boards); i++)
		r = boards_row(t, json_array_get(boards, i));
	if (r != 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	table_print(t, &ctl->screen, 0, ctl->out);
	return 0;
}

/* "  name         value" where there is one. Writes go to ctl->out. */
static void boards_line(const struct ctl *ctl, const json_t *object, const char *key,
			const char *name)
{
	const json_t *value = json_object_get(object, key);
	char time[32];
	size_t n = strlen(key);

	if (!value || json_is_null(value) || json_is_object(value) || json_is_array(value))
		return;
	(void)fprintf(ctl->out, "  %-13s ", name);
	if (json_is_boolean(value)) {
		(void)fputs(json_is_true(value) ? "yes" : "no", ctl->out);
	} else if (json_is_integer(value) &&
		   ((n > 3 && strcmp(key + n - 3, "_at") == 0) || strcmp(key, "at") == 0 ||
		    (n > 5 && strcmp(key + n - 5, "_seen") == 0))) {
		screen_time(json_integer_value(value), time);
		(void)fputs(time, ctl->out);
	} else if (json_is_integer(value)) {
		(void)fprintf(ctl->out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else {
		screen_put(ctl->out, json_string_value(value), json_string_length(value), 0);
	}
	(void)fputc('\n', ctl->out);
}

static void boards_numbers(const struct ctl *ctl, const char *name, json_t *object)
{
	const char *key, *gap = "";
	json_t *n;

	if (!json_is_object(object))
		return;
	(void)fprintf(ctl->out, "  %-13s ", name);
	json_object_foreach(object, key, n)
	{
		if (!json_is_integer(n) || json_integer_value(n) == 0)
			continue;
		(void)fputs(gap, ctl->out);
		screen_put(ctl->out, key, strlen(key), 0);
		(void)fprintf(ctl->out, " %" JSON_INTEGER_FORMAT, json_integer_value(n));
		gap = ", ";
	}
	(void)fputs(*gap ? "\n" : "none\n", ctl->out);
}

void boards_print_one(const struct ctl *ctl, const json_t *board)
{
	static const char *const lines[][2] = {
		{ "error", "trouble" },        { "db", "database" },
		{ "journal_mode", "journal" }, { "duplicate_of", "same file as" },
		{ "running", "running" },      { "ready", "left ready" },
		{ "workers", "workers" },      { "launching", "launching" },
		{ "memory", "memory" },        { "visited_at", "visited" },
		{ "next_at", "next visit" },   { "failures", "failures" },
		{ "checked_at", "checked" },   { "snapshot_at", "snapshot" },
	};
	static const char *const record[][2] = {
		{ "state", "record" },        { "reason", "reason" },
		{ "evidence", "evidence" },   { "first_seen", "first seen" },
		{ "last_seen", "last seen" }, { "attempts", "tries" },
		{ "retry_at", "next try" },
	};
	const char *state = json_text(board, "state"), *slug = json_text(board, "slug");
	const json_t *waits = json_object_get(board, "waits"), *rec, *good;
	enum table_colour colour = boards_colour(state);

	(void)fputs(table_colour_on(&ctl->screen, TABLE_BOLD), ctl->out);
	screen_put(ctl->out, slug, strlen(slug), 0);
	(void)fprintf(ctl->out, "%s  %s", table_colour_off(&ctl->screen, TABLE_BOLD),
		      table_colour_on(&ctl->screen, colour));
	screen_put(ctl->out, state, strlen(state), 0);
	(void)fprintf(ctl->out, "%s\n", table_colour_off(&ctl->screen, colour));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		boards_line(ctl, board, lines[i][0], lines[i][1]);
	boards_line(ctl, json_object_get(board, "paused"), "by", "paused by");
	for (size_t i = 0; i < json_array_size(waits); i++) {
		const char *word = json_string_value(json_array_get(waits, i));

		(void)fputs(i == 0 ? "  waits for     " : ", ", ctl->out);
		screen_put(ctl->out, word ? word : "?", strlen(word ? word : "?"), 0);
		if (i + 1 == json_array_size(waits))
			(void)fputc('\n', ctl->out);
	}
	boards_numbers(ctl, "tasks", json_object_get(board, "tasks"));
	boards_numbers(ctl, "not started", json_object_get(board, "left"));
	rec = json_object_get(board, "record");
	if (!json_is_object(rec))
		return;
	if (strcmp(json_text(rec, "state"), "healthy") != 0)
		for (size_t i = 0; i < sizeof(record) / sizeof(record[0]); i++)
			boards_line(ctl, rec, record[i][0], record[i][1]);
	good = json_object_get(rec, "good");
	boards_line(ctl, good, "at", "known good");
	boards_line(ctl, good, "snapshot", "newest copy");
}
