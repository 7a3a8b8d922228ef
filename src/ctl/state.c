/*
 * status, boards, leader: what the files say, with or without a daemon. Who dispatches is asked
 * of the kernel (the lock and /proc/locks); the owner file only adds a name to the number.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "board/db.h"
#include "board/view.h"
#include "ctl/cells.h"
#include "ctl/ctl.h"
#include "ctl/table.h"
#include "root/lease.h"
#include "util/fs.h"

/* Who has the lease. */
struct state_leader {
	bool held;
	pid_t pid;     /* 0 unknown */
	bool kanband;  /* the holder is the one that wrote the owner file */
	bool has_file; /* there is an owner file */
	struct lease_owner owner;
};

static const struct table_column columns_boards[] = {
	{ "BOARD", false, 8 },   { "STATE", false, 0 },  { "TRIAGE", true, 0 },
	{ "TODO", true, 0 },     { "READY", true, 0 },   { "RUNNING", true, 0 },
	{ "REVIEW", true, 0 },   { "BLOCKED", true, 0 }, { "DONE", true, 0 },
	{ "REMARK", false, 10 }, { NULL, false, 0 },
};

static void state_jsonp(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

/* ---- the leader ---------------------------------------------------------------------------
 */

/* Did this host boot since the owner file was written: then its pid says nothing */
static bool state_same_boot(const char *boot_id)
{
	CLEANUP(freep) char *now = NULL;

	if (!*boot_id || fs_read_file("/proc/sys/kernel/random/boot_id", 256, &now, NULL) < 0)
		return true;
	now[strcspn(now, "\n")] = '\0';
	return strcmp(now, boot_id) == 0;
}

static int state_lead(const struct ctl *ctl, const char *root, struct state_leader *l)
{
	int r;

	*l = (struct state_leader){ 0 };
	if (!fs_is_dir(root))
		return ctl_say(ctl, CTL_NO_INPUT,
			       "there is no kanban root at %s; \"kanbanctl init\" makes one",
			       root);
	r = lease_is_held(root, &l->pid);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return ctl_say(ctl, r == -EACCES ? CTL_NOT_ALLOWED : CTL_IO,
			       "cannot look at the lease of %s: %s", root, strerror(-r));
	l->held = r == 1;
	l->has_file = lease_read_owner(root, &l->owner) == 0;
	l->kanband = l->held && l->has_file && (l->pid == 0 || l->pid == l->owner.pid) &&
		     state_same_boot(l->owner.boot_id);
	return 0;
}

static json_t *state_lead_json(const struct state_leader *l)
{
	const struct lease_owner *o = &l->owner;
	json_t *owner = json_null();

	if (l->has_file)
		owner = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:I}", "epoch",
				  (json_int_t)o->epoch, "pid", (json_int_t)o->pid, "host",
				  o->host, "boot_id", o->boot_id, "unit", o->unit, "version",
				  o->version, "socket", o->socket, "since",
				  (json_int_t)o->since);
	return json_pack("{s:b, s:o, s:b, s:o}", "held", l->held, "pid",
			 l->pid > 0 ? json_integer(l->pid) : json_null(), "kanband", l->kanband,
			 "owner", owner);
}

/* One sentence. Writes go to ctl->out; ctl_main() looks at its error flag. */
static void state_lead_text(const struct ctl *ctl, const struct state_leader *l)
{
	FILE *out = ctl->out;
	char since[32];

	if (!l->held) {
		(void)fputs("nobody: no dispatcher has the lease", out);
		return;
	}
	if (!l->kanband) {
		if (l->pid > 0)
			(void)fprintf(out, "pid %d", (int)l->pid);
		else
			(void)fputs("somebody", out);
		(void)fputs(", which is not a kanband (a Hermes gateway holds the same lock)",
			    out);
		return;
	}
	(void)fprintf(out, "pid %" PRId64 ", kanband ", l->owner.pid);
	screen_put(out, l->owner.version, strlen(l->owner.version), 0);
	(void)fputs(" on ", out);
	screen_put(out, l->owner.host, strlen(l->owner.host), 0);
	if (*l->owner.unit) {
		(void)fputs(" (", out);
		screen_put(out, l->owner.unit, strlen(l->owner.unit), 0);
		(void)fputc(')', out);
	}
	screen_time(l->owner.since, since);
	(void)fprintf(out, ", epoch %" PRId64 ", since %s", l->owner.epoch, since);
}

int ctl_verb_leader(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(freep) char *root = NULL;
	struct state_leader l;
	char **args;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = ctl_root(ctl, &root);
	if (r == 0)
		r = state_lead(ctl, root, &l);
	if (r != 0)
		return r;
	r = l.held ? CTL_OK : CTL_NOT_WELL;
	if (ctl->json) {
		CLEANUP(state_jsonp) json_t *lead = state_lead_json(&l);
		json_t *all = json_pack("{s:s}", "root", root);

		if (json_object_update(all, lead) < 0) {
			json_decref(all);
			all = NULL; /* told as out of memory */
		}
		return ctl_print_json(ctl, all, r);
	}
	state_lead_text(ctl, &l);
	(void)fputc('\n', ctl->out);
	return r;
}

