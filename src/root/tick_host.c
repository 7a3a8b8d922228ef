/* The tick's view of the world: processes, profiles, the lease. Pool threads call these. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "launch/identity.h"
#include "process/helper.h"
#include "root/root.h"
#include "util/fs.h"

static bool outside_alive(void *arg, const struct tick_worker *w)
{
	struct identity_claim claim = {
		.pid = (pid_t)w->pid,
		.task = w->task,
		.run = w->run,
		.started = w->started,
		.run_started_at = w->run_started_at,
		.db = w->db,
	};

	(void)arg;
	return identity_check(&claim) == IDENTITY_OURS;
}

static bool outside_profile(void *arg, const char *canonical)
{
	const struct root *root = arg;
	CLEANUP(freep) char *path = fs_path("%s/profiles/%s", root->path, canonical);

	return path && fs_is_dir(path);
}

static bool outside_owner(void *arg, struct error *why)
{
	const struct root *root = arg;

	if (root->env->dry_run)
		return true;
	if (!atomic_load(&root->owner)) {
		(void)error_set(why, LEASE_LOST, "no longer the owner");
		return false;
	}
	return lease_check(root->lease, why) == 0;
}

static int outside_pr_open(void *arg, const char *url)
{
	(void)arg;
	return helper_pr_open(url);
}

static int64_t outside_find(void *arg, const char *db, const char *task, int64_t run)
{
	struct identity_found *found = NULL;
	size_t n = 0;
	int64_t pid = 0;

	(void)arg;
	if (identity_scan(&found, &n) < 0)
		return 0;
	/* the worker itself is the one whose parent does not carry the run */
	for (size_t i = 0; i < n; i++) {
		bool child = false;

		if (found[i].run != run || strcmp(found[i].task, task) != 0)
			continue;
		if (db && (!found[i].db || strcmp(found[i].db, db) != 0))
			continue;
		for (size_t k = 0; k < n; k++)
			child |= found[k].pid == found[i].ppid && found[k].run == run;
		if (!child && (!pid || found[i].pid < pid))
			pid = found[i].pid;
	}
	identity_found_free(found, n);
	return pid;
}

static bool outside_first_scratch(void *arg)
{
	struct root *root = arg;
	CLEANUP(freep) char *path = NULL;
	int fd;

	if (atomic_exchange(&root->first_scratch_done, true))
		return false;
	path = fs_path("%s/.scratch_tip_shown", root->path);
	if (!path)
		return false;
	if (root->env->dry_run)
		return access(path, F_OK) < 0;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return false;
	fs_closep(&fd);
	return true;
}

void root_outside_init(struct root *root)
{
	root->outside = (struct tick_outside){
		.alive = outside_alive,
		.profile = outside_profile,
		.owner = outside_owner,
		.pr_open = outside_pr_open,
		.find = outside_find,
		.first_scratch = outside_first_scratch,
		.arg = root,
	};
}
