/*
 * Copies each board into a private folder and points its place there, so that --dry-run can do
 * everything and change nothing.
 */
#include "daemon/dryrun.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "db/db_file.h"
#include "db/db_probe.h"
#include "recovery/evidence.h"
#include "util/fs.h"

#define DRYRUN_TRIES 5

struct dryrun {
	const struct config *config; /* borrowed */
	char *folder;
	unsigned n; /* copies made, for their names */
};

int dryrun_new(struct dryrun **out, const struct config *config, struct error *e)
{
	const char *tmp = getenv("TMPDIR");
	struct dryrun *d = calloc(1, sizeof(*d));

	if (!d)
		return error_set(e, -ENOMEM, "out of memory");
	d->config = config;
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

static void dryrun_stamps(const char *db, struct fs_stamp stamps[DB_SHM])
{
	for (enum db_part part = DB_MAIN; part < DB_SHM; part++)
		stamps[part] = db_file_stamp(db, part);
}

static int dryrun_refuse(struct board_place *place, int r)
{
	struct error e = ERROR_NULL;

	if (db_probe_files(place->db_path, &e) != -EINVAL) /* which says it better */
		(void)error_errno(&e, r, "cannot copy %s for the dry run%s", place->db_path,
				  r == -EFBIG ? " (see max_evidence_bytes)" : "");
	place->refused = strdup(e.text);
	return place->refused ? 0 : -ENOMEM;
}

int dryrun_redirect(void *arg, const char *root, struct board_place *place, struct error *e)
{
	struct dryrun *d = arg;
	struct fs_stamp before[DB_SHM], after[DB_SHM];
	struct settings set;
	char *copy;
	bool same = false;
	int r = 0;

	if (!place->db_exists)
		return 0;
	config_settings(d->config, root, place->slug, &set);
	copy = fs_path("%s/%u.db", d->folder, d->n++);
	if (!copy)
		return error_set(e, -ENOMEM, "out of memory");
	for (int i = 0; i < DRYRUN_TRIES && !same && r == 0; i++) {
		dryrun_stamps(place->db_path, before);
		r = evidence_copy(place->db_path, copy, set.max_evidence_bytes);
		dryrun_stamps(place->db_path, after);
		same = fs_stamp_equal(&before[0], &after[0]) &&
		       fs_stamp_equal(&before[1], &after[1]) &&
		       fs_stamp_equal(&before[2], &after[2]);
	}
	if (r == 0 && !same)
		r = -EAGAIN;
	if (r < 0) {
		db_file_remove(copy);
		r = dryrun_refuse(place, r);
	}
	/* refused or not: nothing is made beside the board itself */
	free(place->db_path);
	place->db_path = copy;
	return r < 0 ? error_set(e, r, "out of memory") : 0;
}
