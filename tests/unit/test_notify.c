/*
 * Delivery as a whole: what subscribers get, in which order and how often, while chats fail,
 * gateways interfere, and the process ends between any two steps.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "kit/delivery.h"

static void arrived(const char *want)
{
	char *got = world_take();

	ck_assert_str_eq(got, want);
}

static struct notify_status status(void)
{
	struct notify_status st;

	notify_get_status(world.n, &st);
	return st;
}

#define MSG(chat, text) "default/telegram:" chat " " text "\n"

/* ---- plain ---------------------------------------------------------------------------------
 */

START_TEST(test_delivers)
{
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	world_settle();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	ck_assert(notify_idle(world.n));
	ck_assert_uint_eq(world_entries(), 0);
	sql_on(0, "UPDATE tasks SET status = 'done'");
	add_event(0, "t_1", "completed");
	world_settle();
	arrived(MSG("42", "✔ [b] Kanban t_1 done — t_1"));
	ck_assert_int_eq(value_on(0, "SELECT count(*) FROM kanban_notify_subs"), 0);
	ck_assert_uint_eq(world_entries(), 0);
	ck_assert_uint_eq(status().sent, 2);
	ck_assert_str_eq(world.log, "");
	world_reopen();
	world_settle();
	arrived("");
}
END_TEST

START_TEST(test_many_events)
{
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	add_event(0, "t_1", "unblocked");
	add_event(0, "t_1", "timed_out");
	add_event(0, "t_1", "completed");
	add_event(0, "t_1", "archived");
	world_settle();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked")
			MSG("42", "⏱ [b] Kanban t_1 timed out (max_runtime=0s); will retry")
				MSG("42", "✔ [b] Kanban t_1 done — t_1"));
	ck_assert_int_eq(cursor_of(0, "t_1"), 5);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* What happens while a message is under way is told after it. */
static enum world_answer hang_first(const char *target, const char *text)
{
	(void)target;
	return strstr(text, "blocked") ? WORLD_HANG : WORLD_TAKE;
}

START_TEST(test_meanwhile)
{
	add_task(0, "t_1", "ready", "42");
	world.answer = hang_first;
	add_event(0, "t_1", "blocked");
	world_settle();
	add_event(0, "t_1", "completed");
	world_settle();
	arrived("");
	ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	world.answer = NULL;
	world_settle();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked")
			MSG("42", "✔ [b] Kanban t_1 done — t_1"));
}
END_TEST

