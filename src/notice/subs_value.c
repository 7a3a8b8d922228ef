/* Keys of subscriptions: copied, compared. */
#include "notice/subs_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void subs_key_deinit(struct subs_key *key)
{
	/* the casts: a copy's texts are ours to free */
	free((char *)(uintptr_t)key->task);
	free((char *)(uintptr_t)key->platform);
	free((char *)(uintptr_t)key->chat);
	free((char *)(uintptr_t)key->thread);
	*key = (struct subs_key){ 0 };
}

int subs_key_copy(struct subs_key *to, const struct subs_key *from)
{
	*to = (struct subs_key){ .task = strdup(from->task),
				 .platform = strdup(from->platform),
				 .chat = strdup(from->chat),
				 .thread = strdup(from->thread) };
	if (to->task && to->platform && to->chat && to->thread)
		return 0;
	subs_key_deinit(to);
	return -ENOMEM;
}

int subs_key_order(const struct subs_key *a, const struct subs_key *b)
{
	int r = strcmp(a->task, b->task);

	if (r == 0)
		r = strcmp(a->platform, b->platform);
	if (r == 0)
		r = strcmp(a->chat, b->chat);
	return r ? r : strcmp(a->thread, b->thread);
}

int subs_hold_order(const void *a, const void *b)
{
	return subs_key_order(&((const struct subs_hold *)a)->key,
			      &((const struct subs_hold *)b)->key);
}
