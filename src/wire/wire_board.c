/* Boards as JSON. */
#include "wire/wire_board.h"

#include "board/discover.h"
#include "recovery/health.h"
#include "util/json.h"

json_t *wire_board(const struct wire_board *b)
{
	const struct board_place *place = b->place;

	return json_pack("{s:o, s:s, s:o, s:s, s:o, s:b, s:o, s:s?, s:o, s:o}", "root",
			 json_utf8(b->root), "slug", place->slug, "db",
			 json_utf8(place->db_path), "state", b->state, "error",
			 json_or_null(b->error), "archived", place->archived, "duplicate_of",
			 json_or_null(place->duplicate_of), "journal_mode", b->journal_mode,
			 "tasks", b->tasks ? json_incref(b->tasks) : json_null(), "waiting",
			 b->waiting ? json_incref(b->waiting) : json_null());
}

static json_t *wire_good(const struct health_good *g)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "event_seq",
			 (json_int_t)g->event_seq, "tasks", (json_int_t)g->tasks, "links",
			 (json_int_t)g->links, "runs", (json_int_t)g->runs, "events",
			 (json_int_t)g->events, "at", json_time(g->at), "snapshot",
			 json_or_null(g->snapshot));
}

json_t *wire_record(const struct health *h)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:I, s:o}", "state",
			 health_state_name(h->state), "kind", json_or_null(h->kind), "reason",
			 json_or_null(h->reason), "evidence", json_or_null(h->evidence),
			 "first_seen", json_time(h->first_seen), "last_seen",
			 json_time(h->last_seen), "attempts", (json_int_t)h->attempts,
			 "retry_at", json_time(h->retry_at), "last_epoch",
			 (json_int_t)h->last_epoch, "good", wire_good(&h->good));
}

json_t *wire_tasks_add(json_t *sum, json_t *tasks)
{
	const char *status;
	json_t *n;

	json_object_foreach(tasks, status, n)
	{
		json_int_t have = json_integer_value(json_object_get(sum, status));

		if (json_object_set_new_nocheck(sum, status,
						json_integer(have + json_integer_value(n))) < 0)
			return json_free(sum);
	}
	return sum;
}
