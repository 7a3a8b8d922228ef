/*
 * The message that starts a run's unit: what it runs, and within which bounds.
 *
 * RemainAfterExit=yes: a worker that ended well would else be forgotten by the manager at once;
 * one that failed is kept anyway. Either is there until it is collected (unit.c).
 */
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "util/fs.h"

/* A message while it is filled: after the first failure nothing more is added. */
struct unit_start {
	sd_bus_message *m;
	int r;
};

static void unit_start_text(struct unit_start *s, const char *name, const char *value)
{
	if (s->r >= 0 && value)
		s->r = sd_bus_message_append(s->m, "(sv)", name, "s", value);
}

static void unit_start_bool(struct unit_start *s, const char *name, bool value)
{
	if (s->r >= 0)
		s->r = sd_bus_message_append(s->m, "(sv)", name, "b", (int)value);
}

/* @value < 0: not set */
static void unit_start_number(struct unit_start *s, const char *name, int64_t value)
{
	if (s->r >= 0 && value >= 0)
		s->r = sd_bus_message_append(s->m, "(sv)", name, "t", (uint64_t)value);
}

static void unit_start_fd(struct unit_start *s, const char *name, int fd)
{
	if (s->r >= 0)
		s->r = sd_bus_message_append(s->m, "(sv)", name, "h", fd);
}

static void unit_start_exec(struct unit_start *s, const char *self)
{
	if (s->r >= 0)
		s->r = sd_bus_message_append(s->m, "(sv)", "ExecStart", "a(sasb)", 1, self, 2,
					     "kanband", UNIT_WORKER_OPTION, 0);
}

/* The git folder that the worktree @workspace shares with others: commits go there. "" none. */
static void unit_start_git(const char *workspace, char *out, size_t size)
{
	CLEANUP(freep) char *path = fs_path("%s/.git", workspace);
	CLEANUP(freep) char *text = NULL;
	char *cut;

	out[0] = '\0';
	if (!path || fs_is_dir(path) || fs_read_file(path, 8192, &text, NULL) < 0 ||
	    strncmp(text, "gitdir: /", 9) != 0)
		return;
	cut = strstr(text, "/worktrees/");
	if (!cut || strchr(text, '\n') < cut)
		return;
	*cut = '\0';
	(void)snprintf(out, size, "%s", text + 8);
}

/* What may be written where the rest of the file system is read-only. */
static void unit_start_writable(struct unit_start *s, const struct launch_order *o)
{
	char git[PATH_MAX];
	const char *home = o->limits->protect == LAUNCH_PROTECT_HOME
				   ? environ_home(o->env->inherited)
				   : NULL;
	const char *const paths[] = { o->cwd, git, o->spec->root, o->spec->logs_dir, home };

	unit_start_git(o->cwd, git, sizeof(git));
	if (s->r >= 0)
		s->r = sd_bus_message_open_container(s->m, 'r', "sv");
	if (s->r >= 0)
		s->r = sd_bus_message_append(s->m, "s", "ReadWritePaths");
	if (s->r >= 0)
		s->r = sd_bus_message_open_container(s->m, 'v', "as");
	if (s->r >= 0)
		s->r = sd_bus_message_open_container(s->m, 'a', "s");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (s->r >= 0 && paths[i] && *paths[i])
			s->r = sd_bus_message_append(s->m, "s", paths[i]);
	for (int i = 0; i < 3; i++)
		if (s->r >= 0)
			s->r = sd_bus_message_close_container(s->m);
}

static void unit_start_sandbox(struct unit_start *s, const struct launch_order *o)
{
	const struct launch_limits *l = o->limits;
	bool any = l->protect != LAUNCH_PROTECT_NONE || l->private_tmp || !l->devices ||
		   !l->network;

	if (!any)
		return;
	/* a person's manager has no rights but those of a user namespace */
	if (o->launcher->manager == UNIT_MANAGER_OWN)
		unit_start_bool(s, "PrivateUsers", true);
	if (l->protect != LAUNCH_PROTECT_NONE) {
		unit_start_text(s, "ProtectSystem", "strict");
		unit_start_bool(s, "NoNewPrivileges", true);
		unit_start_writable(s, o);
	}
	if (l->private_tmp)
		unit_start_bool(s, "PrivateTmp", true);
	if (!l->devices)
		unit_start_bool(s, "PrivateDevices", true);
	if (!l->network)
		unit_start_bool(s, "PrivateNetwork", true);
}

