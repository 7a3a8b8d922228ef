/*
 * A board that others write to all the time is copied while they wait.
 *
 * In rollback mode a reader's lock is enough: who wants to write to the file waits for readers.
 * A journal beside it is content only if it is hot, as SQLite judges that: it has a header, and
 * nobody has the RESERVED lock. In WAL mode whoever writes or checkpoints needs a lock on the
 * -shm; both are taken here. The locks belong to the descriptors (F_OFD_SETLK), not to the
 * process, and SQLite of other processes sees them as it sees its own.
 *
 * Failure modes: a file system without locks, a file that may only be read, or a writer who
 * does not let go: the board is copied all the same, and what was copied is compared.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "db/db_file.h"
#include "db/db_registry.h"
#include "recovery.h"
#include "util/clock.h"
#include "util/fs.h"

#define LOCK_PENDING  0x40000000 /* https://sqlite.org/fileformat.html, 1.4 */
#define LOCK_RESERVED (LOCK_PENDING + 1)
#define LOCK_SHARED   (LOCK_PENDING + 2)
#define LOCK_SHARED_N 510
#define LOCK_WAL      120 /* WRITE and CKPT: https://sqlite.org/walformat.html, 2.3.1 */
#define LOCK_WAL_N    2
#define LOCK_TURN_NS  500000

static bool lock_set(int fd, short type, off_t at, off_t n)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = n };

	return fcntl(fd, F_OFD_SETLK, &l) == 0;
}

/* Has another process this lock, or one that is in its way? */
static bool lock_is_locked(int fd, off_t at)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static void lock_drop(const struct evidence_of *of)
{
	(void)lock_set(of->fd, F_UNLCK, LOCK_PENDING, 2 + LOCK_SHARED_N);
	if (of->shm >= 0)
		(void)lock_set(of->shm, F_UNLCK, LOCK_WAL, LOCK_WAL_N);
}

/*
 * Asked with the reader's lock held. A hot journal stays as it is now, for nobody can play it
 * back; one of somebody who begins to write after this is not content.
 */
static bool lock_hot(const struct evidence_of *of)
{
	CLEANUP(freep) char *path = db_file_path(of->real, DB_JOURNAL);
	CLEANUP(fs_closep)
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	char first = 0;

	return fd >= 0 && pread(fd, &first, 1, 0) == 1 && first != 0 &&
	       !lock_is_locked(of->fd, LOCK_RESERVED);
}

static bool lock_try(struct evidence_of *of)
{
	bool shared = lock_set(of->fd, F_RDLCK, LOCK_PENDING, 1) &&
		      lock_set(of->fd, F_RDLCK, LOCK_SHARED, LOCK_SHARED_N);

	(void)lock_set(of->fd, F_UNLCK, LOCK_PENDING, 1);
	if (shared && (of->shm < 0 || lock_set(of->shm, F_WRLCK, LOCK_WAL, LOCK_WAL_N))) {
		of->journal = lock_hot(of);
		return true;
	}
	lock_drop(of);
	return false;
}

void evidence_lock_shared(struct evidence_of *of, uint64_t until)
{
	CLEANUP(freep) char *shm = db_file_path(of->real, DB_SHM);

	if (shm)
		of->shm = open(shm, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	while (!(of->locked = lock_try(of)) && clock_mono_ms() < until)
		(void)nanosleep(&(const struct timespec){ .tv_nsec = LOCK_TURN_NS }, NULL);
}

static bool lock_alone(struct evidence_of *of)
{
	bool main = lock_set(of->fd, F_WRLCK, LOCK_PENDING, 2 + LOCK_SHARED_N);

	of->locked = main || (of->shm >= 0 && lock_set(of->shm, F_WRLCK, LOCK_WAL, LOCK_WAL_N));
	if (of->locked)
		of->journal = lock_hot(of);
	return of->locked;
}

void evidence_lock_exclusive(struct evidence_of *of, uint64_t until)
{
	CLEANUP(freep) char *shm = db_file_path(of->real, DB_SHM);

	if (shm)
		of->shm = open(shm, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	while (!lock_alone(of) && clock_mono_ms() < until)
		(void)nanosleep(&(const struct timespec){ .tv_nsec = LOCK_TURN_NS }, NULL);
}

void evidence_of_deinit(struct evidence_of *of)
{
	if (of->locked) /* the descriptors may have to wait, and the locks must not */
		lock_drop(of);
	db_registry_closep(&of->shm);
	db_registry_closep(&of->fd);
	free(STEAL(of->real));
}
