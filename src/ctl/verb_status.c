/* status: the root at a glance. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl/boards.h"
#include "ctl/client.h"
#include "ctl/daemon_words.h"
#include "ctl/estop_view.h"
#include "ctl/leader_view.h"
#include "ctl/root_session.h"
#include "ctl/table.h"
#include "util/json.h"
#include "util/printable.h"
#include "util/text.h"
#include "wire/wire_board.h"
#include "wire/wire_leader.h"

#define STATUS_TROUBLE_MAX 160 /* characters */

/* Tasks per status over all boards; NULL when out of memory. */
static json_t *status_sum(const json_t *boards)
{
	json_t *sum = json_object();

	for (size_t i = 0; sum && i < json_array_size(boards); i++) {
		const json_t *board = json_array_get(boards, i);

		if (!json_flag(board, "archived"))
			sum = wire_tasks_add(sum, json_object_get(board, "tasks"));
	}
	return sum;
}

/* "1 a, 2 b" for what is not 0, else "none"; @behind: what follows */
static void status_print_sum(const struct ctl *ctl, json_t *sum, const char *behind)
{
	const char *status, *gap = "";
	json_t *n;

	json_object_foreach(sum, status, n)
	{
		if (json_integer_value(n) == 0 || strcmp(status, "total") == 0)
			continue;
		(void)fprintf(ctl->out, "%s%" JSON_INTEGER_FORMAT " ", gap,
			      json_integer_value(n));
		printable_put(ctl->out, status, strlen(status), 0);
		gap = ", ";
	}
	(void)fprintf(ctl->out, "%s%s\n", *gap ? "" : "none", behind);
}

/* The first part of a long sentence: kanbanctl check says all of it, and what can be done. */
static void status_put_short(const struct ctl *ctl, const char *why, const char *slug)
{
	CLEANUP(freep)
	char *text = printable_text(why, text_clause(why), STATUS_TROUBLE_MAX, 0);

	(void)fprintf(ctl->out, "%s; see kanbanctl check ", text ? text : "?");
	printable_put(ctl->out, slug, strlen(slug), 0);
}

static void status_print_troubles(const struct ctl *ctl, const json_t *boards)
{
	for (size_t i = 0; i < json_array_size(boards); i++) {
		const json_t *board = json_array_get(boards, i);
		const char *why = json_text(board, "error"), *slug = json_text(board, "slug");

		if (!*why)
			continue;
		(void)fprintf(ctl->out, "%strouble  ",
			      table_colour_on(&ctl->screen, TABLE_RED));
		printable_put(ctl->out, slug, strlen(slug), 0);
		(void)fputs(": ", ctl->out);
		status_put_short(ctl, why, slug);
		(void)fprintf(ctl->out, "%s\n", table_colour_off(&ctl->screen, TABLE_RED));
	}
}

/* Because of what ready tasks wait, on which board. */
static void status_print_waiting(const struct ctl *ctl, const json_t *boards)
{
	for (size_t i = 0; i < json_array_size(boards); i++) {
		const json_t *board = json_array_get(boards, i);

		boards_put_waiting(ctl, board, json_text(board, "slug"), false);
	}
}

/* "pool     gpu: 1 of 2 run, 3 wait" */
static void status_print_pools(const struct ctl *ctl, const json_t *pools)
{
	for (size_t i = 0; i < json_array_size(pools); i++) {
		const json_t *pool = json_array_get(pools, i);
		const char *name = json_text(pool, "name");

		(void)fputs("pool     ", ctl->out);
		printable_put(ctl->out, name, strlen(name), 0);
		(void)fprintf(ctl->out, ": %lld of %lld run, %lld wait\n",
			      (long long)json_number(pool, "running", 0),
			      (long long)json_number(pool, "limit", 0),
			      (long long)json_number(pool, "waiting", 0));
	}
}

/* Only what is not as it should be. */
static void status_print_notify(const struct ctl *ctl, const json_t *notify)
{
	static const char *const counts[] = { "retrying", "parked", "unserved" };
	const char *gap = "notify   ";

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		int64_t n = json_number(notify, counts[i], 0);

		if (n == 0)
			continue;
		(void)fprintf(ctl->out, "%s%lld %s", gap, (long long)n, counts[i]);
		gap = ", ";
	}
	if (gap[0] == ',')
		(void)fputs(" (kanbanctl notify)\n", ctl->out);
}

