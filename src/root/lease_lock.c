/*
 * The lock file `<root>/kanban/.dispatcher.lock`. It is created if missing and never unlinked:
 * an unlinked lock file is one that two processes can each hold their own copy of. What others
 * may do with it (an operator's rm, a restore of a backup over it) is found by comparing the
 * inode that we locked with the one that the path names; as long as our descriptor is open the
 * kernel does not give its inode number to another file, so device and inode, read once from
 * the descriptor, are enough.
 *
 * The file also carries the epoch as a line of text. Hermes only locks it and does not care;
 * for us it is the second copy of the generation counter, for the day when the owner file is
 * corrupt or deleted. It is a hint and not fsynced: whichever of the two says more, counts.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "root.h"
#include "util/fs.h"

int lease_paths_init(struct lease_paths *paths, const char *root)
{
	size_t len = strlen(root);

	*paths = (struct lease_paths){ 0 };
	while (len > 1 && root[len - 1] == '/')
		len--;
	paths->root = strndup(root, len);
	if (!paths->root)
		return -ENOMEM;
	paths->folder = fs_path("%s/kanban", paths->root);
	paths->lock = fs_path("%s/kanban/.dispatcher.lock", paths->root);
	paths->owner = fs_path("%s/kanban/.dispatcher.owner.json", paths->root);
	return paths->folder && paths->lock && paths->owner ? 0 : -ENOMEM;
}

void lease_paths_deinit(struct lease_paths *paths)
{
	free(paths->root);
	free(paths->folder);
	free(paths->lock);
	free(paths->owner);
	*paths = (struct lease_paths){ 0 };
}

void lease_claimants_clear(struct lease_claimants *claimants)
{
	for (size_t i = 0; i < claimants->count; i++)
		free(claimants->lock[i]);
	*claimants = (struct lease_claimants){ .count = 0 };
}

void lease_hold_clear(struct lease_hold *hold)
{
	fs_closep(&hold->fd);
	lease_claimants_clear(&hold->claimants);
	*hold = (struct lease_hold)LEASE_HOLD_NULL;
}

/* The sentence for a lock file that cannot be opened; the code alone is no help at 3 a.m. */
static int lease_lock_open_error(const struct lease_paths *paths, int r, struct error *e)
{
	switch (r) {
	case -EROFS:
		return error_set(e, r,
				 "cannot take the lease of %s: its file system is read-only; "
				 "remount it read-write",
				 paths->root);
	case -EACCES:
	case -EPERM:
		return error_set(e, r,
				 "cannot take the lease of %s: no right to write %s; run "
				 "kanband as the user that owns the root",
				 paths->root, paths->lock);
	case -ELOOP:
	case -EISDIR:
	case -EINVAL:
		return error_set(e, r,
				 "cannot take the lease of %s: %s is not a regular file; move "
				 "it away",
				 paths->root, paths->lock);
	default:
		return error_errno(e, r, "cannot take the lease of %s: cannot open %s",
				   paths->root, paths->lock);
	}
}

int lease_lock_open(const struct lease_paths *paths, struct lease_hold *hold, struct error *e)
{
	struct stat st;
	int fd, r;

	if (stat(paths->root, &st) < 0) {
		r = -errno;
		if (r == -ENOENT)
			return error_set(e, r,
					 "kanban root %s does not exist; create it with "
					 "`kanbanctl init %s` or correct the configuration",
					 paths->root, paths->root);
		return error_errno(e, r, "kanban root %s cannot be reached", paths->root);
	}
	if (!S_ISDIR(st.st_mode))
		return error_set(e, -ENOTDIR,
				 "kanban root %s is not a folder; correct the configuration",
				 paths->root);
	if (!fs_is_dir(paths->folder) && mkdir(paths->folder, 0755) < 0 && errno != EEXIST)
		return lease_lock_open_error(paths, -errno, e);
	/* looked at first: opening a FIFO or a device for writing is not without effect */
	if (lstat(paths->lock, &st) == 0 && !S_ISREG(st.st_mode))
		return lease_lock_open_error(paths, -EINVAL, e);
	fd = fs_lock_open(paths->lock);
	if (fd < 0)
		return lease_lock_open_error(paths, fd, e);
	if (fstat(fd, &st) < 0) {
		r = -errno;
		fs_closep(&fd);
		return lease_lock_open_error(paths, r, e);
	}
	hold->dev = st.st_dev;
	hold->ino = st.st_ino;
	hold->fd = fd;
	return 0;
}

int lease_lock_is(const struct lease_paths *paths, dev_t dev, ino_t ino, struct error *e)
{
	struct stat st;

	if (stat(paths->lock, &st) < 0) {
		if (errno == ENOENT)
			return error_set(e, LEASE_LOST, "the lock file %s was removed",
					 paths->lock);
		return error_set(e, LEASE_LOST, "the lock file %s cannot be seen any more: %s",
				 paths->lock, strerror(errno));
	}
	if (st.st_dev != dev || st.st_ino != ino)
		return error_set(e, LEASE_LOST, "the lock file %s was replaced by another",
				 paths->lock);
	return 0;
}

int lease_check_copy(const struct lease *lease, struct lease_owner *owner, struct error *e)
{
	/* the mutex is no part of what the lease says */
	pthread_mutex_t *mutex = (pthread_mutex_t *)&lease->mutex;
	dev_t dev;
	ino_t ino;

	(void)pthread_mutex_lock(mutex);
	*owner = lease->hold.owner;
	dev = lease->hold.dev;
	ino = lease->hold.ino;
	(void)pthread_mutex_unlock(mutex);
	if (owner->epoch == 0)
		return error_set(e, LEASE_LOST, "this process does not own the lease of %s",
				 lease->paths.root);
	return lease_lock_is(&lease->paths, dev, ino, e);
}

#define LEASE_NOTE "kanband epoch "

int64_t lease_lock_epoch(int fd)
{
	char text[64];
	int64_t epoch = 0;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	size_t i = sizeof(LEASE_NOTE) - 1;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	if (strncmp(text, LEASE_NOTE, i) != 0)
		return 0;
	for (; text[i] >= '0' && text[i] <= '9'; i++) {
		if (epoch > LEASE_EPOCH_MAX / 10)
			return 0;
		epoch = epoch * 10 + (text[i] - '0');
	}
	/* the newline shows that the number was written to its end */
	return text[i] == '\n' && epoch <= LEASE_EPOCH_MAX ? epoch : 0;
}

void lease_lock_note(int fd, int64_t epoch)
{
	char text[64];
	int n = snprintf(text, sizeof(text), LEASE_NOTE "%" PRId64 "\n", epoch);
	struct stat st;

	/* what has a second name is somebody's file, too */
	if (fstat(fd, &st) < 0 || st.st_nlink != 1)
		return;
	if (n > 0 && pwrite(fd, text, (size_t)n, 0) == n)
		(void)!ftruncate(fd,
				 n); /* a hint: what is left behind the newline is ignored */
}
