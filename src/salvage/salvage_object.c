/* The list of schema objects that were found, by kind and name. */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "salvage.h"

/* More objects than any board has; a bound on the work that a hostile schema can ask for. */
#define SALVAGE_OBJECTS_MAX 2000

struct salvage_object *salvage_object_find(struct salvage *s, enum salvage_kind kind,
					   const char *name)
{
	for (size_t i = 0; i < s->nobjects; i++)
		if (s->objects[i].kind == kind &&
		    sqlite3_stricmp(s->objects[i].name, name) == 0)
			return &s->objects[i];
	return NULL;
}

void salvage_object_clear(struct salvage_object *o)
{
	free(o->name);
	free(o->tbl);
	free(o->sql);
	*o = (struct salvage_object){ 0 };
}

/* Takes over the strings of @o. The first of a name stays, unless it was read only in part. */
int salvage_object_add(struct salvage *s, struct salvage_object *o)
{
	struct salvage_object *old = salvage_object_find(s, o->kind, o->name);

	if (old && (!old->partial || o->partial)) {
		salvage_object_clear(o);
		return 0;
	}
	if (old) {
		salvage_object_clear(old);
		*old = *o;
		return 0;
	}
	if (s->nobjects >= SALVAGE_OBJECTS_MAX) {
		s->report->objects_lost++;
		salvage_object_clear(o);
		return 0;
	}
	if (salvage_grow(&s->objects, s->nobjects, &s->objects_cap, sizeof(*s->objects)) < 0) {
		salvage_object_clear(o);
		return salvage_fail(s, -ENOMEM, "read the schema");
	}
	s->objects[s->nobjects++] = *o;
	return 0;
}
