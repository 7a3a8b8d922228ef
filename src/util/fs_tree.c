/*
 * Removes a folder with everything in it, by descriptors: no link is followed and no other
 * file system entered.
 */
#include "util/fs_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"

#define FS_TREE_DEPTH 256 /* folders within folders, each a descriptor */

static int fs_tree_one(int dirfd, const char *name, dev_t dev, unsigned depth, int64_t *bytes);

/* Everything in the folder, then nothing is in it. */
static int fs_tree_empty(int dirfd, const char *name, dev_t dev, unsigned depth, int64_t *bytes)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		fs_closep(&fd);
		return r;
	}
	while ((entry = readdir(dir))) {
		int one;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		one = fs_tree_one(fd, entry->d_name, dev, depth, bytes);
		r = r ? r : one;
	}
	(void)closedir(dir); /* it was only read */
	return r;
}

static int fs_tree_one(int dirfd, const char *name, dev_t dev, unsigned depth, int64_t *bytes)
{
	struct stat st;
	int r;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode)) {
		if (unlinkat(dirfd, name, 0) < 0)
			return -errno;
		*bytes += S_ISREG(st.st_mode) && st.st_nlink == 1 ? st.st_size : 0;
		return 0;
	}
	if (st.st_dev != dev)
		return -EXDEV;
	if (depth == FS_TREE_DEPTH)
		return -ELOOP;
	r = fs_tree_empty(dirfd, name, dev, depth + 1, bytes);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && r == 0)
		r = -errno;
	return r;
}

int fs_tree_remove(int dirfd, const char *name, int64_t *bytes)
{
	int64_t none = 0;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return fs_tree_one(dirfd, name, st.st_dev, 0, bytes ? bytes : &none);
}
