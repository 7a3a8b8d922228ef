#include "chats.h"

#include <check.h>
#include <stdbool.h>
#include <string.h>

#include "delivery.h"
#include "suite.h"
#include "util/fs.h"

void chats_got(const char *want)
{
	char *got = delivery_take();

	ck_assert_str_eq(got, want);
}

struct notify_status delivery_status(void)
{
	struct notify_status st;

	notify_get_status(world.n, &st);
	return st;
}

bool chats_idle(void)
{
	struct notify_status st = delivery_status();

	return !st.queued && !st.sending && !st.settling && notify_settled(world.n);
}

bool chat_down;
const char *chat_poison;

enum delivery_answer chat_moody(const char *target, const char *text)
{
	(void)target;
	if (chat_down || (chat_poison && strstr(text, chat_poison)))
		return WORLD_FAIL;
	return WORLD_TAKE;
}

void chat_next_try(void)
{
	unsigned tries = world.tries;

	for (int i = 0; i < 5000 && world.tries == tries; i++)
		delivery_pass(1);
	ck_assert_uint_gt(world.tries, tries);
}

enum delivery_answer chat_hangs(const char *target, const char *text)
{
	(void)target;
	(void)text;
	return WORLD_HANG;
}

enum delivery_answer chat_refuses(const char *target, const char *text)
{
	(void)target;
	(void)text;
	return WORLD_REFUSE;
}
