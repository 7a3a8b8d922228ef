/*
 * Who holds the lease. The kernel knows the pid (/proc/locks, readable by everybody); the owner
 * file knows the story, but outlives its owner. So the kernel's pid is what counts, and the
 * owner file is quoted only where it names the same one. Two things cannot be seen: a holder in
 * another pid namespace (a container that shares the root) and one on another host (a network
 * file system); both are "another process".
 *
 * Where /proc/locks tells all, nothing here takes the lock, not even for a moment: a Hermes
 * gateway that starts just then would find it held and never dispatch. Only from within a pid
 * namespace, where a lock of a process outside has no line there, a shared lock is tried for a
 * microsecond: "nobody dispatches" said of a root that is dispatched would be worse.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "root.h"
#include "util/fs.h"

#define LEASE_LOCKS_MAX_BYTES ((size_t)8 * 1024 * 1024)
#define LEASE_PID_NS_INITIAL                                                                   \
	0xEFFFFFFCU /* inode of the first pid namespace, as the kernel has it */

/* One line of /proc/locks: "1: FLOCK  ADVISORY  WRITE 12 fe:00:345 0 EOF"; a waiter's line has
 * "->" after the number and does not match. */
static bool lease_locks_line(const char *line, uint64_t *pid, dev_t *dev, ino_t *ino)
{
	unsigned long long inode;
	unsigned major_no, minor_no;
	long long id;

	if (sscanf(line, "%*u: FLOCK ADVISORY WRITE %lld %x:%x:%llu ", &id, &major_no,
		   &minor_no, &inode) != 4)
		return false;
	*pid = id > 0 && id <= INT_MAX ? (uint64_t)id : 0;
	*dev = makedev(major_no, minor_no);
	*ino = (ino_t)inode;
	return true;
}

static int lease_locks_search(dev_t dev, ino_t ino, pid_t *pid)
{
	CLEANUP(freep) char *text = NULL;
	unsigned alike = 0;
	pid_t candidate = 0;
	char *save = NULL;
	int r;

	r = fs_read_file("/proc/locks", LEASE_LOCKS_MAX_BYTES, &text, NULL);
	if (r < 0)
		return r;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		uint64_t id;
		dev_t d;
		ino_t i;

		if (!lease_locks_line(l, &id, &d, &i) || i != ino)
			continue;
		candidate = (pid_t)id;
		if (d == dev) {
			*pid = candidate;
			return 1;
		}
		alike++;
	}
	/* btrfs and overlayfs show stat(2) another device than the lock table has */
	if (alike != 1)
		return 0;
	*pid = candidate;
	return 1;
}

int lease_holder_find(dev_t dev, ino_t ino, pid_t *pid)
{
	int r = 0;

	/* the kernel prints the table in pieces and may skip a line when one before it goes
	 * away between two of them; such a slip does not happen three times */
	for (int i = 0; i < 3 && r == 0; i++)
		r = lease_locks_search(dev, ino, pid);
	return r;
}