START_TEST(test_concurrency)
{
	char id[16], chat[16];

	for (int i = 0; i < 40; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		(void)snprintf(chat, sizeof(chat), "%d", i % 10);
		add_task(i % 2, id, "ready", chat);
		add_event(i % 2, id, "status");
	}
	world_settle();
	ck_assert_uint_eq(world.running_max, 4);
	ck_assert_uint_eq(status().sent, 40);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* Within a chat by the time of the events, whatever task or board they are of. */
START_TEST(test_order)
{
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_task(1, "t_3", "ready", "42");
	add_event_at(0, "t_1", "status", "{\"status\":\"1\"}", world.wall - 50);
	add_event_at(0, "t_2", "status", "{\"status\":\"3\"}", world.wall - 30);
	add_event_at(0, "t_1", "status", "{\"status\":\"5\"}", world.wall - 10);
	add_event_at(1, "t_3", "status", "{\"status\":\"2\"}", world.wall - 40);
	add_event_at(1, "t_3", "status", "{\"status\":\"4\"}", world.wall - 20);
	world.settings.concurrency = 0; /* both boards are visited first */
	notify_set(world.n, &world.settings);
	world_settle();
	world.settings.concurrency = 4;
	notify_set(world.n, &world.settings);
	world_settle();
	arrived(MSG("42", "🔄 [b] Kanban t_1 → 1") MSG("42", "🔄 [c] Kanban t_3 → 2")
			MSG("42", "🔄 [b] Kanban t_2 → 3") MSG("42", "🔄 [c] Kanban t_3 → 4")
				MSG("42", "🔄 [b] Kanban t_1 → 5"));
	ck_assert_uint_eq(world.running_max, 1);
}
END_TEST

/* A backlog in one chat does not delay another. */
START_TEST(test_fair)
{
	char id[16], *got;
	unsigned before = 0;

	world.settings.concurrency = 1;
	notify_set(world.n, &world.settings);
	for (int i = 0; i < 30; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(0, id, "ready", "42");
		add_event_at(0, id, "status", NULL, world.wall - 100);
	}
	add_task(1, "t_x", "ready", "43");
	add_event(1, "t_x", "status");
	world_settle();
	got = world_take();
	for (char *line = strtok(got, "\n"); line && !strstr(line, "telegram:43");
	     line = strtok(NULL, "\n"))
		before++;
	ck_assert_uint_le(before, 3);
}
END_TEST

/* ---- failures ------------------------------------------------------------------------------
 */

static bool chat_down;
static const char *poison;

static enum world_answer moody(const char *target, const char *text)
{
	(void)target;
	if (chat_down || (poison && strstr(text, poison)))
		return WORLD_FAIL;
	return WORLD_TAKE;
}

static void since_is(uint64_t from, int64_t want)
{
	int64_t s = (int64_t)(world.mono - from) / 1000;

	ck_assert_msg(s >= want - 1 && s <= want + 7, "after %lld s, not %lld", (long long)s,
		      (long long)want);
}

/* Let time pass until the next try. */
static void until_try(void)
{
	unsigned tries = world.tries;

	for (int i = 0; i < 5000 && world.tries == tries; i++)
		world_pass(1);
	ck_assert_uint_gt(world.tries, tries);
}

START_TEST(test_back_off)
{
	static const int64_t gaps[] = {
		5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600
	};

	world.answer = moody;
	chat_down = true;
	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "completed");
	world_settle();
	for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
		uint64_t from = world.mono;

		ck_assert_uint_eq(world.tries, i + 1);
		ck_assert_int_eq(cursor_of(0, "t_1"), 0);
		ck_assert_uint_eq(status().retrying, 1);
		ck_assert_str_eq(status().error, "chat says no");
		until_try();
		since_is(from, gaps[i]);
	}
	/* told once when it begins, once when it ends */
	ck_assert_uint_eq(world_logged("does not take notifications: chat says no"), 1);
	chat_down = false;
	until_try();
	arrived(MSG("42", "✔ [b] Kanban t_1 done — t_1"));
	ck_assert_uint_eq(world_logged("takes notifications again"), 1);
	ck_assert_uint_eq(status().retrying, 0);
	ck_assert_int_eq(value_on(0, "SELECT count(*) FROM kanban_notify_subs"), 0);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* A restart forgets neither how often it failed nor since when. */
START_TEST(test_back_off_restart)
{
	uint64_t from;

	world.answer = moody;
	chat_down = true;
	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "completed");
	world_settle();
	until_try();
	until_try();
	from = world.mono;
	world_pass(2);
	world_reopen();
	world_settle();
	ck_assert_uint_eq(world.tries, 3);
	until_try();
	since_is(from, 20);
}
END_TEST

/* Of several messages those that got through are not sent again. */
START_TEST(test_partial)
{
	world.answer = moody;
	poison = "timed out";
	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "blocked");
	add_event(0, "t_1", "timed_out");
	add_event(0, "t_1", "completed");
	world_settle();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	poison = NULL;
	until_try();
	arrived(MSG("42", "⏱ [b] Kanban t_1 timed out (max_runtime=0s); will retry")
			MSG("42", "✔ [b] Kanban t_1 done — t_1"));
}
END_TEST

/* The order holds through a hiccup. */
START_TEST(test_hiccup)
{
	world.answer = moody;
	chat_down = true;
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_event_at(0, "t_1", "blocked", NULL, world.wall - 2);
	add_event_at(0, "t_2", "blocked", NULL, world.wall - 1);
	world_settle();
	ck_assert_uint_eq(world.tries, 1);
	world_pass(4);
	ck_assert_uint_eq(world.tries, 1);
	chat_down = false;
	world_pass(4);
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked")
			MSG("42", "⏸ [b] Kanban t_2 blocked"));
}
END_TEST