static void unit_start_limits(struct unit_start *s, const struct launch_order *o)
{
	const struct launch_limits *l = o->limits;

	unit_start_number(s, "MemoryMax", l->memory_max);
	unit_start_number(s, "MemoryHigh", l->memory_high);
	unit_start_number(s, "MemorySwapMax", l->memory_swap_max);
	unit_start_number(s, "TasksMax", l->tasks_max);
	unit_start_number(s, "CPUWeight", l->cpu_weight);
	/* given in percent of one processor */
	unit_start_number(s, "CPUQuotaPerSecUSec",
			  l->cpu_quota < 0 ? -1 : l->cpu_quota * 10000);
	unit_start_number(s, "IOWeight", l->io_weight);
	unit_start_number(s, "RuntimeMaxUSec",
			  l->runtime_max_s < 0 ? -1 : l->runtime_max_s * 1000000);
	if (s->r >= 0 && l->nice != 0)
		s->r = sd_bus_message_append(s->m, "(sv)", "Nice", "i", (int32_t)l->nice);
	if (s->r >= 0 && l->oom_score_adjust != 0)
		s->r = sd_bus_message_append(s->m, "(sv)", "OOMScoreAdjust", "i",
					     (int32_t)l->oom_score_adjust);
	/* all of it or nothing: what is left of a worker's tree is of no use */
	unit_start_text(s, "OOMPolicy", "kill");
}

static void unit_start_process(struct unit_start *s, const struct launch_order *o, int input)
{
	char user[24];
	mode_t mask = umask(0);

	(void)umask(mask);
	(void)snprintf(user, sizeof(user), "%u", (unsigned)geteuid());
	unit_start_text(s, "Type", "exec");
	unit_start_bool(s, "RemainAfterExit", true);
	unit_start_exec(s, o->launcher->self);
	unit_start_fd(s, "StandardInputFileDescriptor", input);
	unit_start_fd(s, "StandardOutputFileDescriptor", o->log);
	unit_start_fd(s, "StandardErrorFileDescriptor", o->log);
	if (o->launcher->manager == UNIT_MANAGER_SYSTEM && geteuid() != 0)
		unit_start_text(s, "User", user);
	if (s->r >= 0)
		s->r = sd_bus_message_append(s->m, "(sv)", "UMask", "u", (uint32_t)mask);
	if (o->launcher->nofile.rlim_max != 0) {
		unit_start_number(s, "LimitNOFILE", (int64_t)o->launcher->nofile.rlim_max);
		unit_start_number(s, "LimitNOFILESoft", (int64_t)o->launcher->nofile.rlim_cur);
	}
	unit_start_bool(s, "IgnoreSIGPIPE", false);
	unit_start_number(s, "TimeoutStopUSec", o->launcher->grace_ms * 1000);
}

int unit_start_call(sd_bus *bus, const struct launch_order *order, int input,
		    sd_bus_message **call)
{
	const struct launch_run run = { .root = order->spec->root,
					.board = order->spec->board,
					.task = order->spec->task,
					.run = order->spec->run };
	struct unit_start s = { .m = NULL };
	char name[UNIT_NAME_SIZE], description[512];

	unit_name(&run, name);
	unit_description(&run, description, sizeof(description));
	s.r = sd_bus_message_new_method_call(bus, &s.m, UNIT_BUS_NAME, UNIT_BUS_PATH,
					     UNIT_BUS_MANAGER, "StartTransientUnit");
	if (s.r >= 0)
		s.r = sd_bus_message_append(s.m, "ss", name, "fail");
	if (s.r >= 0)
		s.r = sd_bus_message_open_container(s.m, 'a', "(sv)");
	unit_start_text(&s, "Description", description);
	unit_start_text(&s, "Slice", order->limits->slice ? order->limits->slice : UNIT_SLICE);
	unit_start_process(&s, order, input);
	unit_start_limits(&s, order);
	unit_start_sandbox(&s, order);
	if (s.r >= 0)
		s.r = sd_bus_message_close_container(s.m);
	if (s.r >= 0)
		s.r = sd_bus_message_append(s.m, "a(sa(sv))", 0);
	if (s.r < 0) {
		(void)sd_bus_message_unref(s.m);
		return s.r;
	}
	*call = s.m;
	return 0;
}
