#include "faultvfs.h"

#include <check.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

const char *const fault_names[FAULT_KINDS] = { "none",  "IOERR",      "FULL",
					       "short", "torn write", "death" };

/* What a call does, as far as faults care. */
enum fault_class {
	CLASS_OTHER = 1 << 0,  /* looks or locks */
	CLASS_READ = 1 << 1,   /* … */
	CLASS_WRITE = 1 << 2,  /* … */
	CLASS_CHANGE = 1 << 3, /* changes something else: truncate, delete, sync */
};

static const unsigned fault_hits[FAULT_KINDS] = {
	[FAULT_IOERR] = CLASS_OTHER | CLASS_READ | CLASS_WRITE | CLASS_CHANGE,
	[FAULT_FULL] = CLASS_WRITE,
	[FAULT_SHORT] = CLASS_READ,
	[FAULT_TORN] = CLASS_WRITE,
	[FAULT_DIE] = CLASS_WRITE | CLASS_CHANGE,
};

static struct {
	sqlite3_vfs vfs;
	sqlite3_vfs *real;
	enum fault_kind kind;
	unsigned nth, seen, fired;
	bool persists;
	unsigned files;
} fault;

struct fault_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this structure */
};

static sqlite3_file *fault_real(sqlite3_file *f)
{
	return ((struct fault_file *)f)->real;
}

/* Does this call go wrong? */
static bool fault_now(enum fault_class class)
{
	unsigned n;

	if (!(fault_hits[fault.kind] & class))
		return false;
	n = fault.seen++;
	if (n < fault.nth || (n > fault.nth && !fault.persists))
		return false;
	fault.fired++;
	if (fault.kind == FAULT_DIE && class != CLASS_WRITE)
		_exit(FAULT_EXIT);
	return true;
}

/* ---- files ------------------------------------------------------------------------------ */

static int fault_close(sqlite3_file *f)
{
	fault.files--;
	return fault_real(f)->pMethods->xClose(fault_real(f));
}

static int fault_read(sqlite3_file *f, void *buf, int n, sqlite3_int64 at)
{
	int rc;

	if (!fault_now(CLASS_READ))
		return fault_real(f)->pMethods->xRead(fault_real(f), buf, n, at);
	if (fault.kind != FAULT_SHORT)
		return SQLITE_IOERR_READ;
	rc = fault_real(f)->pMethods->xRead(fault_real(f), buf, n, at);
	if (rc != SQLITE_OK)
		return rc;
	memset((char *)buf + n / 2, 0, (size_t)(n - n / 2));
	return SQLITE_IOERR_SHORT_READ;
}

static int fault_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
	if (!fault_now(CLASS_WRITE))
		return fault_real(f)->pMethods->xWrite(fault_real(f), buf, n, at);
	if (fault.kind == FAULT_FULL)
		return SQLITE_FULL;
	if (fault.kind != FAULT_IOERR)
		(void)fault_real(f)->pMethods->xWrite(fault_real(f), buf, n / 2, at);
	if (fault.kind == FAULT_DIE)
		_exit(FAULT_EXIT);
	return SQLITE_IOERR_WRITE;
}

static int fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return fault_now(CLASS_CHANGE)
		       ? SQLITE_IOERR_TRUNCATE
		       : fault_real(f)->pMethods->xTruncate(fault_real(f), size);
}

static int fault_sync(sqlite3_file *f, int flags)
{
	(void)f;
	(void)flags;
	return fault_now(CLASS_CHANGE) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int fault_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return fault_now(CLASS_OTHER) ? SQLITE_IOERR_FSTAT
				      : fault_real(f)->pMethods->xFileSize(fault_real(f), size);
}

static int fault_lock(sqlite3_file *f, int level)
{
	return fault_now(CLASS_OTHER) ? SQLITE_IOERR_LOCK
				      : fault_real(f)->pMethods->xLock(fault_real(f), level);
}

static int fault_unlock(sqlite3_file *f, int level)
{
	return fault_real(f)->pMethods->xUnlock(fault_real(f), level);
}

static int fault_reserved(sqlite3_file *f, int *out)
{
	return fault_now(CLASS_OTHER)
		       ? SQLITE_IOERR_CHECKRESERVEDLOCK
		       : fault_real(f)->pMethods->xCheckReservedLock(fault_real(f), out);
}

static int fault_control(sqlite3_file *f, int op, void *arg)
{
	return fault_real(f)->pMethods->xFileControl(fault_real(f), op, arg);
}

static int fault_sector(sqlite3_file *f)
{
	return fault_real(f)->pMethods->xSectorSize(fault_real(f));
}

static int fault_device(sqlite3_file *f)
{
	return fault_real(f)->pMethods->xDeviceCharacteristics(fault_real(f));
}