/* One message that a chat never takes does not stop the others for long. */
START_TEST(test_poison)
{
	uint64_t from;
	char *got;

	world.answer = moody;
	poison = "Kanban t_1 ";
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_task(0, "t_3", "ready", "43");
	add_event_at(0, "t_1", "blocked", NULL, world.wall - 2);
	add_event_at(0, "t_2", "blocked", NULL, world.wall - 1);
	add_event_at(0, "t_3", "blocked", NULL, world.wall);
	world_settle();
	arrived(MSG("43", "⏸ [b] Kanban t_3 blocked"));
	from = world.mono;
	do
		world_pass(5);
	while (!*(got = world_take()));
	ck_assert_str_eq(got, MSG("42", "⏸ [b] Kanban t_2 blocked"));
	ck_assert_int_le((int64_t)(world.mono - from) / 1000, 160);
	ck_assert_uint_eq(status().retrying, 1);
}
END_TEST

static enum world_answer hang(const char *target, const char *text)
{
	(void)target;
	(void)text;
	return WORLD_HANG;
}

START_TEST(test_timeout)
{
	world.answer = hang;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	world_settle();
	world_pass(29);
	ck_assert_uint_eq(world.running, 1);
	ck_assert_uint_eq(status().failed, 0);
	world_pass(2);
	ck_assert_uint_eq(status().failed, 1);
	ck_assert_str_eq(status().error, "hermes send: no end within 30 s");
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	world.answer = NULL;
	until_try();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked"));
}
END_TEST

/* ---- parking -------------------------------------------------------------------------------
 */

static enum world_answer refuse(const char *target, const char *text)
{
	(void)target;
	(void)text;
	return WORLD_REFUSE;
}

static char trouble_text[2000];

static void trouble_one(void *arg, const struct notify_trouble *t)
{
	size_t n = strlen(trouble_text);

	(void)arg;
	(void)snprintf(trouble_text + n, sizeof(trouble_text) - n, "%s %s %s:%s %s %s %s %u;",
		       t->board, t->key->task, t->key->platform, t->key->chat, t->profile,
		       t->parked ? "parked" : "retrying", t->reason, t->failures);
}

static const char *trouble(void)
{
	trouble_text[0] = '\0';
	notify_each_trouble(world.n, trouble_one, NULL);
	return trouble_text;
}

START_TEST(test_park)
{
	world.answer = refuse;
	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "completed");
	world_settle();
	ck_assert_str_eq(trouble(), "b t_1 telegram:42 default parked chat says no 1;");
	ck_assert_uint_eq(status().parked, 1);
	ck_assert_uint_eq(world_logged("4 b t_1 notifications to telegram:42 (profile default) "
				       "are parked: chat says no"),
			  1);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	/* neither time, nor news, nor a restart changes that */
	add_event(0, "t_1", "status");
	world_pass(7200);
	world_reopen();
	world_pass(7200);
	ck_assert_uint_eq(world.tries, 1);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	ck_assert_str_eq(trouble(), "b t_1 telegram:42 default parked chat says no 1;");
	ck_assert_uint_eq(world_logged("are parked"), 1);
	/* asked for */
	ck_assert_uint_eq(notify_retry(world.n, "c", NULL), 0);
	ck_assert_uint_eq(notify_retry(world.n, "b", "t_2"), 0);
	ck_assert_uint_eq(notify_retry(world.n, NULL, NULL), 1);
	world_pass(6); /* it is old: it waits a moment for others */
	ck_assert_uint_eq(world.tries, 2);
	ck_assert_uint_eq(status().parked, 1);
	world.answer = NULL;
	ck_assert_uint_eq(notify_retry(world.n, "b", "t_1"), 1);
	world_pass(6);
	arrived(MSG("42", "✔ [b] Kanban t_1 done — t_1") MSG("42", "🔄 [b] Kanban t_1 → done"));
	ck_assert_str_eq(trouble(), "");
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

START_TEST(test_park_row_changes)
{
	world.answer = refuse;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "completed");
	world_settle();
	ck_assert_uint_eq(status().parked, 1);
	world.answer = NULL;
	add_event(0, "t_1", "claimed");
	world_settle();
	ck_assert_uint_eq(world.tries, 1);
	sql_on(0, "UPDATE kanban_notify_subs SET notifier_profile = 'jimmy'");
	add_event(0, "t_1", "claimed"); /* somebody looks */
	world_settle();
	arrived("jimmy/telegram:42 ✔ [b] Kanban t_1 done — t_1\n");
	ck_assert_uint_eq(status().parked, 0);
	ck_assert_uint_eq(world_logged("no longer parked: its row changed"), 1);
}
END_TEST

