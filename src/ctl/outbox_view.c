/* Reads the outbox of a root where no daemon holds it, and says of it what the daemon would. */
#include "ctl/outbox_view.h"

#include <errno.h>
#include <jansson.h>

#include "ctl.h"
#include "notify/outbox.h"
#include "util/fs.h"
#include "util/json.h"

static int outbox_view_entry(void *arg, const char *key, const json_t *value)
{
	static const char *const keys[] = { "board",    "task",    "platform", "chat",
					    "thread",   "profile", "reason",   "parked",
					    "failures", "since",   "retry_at" };
	CLEANUP(json_freep) json_t *one = NULL;

	/* keys of subscriptions begin with an s; one without trouble is only remembered */
	if (key[0] != 's' ||
	    (!json_flag(value, "parked") && !json_number(value, "failures", 0)))
		return 0;
	one = json_object();
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *member = json_object_get(value, keys[i]);

		if (json_object_set_new(one, keys[i],
					member ? json_incref(member) : json_null()) < 0)
			return -ENOMEM;
	}
	if (json_flag(value, "parked") && json_object_set_new(one, "retry_at", json_null()) < 0)
		return -ENOMEM;
	return json_array_append(arg, one) < 0 ? -ENOMEM : 0;
}

char *outbox_view_path(const char *root)
{
	return fs_path("%s/kanban/.kanband.outbox", root);
}

int outbox_view(const char *root, json_t **troubles, struct error *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	CLEANUP(freep) char *path = outbox_view_path(root);
	int r = list && path ? outbox_peek(path, outbox_view_entry, list, e)
			     : error_set(e, -ENOMEM, "out of memory");

	if (r == 0)
		*troubles = STEAL(list);
	return r;
}
