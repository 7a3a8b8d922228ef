/*
 * A -shm that somebody cuts while it is mapped (tar, cp or truncate over a live board):
 * touching it is a SIGBUS then, which would end the process and with it the work of all boards.
 *
 * The handler looks whether the address is in a -shm that SQLite has mapped. If so, it puts a
 * page of zeros there, marks the mapping as torn and lets the instruction run again. From then
 * on db_vfs.c answers every call of a connection to it with an I/O error, so nothing that was
 * read from the zeros is acted on: a commit needs locks and writes, which are refused. What had
 * been written to the WAL before is in the WAL, from which whoever opens the board next makes a
 * new -shm. Any other SIGBUS does what it did before.
 *
 * The table is read by a signal handler, so its entries are atomic, used again and never freed.
 * It is process-wide, because mappings and signals are.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "db.h"

static struct {
	pthread_mutex_t lock; /* of those who add; the handler takes none */
	_Atomic(struct db_shm *) first;
	struct sigaction before;
	uintptr_t page; /* bytes, a power of two */
} shm = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Async-signal-safe: atomics and one system call. */
static bool shm_heal(uintptr_t at)
{
	bool ours = false;

	for (struct db_shm *m = atomic_load(&shm.first); m; m = m->next) {
		uintptr_t from = atomic_load(&m->from);

		if (from && at >= from && at - from < atomic_load(&m->size)) {
			atomic_store(&m->torn, true);
			ours = true;
		}
	}
	return ours && mmap((void *)(at & ~(shm.page - 1)), shm.page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static void shm_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	/* not ours: as it was before; the instruction runs again and faults again */
	if (!shm_heal((uintptr_t)info->si_addr))
		(void)sigaction(sig, &shm.before, NULL);
	errno = saved;
}

static void shm_install(void)
{
	struct sigaction act = { .sa_sigaction = shm_sigbus,
				 .sa_flags = SA_SIGINFO | SA_NODEFER };

	shm.page = (uintptr_t)sysconf(_SC_PAGESIZE);
	(void)sigaction(SIGBUS, &act, &shm.before); /* cannot fail for SIGBUS */
}

struct db_shm *db_shm_add(volatile void *from, size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct db_shm *m;

	(void)pthread_once(&once, shm_install);
	(void)pthread_mutex_lock(&shm.lock);
	for (m = atomic_load(&shm.first); m; m = m->next)
		if (atomic_load(&m->from) == 0)
			break;
	if (!m) {
		m = calloc(1, sizeof(*m));
		if (m) {
			m->next = atomic_load(&shm.first);
			atomic_store(&shm.first, m);
		}
	}
	if (m) {
		atomic_store(&m->torn, false);
		atomic_store(&m->size, size);
		atomic_store(&m->from, (uintptr_t)from);
	}
	(void)pthread_mutex_unlock(&shm.lock);
	return m;
}

void db_shm_drop(struct db_shm *m)
{
	atomic_store(&m->from, 0);
}

bool db_shm_torn(struct db_shm *m)
{
	return atomic_load(&m->torn);
}
