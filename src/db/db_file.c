/* The files of a database: names, copies, removal. */
#include "db/db_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/db_registry.h"

static const char *const db_file_suffixes[DB_PARTS] = { "", "-wal", "-journal", "-shm" };

const char *db_file_suffix(enum db_part part)
{
	return db_file_suffixes[part];
}

char *db_file_path(const char *path, enum db_part part)
{
	return fs_path("%s%s", path, db_file_suffixes[part]);
}

char *db_file_real(const char *path)
{
	return realpath(path, NULL);
}

bool db_file_is_part(const char *tail, enum db_part part)
{
	return strcmp(tail, db_file_suffixes[part]) == 0;
}

static bool db_file_is_link(const char *path)
{
	char to[1];

	return readlink(path, to, sizeof(to)) >= 0;
}

struct fs_stamp db_file_stamp(const char *path, enum db_part part)
{
	CLEANUP(freep) char *real = db_file_is_link(path) ? db_file_real(path) : NULL;
	CLEANUP(freep) char *name = db_file_path(real ? real : path, part);

	return name ? fs_stamp_of(name) : (struct fs_stamp){ 0 };
}

int db_file_copy_part(const char *from, const char *to)
{
	CLEANUP(db_registry_closep)
	int fd = open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : fs_copy(fd, to);
}

int db_file_copy(const char *from, const char *to, int64_t max)
{
	CLEANUP(freep) char *real = db_file_real(from);

	if (!real)
		return -errno;
	for (enum db_part part = DB_MAIN; part < DB_SHM; part++)
		max -= (int64_t)db_file_stamp(real, part).size;
	if (max < 0)
		return -EFBIG;
	for (enum db_part part = DB_MAIN; part < DB_SHM; part++) {
		CLEANUP(freep) char *f = db_file_path(real, part);
		CLEANUP(freep) char *t = db_file_path(to, part);
		int r = 0;

		if (!f || !t)
			return -ENOMEM;
		if (unlink(t) < 0 && errno != ENOENT)
			return -errno;
		r = db_file_copy_part(f, t);
		if (r < 0 && (part == DB_MAIN || r != -ENOENT))
			return r;
	}
	return 0;
}

void db_file_remove(const char *path)
{
	for (enum db_part part = DB_MAIN; part < DB_PARTS; part++) {
		CLEANUP(freep) char *name = db_file_path(path, part);

		if (name)
			(void)unlink(name); /* mostly not there */
	}
}
