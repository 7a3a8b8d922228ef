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

#include "board/state.h"
#include "board/view.h"
#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/ctl_table.h"
#include "ctl/rules.h"
#include "ctl/table.h"
#include "ctl/waiting_text.h"
#include "db/db.h"
#include "recovery/health.h"
#include "tick/waiting.h"
#include "tick/why.h"
#include "util/json.h"
#include "util/printable.h"
#include "util/text.h"
#include "wire/wire_board.h"

/* ---- from the files ------------------------------------------------------------------ */

/* The state of a board by what opening it said. */
static const char *boards_word(int r, const struct board_place *place)
{
	if (place->archived && (r == 0 || r == DB_MISSING))
		return "archived";
	return board_state_name(board_state_of(r));
}

/* Owned: tasks, waiting. */
struct boards_found {
	const char *state, *mode;
	json_t *tasks, *waiting;
};

static void boards_found_deinit(struct boards_found *found)
{
	json_decref(found->tasks);
	json_decref(found->waiting);
}

/* Because of what its tasks wait; what nothing of the board holds waits for a daemon. */
static int boards_wait(const struct ctl *ctl, const struct board_place *place, struct db *db,
		       struct rules *rules, json_t **waiting, struct error *e)
{
	CLEANUP(json_freep) json_t *daemon = json_array();
	int r = waiting_count(rules_of(rules, place, db, e), waiting);

	if (r != 0 || !daemon)
		return r;
	why_add(daemon, "daemon", true, ctl_no_daemon(ctl), "one does (kanbanctl doctor)", 0);
	*waiting = waiting_held(*waiting, daemon);
	return *waiting ? 0 : error_set(e, -ENOMEM, "out of memory");
}

/* What opening it says. Return: 0 or -ENOMEM. */
static int boards_look(const struct ctl *ctl, const struct board_place *place,
		       struct rules *rules, struct boards_found *found, struct error *e)
{
	CLEANUP(db_freep) struct db *db = NULL;
	int r = view_open(&db, place->db_path, ctl_busy_timeout_ms(ctl, false), e);

	if (r == 0) {
		found->mode = db_is_wal(db) ? "wal" : "delete";
		r = view_counts(db, &found->tasks, e);
	}
	if (r == 0 && rules)
		r = boards_wait(ctl, place, db, rules, &found->waiting, e);
	found->state = boards_word(r, place);
	return r == -ENOMEM ? r : 0;
}

json_t *boards_one(const struct ctl *ctl, const char *root, const struct board_place *place,
		   struct rules *rules)
{
	CLEANUP(boards_found_deinit) struct boards_found found = { .state = "duplicate" };
	CLEANUP(freep) struct health *h = calloc(1, sizeof(*h));
	struct error e = ERROR_NULL;
	enum health_state standing;

	if (!h)
		return NULL;
	/* a record that cannot be read says nothing */
	if (health_read(place->db_path, h) < 0)
		*h = (struct health){ 0 };
	standing = *place->duplicate_of ? HEALTH_HEALTHY : health_standing(place->db_path, &e);
	if (standing != HEALTH_HEALTHY) {
		found.state = health_state_name(standing);
		if (!e.text[0])
			(void)error_set(&e, 0, "no reason is recorded");
	} else if (!*place->duplicate_of) {
		if (boards_look(ctl, place, rules, &found, &e) < 0)
			return NULL;
	}
	return json_join(wire_board(&(const struct wire_board){
				 .root = root,
				 .place = place,
				 .state = found.state,
				 .error = board_state_word_bad(found.state) ? e.text : NULL,
				 .journal_mode = found.mode,
				 .tasks = found.tasks,
				 .waiting = found.waiting,
			 }),
			 json_pack("{s:o}", "record", wire_record(h)));
}

int boards_list(const struct ctl *ctl, const char *root, json_t **out)
{
	const char *pin = ctl->root_arg ? NULL : ctl_env(ctl, "HERMES_KANBAN_DB");
	CLEANUP(discovery_deinit) struct discovery d = { 0 };
	CLEANUP(rules_close) struct rules rules = { .config = NULL };
	CLEANUP(json_freep) json_t *list = json_array();
	struct error e = ERROR_NULL;
	int r;

	r = discover_boards(&d, root, pin, &e);
	if (r < 0)
		return ctl_fail(ctl, r, &e);
	/* a configuration that is refused is doctor's to tell: then nobody is asked */
	r = rules_load(&rules, ctl, NULL, root, &e);
	for (size_t i = 0; i < d.n_notes; i++)
		(void)ctl_say(ctl, 0, "note: %s", d.notes[i]);
	for (size_t i = 0; i < d.count; i++)
		if (json_array_append_new(list, boards_one(ctl, root, &d.boards[i],
							   r < 0 ? NULL : &rules)) < 0)
			return ctl_say(ctl, CTL_IO, "out of memory");
	*out = STEAL(list);
	return 0;
}

bool boards_any_bad(const json_t *boards)
{
	for (size_t i = 0; i < json_array_size(boards); i++)
		if (board_state_word_bad(json_text(json_array_get(boards, i), "state")))
			return true;
	return false;
}

/* ---- for people ---------------------------------------------------------------------- */

static enum table_colour boards_colour(const char *state)
{
	return board_state_word_bad(state)     ? TABLE_RED
	       : strcmp(state, "healthy") == 0 ? TABLE_GREEN
	       : strcmp(state, "paused") == 0  ? TABLE_YELLOW
					       : TABLE_DIM;
}

