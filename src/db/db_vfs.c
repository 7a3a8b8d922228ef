/*
 * A thin file system of SQLite's over the default one. What it adds:
 *
 * - No file but the database's own is touched. A super-journal is never opened, so a -journal
 *   that names one (any file that its writer likes) is not played back and nothing is unlinked
 *   for it; nothing but a -journal or -wal is ever removed; a sidecar that is no regular file,
 *   or has a second name, is not opened. db_probe.c says so beforehand and in words; this holds
 *   also for what appears in between.
 * - Every file that is open here is in the registry (db_registry.h), and so is its -shm.
 * - Reads end when the connection's budget is spent: integrity_check reads a whole tree in one
 *   instruction, and would not be stopped between two.
 * - Memory is never mapped from a database, and a -shm that is cut ends no process (db_shm.c).
 *
 * The default file system is looked up at every call: tests put theirs there.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "db.h"
#include "db/db_file.h"
#include "db/db_registry.h"
#include "util/clock.h"

#define VFS_NAME   "kanband"
#define VFS_BUDGET 0x6b616e01 /* file control: a struct db_budget */
#define VFS_TORN   0x6b616e02 /* file control: a bool */

struct vfs_id {
	dev_t dev;
	ino_t ino;
};

struct vfs_file {
	sqlite3_file base;
	sqlite3_file *real;       /* of the default file system; owned */
	struct vfs_file *main;    /* the database that it belongs to, or itself, or NULL */
	struct db_budget *budget; /* of the database; or NULL */
	const char *name;         /* of the database; SQLite's */
	struct vfs_id ids[3]; /* in the registry: the file, before and after opening; -shm */
	size_t n_ids;
	struct db_shm **maps; /* owned */
	size_t n_maps;
	bool shm_known; /* the -shm is in the registry */
};

static sqlite3_vfs *vfs_real(void)
{
	return sqlite3_vfs_find(NULL);
}

bool db_budget_spent(struct db_budget *b)
{
	if (!b)
		return false;
	if (b->until_ms && clock_mono_ms() >= b->until_ms)
		b->overrun = true;
	return b->overrun || (b->cancel && atomic_load(b->cancel));
}

/* ---- files --------------------------------------------------------------------------- */

static struct vfs_file *vfs_file(sqlite3_file *f)
{
	return container_of(f, struct vfs_file, base);
}

static sqlite3_file *vfs_below(sqlite3_file *f)
{
	return vfs_file(f)->real;
}

static bool vfs_torn(const struct vfs_file *f)
{
	for (size_t i = 0; f && i < f->n_maps; i++)
		if (db_shm_torn(f->maps[i]))
			return true;
	return false;
}

static void vfs_unmap(struct vfs_file *f)
{
	for (size_t i = 0; i < f->n_maps; i++)
		db_shm_drop(f->maps[i]);
	free(f->maps);
	f->maps = NULL;
	f->n_maps = 0;
}

static int vfs_close(sqlite3_file *file)
{
	struct vfs_file *f = vfs_file(file);
	int rc = SQLITE_OK;

	vfs_unmap(f);
	if (f->real && f->real->pMethods)
		rc = f->real->pMethods->xClose(f->real);
	for (size_t i = 0; i < f->n_ids; i++)
		db_registry_drop(f->ids[i].dev, f->ids[i].ino);
	f->n_ids = 0;
	sqlite3_free(f->real);
	f->real = NULL;
	return rc;
}

static int vfs_read(sqlite3_file *file, void *buf, int n, sqlite3_int64 at)
{
	struct vfs_file *f = vfs_file(file);

	if (vfs_torn(f->main) || (f->main && db_budget_spent(f->main->budget)))
		return SQLITE_IOERR_READ;
	return f->real->pMethods->xRead(f->real, buf, n, at);
}

static int vfs_write(sqlite3_file *file, const void *buf, int n, sqlite3_int64 at)
{
	struct vfs_file *f = vfs_file(file);

	if (vfs_torn(f->main))
		return SQLITE_IOERR_WRITE;
	return f->real->pMethods->xWrite(f->real, buf, n, at);
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct vfs_file *f = vfs_file(file);

	if (vfs_torn(f->main))
		return SQLITE_IOERR_TRUNCATE;
	return f->real->pMethods->xTruncate(f->real, size);
}

static int vfs_sync(sqlite3_file *file, int flags)
{
	return vfs_below(file)->pMethods->xSync(vfs_below(file), flags);
}

static int vfs_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return vfs_below(file)->pMethods->xFileSize(vfs_below(file), size);
}

static int vfs_lock(sqlite3_file *file, int level)
{
	struct vfs_file *f = vfs_file(file);

	/* without it the last one does not fold the WAL in on closing */
	if (vfs_torn(f))
		return SQLITE_IOERR_LOCK;
	return f->real->pMethods->xLock(f->real, level);
}

