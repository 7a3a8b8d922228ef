/* Boards in trouble as JSON. */
#include "wire/wire_mend.h"

#include "board/mend.h"
#include "util/json.h"

static json_t *wire_head(const char *slug, const char *root)
{
	return json_pack("{s:s, s:o}", "board", slug, "root", json_or_null(root));
}

static json_t *wire_tables(const struct repair_report *rep)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < rep->n_tables; i++) {
		const struct repair_table *t = &rep->tables[i];

		list = json_push(list,
				 json_pack("{s:o, s:I, s:I, s:o}", "table", json_utf8(t->name),
					   "saved", (json_int_t)t->saved, "filled",
					   (json_int_t)t->filled, "lost",
					   t->lost < 0 ? json_null() : json_integer(t->lost)));
	}
	return list;
}

json_t *wire_report(const char *slug, const char *root, bool well,
		    const struct mend_report *rep, const char *will)
{
	return json_join(
		wire_head(slug, root),
		json_pack("{s:b, s:s, s:o, s:o, s:o, s:o, s:o}", "well", well, "state",
			  health_state_name(rep->state), "what", json_or_null(rep->what),
			  "will", json_or_null(will ? will : rep->will), "method",
			  json_or_null(rep->repair.method), "tables", wire_tables(&rep->repair),
			  "evidence", json_or_null(rep->health.evidence)));
}

json_t *wire_restored(const char *slug, const char *root, const char *from, bool restored,
		      int64_t tasks)
{
	return json_join(wire_head(slug, root),
			 json_pack("{s:o, s:b, s:I}", "from", json_or_null(from), "restored",
				   restored, "tasks", (json_int_t)tasks));
}

json_t *wire_accepted(const char *slug, const char *root, int64_t tasks)
{
	return json_join(wire_head(slug, root),
			 json_pack("{s:b, s:I}", "accepted", 1, "tasks", (json_int_t)tasks));
}

json_t *wire_snapshot(const char *slug, const char *root, const char *path)
{
	return json_join(wire_head(slug, root),
			 json_pack("{s:o}", "snapshot", json_or_null(path)));
}

static json_t *wire_copy(const struct candidate *c)
{
	return json_pack("{s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "path",
			 json_utf8(c->path), "kind", c->kind, "sound", c->sound, "tasks",
			 (json_int_t)c->tasks, "links", (json_int_t)c->links, "runs",
			 (json_int_t)c->runs, "events", (json_int_t)c->events,
			 "newest_event_at", (json_int_t)c->newest_event_at, "size",
			 (json_int_t)c->size, "why", json_or_null(c->why));
}

json_t *wire_copies(const struct candidate *list, size_t n)
{
	json_t *all = json_array();

	for (size_t i = 0; i < n; i++)
		all = json_push(all, wire_copy(&list[i]));
	return all;
}
