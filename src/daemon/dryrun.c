#include "daemon/dryrun.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"

#define DRYRUN_TRIES 5

struct dryrun {
	char *folder;
	unsigned n; /* copies made, for their names */
};

static const char *const dryrun_suffixes[] = { "", "-wal", "-journal" };

int dryrun_new(struct dryrun **out, struct error *e)
{
	const char *tmp = getenv("TMPDIR");
	struct dryrun *d = calloc(1, sizeof(*d));

	if (!d)
		return error_set(e, -ENOMEM, "out of memory");
	d->folder = fs_path("%s/kanband-dry-run.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!d->folder || !mkdtemp(d->folder)) {
		int r = d->folder ? -errno : -ENOMEM;

		(void)error_errno(e, r,
				  "cannot make a folder for the copies in %s (set TMPDIR)",
				  tmp && *tmp ? tmp : "/tmp");
		free(d->folder);
		free(d);
		return r;
	}
	*out = d;
	return 0;
}

struct dryrun *dryrun_free(struct dryrun *d)
{
	struct dirent *entry;
	DIR *dir;

	if (!d)
		return NULL;
	dir = opendir(d->folder);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name,
				       0); /* a left-over in /tmp at worst */
	if (dir)
		(void)closedir(dir);
	(void)rmdir(d->folder);
	free(d->folder);
	free(d);
	return NULL;
}

static int dryrun_copy_all(const char *db, const char *copy)
{
	for (size_t i = 0; i < 3; i++) {
		CLEANUP(freep) char *from = fs_path("%s%s", db, dryrun_suffixes[i]);
		CLEANUP(freep) char *to = fs_path("%s%s", copy, dryrun_suffixes[i]);
		int r;

		if (!from || !to)
			return -ENOMEM;
		if (unlink(to) < 0 && errno != ENOENT)
			return -errno;
		r = fs_copy(from, to, false);
		if (r == -ENOENT && i > 0)
			continue;
		if (r < 0)
			return r;
	}
	return 0;
}

static void dryrun_stamps(const char *db, struct file_stamp stamps[3])
{
	for (size_t i = 0; i < 3; i++) {
		CLEANUP(freep) char *path = fs_path("%s%s", db, dryrun_suffixes[i]);

		stamps[i] = path ? file_stamp_of(path) : (struct file_stamp){ 0 };
	}
}

int dryrun_redirect(void *arg, struct board_place *place, struct error *e)
{
	struct dryrun *d = arg;
	struct file_stamp before[3], after[3];
	char *copy;
	bool same = false;
	int r = 0;

	if (!place->db_exists)
		return 0;
	copy = fs_path("%s/%u.db", d->folder, d->n++);
	if (!copy)
		return error_set(e, -ENOMEM, "out of memory");
	for (int i = 0; i < DRYRUN_TRIES && !same && r == 0; i++) {
		dryrun_stamps(place->db_path, before);
		r = dryrun_copy_all(place->db_path, copy);
		dryrun_stamps(place->db_path, after);
		same = file_stamp_equal(&before[0], &after[0]) &&
		       file_stamp_equal(&before[1], &after[1]) &&
		       file_stamp_equal(&before[2], &after[2]);
	}
	if (r == 0 && !same)
		r = -EAGAIN;
	if (r < 0) {
		free(copy);
		return error_errno(e, r, "cannot copy %s for the dry run", place->db_path);
	}
	free(place->db_path);
	place->db_path = copy;
	return 0;
}