/* ---- boards -------------------------------------------------------------------------------
 */

/* The state of a board by what opening it said. */
static const char *state_word(int r, const struct board_place *place)
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

static bool state_is_bad(const char *state)
{
	static const char *const good[] = { "healthy", "archived", "missing", "duplicate" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (strcmp(state, good[i]) == 0)
			return false;
	return true;
}

/* One board as JSON; NULL when out of memory. */
static json_t *state_board(const struct ctl *ctl, const struct board_place *place)
{
	CLEANUP(db_freep) struct db *db = NULL;
	CLEANUP(state_jsonp) json_t *tasks = NULL;
	struct error e = ERROR_NULL;
	const char *mode = NULL, *state = "duplicate";
	int r = 0;

	if (!*place->duplicate_of) {
		r = view_open(&db, place->db_path, ctl_busy_timeout_ms(ctl, false), &e);
		if (r == 0) {
			mode = db_is_wal(db) ? "wal" : "delete";
			r = view_counts(db, &tasks, &e);
		}
		if (r == -ENOMEM)
			return NULL;
		state = state_word(r, place);
	}
	return json_pack("{s:s, s:s, s:s, s:o, s:b, s:o, s:s?, s:O}", "slug", place->slug, "db",
			 place->db_path, "state", state, "error",
			 state_is_bad(state) ? json_string(e.text) : json_null(), "archived",
			 place->archived, "duplicate_of",
			 *place->duplicate_of ? json_string(place->duplicate_of) : json_null(),
			 "journal_mode", mode, "tasks", tasks ? tasks : json_null());
}

/* All boards of @root; *out an array. */
static int state_boards(const struct ctl *ctl, const char *root, json_t **out)
{
	const char *pin = ctl->root_arg ? NULL : ctl_env(ctl, "HERMES_KANBAN_DB");
	CLEANUP(discovery_deinit) struct discovery d = { 0 };
	CLEANUP(state_jsonp) json_t *list = json_array();
	struct error e = ERROR_NULL;
	int r;

	r = discover_boards(&d, root, pin, &e);
	if (r < 0)
		return ctl_fail(ctl, r, &e);
	for (size_t i = 0; i < d.n_notes; i++)
		(void)ctl_say(ctl, 0, "note: %s", d.notes[i]);
	for (size_t i = 0; i < d.count; i++)
		if (json_array_append_new(list, state_board(ctl, &d.boards[i])) < 0)
			return ctl_say(ctl, CTL_IO, "out of memory");
	*out = STEAL(list);
	return 0;
}

static bool state_any_bad(const json_t *boards)
{
	for (size_t i = 0; i < json_array_size(boards); i++)
		if (state_is_bad(json_string_value(
			    json_object_get(json_array_get(boards, i), "state"))))
			return true;
	return false;
}

static enum table_colour state_colour(const char *state)
{
	return state_is_bad(state)             ? TABLE_RED
	       : strcmp(state, "healthy") == 0 ? TABLE_GREEN
					       : TABLE_DIM;
}

static int state_board_row(struct table *t, const json_t *board)
{
	static const char *const lanes[] = { "triage", "todo",    "ready", "running",
					     "review", "blocked", "done" };
	const json_t *tasks = json_object_get(board, "tasks");
	const char *state = json_string_value(json_object_get(board, "state"));
	const json_t *remark = json_object_get(board, "error");
	char same[BOARD_SLUG_MAX + 16] = "";
	int r;

	r = cells_add(t, json_object_get(board, "slug"), TABLE_PLAIN);
	if (r == 0)
		r = table_cell(t, state, strlen(state), state_colour(state));
	for (size_t i = 0; r == 0 && i < sizeof(lanes) / sizeof(lanes[0]); i++)
		r = cells_add(t, json_object_get(tasks, lanes[i]), TABLE_PLAIN);
	if (strcmp(state, "duplicate") == 0)
		(void)snprintf(same, sizeof(same), "same file as %s",
			       json_string_value(json_object_get(board, "duplicate_of")));
	if (r == 0 && json_is_string(remark))
		return cells_add(t, remark, TABLE_PLAIN);
	return r == 0 ? table_cell(t, same, strlen(same), TABLE_PLAIN) : r;
}

static int state_print_boards(const struct ctl *ctl, const json_t *boards)
{
	CLEANUP(table_freep) struct table *t = table_new(columns_boards);
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_array_size(boards); i++)
		r = state_board_row(t, json_array_get(boards, i));
	if (r != 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	table_print(t, &ctl->screen, 0, ctl->out);
	return 0;
}

int ctl_verb_boards(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(state_jsonp) json_t *boards = NULL;
	CLEANUP(freep) char *root = NULL;
	char **args;
	int r, exit;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = ctl_root(ctl, &root);
	if (r == 0)
		r = state_boards(ctl, root, &boards);
	if (r != 0)
		return r;
	exit = state_any_bad(boards) ? CTL_NOT_WELL : CTL_OK;
	if (ctl->json)
		return ctl_print_json(
			ctl, json_pack("{s:s, s:O}", "root", root, "boards", boards), exit);
	r = state_print_boards(ctl, boards);
	return r != 0 ? r : exit;
}

/* ---- status -------------------------------------------------------------------------------
 */

/* Tasks per status over all boards; NULL when out of memory. */
static json_t *state_sum(const json_t *boards)
{
	CLEANUP(state_jsonp) json_t *sum = json_object();

	for (size_t i = 0; i < json_array_size(boards); i++) {
		const json_t *board = json_array_get(boards, i);
		json_t *tasks = json_object_get(board, "tasks"), *n;
		const char *status;

		if (json_is_true(json_object_get(board, "archived")))
			continue;
		json_object_foreach(tasks, status, n)
		{
			json_int_t have = json_integer_value(json_object_get(sum, status));

			if (json_object_set_new_nocheck(
				    sum, status, json_integer(have + json_integer_value(n))) <
			    0)
				return NULL;
		}
	}
	return STEAL(sum);
}

/* "a 1, b 2" for what is not 0; "none" */
static void state_print_sum(const struct ctl *ctl, json_t *sum)
{
	const char *status, *gap = "";
	json_t *n;

	json_object_foreach(sum, status, n)
	{
		if (json_integer_value(n) == 0 || strcmp(status, "total") == 0)
			continue;
		(void)fputs(gap, ctl->out); /* ctl_main() looks at the error flag */
		screen_put(ctl->out, status, strlen(status), 0);
		(void)fprintf(ctl->out, " %" JSON_INTEGER_FORMAT, json_integer_value(n));
		gap = ", ";
	}
	(void)fputs(*gap ? "\n" : "none\n", ctl->out);
}

static void state_print(const struct ctl *ctl, const char *root, const struct state_leader *l,
			const json_t *boards, json_t *sum)
{
	CLEANUP(state_jsonp) json_t *states = json_object();
	enum table_colour colour = l->held ? TABLE_GREEN : TABLE_RED;

	(void)fputs("root    ", ctl->out); /* ctl_main() looks at the error flag */
	screen_put(ctl->out, root, strlen(root), 0);
	(void)fprintf(ctl->out, "\nowner   %s", table_colour_on(&ctl->screen, colour));
	state_lead_text(ctl, l);
	(void)fprintf(ctl->out, "%s\nboards  ", table_colour_off(&ctl->screen, colour));
	for (size_t i = 0; i < json_array_size(boards); i++) {
		const char *state =
			json_string_value(json_object_get(json_array_get(boards, i), "state"));
		json_int_t have = json_integer_value(json_object_get(states, state));

		/* a number that does not fit into memory is only not shown */
		(void)json_object_set_new(states, state, json_integer(have + 1));
	}
	state_print_sum(ctl, states);
	(void)fputs("tasks   ", ctl->out);
	state_print_sum(ctl, sum);
	for (size_t i = 0; i < json_array_size(boards); i++) {
		const json_t *board = json_array_get(boards, i);
		const json_t *why = json_object_get(board, "error");

		if (!json_is_string(why))
			continue;
		(void)fprintf(ctl->out,
			      "%sboard %s: ", table_colour_on(&ctl->screen, TABLE_RED),
			      json_string_value(json_object_get(board, "slug")));
		screen_put(ctl->out, json_string_value(why), json_string_length(why), 0);
		(void)fprintf(ctl->out, "%s\n", table_colour_off(&ctl->screen, TABLE_RED));
	}
}

int ctl_verb_status(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(state_jsonp) json_t *boards = NULL;
	CLEANUP(state_jsonp) json_t *sum = NULL;
	CLEANUP(freep) char *root = NULL;
	struct state_leader l;
	char **args;
	bool well;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = ctl_root(ctl, &root);
	if (r == 0)
		r = state_lead(ctl, root, &l);
	if (r == 0)
		r = state_boards(ctl, root, &boards);
	if (r != 0)
		return r;
	sum = state_sum(boards);
	if (!sum)
		return ctl_say(ctl, CTL_IO, "out of memory");
	well = l.held && !state_any_bad(boards);
	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:s, s:b, s:o, s:O, s:O}", "root", root,
						"well", well, "leader", state_lead_json(&l),
						"tasks", sum, "boards", boards),
				      well ? CTL_OK : CTL_NOT_WELL);
	state_print(ctl, root, &l, boards, sum);
	return well ? CTL_OK : CTL_NOT_WELL;
}
