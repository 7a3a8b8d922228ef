/*
 * The launchers `fork` and `command` where a subtree of control groups (v2) is delegated to us:
 * each worker has one of its own, kanban-NUMBER (proc_run_number()) below it. Whatever a worker
 * starts is in there and cannot leave it: so all of it is found, and ended at once, by
 * cgroup.kill.
 *
 * Limits need controllers, which a group may only pass on while no process is in it. So there
 * are limits where the service manager starts us in a group below the delegated one
 * (DelegateSubgroup=, systemd 254), and where it does not, a group bounds nothing, but it still
 * holds its worker together. To turn them on in the unit's own group would keep the manager
 * from starting us again while workers run on.
 *
 * The worker enters its group by itself, before it becomes what it is to be (unit_worker.c):
 * nothing that it starts can be outside.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"
#include "launch/group.h"
#include "process/spawn.h"
#include "unit.h"
#include "util/fs.h"

#define GROUP_SWEEP_S  90 /* so old and empty, nobody is about to enter it */
#define GROUP_TRIES    50 /* … to remove one whose processes were killed just now */
#define GROUP_PAUSE_MS 20
#define GROUP_NAME     "kanban-%016" PRIx64

char *group_path(pid_t pid)
{
	CLEANUP(freep) char *text = NULL;
	char path[40];
	const char *p;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	if (fs_read_file(path, 1 << 16, &text, NULL) < 0)
		return NULL;
	p = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	if (!p) /* an older host: where the service manager has it is all there is */
		p = strstr(text, ":name=systemd:");
	if (!p)
		return NULL;
	p = strchr(p, '/');
	return p ? strndup(p, strcspn(p, "\n")) : NULL;
}

char *group_mount(void)
{
	CLEANUP(freep) char *text = NULL;
	char *rest, *line;

	if (fs_read_file("/proc/self/mountinfo", 1 << 20, &text, NULL) < 0)
		return NULL;
	for (rest = text; (line = strsep(&rest, "\n")) != NULL;) {
		char root[PATH_MAX], at[PATH_MAX];

		/* one that shows the whole of our view of it, at a plain path */
		if (strstr(line, " - cgroup2 ") &&
		    sscanf(line, "%*d %*d %*s %4095s %4095s", root, at) == 2 &&
		    strcmp(root, "/") == 0 && !strchr(at, '\\'))
			return strdup(at);
	}
	return NULL;
}

/* Given to us to make groups in: as the service manager marks it, or a container by its owner.
 */
static bool group_is_delegated(const char *folder)
{
	const char *dot = strrchr(folder, '.');
	bool unit = dot && (strcmp(dot, ".service") == 0 || strcmp(dot, ".scope") == 0 ||
			    strcmp(dot, ".slice") == 0);
	struct stat st;
	char mark[2];

	if (stat(folder, &st) < 0 || access(folder, W_OK) < 0)
		return false;
	return (!unit && geteuid() != 0 && st.st_uid == geteuid()) ||
	       getxattr(folder, "user.delegate", mark, sizeof(mark)) > 0 ||
	       getxattr(folder, "trusted.delegate", mark, sizeof(mark)) > 0;
}