START_TEST(test_park_row_goes)
{
	world.answer = refuse;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "completed");
	world_settle();
	sql_on(0, "DELETE FROM kanban_notify_subs");
	add_event(0, "t_1", "claimed");
	world_settle();
	ck_assert_uint_eq(status().parked, 0);
	ck_assert_uint_eq(world_entries(), 0);
	ck_assert_uint_eq(world_logged("no longer parked: the subscription was deleted"), 1);
}
END_TEST

/* A day of failures. */
START_TEST(test_park_in_the_end)
{
	world.answer = moody;
	chat_down = true;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "completed");
	world_pass(23 * 3600);
	ck_assert_uint_eq(status().parked, 0);
	ck_assert_uint_eq(status().retrying, 1);
	world_pass(3 * 3600);
	ck_assert_uint_eq(status().parked, 1);
	ck_assert_uint_eq(world_logged("are parked: chat says no"), 1);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
}
END_TEST

/* A whole adapter is missing: not a warning for each subscription. */
START_TEST(test_park_flood)
{
	char id[16];

	world.answer = refuse;
	for (int i = 0; i < 60; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(0, id, "ready", "42");
		add_event(0, id, "completed");
	}
	world_settle();
	ck_assert_uint_eq(status().parked, 60);
	ck_assert_uint_eq(world_logged("are parked:"), 5);
	world_pass(120);
	ck_assert_uint_eq(
		world_logged("4 - - notifications of 55 more subscriptions are parked"), 1);
	/* an unsubscribed one is forgotten, the others are not */
	sql_on(0, "DELETE FROM kanban_notify_subs WHERE task_id = 't_7'");
	world.want[0] = world.look[0] = true;
	world_settle();
	ck_assert_uint_eq(status().parked, 59);
}
END_TEST

/* ---- digests and folding -------------------------------------------------------------------
 */

START_TEST(test_digest)
{
	char id[16], *got;

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(i % 2, id, "done", "42");
		add_event_at(i % 2, id, "completed", NULL, world.wall - 7200 - i);
	}
	add_task(0, "t_new", "ready", "42");
	add_event(0, "t_new", "blocked");
	world.absent[1] = true;
	world_settle();
	arrived(""); /* a moment, for what else may be found */
	world_pass(3);
	world.absent[1] = false; /* another board is slower */
	world_pass(3);
	got = world_take();
	ck_assert_ptr_nonnull(
		strstr(got, "📋 Kanban: 1000 updates that are 2 h old|✔ 1000 done|"));
	ck_assert_ptr_nonnull(
		strstr(got, "more tasks\n" MSG("42", "⏸ [b] Kanban t_new blocked")));
	ck_assert_uint_eq(world.tries, 2);
	ck_assert_uint_eq(status().digests, 1);
	ck_assert_int_eq(value_on(0, "SELECT count(*) FROM kanban_notify_subs"), 1);
	ck_assert_int_eq(value_on(1, "SELECT count(*) FROM kanban_notify_subs"), 0);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* One subscription with a long past; and a few old ones are told one by one. */
