/*
 * status, boards, board, leader: from the daemon that serves the root, or from the files when
 * none does. Both say the same things in the same form, and which of the two it was.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl/boards.h"
#include "ctl/client.h"
#include "ctl/leader_view.h"
#include "ctl/table.h"
#include "util/json.h"

/* The root that a verb is about, and who knows about it. */
struct state {
	struct ctl *ctl;
	char *root;
	struct client *client; /* NULL: the files */
};

static void state_deinit(struct state *s)
{
	free(s->root);
	s->client = client_free(s->client);
}

static int state_begin(struct state *s, struct ctl *ctl)
{
	int r;

	*s = (struct state){ .ctl = ctl };
	r = ctl_root(ctl, &s->root);
	return r == 0 ? client_open(ctl, s->root, &s->client) : r;
}

static const char *state_source(const struct state *s)
{
	return s->client ? "daemon" : "files";
}

/* Where it comes from. Writes go to ctl->out; ctl_main() looks at its error flag. */
static void state_put_source(const struct state *s)
{
	const struct screen *screen = &s->ctl->screen;

	(void)fputs(table_colour_on(screen, TABLE_DIM), s->ctl->out);
	if (s->client) {
		(void)fputs("from the daemon at ", s->ctl->out);
		screen_put(s->ctl->out, client_socket(s->client),
			   strlen(client_socket(s->client)), 0);
	} else {
		(void)fputs("from the files: no daemon answers for this root", s->ctl->out);
	}
	(void)fprintf(s->ctl->out, "%s\n", table_colour_off(screen, TABLE_DIM));
}

/* The member of the array @key whose `root` is ours; the only one if there is one. */
static json_t *state_ours(const struct state *s, const json_t *reply, const char *key)
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

/* ---- leader --------------------------------------------------------------------------------
 */

int ctl_verb_leader(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(reply_deinit) struct reply reply = { 0 };
	CLEANUP(state_deinit) struct state s = { 0 };
	CLEANUP(json_freep) json_t *json = NULL;
	struct leader l;
	char **args;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = state_begin(&s, ctl);
	if (r == 0 && s.client) {
		r = client_call(s.client, "GET", client_path(s.client, NULL, "/v1/leader"),
				NULL, &reply);
		lead_from_json(&l, state_ours(&s, reply.json, "roots"));
	} else if (r == 0) {
		r = lead_look(ctl, s.root, &l);
	}
	if (r != 0)
		return r;
	r = l.held ? CTL_OK : CTL_NOT_WELL;
	if (ctl->json) {
		json = json_pack("{s:s, s:s}", "root", s.root, "source", state_source(&s));
		if (json_object_update_new(json, lead_json(&l)) < 0)
			return ctl_say(ctl, CTL_IO, "out of memory");
		return ctl_print_json(ctl, STEAL(json), r);
	}
	lead_put(ctl, &l);
	(void)fputc('\n', ctl->out);
	return r;
}

/* ---- boards, board -------------------------------------------------------------------------
 */

static int state_boards(const struct state *s, json_t **boards)
{
	CLEANUP(reply_deinit) struct reply reply = { 0 };
	int r;

	if (!s->client)
		return boards_list(s->ctl, s->root, boards);
	r = client_call(s->client, "GET", client_path(s->client, NULL, "/v1/boards"), NULL,
			&reply);
	*boards = json_incref(json_object_get(reply.json, "boards"));
	return r;
}

int ctl_verb_boards(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(state_deinit) struct state s = { 0 };
	CLEANUP(json_freep) json_t *boards = NULL;
	char **args;
	int r, exit;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = state_begin(&s, ctl);
	if (r == 0)
		r = state_boards(&s, &boards);
	if (r != 0)
		return r;
	exit = boards_any_bad(boards) ? CTL_NOT_WELL : CTL_OK;
	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:s, s:s, s:O}", "root", s.root, "source",
						state_source(&s), "boards", boards),
				      exit);
	r = boards_print(ctl, boards);
	if (r == 0)
		state_put_source(&s);
	return r != 0 ? r : exit;
}

