/* The tick's view of the world: processes, profiles, the lease. Pool threads call these. */
#include "root/tick_host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/ending.h"
#include "launch/identity.h"
#include "process/helper.h"
#include "process/proc.h"
#include "root/ends.h"
#include "root/estop.h"
#include "root/root.h"
#include "root/workers.h"
#include "util/fs.h"

bool tick_host_alive(const struct tick_worker *w)
{
	const struct identity_claim claim = {
		.pid = (pid_t)w->pid,
		.task = w->task,
		.run = w->run,
		.started = w->started,
		.run_started_at = w->run_started_at,
		.db = w->db,
	};
	enum identity who = identity_check(&claim);

	return who == IDENTITY_OURS || who == IDENTITY_UNSURE;
}

bool tick_host_profile(const char *root, const char *canonical)
{
	CLEANUP(freep) char *path = fs_path("%s/profiles/%s", root, canonical);

	return path && fs_is_dir(path);
}

static bool host_alive(void *arg, const struct tick_worker *w)
{
	(void)arg;
	return tick_host_alive(w);
}

static int64_t host_began(void *arg, const struct tick_worker *w)
{
	struct proc_stat stat;

	(void)arg;
	return proc_stat((pid_t)w->pid, &stat) < 0 ? 0 : proc_start_wall_ms(stat.start) / 1000;
}

static bool host_elsewhere(void *arg, const char *started)
{
	(void)arg;
	return identity_elsewhere(started);
}

static bool host_ended(void *arg, const struct tick_worker *w, struct tick_exit *exit)
{
	const struct root *root = arg;
	const struct launcher *launcher = atomic_load(&root->launcher);
	const struct ends_run kept = { w->db, w->task, w->run, (pid_t)w->pid };
	const struct launch_run run = { .root = root->path,
					.board = w->board,
					.task = w->task,
					.run = w->run,
					.pid = (pid_t)w->pid,
					.db = w->db };
	struct ending ending = { .kind = ENDING_UNKNOWN };

	pid_t pid = (pid_t)w->pid;

	if (!ends_find(root->ends, &kept, &ending, &pid) &&
	    (w->pid == 0 || !launcher || launch_ended(launcher, &run, &ending) != 0))
		return false;
	*exit = workers_exit(w->run, pid, ending);
	return true;
}

static bool host_profile(void *arg, const char *canonical)
{
	const struct root *root = arg;

	return tick_host_profile(root->path, canonical);
}

static bool host_owner(void *arg, struct error *why)
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

static bool host_stopped(void *arg, int64_t now, int64_t *until, struct error *why)
{
	const struct root *root = arg;
	char text[600];
	struct estop stop;

	estop_look(&stop, root->path, root->env->hermes_home, now);
	*until = stop.until;
	if (!stop.engaged)
		return false;
	estop_sentence(&stop, text, sizeof(text));
	(void)error_set(why, -ECANCELED, "%s", text);
	return true;
}

static int host_pr_open(void *arg, const char *url)
{
	(void)arg;
	return helper_pr_open(url);
}

/* The pid may be another's by now, of another program. */
static bool host_claimant(void *arg, const char *lock)
{
	const char *colon = strrchr(lock, ':');
	long pid = colon ? strtol(colon + 1, NULL, 10) : 0;
	struct proc_stat self, other;

	(void)arg;
	/* what this one has in flight is known to it */
	if (pid <= 1 || pid > INT_MAX || pid == getpid())
		return false;
	if (proc_stat((pid_t)pid, &other) < 0 || proc_is_dead(&other) || other.exiting)
		return false;
	return proc_stat(getpid(), &self) < 0 || strcmp(self.name, other.name) == 0;
}

static int64_t host_find(void *arg, const struct tick_worker *w, bool ended)
{
	static const struct launcher plain = { .kind = LAUNCHER_FORK };
	const struct root *root = arg;
	/* only a launcher knows what has ended, and we, of our children */
	const struct launcher *launcher = ended ? atomic_load(&root->launcher) : NULL;
	const struct launch_run run = { .root = root->path,
					.board = w->board,
					.task = w->task,
					.run = w->run,
					.db = w->db };
	pid_t pid = 0;
	int r = launch_find(launcher ? launcher : &plain, &run, &pid);

	if (ended && r > 0) {
		const struct ends_run kept = { w->db, w->task, w->run, 0 };
		struct ending ending;

		r = ends_find(root->ends, &kept, &ending, &pid) ? 0 : r;
	}
	return r < 0 ? -1 : r == 0 ? pid : 0;
}

static bool host_first_scratch(void *arg)
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

void tick_host_init(struct root *root)
{
	root->host = (struct tick_host){
		.alive = host_alive,
		.began = host_began,
		.elsewhere = host_elsewhere,
		.ended = host_ended,
		.profile = host_profile,
		.owner = host_owner,
		.stopped = host_stopped,
		.pr_open = host_pr_open,
		.claimant = host_claimant,
		.find = host_find,
		.first_scratch = host_first_scratch,
		.arg = root,
	};
}