START_TEST(test_digest_one)
{
	add_task(0, "t_1", "ready", "42");
	for (int i = 0; i < 30; i++)
		add_event_at(0, "t_1", "status", "{\"status\":\"x\"}", world.wall - 9000);
	add_event(0, "t_1", "blocked");
	add_task(0, "t_2", "ready", "43");
	for (int i = 0; i < 20; i++)
		add_event_at(0, "t_2", "status", "{\"status\":\"x\"}", world.wall - 9000);
	world_pass(6);
	ck_assert_uint_eq(world.tries, 22);
	ck_assert_ptr_nonnull(strstr(world_take(), "📋 Kanban: 30 updates that are 2 h old|🔄 30 "
						   "moved|🔄 [b] Kanban t_1 → x\n"));
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

START_TEST(test_digest_fails)
{
	char id[16];

	world.answer = moody;
	chat_down = true;
	for (int i = 0; i < 50; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(0, id, "done", "42");
		add_event_at(0, id, "completed", NULL, world.wall - 7200);
	}
	world_pass(6);
	ck_assert_uint_eq(world.tries, 1);
	ck_assert_uint_eq(status().retrying, 50);
	ck_assert_int_eq(
		value_on(0, "SELECT count(*) FROM kanban_notify_subs WHERE last_event_id = 0"),
		50);
	chat_down = false;
	world_pass(20);
	ck_assert_uint_eq(world.tries, 2);
	ck_assert_uint_eq(status().digests, 1);
	ck_assert_uint_eq(status().retrying, 0);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

#define CRASH "✖ [b] Kanban t_1 worker crashed (pid gone); dispatcher will retry"

START_TEST(test_fold)
{
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "crashed");
	world_settle();
	arrived(MSG("42", CRASH));
	for (int i = 0; i < 3; i++) {
		world_pass(300);
		add_event(0, "t_1", "crashed");
		world_settle();
		arrived("");
		ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	}
	world_reopen();
	world_pass(600);
	arrived("");
	world_pass(600);
	world.want[0] = world.look[0] = true; /* the owner looks when held_until comes */
	world_settle();
	arrived(MSG("42", CRASH " (3 times in 10 min)"));
	/* something else is told at once, with what was held back */
	add_event(0, "t_1", "crashed");
	world_settle();
	arrived("");
	add_event(0, "t_1", "gave_up");
	world_settle();
	arrived(MSG("42", CRASH) MSG("42", "✖ [b] Kanban t_1 gave up after repeated spawn "
					   "failures"));
	/* somebody unblocked it: what comes then is news */
	add_event(0, "t_1", "unblocked");
	add_event(0, "t_1", "gave_up");
	world_settle();
	arrived(MSG("42", "✖ [b] Kanban t_1 gave up after repeated spawn failures"));
	world_pass(3600);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* ---- others on the same board --------------------------------------------------------------
 */

/* The cursor was moved on while a message failed: it is not lost, and not sent by others. */
START_TEST(test_kept)
{
	world.answer = hang;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	world_settle();
	sql_on(0, "INSERT INTO task_events (task_id, kind, created_at) VALUES ('t_1', "
		  "'status', 1);"
		  "UPDATE kanban_notify_subs SET last_event_id = 2");
	world_pass(31);
	ck_assert_uint_eq(status().failed, 1);
	ck_assert_int_eq(cursor_of(0, "t_1"), 2);
	ck_assert_uint_eq(world_entries(), 3);
	world.answer = moody;
	chat_down = true;
	until_try();
	world_reopen();
	until_try();
	ck_assert_int_eq(cursor_of(0, "t_1"), 2);
	sql_on(0, "DELETE FROM kanban_notify_subs");
	chat_down = false;
	until_try();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	ck_assert_uint_eq(world_entries(), 0);
	ck_assert(notify_idle(world.n));
}
END_TEST

/* Kept and parked, and asked for. */
START_TEST(test_kept_parked)
{
	world.answer = refuse;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	world.absent[0] = false;
	(void)notify_turn(world.n);
	world_visit(0);
	sql_on(0, "UPDATE kanban_notify_subs SET last_event_id = 7");
	world_settle();
	ck_assert_uint_eq(status().parked, 1);
	world_reopen();
	world_pass(7200);
	ck_assert_uint_eq(world.tries, 1);
	world.answer = NULL;
	ck_assert_uint_eq(notify_retry(world.n, NULL, NULL), 1);
	world_pass(6);
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	ck_assert_int_eq(cursor_of(0, "t_1"), 7);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* A gateway delivers what failed here meanwhile: nothing is tried again. */
START_TEST(test_somebody_else)
{
	world.answer = moody;
	chat_down = true;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	world_settle();
	ck_assert_uint_eq(status().retrying, 1);
	sql_on(0, "UPDATE kanban_notify_subs SET last_event_id = 1");
	world_pass(20);
	ck_assert_uint_eq(world.tries, 1);
	ck_assert_uint_eq(status().retrying, 0);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

START_TEST(test_unserved)
{
	int fd;

	ck_assert_int_eq(mkdir(help_path("profiles"), 0700), 0);
	ck_assert_int_eq(mkdir(help_path("profiles/jimmy"), 0700), 0);
	fd = open(help_path("profiles/jimmy/gateway.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	add_task(0, "t_1", "ready", "42");
	sql_on(0, "UPDATE kanban_notify_subs SET notifier_profile = 'jimmy'");
	add_event(0, "t_1", "blocked");
	for (int i = 0; i < 12; i++) {
		world_pass(30);
		world.want[0] = world.look[0] = true;
	}
	world_settle();
	ck_assert_uint_eq(world.tries, 0);
	ck_assert_uint_eq(
		world_logged("4 b - nobody delivers the news of profile jimmy "
			     "(subscriptions: 1): its gateway runs but does not take them"),
		1);
	ck_assert_uint_eq(status().unserved, 1);
	/* it takes them after all */
	sql_on(0, "UPDATE kanban_notify_subs SET last_event_id = 1");
	world.want[0] = world.look[0] = true;
	world_settle();
	ck_assert_uint_eq(world_logged("the news of profile jimmy is delivered again"), 1);
	ck_assert_uint_eq(status().unserved, 0);
	/* or goes: then it is ours */
	add_event(0, "t_1", "timed_out");
	world_settle();
	ck_assert_int_eq(close(fd), 0);
	for (int i = 0; i < 3; i++) {
		world_pass(31);
		world.want[0] = world.look[0] = true;
		world_settle();
	}
	ck_assert_uint_eq(world.tries, 1);
	/* switched off: what belongs to nobody is told at once */
	gateways_set_mode(world.gateways, NOTIFY_OFF);
	add_task(0, "t_2", "ready", "43");
	add_event(0, "t_2", "blocked");
	world_settle();
	ck_assert_uint_eq(world_logged("4 b - nobody delivers the news of no profile"), 1);
	ck_assert_uint_eq(world.tries, 1);
}
END_TEST

/* ---- the outbox ----------------------------------------------------------------------------
 */

START_TEST(test_no_room)
{
	world.intent_fails = true;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	world_settle();
	ck_assert_uint_eq(world.tries, 0);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	world.intent_fails = false;
	world.want[0] = world.look[0] = true;
	world_settle();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked"));
}
END_TEST

/* Outcomes that cannot be written stop everything; nothing is sent twice when they can. */
START_TEST(test_unwritten)
{
	struct rlimit old, small;
	char id[16];

	for (int i = 0; i < 10; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(0, id, "done", "42");
		add_event(0, id, "completed");
	}
	(void)notify_turn(world.n);
	world_visit(0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	small = old;
	small.rlim_cur = 300;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 20; i++) {
		(void)notify_turn(world.n);
		(void)uv_run(&world.loop, UV_RUN_NOWAIT);
		if (world.running) { /* the chat has it; only writing it down fails */
			struct rlimit free_one = old;

			ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &free_one), 0);
			(void)world_children();
			ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
		}
		while (world.jobs.count)
			(void)uv_run(&world.loop, UV_RUN_ONCE);
		world.mono += 500;
	}
	ck_assert_uint_eq(world.tries, 1);
	ck_assert(status().unwritten);
	ck_assert_uint_eq(world_logged("no notification is sent until it can be"), 1);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	world_pass(120);
	ck_assert_uint_eq(world.tries, 10);
	ck_assert_uint_eq(status().sent, 10);
	ck_assert(!status().unwritten);
	ck_assert_uint_eq(world_logged("the outbox can be written again"), 1);
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* A board that is gone answers nothing, so what is known decides. */
START_TEST(test_board_gone)
{
	const char **boards;

	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "completed");
	(void)notify_turn(world.n);
	world_visit(0);
	world.absent[0] = true;
	world_settle();
	arrived(MSG("42", "✔ [b] Kanban t_1 done — t_1"));
	ck_assert(notify_has_ops(world.n, "b"));
	boards = notify_boards(world.n);
	ck_assert_str_eq(boards[0], "b");
	ck_assert_ptr_null(boards[1]);
	free(boards);
	notify_board_gone(world.n, "b");
	world_settle();
	ck_assert(!notify_has_ops(world.n, "b"));
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* ---- stopping ------------------------------------------------------------------------------
 */

static void stopped(void *arg)
{
	(void)arg;
	world.stopped = true;
}

static bool hang_one(void)
{
	return world.running > 0;
}

static enum world_answer hang_42(const char *target, const char *text)
{
	(void)text;
	return strstr(target, ":42") ? WORLD_HANG : WORLD_TAKE;
}

START_TEST(test_stop)
{
	world.answer = hang_42;
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_event_at(0, "t_1", "blocked", NULL, world.wall - 1);
	add_event(0, "t_2", "blocked");
	world_settle();
	ck_assert(hang_one());
	notify_stop(world.n, stopped, NULL);
	world_settle();
	ck_assert(!world.stopped); /* the child gets its time */
	world.answer = NULL;
	world_settle();
	ck_assert(world.stopped);
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	/* the other one is back on the board, for whoever comes next */
	ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	ck_assert_int_eq(cursor_of(0, "t_2"), 0);
	ck_assert_uint_eq(world_entries(), 0);
	world_reopen();
	world_settle();
	arrived(MSG("42", "⏸ [b] Kanban t_2 blocked"));
}
END_TEST

START_TEST(test_stop_hanging)
{
	world.answer = hang_42;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	world_settle();
	notify_stop(world.n, stopped, NULL);
	world_pass(4);
	ck_assert(!world.stopped);
	world_pass(2);
	ck_assert(world.stopped);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	ck_assert_uint_eq(world_entries(), 0);
	/* that was no failure of the chat */
	world.answer = NULL;
	world_reopen();
	world_settle();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked"));
}
END_TEST

/* Closed at once, children and all: the outbox has it. */
START_TEST(test_close)
{
	world.answer = hang_42;
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_event(0, "t_1", "blocked");
	add_event(0, "t_2", "blocked");
	world_settle();
	world_reopen();
	world.answer = NULL;
	world_settle();
	arrived(MSG("42", "⏸ [b] Kanban t_1 blocked")
			MSG("42", "⏸ [b] Kanban t_2 blocked"));
	ck_assert_uint_eq(world_entries(), 0);
}
END_TEST

/* ---- the end between any two steps ---------------------------------------------------------
 */

/* Chats for the sweep: 42 is moody about one message, once; the others take all. */
static enum world_answer sweep_answer(const char *target, const char *text)
{
	(void)target;
	if (strstr(text, "t_2 blocked") && access(help_path("failed-once"), F_OK) < 0) {
		help_write("failed-once", "", 0);
		return WORLD_FAIL;
	}
	return WORLD_TAKE;
}

static void sweep_fill(void)
{
	add_task(0, "t_1", "done", "42");
	add_task(0, "t_2", "ready", "42");
	add_task(1, "t_3", "done", "43");
	add_event(0, "t_1", "blocked");
	add_event(0, "t_2", "blocked");
	add_event(0, "t_1", "completed");
	add_event(1, "t_3", "completed");
	sql_on(0, "INSERT INTO kanban_notify_subs (task_id, platform, chat_id, created_at)"
		  " VALUES ('t_1', 'telegram', '44', 1)");
}

/* In a process of its own: up to the step, or to the end. Return: did it get to the end? */
static bool sweep_life(int die_at)
{
	int st = 0;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		world.steps = 0;
		world.die_at = die_at;
		world.answer = sweep_answer;
		world_open();
		world_pass(30);
		world_step();
		world_close();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &st, 0), pid);
	ck_assert(WIFEXITED(st));
	ck_assert_msg(WEXITSTATUS(st) == 0 || WEXITSTATUS(st) == 77, "step %d", die_at);
	return WEXITSTATUS(st) == 0;
}

static unsigned count_lines(const char *text, const char *line)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, line)); p++)
		n++;
	return n;
}