static int fault_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
	if (!fault_now(CLASS_OTHER))
		return fault_real(f)->pMethods->xShmMap(fault_real(f), page, size, extend, out);
	*out = NULL;
	return SQLITE_IOERR_SHMMAP;
}

static int fault_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return !(flags & SQLITE_SHM_UNLOCK) && fault_now(CLASS_OTHER)
		       ? SQLITE_IOERR_SHMLOCK
		       : fault_real(f)->pMethods->xShmLock(fault_real(f), offset, n, flags);
}

static void fault_shm_barrier(sqlite3_file *f)
{
	fault_real(f)->pMethods->xShmBarrier(fault_real(f));
}

static int fault_shm_unmap(sqlite3_file *f, int delete)
{
	return fault_real(f)->pMethods->xShmUnmap(fault_real(f), delete);
}

/* Version 2: without memory-mapped pages, which no call would show. */
static const sqlite3_io_methods fault_methods = {
	.iVersion = 2,
	.xClose = fault_close,
	.xRead = fault_read,
	.xWrite = fault_write,
	.xTruncate = fault_truncate,
	.xSync = fault_sync,
	.xFileSize = fault_size,
	.xLock = fault_lock,
	.xUnlock = fault_unlock,
	.xCheckReservedLock = fault_reserved,
	.xFileControl = fault_control,
	.xSectorSize = fault_sector,
	.xDeviceCharacteristics = fault_device,
	.xShmMap = fault_shm_map,
	.xShmLock = fault_shm_lock,
	.xShmBarrier = fault_shm_barrier,
	.xShmUnmap = fault_shm_unmap,
};

/* ---- the file system -------------------------------------------------------------------- */

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct fault_file *file = (struct fault_file *)f;
	int rc;

	(void)vfs;
	f->pMethods = NULL; /* SQLite closes only what has some */
	if (fault_now(CLASS_OTHER))
		return SQLITE_CANTOPEN;
	file->real = (sqlite3_file *)(file + 1);
	rc = fault.real->xOpen(fault.real, name, file->real, flags, out);
	if (rc == SQLITE_OK) {
		f->pMethods = &fault_methods;
		fault.files++;
	} else if (file->real->pMethods) {
		(void)file->real->pMethods->xClose(file->real);
	}
	return rc;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)vfs;
	(void)sync;
	return fault_now(CLASS_CHANGE) ? SQLITE_IOERR_DELETE
				       : fault.real->xDelete(fault.real, name, 0);
}

static int fault_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	(void)vfs;
	return fault_now(CLASS_OTHER) ? SQLITE_IOERR_ACCESS
				      : fault.real->xAccess(fault.real, name, flags, out);
}

static int fault_full_name(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	(void)vfs;
	return fault.real->xFullPathname(fault.real, name, n, out);
}

static int fault_random(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs;
	return fault.real->xRandomness(fault.real, n, out);
}

static int fault_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return fault.real->xSleep(fault.real, us);
}

static int fault_time(sqlite3_vfs *vfs, double *out)
{
	(void)vfs;
	return fault.real->xCurrentTime(fault.real, out);
}

static int fault_time64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
	(void)vfs;
	return fault.real->xCurrentTimeInt64(fault.real, out);
}

static int fault_last_error(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs;
	return fault.real->xGetLastError(fault.real, n, out);
}

void faultvfs_install(void)
{
	if (fault.real && sqlite3_vfs_find(NULL) == &fault.vfs)
		return;
	fault.real = sqlite3_vfs_find("unix");
	ck_assert_ptr_nonnull(fault.real);
	fault.vfs = (sqlite3_vfs){
		.iVersion = 2,
		.szOsFile = (int)sizeof(struct fault_file) + fault.real->szOsFile,
		.mxPathname = fault.real->mxPathname,
		.zName = "fault",
		.xOpen = fault_open,
		.xDelete = fault_delete,
		.xAccess = fault_access,
		.xFullPathname = fault_full_name,
		.xRandomness = fault_random,
		.xSleep = fault_sleep,
		.xCurrentTime = fault_time,
		.xCurrentTimeInt64 = fault_time64,
		.xGetLastError = fault_last_error,
	};
	ck_assert_int_eq(sqlite3_vfs_register(&fault.vfs, 1), SQLITE_OK);
}

void faultvfs_arm(enum fault_kind kind, unsigned nth, bool persists)
{
	fault.kind = kind;
	fault.nth = nth;
	fault.persists = persists;
	fault.seen = fault.fired = 0;
}

unsigned faultvfs_disarm(void)
{
	fault.kind = FAULT_NONE;
	return fault.seen;
}

unsigned faultvfs_fired(void)
{
	return fault.fired;
}

unsigned faultvfs_files(void)
{
	return fault.files;
}
