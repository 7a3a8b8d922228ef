/*
 * News that is not ours to deliver. Mostly a gateway takes it within seconds; where nobody
 * seems to, an operator is told once, and once more when it is over.
 */
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "notify.h"
#include "util/log.h"

#define SKIP_FIRST_MS 60000 /* a gateway that has just started has so long */
#define SKIP_LOOK_S   30    /* look again at what a gateway ought to take … */
#define SKIP_SLOW_S   300   /* … and at what it has not taken for long */

static const char *skip_reason(const struct notify *n, const struct notify_skipped_one *k)
{
	bool owned = k->profile[strspn(k->profile, " \t")] != '\0';

	if (k->why == SUBS_NO_TEXT)
		return "its platform, chat, thread or profile is no text";
	if (gateways_mode(n->gateways) == NOTIFY_OFF)
		return owned ? "notify = off here, and its gateway does not take them"
			     : "notify = off here, and it names no profile whose gateway could";
	if (k->why == SUBS_WAKE)
		return "it only wakes an agent, and its gateway does not run";
	return "its gateway runs but does not take them: see whether it has that adapter, or "
	       "set notify = all";
}

/* Is nobody serving it? */
static bool skip_is_bad(struct notify *n, const struct notify_skipped_one *k)
{
	enum gateway_state gateway = gateways_state(n->gateways, k->profile);
	bool off = gateways_mode(n->gateways) == NOTIFY_OFF;

	if (k->why == SUBS_NO_TEXT || (off && gateway == GATEWAY_NONE))
		return true;
	if (!off && k->why == SUBS_NOT_OURS && gateway != GATEWAY_RUNNING)
		return false; /* ours in a moment */
	return notify_wall(n) - k->oldest >= NOTIFY_UNSERVED_S &&
	       notify_mono(n) - k->first_ms >= SKIP_FIRST_MS;
}

static void skip_told(struct notify *n, struct notify_skipped_one *k)
{
	bool bad = skip_is_bad(n, k);

	if (bad == k->told)
		return;
	k->told = bad;
	if (bad)
		notify_log_id(n, LOG_ID_UNSERVED, LOG_WARNING, k->board, NULL,
			      "nobody delivers the news of %s%s (subscriptions: %u): %s",
			      k->profile[0] ? "profile " : "no profile", k->profile, k->count,
			      skip_reason(n, k));
	else
		notify_log_id(n, LOG_ID_UNSERVED, LOG_NOTICE, k->board, NULL,
			      "the news of %s%s is delivered again",
			      k->profile[0] ? "profile " : "no profile", k->profile);
	n->calls.changed(n->calls.arg);
}

static void skip_free(struct notify_skipped_one *k)
{
	free(k->board);
	free(k->profile);
	free(k);
}

static struct notify_skipped_one *skip_get(struct notify *n, const char *board,
					   const struct subs_skip *skip)
{
	struct notify_skipped_one *k = n->skips;

	while (k && (k->why != skip->why || strcmp(k->board, board) != 0 ||
		     strcmp(k->profile, skip->profile) != 0))
		k = k->next;
	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->why = skip->why;
	k->first_ms = notify_mono(n);
	k->board = strdup(board);
	k->profile = strdup(skip->profile);
	if (!k->board || !k->profile) {
		skip_free(k);
		return NULL;
	}
	k->next = n->skips;
	n->skips = k;
	return k;
}

void notify_skips_unsee(struct notify *n)
{
	for (struct notify_skipped_one *k = n->skips; k; k = k->next)
		k->seen = false;
}

void notify_skips_served(struct notify *n, const char *board)
{
	struct notify_skipped_one **p = &n->skips;

	while (*p) {
		struct notify_skipped_one *k = *p;

		if (k->seen || strcmp(k->board, board) != 0) {
			p = &k->next;
			continue;
		}
		if (k->told) {
			k->told = false;
			notify_log_id(n, LOG_ID_UNSERVED, LOG_NOTICE, k->board, NULL,
				      "the news of %s%s is delivered again",
				      k->profile[0] ? "profile " : "no profile", k->profile);
			n->calls.changed(n->calls.arg);
		}
		*p = k->next;
		skip_free(k);
	}
}

unsigned notify_skipped(struct notify *n, const char *board, const struct subs_skip *skips,
			size_t count)
{
	unsigned again = 0;

	notify_skips_unsee(n);
	for (size_t i = 0; i < count; i++) {
		struct notify_skipped_one *k = skip_get(n, board, &skips[i]);

		if (!k)
			continue; /* no memory: it is seen again */
		k->seen = true;
		k->count = skips[i].count;
		k->oldest = skips[i].oldest;
		skip_told(n, k);
		if (!k->told)
			again = SKIP_LOOK_S;
		else if (!again)
			again = SKIP_SLOW_S;
	}
	notify_skips_served(n, board);
	return again;
}

void notify_each_unserved(const struct notify *n,
			  void (*fn)(void *arg, const struct notify_unserved *u), void *arg)
{
	for (const struct notify_skipped_one *k = n->skips; k; k = k->next)
		if (k->told)
			fn(arg, &(struct notify_unserved){ .board = k->board,
							   .profile = k->profile,
							   .reason = skip_reason(n, k),
							   .count = k->count,
							   .oldest = k->oldest });
}

void notify_skips_deinit(struct notify *n)
{
	while (n->skips) {
		struct notify_skipped_one *next = n->skips->next;

		skip_free(n->skips);
		n->skips = next;
	}
}