void boards_remark(const json_t *board, char *out, size_t size)
{
	const char *error = json_text(board, "error"), *same = json_text(board, "duplicate_of");
	const char *memory = json_text(board, "memory");
	const json_t *paused = json_object_get(board, "paused");
	const json_t *waiting = json_object_get(board, "waiting");

	out[0] = '\0';
	if (*error) /* its first part: kanbanctl check says all of it */
		(void)snprintf(out, size, "%.*s", (int)text_clause(error), error);
	else if (*same)
		(void)snprintf(out, size, "same file as %s", same);
	else if (json_is_object(paused))
		(void)snprintf(out, size, "paused by the %s", json_text(paused, "by"));
	else if (json_array_size(waiting) > 0 &&
		 strcmp(json_text(json_array_get(waiting, 0), "rule"), "status") != 0)
		waiting_text(json_array_get(waiting, 0), out, size);
	else if (strcmp(json_text(board, "state"), "missing") == 0)
		(void)snprintf(out, size, "no database yet; kanbanctl --board %s init makes it",
			       json_text(board, "slug"));
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
	return ctl_table(ctl, t, 0);
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
		printable_put(ctl->out, json_string_value(value), json_string_length(value), 0);
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
		if (!json_is_integer(n) || json_integer_value(n) == 0 ||
		    strcmp(key, "total") == 0)
			continue;
		(void)fputs(gap, ctl->out);
		(void)fprintf(ctl->out, "%" JSON_INTEGER_FORMAT " ", json_integer_value(n));
		printable_put(ctl->out, key, strlen(key), 0);
		gap = ", ";
	}
	(void)fputs(*gap ? "\n" : "none\n", ctl->out);
}

/* "3 have no assignee, until … (time)" */
static void boards_put_group(const struct ctl *ctl, const json_t *group)
{
	const json_t *tasks = json_object_get(group, "tasks");
	bool one = json_number(group, "count", 0) == 1;
	char text[ERROR_TEXT_MAX];

	waiting_text(group, text, sizeof(text));
	printable_put(ctl->out, text, strlen(text), 0);
	waiting_put_until(ctl, group, one ? json_string_value(json_array_get(tasks, 0)) : NULL);
	(void)fputc('\n', ctl->out);
}

void boards_put_waiting(const struct ctl *ctl, const json_t *board, const char *slug, bool all)
{
	const json_t *list = json_object_get(board, "waiting");
	bool first = true;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *group = json_array_get(list, i);

		if (!all && strcmp(json_text(group, "rule"), "status") == 0)
			continue;
		if (slug) {
			(void)fputs("waiting  ", ctl->out);
			printable_put(ctl->out, slug, strlen(slug), 0);
			(void)fputs(": ", ctl->out);
		} else {
			(void)fprintf(ctl->out, "  %-13s ", first ? "waiting" : "");
		}
		first = false;
		boards_put_group(ctl, group);
	}
}

void boards_print_one(const struct ctl *ctl, const json_t *board)
{
	static const struct {
		const char *key, *name;
		bool quiet; /* 0 is no news */
	} lines[] = {
		{ "error", "trouble", false },        { "db", "database", false },
		{ "journal_mode", "journal", false }, { "duplicate_of", "same file as", false },
		{ "workers", "workers", false },      { "launching", "launching", true },
		{ "memory", "memory", false },        { "visited_at", "visited", false },
		{ "next_at", "next visit", false },   { "failures", "failures", true },
		{ "checked_at", "checked", false },   { "snapshot_at", "snapshot", false },
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
	bool said;

	(void)fputs(table_colour_on(&ctl->screen, TABLE_BOLD), ctl->out);
	printable_put(ctl->out, slug, strlen(slug), 0);
	(void)fprintf(ctl->out, "%s  %s", table_colour_off(&ctl->screen, TABLE_BOLD),
		      table_colour_on(&ctl->screen, colour));
	printable_put(ctl->out, state, strlen(state), 0);
	(void)fprintf(ctl->out, "%s\n", table_colour_off(&ctl->screen, colour));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (!lines[i].quiet || json_number(board, lines[i].key, 0) != 0)
			boards_line(ctl, board, lines[i].key, lines[i].name);
	boards_line(ctl, json_object_get(board, "paused"), "by", "paused by");
	/* in words below, where it is known */
	for (size_t i = 0; json_array_size(json_object_get(board, "waiting")) == 0 &&
			   i < json_array_size(waits);
	     i++) {
		const char *word = json_string_value(json_array_get(waits, i));

		(void)fputs(i == 0 ? "  waits for     " : ", ", ctl->out);
		printable_put(ctl->out, word ? word : "?", strlen(word ? word : "?"), 0);
		if (i + 1 == json_array_size(waits))
			(void)fputc('\n', ctl->out);
	}
	boards_numbers(ctl, "tasks", json_object_get(board, "tasks"));
	boards_put_waiting(ctl, board, NULL, true);
	rec = json_object_get(board, "record");
	if (!json_is_object(rec))
		return;
	said = strcmp(json_text(rec, "reason"), json_text(board, "error")) == 0;
	if (strcmp(json_text(rec, "state"), "healthy") != 0)
		for (size_t i = 0; i < sizeof(record) / sizeof(record[0]); i++)
			if (!said || strcmp(record[i][0], "reason") != 0)
				boards_line(ctl, rec, record[i][0], record[i][1]);
	good = json_object_get(rec, "good");
	boards_line(ctl, good, "at", "known good");
	boards_line(ctl, good, "snapshot", "newest copy");
}