/* How many messages the ends so far may have cut off. */
static unsigned sweep_cut(void)
{
	char *data = NULL;
	size_t len = 0;

	if (fs_read_file(help_path("cut"), 1000, &data, &len) < 0)
		return 0;
	free(data);
	return (unsigned)len;
}

static void sweep_check(int step)
{
	static const char *const want[] = {
		MSG("42", "⏸ [b] Kanban t_1 blocked"),
		MSG("42", "⏸ [b] Kanban t_2 blocked"),
		MSG("42", "✔ [b] Kanban t_1 done — t_1"),
		MSG("43", "✔ [c] Kanban t_3 done — t_3"),
		MSG("44", "⏸ [b] Kanban t_1 blocked"),
		MSG("44", "✔ [b] Kanban t_1 done — t_1"),
	};
	char *got = world_take();
	unsigned doubles = 0;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		unsigned n = count_lines(got, want[i]);

		ck_assert_msg(n >= 1, "step %d: lost: %sof\n%s", step, want[i], got);
		doubles += n - 1;
	}
	ck_assert_msg(doubles <= sweep_cut(), "step %d: %u doubles, %u cut off, in\n%s", step,
		      doubles, sweep_cut(), got);
	world_open();
	world_pass(30);
	ck_assert_uint_eq(world_entries(), 0);
	ck_assert(notify_idle(world.n));
	ck_assert_int_eq(value_on(0, "SELECT count(*) FROM kanban_notify_subs"), 1);
	ck_assert_int_eq(cursor_of(0, "t_2"), 2);
	ck_assert_int_eq(value_on(1, "SELECT count(*) FROM kanban_notify_subs"), 0);
	arrived("");
	world_close();
}

