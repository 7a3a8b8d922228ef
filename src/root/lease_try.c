/*
 * What everybody who holds the lease can do, with or without a loop, and lease_try(), which is
 * for `--once` and for commands that work on the files while no daemon runs.
 */
#include <errno.h>
#include <stdlib.h>

#include "root.h"
#include "util/fs.h"

#define LEASE_TRIES 16 /* while the file is being replaced */

int lease_base_init(struct lease *lease, const char *root, const struct lease_identity *who)
{
	int r;

	lease->hold = (struct lease_hold)LEASE_HOLD_NULL;
	lease->next = (struct lease_hold)LEASE_HOLD_NULL;
	lease->news.pidfd = -1;
	lease_self_init(&lease->self, who);
	r = lease_paths_init(&lease->paths, root);
	if (r == 0)
		r = -pthread_mutex_init(&lease->mutex, NULL);
	if (r == 0) {
		r = -pthread_mutex_init(&lease->owner_mutex, NULL);
		if (r < 0)
			(void)pthread_mutex_destroy(&lease->mutex);
	}
	if (r < 0)
		lease_paths_deinit(&lease->paths);
	return r;
}

void lease_base_deinit(struct lease *lease)
{
	fs_closep(&lease->news.pidfd);
	lease_hold_clear(&lease->hold);
	lease_hold_clear(&lease->next);
	lease_paths_deinit(&lease->paths);
	(void)pthread_mutex_destroy(&lease->owner_mutex);
	(void)pthread_mutex_destroy(&lease->mutex);
}

void lease_adopt(struct lease *lease, struct lease_hold *hold)
{
	(void)pthread_mutex_lock(&lease->mutex);
	lease->hold = *hold;
	(void)pthread_mutex_unlock(&lease->mutex);
	*hold = (struct lease_hold)LEASE_HOLD_NULL;
	lease->last_epoch = lease->hold.owner.epoch;
	atomic_store(&lease->settled, false);
}

void lease_release(struct lease *lease)
{
	(void)pthread_mutex_lock(&lease->mutex);
	lease_hold_clear(&lease->hold);
	(void)pthread_mutex_unlock(&lease->mutex);
}

int lease_check(const struct lease *lease, struct error *e)
{
	struct lease_owner owner;

	return lease_check_copy(lease, &owner, e);
}

const char *const *lease_claimants(const struct lease *lease, size_t *count)
{
	*count = atomic_load(&lease->settled) ? 0 : lease->hold.claimants.count;
	return (const char *const *)lease->hold.claimants.lock;
}

static int lease_try_once(struct lease *lease, struct error *e)
{
	struct lease_holder holder;
	int r = lease_lock_open(&lease->paths, &lease->next, e);

	if (r < 0)
		return r;
	r = fs_lock_try(lease->next.fd);
	if (r == -EWOULDBLOCK) {
		lease_holder_name(lease, &lease->next, &holder);
		r = error_set(
			e, LEASE_HELD,
			"the lease of %s is held by %s; ask it with kanbanctl, or stop it",
			lease->paths.root, holder.text);
	} else if (r < 0) {
		r = error_errno(e, r, "cannot take the lease of %s: cannot lock %s",
				lease->paths.root, lease->paths.lock);
	} else {
		return lease_take(lease, &lease->next, e);
	}
	lease_hold_clear(&lease->next);
	return r;
}

int lease_try(struct lease **out, const char *root, const struct lease_identity *who,
	      int64_t *epoch, struct error *e)
{
	struct lease *lease = calloc(1, sizeof(*lease));
	int r;

	if (!lease)
		return error_errno(e, -ENOMEM, "cannot take the lease of %s", root);
	r = lease_base_init(lease, root, who);
	if (r < 0) {
		free(lease);
		return error_errno(e, r, "cannot take the lease of %s", root);
	}
	r = LEASE_LOST;
	for (int i = 0; i < LEASE_TRIES && r == LEASE_LOST; i++)
		r = lease_try_once(lease, e);
	if (r == LEASE_LOST) /* e says what keeps happening to the file */
		r = error_set(e, -EAGAIN,
			      "cannot take the lease of %s: something keeps replacing %s", root,
			      lease->paths.lock);
	if (r != 0) {
		lease_free(lease);
		return r;
	}
	lease_adopt(lease, &lease->next);
	*epoch = lease->hold.owner.epoch;
	*out = lease;
	return 0;
}

struct lease *lease_free(struct lease *lease)
{
	if (!lease)
		return NULL;
	if (lease->hold.owner.epoch > 0) /* the history says so, or not */
		IGNORE(lease_leave(lease, "it was done"));
	lease_base_deinit(lease);
	free(lease);
	return NULL;
}
