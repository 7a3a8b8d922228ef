/* The root that a verb is about, and who knows about it: the daemon that serves it, or the
 * files where none does. Both say the same things in the same form. */
#pragma once

#include <jansson.h>

#include "util/error.h"

struct client;
struct ctl;

struct root_session {
	struct ctl *ctl;
	char *root;
	struct client *client; /* NULL: the files */
};

/** root_session_open() - Return: 0, or an exit code after telling why. */
MUST_CHECK int root_session_open(struct root_session *s, struct ctl *ctl);
void root_session_close(struct root_session *s);

/** root_session_source() - "daemon" or "files" */
const char *root_session_source(const struct root_session *s);

/** root_session_put_source() - a line on ctl->out that says where it comes from */
void root_session_put_source(const struct root_session *s);

/** root_session_ours() - the member of the array @key whose `root` is ours; the only one if
 * there is one; borrowed */
json_t *root_session_ours(const struct root_session *s, const json_t *reply, const char *key);