/* What only a daemon knows. */
static void status_print_daemon(const struct ctl *ctl, const json_t *daemon, const json_t *root)
{
	const json_t *limits = json_object_get(daemon, "limits");
	const char *text = json_text(daemon, "sentence");
	CLEANUP(freep) char *rest = daemon_words(text, json_text(root, "root"));
	int64_t most = json_number(limits, "max_in_progress", 0);

	if (rest && *rest) {
		(void)fputs("daemon   ", ctl->out);
		printable_put(ctl->out, rest, strlen(rest), 0);
		(void)fputc('\n', ctl->out);
	}
	(void)fprintf(ctl->out, "workers  %lld",
		      (long long)json_number(limits, "in_progress", 0));
	if (most > 0)
		(void)fprintf(ctl->out, " of at most %lld", (long long)most);
	(void)fputc('\n', ctl->out);
	status_print_pools(ctl, json_object_get(limits, "pools"));
	status_print_notify(ctl, json_object_get(root, "notify"));
}

static void status_print_estop(const struct ctl *ctl, const char *why)
{
	if (!*why)
		return;
	(void)fprintf(ctl->out, "%sestop    ", table_colour_on(&ctl->screen, TABLE_RED));
	printable_put(ctl->out, why, strlen(why), 0);
	(void)fprintf(ctl->out, "%s\n", table_colour_off(&ctl->screen, TABLE_RED));
}

static void status_print(const struct root_session *s, const struct leader *l,
			 const json_t *boards, json_t *sum)
{
	CLEANUP(json_freep) json_t *states = json_object();
	enum table_colour colour = l->held ? TABLE_GREEN : TABLE_RED;
	const struct ctl *ctl = s->ctl;

	(void)fputs("root     ", ctl->out);
	printable_put(ctl->out, s->root, strlen(s->root), 0);
	(void)fprintf(ctl->out, "\nowner    %s", table_colour_on(&ctl->screen, colour));
	leader_view_put(ctl, l);
	(void)fprintf(ctl->out, "%s\nboards   ", table_colour_off(&ctl->screen, colour));
	for (size_t i = 0; i < json_array_size(boards); i++) {
		const char *state = json_text(json_array_get(boards, i), "state");
		json_int_t have = json_integer_value(json_object_get(states, state));

		/* a number that does not fit into memory is only not shown */
		(void)json_object_set_new(states, state, json_integer(have + 1));
	}
	status_print_sum(ctl, states,
			 json_object_get(states, "missing") ? " (see kanbanctl boards)" : "");
	(void)fputs("tasks    ", ctl->out);
	status_print_sum(ctl, sum, "");
}

static int status_of_daemon(const struct root_session *s)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	json_t *root, *boards, *out;
	struct leader l;
	bool well;
	int r = client_call(s->client, "GET", client_path(s->client, NULL, "/v1/status"), NULL,
			    &reply);

	if (r != 0)
		return r;
	root = root_session_ours(s, reply.json, "roots");
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
	leader_view_from_json(&l, json_object_get(root, "leader"));
	status_print(s, &l, boards, json_object_get(root, "tasks"));
	status_print_daemon(s->ctl, reply.json, root);
	status_print_estop(s->ctl, json_text(root, "estop"));
	status_print_waiting(s->ctl, boards);
	status_print_troubles(s->ctl, boards);
	root_session_put_source(s);
	return well ? CTL_OK : CTL_NOT_WELL;
}

static int verb_status_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(root_session_close) struct root_session s = { 0 };
	CLEANUP(json_freep) json_t *boards = NULL;
	CLEANUP(json_freep) json_t *sum = NULL;
	char estop[ESTOP_VIEW_MAX];
	struct estop stop;
	struct leader l;
	char **args;
	bool well;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = root_session_open(&s, ctl);
	if (r == 0 && s.client)
		return status_of_daemon(&s);
	if (r == 0)
		r = leader_view(ctl, s.root, &l);
	if (r == 0)
		r = boards_list(ctl, s.root, &boards);
	if (r != 0)
		return r;
	sum = status_sum(boards);
	if (!sum)
		return ctl_say(ctl, CTL_IO, "out of memory");
	(void)estop_view(ctl, s.root, &stop, estop);
	/* a daemon that hangs has the lease, and dispatches nothing */
	well = l.held && !boards_any_bad(boards) && !ctl->daemon_hangs;
	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:o, s:b, s:s, s:o, s:O, s:O, s:o}", "root",
						json_utf8(s.root), "well", well, "source",
						"files", "leader", wire_leader(&l), "tasks",
						sum, "boards", boards, "estop",
						json_or_null(estop)),
				      well ? CTL_OK : CTL_NOT_WELL);
	status_print(&s, &l, boards, sum);
	status_print_estop(ctl, estop);
	status_print_waiting(ctl, boards);
	status_print_troubles(ctl, boards);
	root_session_put_source(&s);
	return well ? CTL_OK : CTL_NOT_WELL;
}

static const struct ctl_verb verb_status = {
	.name = "status",
	.args = "",
	.what = "show the root at a glance",
	.group = CTL_WATCH,
	.rank = 10,
	.run = verb_status_run,
};
CTL_VERB(verb_status);