static void sweep_fresh(void)
{
	static const char *const names[] = { "b.db", "c.db", "outbox", "failed-once", "cut" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)remove(help_path(names[i]));
	world.die_at = 0;
	world_open();
	sweep_fill();
	world_close();
}

START_TEST(test_end_anywhere)
{
	bool over = false;
	int step = 1;

	world_close();
	for (; !over; step++) {
		ck_assert_int_lt(step, 1000);
		sweep_fresh();
		over = sweep_life(step);
		if (!over)
			ck_assert(sweep_life(0));
		sweep_check(step);
	}
	ck_assert_int_gt(step, 30); /* it did go through the whole of it */
	world_open();
}
END_TEST

/* Several ends in a row. */
START_TEST(test_end_often)
{
	unsigned seed = 1;

	world_close();
	for (int round = 0; round < 40; round++) {
		int lives = 0;

		sweep_fresh();
		for (; lives < 6; lives++) {
			seed = seed * 1103515245 + 12345;
			if (sweep_life(1 + (int)(seed >> 16) % 25))
				break;
		}
		ck_assert(sweep_life(0));
		sweep_check(round);
	}
	world_open();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("notify");
	TCase *t = tcase_create("notify");

	tcase_add_checked_fixture(t, world_setup, world_teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, test_delivers);
	tcase_add_test(t, test_many_events);
	tcase_add_test(t, test_meanwhile);
	tcase_add_test(t, test_concurrency);
	tcase_add_test(t, test_order);
	tcase_add_test(t, test_fair);
	tcase_add_test(t, test_back_off);
	tcase_add_test(t, test_back_off_restart);
	tcase_add_test(t, test_partial);
	tcase_add_test(t, test_hiccup);
	tcase_add_test(t, test_poison);
	tcase_add_test(t, test_timeout);
	tcase_add_test(t, test_park);
	tcase_add_test(t, test_park_row_changes);
	tcase_add_test(t, test_park_row_goes);
	tcase_add_test(t, test_park_in_the_end);
	tcase_add_test(t, test_park_flood);
	tcase_add_test(t, test_digest);
	tcase_add_test(t, test_digest_one);
	tcase_add_test(t, test_digest_fails);
	tcase_add_test(t, test_fold);
	tcase_add_test(t, test_kept);
	tcase_add_test(t, test_kept_parked);
	tcase_add_test(t, test_somebody_else);
	tcase_add_test(t, test_unserved);
	tcase_add_test(t, test_no_room);
	tcase_add_test(t, test_unwritten);
	tcase_add_test(t, test_board_gone);
	tcase_add_test(t, test_stop);
	tcase_add_test(t, test_stop_hanging);
	tcase_add_test(t, test_close);
	tcase_add_test(t, test_end_anywhere);
	tcase_add_test(t, test_end_often);
	suite_add_tcase(s, t);
	return help_main(s);
}