static void lease_comm(const char *pid, char *comm, size_t size)
{
	CLEANUP(freep) char *path = fs_path("/proc/%s/comm", pid);
	CLEANUP(freep) char *text = NULL;

	comm[0] = '\0';
	if (!path || fs_read_file(path, 256, &text, NULL) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	(void)snprintf(comm, size, "%s", text);
	for (char *c = comm; *c; c++)
		if (*c < 0x20 || *c == 0x7F) /* its own process chooses this text */
			*c = '?';
}

/* Does the owner file speak of the process that holds the lock now? A boot has one set of pids,
 * whatever the host is called; only without /proc the name has to do. */
static bool lease_owner_is(const struct lease_owner *owner, const struct lease_owner *self,
			   pid_t pid)
{
	return owner->epoch > 0 && owner->pid == pid &&
	       strcmp(owner->boot_id, self->boot_id) == 0 &&
	       (self->boot_id[0] || strcmp(owner->host, self->host) == 0);
}

static void lease_holder_unseen(const struct lease_owner *owner, const struct lease_owner *self,
				struct lease_holder *holder)
{
	if (owner->epoch > 0 && strcmp(owner->host, self->host) != 0)
		(void)snprintf(holder->text, sizeof(holder->text),
			       "another process (the last kanband was pid %" PRId64 " on %s)",
			       owner->pid, owner->host);
	else
		(void)snprintf(holder->text, sizeof(holder->text), "another process");
}

void lease_holder_name(const struct lease *lease, const struct lease_hold *hold,
		       struct lease_holder *holder)
{
	char comm[64], own[64], id[16];
	struct lease_owner owner;

	*holder = (struct lease_holder){ 0 };
	if (lease_owner_load(lease->paths.owner, &owner, NULL, NULL) < 0)
		owner = (struct lease_owner){ 0 };
	if (lease_holder_find(hold->dev, hold->ino, &holder->pid) != 1 || holder->pid <= 0) {
		holder->pid = 0;
		lease_holder_unseen(&owner, &lease->self, holder);
		return;
	}
	if (lease_owner_is(&owner, &lease->self, holder->pid)) {
		(void)snprintf(holder->text, sizeof(holder->text), "pid %d (%s%s on %s)",
			       (int)holder->pid, owner.unit[0] ? owner.unit : "kanband ",
			       owner.unit[0] ? "" : owner.version, owner.host);
		return;
	}
	(void)snprintf(id, sizeof(id), "%d", (int)holder->pid);
	lease_comm(id, comm, sizeof(comm));
	lease_comm("self", own, sizeof(own));
	if (!comm[0]) {
		(void)snprintf(holder->text, sizeof(holder->text),
			       "a child of pid %d, which has ended", (int)holder->pid);
	} else if (strcmp(comm, own) == 0) {
		/* two of us started at once, and the other has the lock but a moment */
		holder->unsure = true;
		(void)snprintf(holder->text, sizeof(holder->text), "pid %d (%s)",
			       (int)holder->pid, comm);
	} else {
		(void)snprintf(holder->text, sizeof(holder->text),
			       "pid %d (%s), which is not a kanband", (int)holder->pid, comm);
	}
}

/* Is this a pid namespace from which others are not seen? */
static bool lease_inside(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != LEASE_PID_NS_INITIAL;
}

static bool lease_probe(const char *path)
{
	CLEANUP(fs_closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

int lease_is_held(const char *root, pid_t *pid)
{
	struct lease_paths paths;
	struct stat st;
	pid_t holder = 0;
	int r = lease_paths_init(&paths, root);

	if (r == 0 && stat(paths.lock, &st) < 0) {
		r = -errno;
		if (r == -ENOENT && fs_is_dir(paths.root))
			r = 0; /* nobody made the file yet, so nobody can hold it */
	} else if (r == 0) {
		r = lease_holder_find(st.st_dev, st.st_ino, &holder);
		if (r == 0 && lease_inside() && lease_probe(paths.lock))
			r = 1;
	}
	if (pid)
		*pid = r == 1 ? holder : 0;
	lease_paths_deinit(&paths);
	return r;
}

/* As lease_locks_line(), of one that waits: "1: -> FLOCK …". */
static bool lease_locks_waiter(const char *line, ino_t ino, pid_t *pid)
{
	unsigned long long inode;
	long long id;

	if (sscanf(line, "%*u: -> FLOCK ADVISORY WRITE %lld %*x:%*x:%llu ", &id, &inode) != 2 ||
	    inode != ino)
		return false;
	*pid = id > 0 && id <= INT_MAX ? (pid_t)id : 0;
	return true;
}

int lease_awaited(const char *root, pid_t *pid)
{
	CLEANUP(freep) char *text = NULL;
	struct lease_paths paths;
	char *save = NULL;
	struct stat st;
	pid_t waiter = 0;
	int r = lease_paths_init(&paths, root), found = 0;

	if (r == 0 && stat(paths.lock, &st) < 0)
		r = -errno;
	if (r == 0)
		r = fs_read_file("/proc/locks", LEASE_LOCKS_MAX_BYTES, &text, NULL);
	for (char *l = r == 0 ? strtok_r(text, "\n", &save) : NULL; l && !found;
	     l = strtok_r(NULL, "\n", &save))
		found = lease_locks_waiter(l, st.st_ino, &waiter);
	if (pid)
		*pid = waiter;
	lease_paths_deinit(&paths);
	return r < 0 ? r : found;
}
