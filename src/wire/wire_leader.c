/* The leader as JSON. What the owner file says was written by whoever could write it. */
#include "wire/wire_leader.h"

#include "root/leader.h"
#include "util/json.h"

static json_t *wire_owner(const struct lease_owner *o)
{
	return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I}", "epoch",
			 (json_int_t)o->epoch, "pid", (json_int_t)o->pid, "host",
			 json_utf8(o->host), "boot_id", json_utf8(o->boot_id), "unit",
			 json_utf8(o->unit), "version", json_utf8(o->version), "socket",
			 json_utf8(o->socket), "since", (json_int_t)o->since);
}

json_t *wire_leader(const struct leader *l)
{
	return json_pack("{s:b, s:o, s:b, s:b, s:o}", "held", l->held, "pid", json_time(l->pid),
			 "unseen", l->unseen, "kanband", l->kanband, "owner",
			 l->has_file ? wire_owner(&l->owner) : json_null());
}

json_t *wire_leader_terms(const struct lease_term *terms, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < n; i++) {
		const struct lease_term *t = &terms[i];

		list = json_push(
			list,
			json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "epoch",
				  (json_int_t)t->epoch, "pid", (json_int_t)t->pid, "host",
				  json_utf8(t->host), "unit", json_or_null(t->unit), "version",
				  json_utf8(t->version), "since", json_time(t->since), "until",
				  json_time(t->until), "why", json_or_null(t->why)));
	}
	return list;
}
