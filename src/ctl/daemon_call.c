/*
 * One call of a daemon for verbs that nobody else can answer: it is found, asked, and its
 * answer or refusal told.
 */
#include "ctl/daemon_call.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/client_find.h"
#include "util/json.h"

void daemon_call_close(struct daemon_call *r)
{
	client_reply_deinit(&r->reply);
	r->client = client_free(r->client);
	free(r->root);
}

/* The arguments, the root, the daemon. Return: true to go on; false with ctl->exit. */
bool daemon_call_open(struct daemon_call *m, struct ctl *ctl, const struct ctl_arg *options,
		      int argc, char **argv, int max)
{
	*m = (struct daemon_call){ .ctl = ctl };
	if (!ctl_args(ctl, options, argc, argv, 0, max, &m->args))
		return false;
	m->slug = max > 0 ? m->args[0] ? m->args[0] : ctl->board_arg : NULL;
	ctl->exit =
		!m->slug || ctl_is_board(ctl, m->slug) ? ctl_root(ctl, &m->root) : CTL_USAGE;
	if (ctl->exit == 0)
		ctl->exit = client_need(ctl, m->root, &m->client);
	return ctl->exit == 0;
}

/* A request whose path needs no root. */
int daemon_call_post(struct daemon_call *m, const char *path, json_t *body)
{
	return client_call(m->client, "POST", strdup(path), body, &m->reply);
}

/* The same of the board: .../boards/SLUG/@what */
int daemon_call_board(struct daemon_call *m, const char *what)
{
	return client_call(m->client, "POST",
			   client_path(m->client, NULL, "/v1/boards/%s/%s", m->slug, what),
			   NULL, &m->reply);
}

int daemon_call_json(struct daemon_call *m)
{
	return ctl_print_json(m->ctl, STEAL(m->reply.json), CTL_OK);
}

/* "…: ready 3 left, running 2" */
void daemon_call_put_board(const struct daemon_call *m, const char *done)
{
	const json_t *b = m->reply.json;

	(void)fprintf(m->ctl->out, "%s: %s; %lld running, %lld ready left\n", m->slug, done,
		      (long long)json_number(b, "running", 0),
		      (long long)json_number(b, "ready", 0));
}
