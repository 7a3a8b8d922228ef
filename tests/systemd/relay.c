/*
 * A way to a D-Bus that can be cut: relay LISTEN TARGET listens at the socket LISTEN and passes
 * on what comes, with the descriptors that come with it, to the socket TARGET and back. For
 * launch-manager.sh, which builds and kills it: systemd-socket-proxyd passes no descriptors.
 */
#define _GNU_SOURCE
#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	RELAY_BYTES = 64 * 1024,
	RELAY_FDS = 253, /* SCM_MAX_FD */
};

static struct sockaddr_un relay_address(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		errx(64, "%s: too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path));
	return address;
}

/* One portion from one side to the other; false at its end. */
static bool relay_portion(int from, int to)
{
	static char bytes[RELAY_BYTES];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * RELAY_FDS)];
	} control;
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return false;
	if (m.msg_flags & MSG_CTRUNC)
		errx(1, "more descriptors than a message can have");
	for (size_t sent = 0; sent < (size_t)n;) {
		ssize_t w;

		iov.iov_base = bytes + sent;
		iov.iov_len = (size_t)n - sent;
		w = sendmsg(to, &m, MSG_NOSIGNAL);
		if (w < 0)
			return false;
		sent += (size_t)w;
		/* they went with the first byte */
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
			for (size_t i = 0; CMSG_LEN(sizeof(int) * (i + 1)) <= c->cmsg_len; i++)
				(void)close(((int *)(void *)CMSG_DATA(c))[i]);
		m.msg_control = NULL;
		m.msg_controllen = 0;
	}
	return true;
}

static void relay_serve(int client, const struct sockaddr_un *target)
{
	int bus = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd fds[2] = { { .fd = client, .events = POLLIN },
				 { .fd = bus, .events = POLLIN } };

	if (bus < 0 || connect(bus, (const struct sockaddr *)target, sizeof(*target)) < 0)
		err(1, "%s", target->sun_path);
	while (poll(fds, 2, -1) > 0) {
		if (fds[0].revents && !relay_portion(client, bus))
			break;
		if (fds[1].revents && !relay_portion(bus, client))
			break;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un here, target;
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 3)
		errx(64, "usage: %s LISTEN TARGET", argv[0]);
	here = relay_address(argv[1]);
	target = relay_address(argv[2]);
	(void)signal(SIGCHLD, SIG_IGN); /* nobody waits for them */
	if (s < 0 || bind(s, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(s, 64) < 0)
		err(1, "%s", argv[1]);
	for (;;) {
		int client = accept4(s, NULL, NULL, SOCK_CLOEXEC);
		pid_t pid = client < 0 ? -1 : fork();

		if (pid < 0)
			err(1, "accept");
		if (pid == 0) {
			/* a relay that is killed cuts every connection */
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			relay_serve(client, &target);
			_exit(0);
		}
		(void)close(client);
	}
}