int ctl_verb_board(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(reply_deinit) struct reply reply = { 0 };
	CLEANUP(state_deinit) struct state s = { 0 };
	char **args;
	int r, exit;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &args))
		return ctl->exit;
	if (args[0])
		ctl->board_arg = args[0];
	r = state_begin(&s, ctl);
	if (r == 0)
		r = ctl_place(ctl, &place);
	if (r == 0 && s.client)
		r = client_call(s.client, "GET",
				client_path(s.client, NULL, "/v1/boards/%s", place.slug), NULL,
				&reply);
	else if (r == 0)
		reply.json = boards_one(ctl, &place);
	if (r != 0)
		return r;
	if (!reply.json ||
	    json_object_set_new(reply.json, "source", json_string(state_source(&s))) < 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	exit = boards_is_bad(json_text(reply.json, "state")) ? CTL_NOT_WELL : CTL_OK;
	if (ctl->json)
		return ctl_print_json(ctl, json_incref(reply.json), exit);
	boards_print_one(ctl, reply.json);
	state_put_source(&s);
	return exit;
}

/* ---- status --------------------------------------------------------------------------------
 */

/* Tasks per status over all boards; NULL when out of memory. */
static json_t *state_sum(const json_t *boards)
{
	CLEANUP(json_freep) json_t *sum = json_object();

	for (size_t i = 0; i < json_array_size(boards); i++) {
		const json_t *board = json_array_get(boards, i);
		json_t *tasks = json_object_get(board, "tasks"), *n;
		const char *status;

		if (json_flag(board, "archived"))
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
		(void)fputs(gap, ctl->out);
		screen_put(ctl->out, status, strlen(status), 0);
		(void)fprintf(ctl->out, " %" JSON_INTEGER_FORMAT, json_integer_value(n));
		gap = ", ";
	}
	(void)fputs(*gap ? "\n" : "none\n", ctl->out);
}

static void state_print_troubles(const struct ctl *ctl, const json_t *boards)
{
	for (size_t i = 0; i < json_array_size(boards); i++) {
		const json_t *board = json_array_get(boards, i);
		const char *why = json_text(board, "error"), *slug = json_text(board, "slug");

		if (!*why)
			continue;
		(void)fprintf(ctl->out, "%sboard ", table_colour_on(&ctl->screen, TABLE_RED));
		screen_put(ctl->out, slug, strlen(slug), 0);
		(void)fputs(": ", ctl->out);
		screen_put(ctl->out, why, strlen(why), 0);
		(void)fprintf(ctl->out, "%s\n", table_colour_off(&ctl->screen, TABLE_RED));
	}
}

/* What only a daemon knows. */
static void state_print_daemon(const struct ctl *ctl, const json_t *daemon, const json_t *root)
{
	const char *sentence = json_text(daemon, "sentence");
	const json_t *limits = json_object_get(daemon, "limits");
	json_t *notify = json_object_get(root, "notify");

	(void)fputs("daemon  ", ctl->out);
	screen_put(ctl->out, sentence, strlen(sentence), 0);
	(void)fprintf(ctl->out, "\nlimit   %lld",
		      (long long)json_number(limits, "in_progress", 0));
	if (json_is_integer(json_object_get(limits, "max_in_progress")))
		(void)fprintf(ctl->out, " of %lld",
			      (long long)json_number(limits, "max_in_progress", 0));
	(void)fputs(" in progress\n", ctl->out);
	if (json_is_object(notify))
		(void)fprintf(ctl->out,
			      "notify  %lld sent, %lld waiting, %lld retrying, %lld parked, "
			      "%lld unserved\n",
			      (long long)json_number(notify, "sent", 0),
			      (long long)json_number(notify, "queued", 0) +
				      (long long)json_number(notify, "sending", 0),
			      (long long)json_number(notify, "retrying", 0),
			      (long long)json_number(notify, "parked", 0),
			      (long long)json_number(notify, "unserved", 0));
}

