/*
 * chown(1) by a path that another account may change gives away whatever a link there names.
 * So find(1) looks for the one inode, which follows no link, and runs chown in the folder in
 * which it found it; a file with a second name may be anybody's, and stays as it is.
 */
#include "ctl/remedy.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "util/fs.h"
#include "util/quote.h"

int remedy_init(struct remedy *m, const struct ctl *ctl, const char *root)
{
	bool privileged = geteuid() == 0 || ctl->was_root;
	const struct passwd *pw;
	struct stat st;

	*m = (struct remedy){ .root = root, .as_root = privileged ? "" : "sudo " };
	if (stat(root, &st) == 0) {
		m->uid = st.st_uid;
		m->gid = st.st_gid;
	} else {
		m->uid = geteuid();
		m->gid = getegid();
	}
	pw = getpwuid(m->uid);
	if (m->uid == 0 ? geteuid() == 0 : m->uid == geteuid() && !ctl->was_root)
		m->as_owner = strdup("");
	else if (!privileged)
		m->as_owner = pw ? quote_command("sudo -u %q ", pw->pw_name)
				 : quote_command("sudo -u '#%d' ", (int)m->uid);
	else
		m->as_owner =
			pw ? quote_command("runuser -u %q -- ", pw->pw_name)
			   : quote_command("setpriv --reuid %d --regid %d --clear-groups ",
					   (int)m->uid, (int)m->gid);
	return m->as_owner ? 0 : -ENOMEM;
}

void remedy_deinit(struct remedy *m)
{
	free(m->as_owner);
	m->as_owner = NULL;
}

bool remedy_within(const struct remedy *m, const char *path)
{
	size_t n = strlen(m->root);

	return strncmp(path, m->root, n) == 0 && path[n] == '/';
}

/* Is a link on the way from the root to @path, or at its end; or is it not in the root at all
 */
static bool remedy_linked(const struct remedy *m, const char *path)
{
	CLEANUP(freep) char *copy = strdup(path);
	struct stat st;

	if (!copy || !remedy_within(m, path))
		return true;
	for (char *p = copy + strlen(m->root) + 1; p; p = strchr(p, '/')) {
		char *slash = strchr(p + (*p == '/'), '/');

		if (slash)
			*slash = '\0';
		if (lstat(copy, &st) < 0 || S_ISLNK(st.st_mode))
			return true;
		if (slash)
			*slash = '/';
		p = slash ? slash : p + strlen(p);
		if (!*p)
			break;
	}
	return false;
}

char *remedy_own(const struct remedy *m, const char *path)
{
	CLEANUP(freep) char *folder = strdup(path), *inode = NULL, *owner = NULL;
	char *slash = folder ? strrchr(folder, '/') : NULL;
	struct stat st;

	if (!folder)
		return NULL;
	if (!slash || remedy_linked(m, path) || lstat(path, &st) < 0 || st.st_nlink > 1)
		return quote_command("ls -la %q", path);
	if (st.st_uid == m->uid)
		return quote_command("%schmod u+rw %q", m->as_owner, path);
	*slash = '\0';
	inode = fs_path("%llu", (unsigned long long)st.st_ino);
	owner = fs_path("%lu:%lu", (unsigned long)m->uid, (unsigned long)m->gid);
	return inode && owner
		       ? quote_command("%sfind %q -xdev -maxdepth 1 -inum %s -type f -links 1 "
				       "-execdir chown -h %s {} + -execdir chmod u+rw {} +",
				       m->as_root, folder, inode, owner)
		       : NULL;
}

char *remedy_own_all(const struct remedy *m)
{
	CLEANUP(freep)
	char *owner = fs_path("%lu:%lu", (unsigned long)m->uid, (unsigned long)m->gid);

	return owner ? quote_command(
			       "%sfind %q/kanban -xdev \\( -type d -o -type f -links 1 \\) "
			       "-execdir chown -h %s {} + -execdir chmod u+rwX {} +",
			       m->as_root, m->root, owner)
		     : NULL;
}

char *remedy_aside(const struct remedy *m, const char *path)
{
	CLEANUP(freep) char *away = fs_path("%s.away", path);

	return away ? quote_command("%smv --backup=numbered -T %q %q",
				    remedy_within(m, path) ? m->as_owner : "", path, away)
		    : NULL;
}
