/*
 * The two are joined by a socket on which the kernel says whose each message is. What is asked
 * for is a name of a unit and a name of ours; the unit must be a gateway's that runs as the
 * account that asks, the text is made here, and the folder is the one of the host's units.
 */
#include "ctl/unit_writer.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"
#include "gateway/gateway_dropin.h"
#include "gateway/gateway_scan.h"
#include "gateway/manager.h"
#include "gateway/unit_file.h"
#include "util/fs.h"

#define WRITER_PREFIX "hermes-gateway"
#define WRITER_USUAL  "-" /* in place of a name: the usual unit of kanband */

struct unit_writer_request {
	char unit[256], kanband[256];
	bool remove;
};

/* Does the unit run as that account */
static bool unit_writer_owns(const struct unit *unit, uid_t uid)
{
	const char *user = unit->account;
	const struct passwd *pw = user ? getpwnam(user) : NULL;
	char number[24];

	(void)snprintf(number, sizeof(number), "%lu", (unsigned long)uid);
	return user && (strcmp(user, number) == 0 || (pw && pw->pw_uid == uid));
}

static int unit_writer_do(const struct ctl *ctl, const struct unit_writer_request *ask,
			  uid_t uid)
{
	CLEANUP(unit_path_deinit) struct unit_path path = { 0 };
	CLEANUP(unit_deinit) struct unit unit = { 0 };
	bool usual = strcmp(ask->kanband, WRITER_USUAL) == 0;
	int r;

	if (!unit_is_name(ask->unit) ||
	    strncmp(ask->unit, WRITER_PREFIX, sizeof(WRITER_PREFIX) - 1) != 0 ||
	    (!usual && *ask->kanband && !unit_is_kanband(ask->kanband)))
		return -EPERM;
	r = unit_path_system(&path, ctl->env);
	if (r == 0)
		r = manager_load(&path, ask->unit, &unit);
	if (r < 0)
		return r;
	if (!unit_writer_owns(&unit, uid))
		return -EPERM;
	return ask->remove ? gateway_dropin_remove(&unit)
			   : gateway_dropin_write(&unit, usual ? NULL : ask->kanband);
}

/* Until the other end is closed. */
static void unit_writer_serve(const struct ctl *ctl, int fd)
{
	for (;;) {
		struct unit_writer_request ask;
		union {
			struct cmsghdr head;
			char room[CMSG_SPACE(sizeof(struct ucred))];
		} control;
		struct iovec iov = { &ask, sizeof(ask) };
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = &control,
				      .msg_controllen = sizeof(control) };
		struct ucred who = { .uid = (uid_t)-1 };
		struct cmsghdr *c;
		ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		int r = -EPERM;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		c = CMSG_FIRSTHDR(&msg);
		if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&who, CMSG_DATA(c), sizeof(who));
		if (n == sizeof(ask) && memchr(ask.unit, '\0', sizeof(ask.unit)) &&
		    memchr(ask.kanband, '\0', sizeof(ask.kanband)) && who.uid != (uid_t)-1)
			r = unit_writer_do(ctl, &ask, who.uid);
		if (send(fd, &r, sizeof(r), MSG_NOSIGNAL) != sizeof(r))
			return;
	}
}

int unit_writer_start(const struct ctl *ctl, int *fd, int *exit)
{
	int ends[2], on = 1, status;
	pid_t pid;

	*fd = -1;
	if (geteuid() != 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ||
	    setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return ctl_say(ctl, CTL_IO, "cannot make a socket: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return ctl_say(ctl, CTL_IO, "cannot fork: %s", strerror(errno));
	if (pid == 0) {
		(void)close(ends[0]);
		*fd = ends[1];
		return 0;
	}
	(void)close(ends[1]);
	unit_writer_serve(ctl, ends[0]);
	(void)close(ends[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return ctl_say(ctl, CTL_IO, "cannot wait: %s", strerror(errno));
	*exit = WIFEXITED(status) ? WEXITSTATUS(status) : CTL_IO;
	return 1;
}

int unit_writer_request(int fd, const char *unit, const char *kanband, bool remove)
{
	struct unit_writer_request ask = { .remove = remove };
	int r;

	(void)snprintf(ask.unit, sizeof(ask.unit), "%s", unit);
	(void)snprintf(ask.kanband, sizeof(ask.kanband), "%s",
		       kanband ? kanband : WRITER_USUAL);
	if (send(fd, &ask, sizeof(ask), MSG_NOSIGNAL) != sizeof(ask) ||
	    recv(fd, &r, sizeof(r), 0) != sizeof(r))
		return -EIO;
	return r;
}