static int vfs_unlock(sqlite3_file *file, int level)
{
	return vfs_below(file)->pMethods->xUnlock(vfs_below(file), level);
}

static int vfs_reserved(sqlite3_file *file, int *out)
{
	return vfs_below(file)->pMethods->xCheckReservedLock(vfs_below(file), out);
}

static int vfs_control(sqlite3_file *file, int op, void *arg)
{
	struct vfs_file *f = vfs_file(file);

	if (op == VFS_BUDGET) {
		f->budget = arg;
		return SQLITE_OK;
	}
	if (op == VFS_TORN) {
		*(bool *)arg = vfs_torn(f);
		return SQLITE_OK;
	}
	return f->real->pMethods->xFileControl(f->real, op, arg);
}

static int vfs_sector(sqlite3_file *file)
{
	return vfs_below(file)->pMethods->xSectorSize(vfs_below(file));
}

static int vfs_device(sqlite3_file *file)
{
	return vfs_below(file)->pMethods->xDeviceCharacteristics(vfs_below(file));
}

/* ---- the -shm ------------------------------------------------------------------------ */

static bool vfs_is_its_own(const char *path, bool *there)
{
	struct stat st;

	*there = lstat(path, &st) == 0;
	return *there ? S_ISREG(st.st_mode) && st.st_nlink == 1 : errno == ENOENT;
}

/* Before it is opened: what it is. After: which file it is, for the registry. */
static int vfs_shm_open(struct vfs_file *f, int region, int size, int extend,
			volatile void **out)
{
	CLEANUP(freep) char *path = f->name ? db_file_path(f->name, DB_SHM) : NULL;
	struct stat st;
	bool there;
	int rc;

	if (!path)
		return SQLITE_NOMEM;
	if (!vfs_is_its_own(path, &there))
		return SQLITE_CANTOPEN;
	db_registry_enter();
	rc = f->real->pMethods->xShmMap(f->real, region, size, extend, out);
	if (stat(path, &st) == 0 && f->n_ids < 3) {
		if (db_registry_add(st.st_dev, st.st_ino) == 0)
			f->ids[f->n_ids++] = (struct vfs_id){ st.st_dev, st.st_ino };
		f->shm_known = true;
	}
	db_registry_leave();
	return rc;
}

static int vfs_shm_map(sqlite3_file *file, int region, int size, int extend,
		       volatile void **out)
{
	struct vfs_file *f = vfs_file(file);
	struct db_shm **more, *m;
	int rc;

	if (vfs_torn(f))
		return SQLITE_IOERR_SHMMAP;
	rc = f->shm_known ? f->real->pMethods->xShmMap(f->real, region, size, extend, out)
			  : vfs_shm_open(f, region, size, extend, out);
	if (rc != SQLITE_OK || !*out)
		return rc;
	more = reallocarray(f->maps, f->n_maps + 1, sizeof(struct db_shm *));
	m = more ? db_shm_add(*out, (size_t)size) : NULL;
	if (more)
		f->maps = more;
	if (m)
		more[f->n_maps++] = m;
	return m ? rc : SQLITE_NOMEM;
}

static int vfs_shm_lock(sqlite3_file *file, int at, int n, int flags)
{
	struct vfs_file *f = vfs_file(file);

	if ((flags & SQLITE_SHM_LOCK) && vfs_torn(f))
		return SQLITE_IOERR_SHMLOCK;
	return f->real->pMethods->xShmLock(f->real, at, n, flags);
}

static void vfs_shm_barrier(sqlite3_file *file)
{
	vfs_below(file)->pMethods->xShmBarrier(vfs_below(file));
}

static int vfs_shm_unmap(sqlite3_file *file, int remove)
{
	struct vfs_file *f = vfs_file(file);

	vfs_unmap(f);
	return f->real->pMethods->xShmUnmap(f->real, remove);
}

/* Version 2: a database is never mapped. */
#define VFS_METHODS                                                                            \
	.iVersion = 2, .xClose = vfs_close, .xRead = vfs_read, .xWrite = vfs_write,            \
	.xTruncate = vfs_truncate, .xSync = vfs_sync, .xFileSize = vfs_size,                   \
	.xLock = vfs_lock, .xUnlock = vfs_unlock, .xCheckReservedLock = vfs_reserved,          \
	.xFileControl = vfs_control, .xSectorSize = vfs_sector,                                \
	.xDeviceCharacteristics = vfs_device

static const sqlite3_io_methods vfs_methods = { VFS_METHODS, .xShmMap = vfs_shm_map,
						.xShmLock = vfs_shm_lock,
						.xShmBarrier = vfs_shm_barrier,
						.xShmUnmap = vfs_shm_unmap };
static const sqlite3_io_methods vfs_methods_without_shm = { VFS_METHODS };

