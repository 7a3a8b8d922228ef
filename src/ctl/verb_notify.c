/*
 * notify: what is parked, what is tried again, what nobody serves; notify retry. Without a
 * daemon the outbox of the root says what was parked when it last ran.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/client.h"
#include "ctl/client_find.h"
#include "ctl/ctl_table.h"
#include "ctl/outbox_view.h"
#include "ctl/table.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/printable.h"

static int troubles_row(struct table *t, const json_t *one)
{
	bool parked = json_flag(one, "parked");
	const char *thread = json_text(one, "thread");
	CLEANUP(freep)
	char *where = fs_path("%s:%s%s%s", json_text(one, "platform"), json_text(one, "chat"),
			      *thread ? ":" : "", thread);
	int r = where ? 0 : -ENOMEM;

	if (r == 0)
		r = cells_add(t, json_object_get(one, "board"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(one, "task"), TABLE_PLAIN);
	if (r == 0)
		r = table_cell(t, where, strlen(where), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(one, "profile"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add_time(t, json_object_get(one, "since"));
	if (r == 0)
		r = parked ? table_cell(t, "parked", 6, TABLE_RED)
			   : cells_add_time(t, json_object_get(one, "retry_at"));
	return r == 0 ? cells_add(t, json_object_get(one, "reason"), TABLE_PLAIN) : r;
}

static int unserved_row(struct table *t, const json_t *one)
{
	int r = cells_add(t, json_object_get(one, "board"), TABLE_PLAIN);

	if (r == 0)
		r = cells_add(t, json_object_get(one, "profile"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(one, "count"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add_time(t, json_object_get(one, "oldest"));
	return r == 0 ? cells_add(t, json_object_get(one, "reason"), TABLE_PLAIN) : r;
}

static int notify_table(const struct ctl *ctl, const struct table_column *columns,
			int (*row)(struct table *t, const json_t *one), const json_t *list)
{
	CLEANUP(table_freep) struct table *t = table_new(columns);
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
		r = row(t, json_array_get(list, i));
	if (r < 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	return ctl_table(ctl, t, 0);
}

/* One root's notifications. Writes go to ctl->out. */
static int notify_print(const struct ctl *ctl, const json_t *n, bool daemon)
{
	static const struct table_column troubles[] = {
		{ "BOARD", false, 8 },   { "TASK", false, 10 }, { "WHERE", false, 10 },
		{ "PROFILE", false, 7 }, { "SINCE", false, 0 }, { "NEXT TRY", false, 0 },
		{ "REASON", false, 10 }, { NULL, false, 0 },
	};
	static const struct table_column unserved[] = {
		{ "BOARD", false, 8 },
		{ "PROFILE", false, 8 },
		{ "NEWS FOR", true, 0 },
		{ "OLDEST", false, 0 },
		{ "WHY NOBODY TAKES THEM", false, 10 },
		{ NULL, false, 0 },
	};
	const json_t *bad = json_object_get(n, "troubles"), *skipped, *numbers;
	int r = 0;

	skipped = json_object_get(n, "unserved");
	numbers = json_object_get(n, "numbers");
	if (json_is_object(numbers))
		(void)fprintf(ctl->out,
			      "%lld sent, %lld tries failed, %lld waiting, %lld retrying, %lld "
			      "parked\n",
			      (long long)json_number(numbers, "sent", 0),
			      (long long)json_number(numbers, "failed", 0),
			      (long long)json_number(numbers, "queued", 0) +
				      (long long)json_number(numbers, "sending", 0),
			      (long long)json_number(numbers, "retrying", 0),
			      (long long)json_number(numbers, "parked", 0));
	if (*json_text(n, "error")) {
		printable_put(ctl->out, json_text(n, "error"), strlen(json_text(n, "error")),
			      0);
		(void)fputc('\n', ctl->out);
	}
	if (json_array_size(bad) > 0)
		r = notify_table(ctl, troubles, troubles_row, bad);
	if (r == 0 && json_array_size(skipped) > 0)
		r = notify_table(ctl, unserved, unserved_row, skipped);
	if (r == 0 && json_array_size(bad) > 0)
		(void)fputs("to try them again now: kanbanctl notify retry\n", ctl->out);
	if (!daemon)
		(void)fprintf(ctl->out, "from the outbox: %s\n", ctl_no_daemon(ctl));
	return r;
}

