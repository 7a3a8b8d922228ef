/*
 * Says who dispatches a root: the kernel names the holder of the lock, the owner file adds its
 * name.
 */
#include "root/leader.h"

#include <errno.h>
#include <string.h>

#include "util/fs.h"

/* Did this host boot since the owner file was written: then its pid says nothing. */
static bool leader_same_boot(const char *boot_id)
{
	CLEANUP(freep) char *now = NULL;

	if (!*boot_id || fs_read_file("/proc/sys/kernel/random/boot_id", 256, &now, NULL) < 0)
		return true;
	now[strcspn(now, "\n")] = '\0';
	return strcmp(now, boot_id) == 0;
}

int leader_look(const char *root, struct leader *l)
{
	int r;

	*l = (struct leader){ 0 };
	r = lease_is_held(root, &l->pid);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return r;
	l->held = r == 1;
	l->unseen = l->held && l->pid == 0;
	l->has_file = lease_read_owner(root, &l->owner) == 0;
	l->kanband = l->held && l->has_file && (l->pid == 0 || l->pid == l->owner.pid) &&
		     leader_same_boot(l->owner.boot_id);
	return 0;
}
