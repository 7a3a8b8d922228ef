/* why: every rule between a task and its start, and which of them holds it. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/root_session.h"
#include "ctl/rules.h"
#include "ctl/waiting_text.h"
#include "db/db.h"
#include "tick/why.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/printable.h"

/* What the board itself says, by the configuration that is in force here. */
static int why_board(struct ctl *ctl, const char *root, const struct board_place *place,
		     const char *task, json_t **list)
{
	CLEANUP(rules_close) struct rules rules = { .config = NULL };
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	int r = rules_open(&rules, ctl, root);

	if (r == 0)
		r = ctl_open(ctl, place, false, &db);
	if (r != 0)
		return r;
	r = why_task(rules_of(&rules, place, db, &e), task, list);
	if (r == DB_MISSING)
		return ctl_say(ctl, CTL_NO_INPUT, EDIT_NO_TASK_TEXT, task);
	return r == 0 ? 0 : ctl_fail(ctl, r, &e);
}

/* The daemon's answer, with what only it knows. Return: did it answer; else @why says it. */
static bool why_daemon(const struct root_session *s, const char *slug, const char *task,
		       struct reply *reply, struct error *why)
{
	CLEANUP(freep) char *query = fs_path("board=%s", slug);
	CLEANUP(freep) char *name = client_escape(s->client, task);
	char *path =
		query && name ? client_path(s->client, query, "/v1/tasks/%s/why", name) : NULL;
	int r = client_quiet(s->client, path, reply);

	if (r == 0)
		return true;
	if (reply->json)
		(void)client_problem(reply, why);
	else
		(void)error_set(why, r, "the daemon does not answer");
	return false;
}

static void why_line(const struct ctl *ctl, const char *task, const json_t *rule, bool first)
{
	const char *text = json_text(rule, "text");
	bool holds = json_flag(rule, "holds");

	(void)fprintf(ctl->out, "%s %-14s ",
		      first   ? "->"
		      : holds ? " !"
			      : "  ",
		      json_text(rule, "rule"));
	printable_put(ctl->out, text, strlen(text), 0);
	if (holds)
		waiting_put_until(ctl, rule, task);
	(void)fputc('\n', ctl->out);
}

static void why_print(const struct ctl *ctl, const char *task, const json_t *rules)
{
	const json_t *held = why_holding(rules);

	printable_put(ctl->out, task, strlen(task), 0);
	(void)fprintf(ctl->out, held ? " is held by: %s\n" : " may start now%s\n",
		      held ? json_text(held, "rule") : "");
	for (size_t i = 0; i < json_array_size(rules); i++)
		why_line(ctl, task, json_array_get(rules, i), json_array_get(rules, i) == held);
}

/* Without the daemon's answer: the board's rules, and that nobody starts anything. */
static int why_files(struct root_session *s, const struct board_place *place, const char *task,
		     const struct error *why, json_t **rules)
{
	int r = why_board(s->ctl, s->root, place, task, rules);

	if (r != 0)
		return r;
	why_add(*rules, "daemon", true, s->client ? why->text : ctl_no_daemon(s->ctl),
		s->client || s->ctl->no_daemon ? "it does (kanbanctl doctor)"
					       : "one does (kanbanctl doctor)",
		0);
	s->client = client_free(s->client); /* it is told where the answer comes from */
	return 0;
}

static int why_told(struct root_session *s, const char *slug, const char *task, json_t *rules)
{
	struct ctl *ctl = s->ctl;

	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:o, s:s, s:o, s:o, s:O, s:s}", "root",
						json_utf8(s->root), "board", slug, "task",
						json_utf8(task), "held_by",
						json_or_null(why_held_by(rules)), "rules",
						rules, "source", root_session_source(s)),
				      CTL_OK);
	why_print(ctl, task, rules);
	root_session_put_source(s);
	return CTL_OK;
}

static int verb_why_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(root_session_close) struct root_session s = { 0 };
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	CLEANUP(json_freep) json_t *rules = NULL;
	struct error why = ERROR_NULL;
	char **args;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 1, 1, &args))
		return ctl->exit;
	r = root_session_open(&s, ctl);
	if (r == 0)
		r = ctl_place(ctl, &place);
	if (r != 0)
		return r;
	if (s.client && why_daemon(&s, place.slug, args[0], &reply, &why))
		rules = json_incref(json_object_get(reply.json, "rules"));
	else
		r = why_files(&s, &place, args[0], &why, &rules);
	return r == 0 ? why_told(&s, place.slug, args[0], rules) : r;
}

static const struct ctl_verb verb_why = {
	.name = "why",
	.args = "TASK",
	.what = "why a task does not start: each rule, and what would release it",
	.group = CTL_TASKS,
	.rank = 40,
	.run = verb_why_run,
};
CTL_VERB(verb_why);