/* ---- the file system ----------------------------------------------------------------- */

/* Open a database and note which file it is. Two, if it was replaced at the wrong moment. */
static int vfs_open_main(sqlite3_vfs *real, struct vfs_file *f, const char *name, int flags,
			 int *out)
{
	int rc = SQLITE_CANTOPEN; /* gcc does not see that the second round sets it */
	struct stat st;

	db_registry_enter();
	for (int i = 0; i < 2; i++) {
		if (i == 1)
			rc = real->xOpen(real, name, f->real, flags, out);
		if (stat(name, &st) < 0 ||
		    (f->n_ids > 0 && f->ids[0].ino == st.st_ino && f->ids[0].dev == st.st_dev))
			continue;
		if (db_registry_add(st.st_dev, st.st_ino) < 0) {
			if (i == 1 && f->real->pMethods)
				(void)f->real->pMethods->xClose(f->real);
			rc = SQLITE_NOMEM;
			break;
		}
		f->ids[f->n_ids++] = (struct vfs_id){ st.st_dev, st.st_ino };
	}
	db_registry_leave();
	f->main = f;
	f->name = name;
	return rc;
}

static int vfs_open_other(sqlite3_vfs *real, struct vfs_file *f, const char *name, int flags,
			  int *out)
{
	bool there;

	if (flags & SQLITE_OPEN_SUPER_JOURNAL)
		return SQLITE_CANTOPEN;
	if (name && (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL))) {
		sqlite3_file *main = sqlite3_database_file_object(name);

		if (!vfs_is_its_own(name, &there))
			return SQLITE_CANTOPEN;
		f->main = vfs_file(main);
	}
	return real->xOpen(real, name, f->real, flags, out);
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
	sqlite3_vfs *real = vfs_real();
	struct vfs_file *f = vfs_file(file);
	int rc;

	(void)vfs;
	*f = (struct vfs_file){ 0 };
	f->real = sqlite3_malloc(real->szOsFile);
	if (!f->real)
		return SQLITE_NOMEM;
	memset(f->real, 0, (size_t)real->szOsFile);
	rc = (flags & SQLITE_OPEN_MAIN_DB) && name ? vfs_open_main(real, f, name, flags, out)
						   : vfs_open_other(real, f, name, flags, out);
	if (rc != SQLITE_OK) { /* SQLite does not close what did not open */
		(void)vfs_close(file);
		return rc;
	}
	f->base.pMethods = f->real->pMethods->iVersion >= 2 && f->real->pMethods->xShmMap
				   ? &vfs_methods
				   : &vfs_methods_without_shm;
	return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	const char *tail = strrchr(name, '-');

	(void)vfs;
	if (!tail || (!db_file_is_part(tail, DB_JOURNAL) && !db_file_is_part(tail, DB_WAL)))
		return SQLITE_IOERR_DELETE;
	return vfs_real()->xDelete(vfs_real(), name, sync);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	(void)vfs;
	return vfs_real()->xAccess(vfs_real(), name, flags, out);
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	(void)vfs;
	return vfs_real()->xFullPathname(vfs_real(), name, n, out);
}

static int vfs_random(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs;
	return vfs_real()->xRandomness(vfs_real(), n, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return vfs_real()->xSleep(vfs_real(), us);
}

static int vfs_time(sqlite3_vfs *vfs, double *out)
{
	(void)vfs;
	return vfs_real()->xCurrentTime(vfs_real(), out);
}

static int vfs_time64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
	(void)vfs;
	return vfs_real()->xCurrentTimeInt64(vfs_real(), out);
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs;
	return vfs_real()->xGetLastError(vfs_real(), n, out);
}

static sqlite3_vfs vfs_guarded = {
	.iVersion = 2,
	.szOsFile = (int)sizeof(struct vfs_file),
	.zName = VFS_NAME,
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_full_name,
	.xRandomness = vfs_random,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_time,
	.xGetLastError = vfs_last_error,
	.xCurrentTimeInt64 = vfs_time64,
};

static void vfs_register(void)
{
	const sqlite3_vfs *real = vfs_real();

	vfs_guarded.mxPathname = real ? real->mxPathname : 512;
	(void)sqlite3_vfs_register(&vfs_guarded, 0); /* db_vfs_name() finds it, or not */
}

const char *db_vfs_name(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, vfs_register);
	return sqlite3_vfs_find(VFS_NAME) ? VFS_NAME : NULL;
}

void db_vfs_budget(sqlite3 *db, struct db_budget *b)
{
	/* only fails for a database without a file, which reads nothing */
	(void)sqlite3_file_control(db, "main", VFS_BUDGET, b);
}

bool db_vfs_torn(sqlite3 *db)
{
	bool torn = false;

	(void)sqlite3_file_control(db, "main", VFS_TORN, &torn); /* as above */
	return torn;
}