static int group_write(const char *folder, const char *name, const char *text)
{
	CLEANUP(freep) char *path = fs_path("%s/%s", folder, name);
	CLEANUP(fs_closep) int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return path ? -errno : -ENOMEM;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

char *group_base(void)
{
	static const char *const controllers[] = { "+memory", "+pids", "+cpu", "+io" };
	CLEANUP(freep) char *mount = group_mount(), *own = group_path(getpid());
	CLEANUP(freep) char *base = NULL;
	char *slash;
	bool above;

	if (!mount || !own || strcmp(own, "/") == 0)
		return NULL;
	base = fs_path("%s%s", mount, own);
	slash = base ? strrchr(base, '/') : NULL;
	if (!slash)
		return NULL;
	*slash = '\0';
	above = strlen(base) > strlen(mount) && group_is_delegated(base);
	for (size_t i = 0; above && i < sizeof(controllers) / sizeof(controllers[0]); i++)
		IGNORE(group_write(base, "cgroup.subtree_control", controllers[i]));
	if (!above) {
		*slash = '/';
		if (!group_is_delegated(base))
			return NULL;
	}
	return STEAL(base);
}

static char *group_folder(const char *base, uint64_t number)
{
	return fs_path("%s/" GROUP_NAME, base, number);
}

static void group_limit(const char *folder, const char *name, int64_t value, const char *unit)
{
	char text[64];

	if (value < 0)
		return;
	(void)snprintf(text, sizeof(text), "%" PRId64 "%s", value, unit);
	/* without the controller there is no such file, and no limit: kanband.conf(5) */
	IGNORE(group_write(folder, name, text));
}

static void group_limits(const char *folder, const struct launch_limits *l)
{
	group_limit(folder, "memory.max", l->memory_max, "");
	group_limit(folder, "memory.high", l->memory_high, "");
	group_limit(folder, "memory.swap.max", l->memory_swap_max, "");
	group_limit(folder, "memory.oom.group", 1, "");
	group_limit(folder, "pids.max", l->tasks_max, "");
	group_limit(folder, "cpu.weight", l->cpu_weight, "");
	group_limit(folder, "cpu.max", l->cpu_quota < 0 ? -1 : l->cpu_quota * 1000, " 100000");
	group_limit(folder, "io.weight", l->io_weight, "");
}

static int group_start(const struct launch_order *o, struct launch_result *result,
		       struct error *e)
{
	char kanband[] = "kanband", option[] = UNIT_WORKER_OPTION;
	char *const argv[] = { kanband, option, NULL };
	CLEANUP(freep)
	char *folder = o->number ? group_folder(o->launcher->groups, o->number) : NULL;
	CLEANUP(freep) char *procs = folder ? fs_path("%s/cgroup.procs", folder) : NULL;
	CLEANUP(fs_closep) int input = -1;
	struct launch_order in_group = *o;
	struct spawn how;

	/* what was delegated may be gone, or full: a worker without a group is a worker */
	if (!procs || (mkdir(folder, 0755) < 0 && errno != EEXIST))
		return fork_type.start(o, result, e);
	group_limits(folder, o->limits);
	in_group.group = procs;
	input = unit_input_new(&in_group);
	/* nobody has to wait for it: it is our child */
	if (input < 0 || fcntl(input, F_ADD_SEALS, F_SEAL_SEAL) < 0) {
		(void)rmdir(folder);
		return fork_type.start(o, result, e);
	}
	how = (struct spawn){
		.file = o->launcher->self,
		.argv = argv,
		.envp = o->envp,
		.cwd = o->cwd,
		.in = input,
		.out = o->log,
		.err = o->log,
		.run = o->number,
	};
	return fork_spawn(o, &how, result, e);
}

/* The number behind @name in a flat file such as memory.events; 0 for none. */
static long long group_event(const char *folder, const char *file, const char *name)
{
	CLEANUP(freep) char *path = fs_path("%s/%s", folder, file);
	CLEANUP(freep) char *text = NULL;
	char key[32];
	const char *p;

	if (!path || fs_read_file(path, 4096, &text, NULL) < 0)
		return 0;
	(void)snprintf(key, sizeof(key), "%s ", name);
	p = strncmp(text, key, strlen(key)) == 0 ? text : NULL;
	for (const char *at = text; !p && (at = strchr(at, '\n')) != NULL; at++)
		if (strncmp(at + 1, key, strlen(key)) == 0)
			p = at + 1;
	return p ? strtoll(p + strlen(key), NULL, 10) : 0;
}

static char *group_of_run(const struct launcher *launcher, const struct launch_run *run)
{
	return run->db ? group_folder(launcher->groups, proc_run_number(run->db, run->run))
		       : NULL;
}

/* What the kernel does not say of a child: that it was killed for its memory. */
static int group_ended(const struct launcher *launcher, const struct launch_run *run,
		       struct ending *ending)
{
	CLEANUP(freep) char *folder = group_of_run(launcher, run);

	if (!folder || group_event(folder, "memory.events", "oom_kill") == 0 ||
	    ending->kind == ENDING_EXITED)
		return 1;
	if (ending->kind == ENDING_UNKNOWN)
		*ending = (struct ending){ .kind = ENDING_SIGNALED, .value = SIGKILL };
	ending->why = ENDING_OUT_OF_MEMORY;
	return 0;
}

static void group_collect(const struct launcher *launcher, const struct launch_run *run)
{
	CLEANUP(freep) char *folder = group_of_run(launcher, run);

	if (!folder || access(folder, F_OK) < 0)
		return;
	IGNORE(group_write(folder, "cgroup.kill", "1"));
	/* until they are gone; one that stays is left to a sweep */
	for (int i = 0; i < GROUP_TRIES && rmdir(folder) < 0 && errno == EBUSY; i++)
		(void)poll(NULL, 0, GROUP_PAUSE_MS);
}

static void group_sweep(const struct launcher *launcher, const char *root)
{
	DIR *dir = opendir(launcher->groups);
	struct dirent *entry;

	(void)root; /* an empty group is nobody's, whichever root it was made for */
	while (dir && (entry = readdir(dir)) != NULL) {
		CLEANUP(freep) char *folder = NULL;
		struct stat st;

		if (strncmp(entry->d_name, "kanban-", 7) != 0 || strlen(entry->d_name) != 23)
			continue;
		folder = fs_path("%s/%s", launcher->groups, entry->d_name);
		if (folder && stat(folder, &st) == 0 &&
		    time(NULL) - st.st_ctime > GROUP_SWEEP_S)
			(void)rmdir(folder); /* refused where a process is in it */
	}
	if (dir)
		(void)closedir(dir);
}

/* Where the group of that run ends in the path of one who is in it; NULL: it is not. */
static char *group_within(const char *path, uint64_t number)
{
	char name[40];
	char *at;

	(void)snprintf(name, sizeof(name), "/" GROUP_NAME, number);
	at = strstr(path, name);
	at = at ? at + strlen(name) : NULL;
	return at && (*at == '/' || *at == '\0') ? at : NULL;
}

bool group_has(uint64_t number, pid_t pid)
{
	CLEANUP(freep) char *path = group_path(pid);

	return path && group_within(path, number);
}

bool group_kill(uint64_t number, pid_t pid)
{
	CLEANUP(freep) char *path = group_path(pid), *mount = NULL, *folder = NULL;
	char *end = path ? group_within(path, number) : NULL;

	if (!end)
		return false;
	*end = '\0';
	mount = group_mount();
	folder = mount ? fs_path("%s%s", mount, path) : NULL;
	return folder && group_write(folder, "cgroup.kill", "1") == 0;
}

const struct launch_type group_type = {
	.start = group_start,
	.ended = group_ended,
	.collect = group_collect,
	.sweep = group_sweep,
};
