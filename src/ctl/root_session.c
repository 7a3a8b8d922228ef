/* Finds the root that a verb is about and its daemon; without one the files tell the same. */
#include "ctl/root_session.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/client_find.h"
#include "ctl/table.h"
#include "util/json.h"
#include "util/printable.h"

void root_session_close(struct root_session *s)
{
	free(s->root);
	s->client = client_free(s->client);
}

int root_session_open(struct root_session *s, struct ctl *ctl)
{
	int r;

	*s = (struct root_session){ .ctl = ctl };
	r = ctl_root(ctl, &s->root);
	return r == 0 ? client_open(ctl, s->root, &s->client) : r;
}

const char *root_session_source(const struct root_session *s)
{
	return s->client ? "daemon" : "files";
}

/* Where it comes from. Writes go to ctl->out; ctl_main() looks at its error flag. */
void root_session_put_source(const struct root_session *s)
{
	const struct screen *screen = &s->ctl->screen;

	(void)fputs(table_colour_on(screen, TABLE_DIM), s->ctl->out);
	if (s->client) {
		(void)fputs("from the daemon at ", s->ctl->out);
		printable_put(s->ctl->out, client_socket(s->client),
			      strlen(client_socket(s->client)), 0);
	} else {
		(void)fprintf(s->ctl->out, "from the files: %s", ctl_no_daemon(s->ctl));
	}
	(void)fprintf(s->ctl->out, "%s\n", table_colour_off(screen, TABLE_DIM));
}

/* The member of the array @key whose `root` is ours; the only one if there is one. */
json_t *root_session_ours(const struct root_session *s, const json_t *reply, const char *key)
{
	json_t *list = json_object_get(reply, key), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (strcmp(json_text(one, "root"), s->root) == 0)
			return one;
	}
	return json_array_size(list) == 1 ? json_array_get(list, 0) : NULL;
}