static void state_print(const struct state *s, const struct leader *l, const json_t *boards,
			json_t *sum)
{
	CLEANUP(json_freep) json_t *states = json_object();
	enum table_colour colour = l->held ? TABLE_GREEN : TABLE_RED;
	const struct ctl *ctl = s->ctl;

	(void)fputs("root    ", ctl->out);
	screen_put(ctl->out, s->root, strlen(s->root), 0);
	(void)fprintf(ctl->out, "\nowner   %s", table_colour_on(&ctl->screen, colour));
	lead_put(ctl, l);
	(void)fprintf(ctl->out, "%s\nboards  ", table_colour_off(&ctl->screen, colour));
	for (size_t i = 0; i < json_array_size(boards); i++) {
		const char *state = json_text(json_array_get(boards, i), "state");
		json_int_t have = json_integer_value(json_object_get(states, state));

		/* a number that does not fit into memory is only not shown */
		(void)json_object_set_new(states, state, json_integer(have + 1));
	}
	state_print_sum(ctl, states);
	(void)fputs("tasks   ", ctl->out);
	state_print_sum(ctl, sum);
}

static int state_of_daemon(const struct state *s)
{
	CLEANUP(reply_deinit) struct reply reply = { 0 };
	json_t *root, *boards, *out;
	struct leader l;
	bool well;
	int r = client_call(s->client, "GET", client_path(s->client, NULL, "/v1/status"), NULL,
			    &reply);

	if (r != 0)
		return r;
	root = state_ours(s, reply.json, "roots");
	if (!root)
		return ctl_say(s->ctl, CTL_IO, "the daemon at %s says nothing about %s",
			       client_socket(s->client), s->root);
	boards = json_object_get(root, "boards");
	well = json_flag(root, "well");
	if (s->ctl->json) {
		out = json_copy(root);
		(void)json_incref(root);
		/* what is told of the root, of the whole process, and where it comes from */
		(void)json_object_del(reply.json, "roots");
		if (json_object_set(out, "daemon", reply.json) < 0 ||
		    json_object_set_new(out, "source", json_string("daemon")) < 0)
			out = json_free(out);
		json_decref(root);
		return ctl_print_json(s->ctl, out, well ? CTL_OK : CTL_NOT_WELL);
	}
	lead_from_json(&l, json_object_get(root, "leader"));
	state_print(s, &l, boards, json_object_get(root, "tasks"));
	state_print_daemon(s->ctl, reply.json, root);
	state_print_troubles(s->ctl, boards);
	state_put_source(s);
	return well ? CTL_OK : CTL_NOT_WELL;
}

int ctl_verb_status(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(state_deinit) struct state s = { 0 };
	CLEANUP(json_freep) json_t *boards = NULL;
	CLEANUP(json_freep) json_t *sum = NULL;
	struct leader l;
	char **args;
	bool well;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = state_begin(&s, ctl);
	if (r == 0 && s.client)
		return state_of_daemon(&s);
	if (r == 0)
		r = lead_look(ctl, s.root, &l);
	if (r == 0)
		r = boards_list(ctl, s.root, &boards);
	if (r != 0)
		return r;
	sum = state_sum(boards);
	if (!sum)
		return ctl_say(ctl, CTL_IO, "out of memory");
	well = l.held && !boards_any_bad(boards);
	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:s, s:b, s:s, s:o, s:O, s:O}", "root",
						s.root, "well", well, "source", "files",
						"leader", lead_json(&l), "tasks", sum, "boards",
						boards),
				      well ? CTL_OK : CTL_NOT_WELL);
	state_print(&s, &l, boards, sum);
	state_print_troubles(ctl, boards);
	state_put_source(&s);
	return well ? CTL_OK : CTL_NOT_WELL;
}
