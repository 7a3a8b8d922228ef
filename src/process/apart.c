/*
 * One thread of the process stands apart: it has left the table of descriptors that the others
 * share, and closed its copy of it but for its end of a socket. What a new process shall have
 * is sent to it through that socket, which gives the descriptors numbers of its own; the
 * request itself lies in memory, which it shares. POSIX locks belong to a table: those of the
 * others are not dropped by what it closes.
 *
 * ThreadSanitizer knows one table per process: what it says of the numbers there is not so.
 *
 * It begins with the first call, and lives as long as the process. Where the kernel refuses,
 * the caller is told so, each time.
 */
#include "process/apart.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/fs.h"

struct apart_request {
	int (*fn)(void *arg, const int fds[APART_FDS]);
	void *arg;
	unsigned sent; /* bit i: fds[i] is one of those sent along, in order */
};

union apart_control {
	struct cmsghdr head;
	char room[CMSG_SPACE(APART_FDS * sizeof(int))];
};

static struct {
	pthread_mutex_t one; /* request at a time */
	int ours;            /* end of the socket; < 0: none, or none any more */
	int theirs;          /* the same number in the thread's own table */
	bool begun;
	atomic_uint handed;
} apart = { .one = PTHREAD_MUTEX_INITIALIZER, .ours = -1 };

/* Memory is handed over by the socket: the kernel orders it, and this says so to the language.
 */
static void apart_hand(void)
{
	(void)atomic_fetch_add(&apart.handed, 1);
}

static int apart_close_range(unsigned from, unsigned to)
{
	return from > to ? 0 : (int)syscall(SYS_close_range, from, to, 0);
}

/* 0, or an errno: it stands apart, with its end of the socket and 0, 1, 2. */
static int apart_leave(int socket)
{
	if (unshare(CLONE_FILES) < 0)
		return errno;
	if (apart_close_range(STDERR_FILENO + 1, (unsigned)socket - 1) < 0 ||
	    apart_close_range((unsigned)socket + 1, UINT_MAX) < 0)
		return errno;
	return 0;
}

/* Return: 0, or < 0: the other end is gone. @fds: out; -1 there is none */
static int apart_receive(int socket, struct apart_request *rq, int fds[APART_FDS])
{
	union apart_control control;
	struct iovec io = { rq, sizeof(*rq) };
	struct msghdr msg = { .msg_iov = &io,
			      .msg_iovlen = 1,
			      .msg_control = control.room,
			      .msg_controllen = sizeof(control.room) };
	int got[APART_FDS] = { -1, -1, -1 }, n = 0;
	const struct cmsghdr *c;
	ssize_t size;

	do
		size = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	c = size == sizeof(*rq) ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(got, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	for (int i = 0; i < APART_FDS; i++)
		fds[i] = size == sizeof(*rq) && (rq->sent & 1U << i) ? got[n++] : -1;
	return size == sizeof(*rq) ? 0 : -EPIPE;
}

/* The first answer says whether it stands apart; where not, its end is in the others' table. */
static void *apart_main(void *arg)
{
	int socket = *(const int *)arg;
	int answer = apart_leave(socket);

	if (answer != 0) {
		(void)send(socket, &answer, sizeof(answer), MSG_NOSIGNAL);
		fs_closep(&socket);
		return NULL;
	}
	while (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) == sizeof(answer)) {
		struct apart_request rq;
		int fds[APART_FDS];

		if (apart_receive(socket, &rq, fds) < 0)
			break;
		apart_hand();
		answer = rq.fn(rq.arg, fds);
		apart_hand();
		for (int i = 0; i < APART_FDS; i++)
			fs_closep(&fds[i]);
	}
	return NULL;
}

static bool apart_answer(int *answer)
{
	ssize_t n;

	do
		n = recv(apart.ours, answer, sizeof(*answer), 0);
	while (n < 0 && errno == EINTR);
	apart_hand();
	return n == sizeof(*answer);
}

/* The first call: the thread is there, or will never be. */
static void apart_begin(void)
{
	int fds[2], refused = 0;
	sigset_t all, before;
	pthread_t thread;
	int r;

	apart.begun = true;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return;
	apart.ours = fds[0];
	apart.theirs = fds[1];
	(void)sigfillset(&all); /* no signal of ours is handled there */
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, apart_main, &apart.theirs);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		(void)pthread_detach(thread);
	if (r == 0 && apart_answer(&refused) && refused == 0) {
		fs_closep(&fds[1]); /* it has its own */
		return;
	}
	fs_closep(&apart.ours);
	if (r != 0)
		fs_closep(&fds[1]);
}

static int apart_ask(struct apart_request *rq, const int fds[APART_FDS])
{
	union apart_control control = { .room = { 0 } };
	struct iovec io = { rq, sizeof(*rq) };
	struct msghdr msg = { .msg_iov = &io, .msg_iovlen = 1 };
	int sent[APART_FDS], n = 0, answer;

	for (int i = 0; i < APART_FDS; i++)
		if (fds[i] >= 0) {
			rq->sent |= 1U << i;
			sent[n++] = fds[i];
		}
	if (n > 0) {
		control.head =
			(struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					  .cmsg_type = SCM_RIGHTS,
					  .cmsg_len = CMSG_LEN((size_t)n * sizeof(int)) };
		memcpy(CMSG_DATA(&control.head), sent, (size_t)n * sizeof(int));
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
	}
	apart_hand();
	if (sendmsg(apart.ours, &msg, MSG_NOSIGNAL) != sizeof(*rq))
		return -EOPNOTSUPP; /* too many descriptors may be in flight: without us, then
				     */
	return apart_answer(&answer) ? answer : -EIO;
}

int apart_call(int (*fn)(void *arg, const int fds[APART_FDS]), void *arg,
	       const int fds[APART_FDS])
{
	struct apart_request rq = { .fn = fn, .arg = arg };
	int r = -EOPNOTSUPP;

	(void)pthread_mutex_lock(&apart.one);
	if (!apart.begun)
		apart_begin();
	if (apart.ours >= 0)
		r = apart_ask(&rq, fds);
	(void)pthread_mutex_unlock(&apart.one);
	return r;
}