/* ---- the verb ------------------------------------------------------------------------ */

static int notify_retry(struct ctl *ctl, const char *root, const char *task)
{
	CLEANUP(client_freep) struct client *client = NULL;
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	json_t *board = ctl->board_arg ? json_string(ctl->board_arg) : json_null();
	json_t *which = task ? json_string(task) : json_null();
	int64_t n;
	int r;

	r = client_need(ctl, root, &client);
	if (r != 0) {
		json_decref(board);
		json_decref(which);
		return r;
	}
	r = client_call(client, "POST", strdup("/v1/notify/retry"),
			json_pack("{s:o, s:o, s:o}", "root", json_utf8(client_root(client)),
				  "board", board, "task", which),
			&reply);
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(reply.json), CTL_OK);
	n = json_number(reply.json, "retried", 0);
	if (n == 0)
		(void)fprintf(ctl->out, "no subscription%s%s is parked or retried\n",
			      task ? " of " : "", task ? task : "");
	else
		(void)fprintf(ctl->out, "%lld subscription%s tried again now\n", (long long)n,
			      n == 1 ? " is" : "s are");
	return CTL_OK;
}

static json_t *notify_from_files(const char *root, json_t *troubles)
{
	return json_pack("{s:o, s:b, s:o, s:o, s:o, s:[]}", "root", json_utf8(root), "running",
			 0, "error", json_null(), "numbers", json_null(), "troubles", troubles,
			 "unserved");
}

static int verb_notify_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(client_freep) struct client *client = NULL;
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	CLEANUP(json_freep) json_t *one = NULL;
	CLEANUP(freep) char *root = NULL;
	struct error e = ERROR_NULL;
	json_t *troubles = NULL;
	char **args;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 2, &args))
		return ctl->exit;
	if (args[0] && strcmp(args[0], "retry") != 0)
		return ctl_say(ctl, CTL_USAGE,
			       "there is no \"notify %s\"; see kanbanctl notify --help",
			       args[0]);
	r = ctl_root(ctl, &root);
	if (r == 0 && args[0])
		return notify_retry(ctl, root, args[1]);
	if (r == 0)
		r = client_open(ctl, root, &client);
	if (r == 0 && client) {
		r = client_call(client, "GET", client_path(client, NULL, "/v1/notify"), NULL,
				&reply);
		one = json_incref(json_array_get(json_object_get(reply.json, "roots"), 0));
	} else if (r == 0) {
		r = outbox_view(root, &troubles, &e);
		if (r < 0)
			return ctl_fail(ctl, r, &e);
		one = notify_from_files(root, troubles);
	}
	if (r != 0)
		return r;
	if (!one ||
	    json_object_set_new(one, "source", json_string(client ? "daemon" : "files")) < 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = json_array_size(json_object_get(one, "troubles")) > 0 ? CTL_NOT_WELL : CTL_OK;
	if (ctl->json)
		return ctl_print_json(ctl, json_incref(one), r);
	return notify_print(ctl, one, client != NULL) == 0 ? r : CTL_IO;
}

static const struct ctl_verb verb_notify = {
	.name = "notify",
	.args = "[retry [TASK]]",
	.what = "list notifications that fail, or retry them",
	.group = CTL_DAEMON,
	.rank = 60,
	.flags = CTL_TABLE,
	.complete = "retry TASK",
	.run = verb_notify_run,
};
CTL_VERB(verb_notify);
