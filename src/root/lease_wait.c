/*
 * The waiter: a thread that gets the lease and ends. It opens the lock file, tries the lock,
 * and where that is held blocks in flock(2) until the kernel wakes it, which happens within
 * microseconds of the holder's end, whatever ended it. Then it checks that it locked the right
 * file, writes the owner file, leaves the result in lease.next and lease.news, and tells the
 * loop. While the lease is ours there is no such thread.
 *
 * If the lock file is replaced while we wait, we stay with the file that we opened as long as
 * its holder lives: a Hermes gateway never looks back at the path and goes on dispatching, so
 * owning the new file beside it would make two dispatchers. Once the holder is gone (a kanband
 * steps down by itself) we get the orphan, see that the path names another file, and compete
 * for that one.
 *
 * Stopping: flock(2) can only be left by a signal. LEASE_SIGNAL has a handler that does
 * nothing, installed without SA_RESTART, and is blocked everywhere but around this one call. A
 * signal that arrives just before the call is lost, so the loop repeats it until the thread
 * reports that it has finished or, when asked to name the holder again, that it has seen it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "root.h"
#include "util/fs.h"

#define LEASE_SIGNAL      SIGRTMIN
#define LEASE_STACK_BYTES ((size_t)64 * 1024)

static void lease_wait_wake_up(int sig)
{
	(void)sig; /* that flock(2) returns is all that is wanted */
}

/* Say who holds the lock, with a descriptor that becomes readable when that process ends. */
static void lease_wait_tell(struct lease *lease)
{
	struct lease_holder holder;
	int pidfd = -1;

	lease_holder_name(lease, &lease->next, &holder);
	if (holder.pid > 0)
		pidfd = (int)syscall(SYS_pidfd_open, holder.pid, 0); /* fails: no news then */
	(void)pthread_mutex_lock(&lease->mutex);
	fs_closep(&lease->news.pidfd); /* of news that the loop has not read yet */
	lease->news.standby = true;
	lease->news.pidfd = pidfd;
	lease->news.unsure = holder.unsure;
	memcpy(lease->news.holder, holder.text, sizeof(lease->news.holder));
	(void)pthread_mutex_unlock(&lease->mutex);
	(void)uv_async_send(&lease->async); /* can only fail on a handle that is no async */
}

/* The one place where the signal is let in. */
static int lease_wait_flock(int fd)
{
	sigset_t set;
	int r = 0;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, LEASE_SIGNAL);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (flock(fd, LOCK_EX) < 0)
		r = -errno;
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	return r;
}

static int lease_wait_lock(struct lease *lease, struct error *e)
{
	int r = fs_lock_try(lease->next.fd);

	while (r == -EWOULDBLOCK || r == -EINTR) {
		if (atomic_load(&lease->stop))
			return -ECANCELED;
		atomic_store(&lease->name_again, false);
		lease_wait_tell(lease);
		r = lease_wait_flock(lease->next.fd);
	}
	if (r < 0)
		return error_errno(e, r, "cannot take the lease of %s: cannot lock %s",
				   lease->paths.root, lease->paths.lock);
	return 0;
}

/* Return: 0 the lease is ours; LEASE_LOST the file was replaced, again; -errno. */
static int lease_wait_once(struct lease *lease, struct error *e)
{
	int r;

	if (atomic_load(&lease->stop))
		return -ECANCELED;
	r = lease_lock_open(&lease->paths, &lease->next, e);
	if (r < 0)
		return r;
	r = lease_wait_lock(lease, e);
	if (r < 0) {
		lease_hold_clear(&lease->next);
		return r;
	}
	return lease_take(lease, &lease->next, e);
}

static void *lease_wait_main(void *arg)
{
	struct lease *lease = arg;
	struct error e = ERROR_NULL;
	int r;

	do {
		r = lease_wait_once(lease, &e);
	} while (r == LEASE_LOST);
	(void)pthread_mutex_lock(&lease->mutex);
	lease->news.finished = true;
	lease->news.result = r;
	lease->news.error = e;
	(void)pthread_mutex_unlock(&lease->mutex);
	(void)uv_async_send(&lease->async);
	return NULL;
}

/* The handler is process-wide and stays; exec resets it, so no child ever has it. */
static int lease_wait_handler(void)
{
	struct sigaction act = { .sa_handler = lease_wait_wake_up };
	sigset_t set;

	(void)sigemptyset(&act.sa_mask);
	if (sigaction(LEASE_SIGNAL, &act, NULL) < 0)
		return -errno;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, LEASE_SIGNAL);
	return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int lease_wait_start(struct lease *lease)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r = lease_wait_handler();

	if (r < 0)
		return r;
	atomic_store(&lease->stop, false);
	atomic_store(&lease->name_again, false);
	r = -pthread_attr_init(&attr);
	if (r < 0)
		return r;
	r = -pthread_attr_setstacksize(&attr, LEASE_STACK_BYTES + (size_t)PTHREAD_STACK_MIN);
	if (r == 0) {
		/* SIGTERM and the others belong to the loop thread */
		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &old);
		r = -pthread_create(&lease->thread, &attr, lease_wait_main, lease);
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	(void)pthread_attr_destroy(&attr);
	lease->thread_runs = r == 0;
	return r;
}

void lease_wait_kick(struct lease *lease)
{
	if (lease->thread_runs)
		(void)pthread_kill(lease->thread, LEASE_SIGNAL); /* not joined: a valid id */
}
