/*
 * Starting a worker, from the row of a task to a process.
 *
 * Happy path: look at the task id, make the workspace, open the log, find the program, build
 * argv and environment, spawn, open a pidfd, note the start time. A scratch task costs about
 * ten system calls besides the spawn itself.
 *
 * Failure: a task id or a workspace that cannot be → LAUNCH_WORKSPACE_FAILED, nothing was
 * started and no path is given back. All that follows → LAUNCH_SPAWN_FAILED, and the workspace
 * stays, for the next try. A child that we cannot watch is ended and reaped: a worker that
 * nobody knows of would be worse than none.
 */
#include "launch/launch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "launch/identity.h"
#include "process/proc.h"
#include "util/fs.h"

int launcher_init(struct launcher *launcher)
{
	CLEANUP(environ_freep) struct launch_env *env = NULL;
	int r = environ_prepare(&env, launcher->environ);

	if (r == 0)
		r = environ_keep_more(env, launcher->command && launcher->command[0]
						   ? launcher->command[0]
						   : launcher->hermes);
	if (r < 0)
		return r;
	launcher_deinit(launcher);
	launcher->prepared = STEAL(env);
	return 0;
}

void launcher_deinit(struct launcher *launcher)
{
	launcher->prepared = environ_free(launcher->prepared);
}

void launch_spec_deinit(struct launch_spec *spec)
{
	char **const strings[] = {
		&spec->root,
		&spec->board,
		&spec->db_path,
		&spec->task,
		&spec->claim_lock,
		&spec->profile,
		&spec->profile_home,
		&spec->tenant,
		&spec->workspace_kind,
		&spec->workspace_path,
		&spec->branch_name,
		&spec->workspaces_root,
		&spec->default_workdir,
		&spec->logs_dir,
		&spec->skills,
		&spec->extra_skill,
		&spec->model,
		&spec->provider,
		&spec->reasoning,
	};

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		freep(strings[i]);
}

void launch_result_deinit(struct launch_result *result)
{
	fs_closep(&result->pidfd);
	freep(&result->workspace);
	freep(&result->branch);
}

/* The id as it may be shown: bytes that are no plain character as \xNN, cut after 64. */
static void launch_escape(const char *task, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; task[i] && used + 8 < size; i++) {
		unsigned char c = (unsigned char)task[i];

		if (c > 0x20 && c < 0x7F && c != '\\')
			out[used++] = (char)c;
		else
			used += (size_t)snprintf(out + used, size - used, "\\x%02x", c);
		if (i >= 63) {
			used += (size_t)snprintf(out + used, size - used, "...");
			break;
		}
	}
	out[used] = '\0';
}

/* The id names a folder, a log file, a branch: it must be a file name and nothing but. */
static int launch_check_task(const char *task, struct error *e)
{
	bool plain = task && *task && strcmp(task, ".") != 0 && strcmp(task, "..") != 0;
	char shown[280];
	size_t n = 0;

	for (; plain && task[n]; n++)
		plain = n < LAUNCH_TASK_MAX && task[n] > 0x20 && task[n] < 0x7F &&
			task[n] != '/';
	if (plain)
		return 0;
	launch_escape(task ? task : "", shown, sizeof(shown));
	return error_set(e, LAUNCH_WORKSPACE_FAILED,
			 "workspace: task id \"%s\" cannot name a folder; such a task must be "
			 "made anew under another id",
			 shown);
}

/* Names that `hermes -p` refuses, whatever folder there is. */
static int launch_check_profile(const char *profile, struct error *e)
{
	static const char *const reserved[] = { "hermes", "root", "sudo", "test", "tmp" };
	bool good = fs_is_slug(profile);

	for (size_t i = 0; good && i < sizeof(reserved) / sizeof(reserved[0]); i++)
		good = strcmp(profile, reserved[i]) != 0;
	if (good)
		return 0;
	return error_set(
		e, LAUNCH_SPAWN_FAILED,
		"%.80s is no profile name that hermes accepts; assign the task to another "
		"profile",
		profile);
}

/* The first word of the command line is what must be there on this host. */
static int launch_find(const struct launch_env *env, char *const *argv, char **file,
		       struct error *e)
{
	int r = environ_find(env, argv[0], file);

	if (r == 0)
		return 0;
	if (r == -ENOENT && strchr(argv[0], '/'))
		return error_set(e, LAUNCH_SPAWN_FAILED, "%s does not exist", argv[0]);
	if (r == -ENOENT)
		return error_set(e, LAUNCH_SPAWN_FAILED,
				 "%s is not on the PATH of the daemon (%s); install it or set "
				 "HERMES_BIN",
				 argv[0], environ_path(env));
	if (r == -EACCES)
		return error_set(e, LAUNCH_SPAWN_FAILED,
				 "%s is there, but not an executable file of this user",
				 argv[0]);
	return error_set(e, LAUNCH_SPAWN_FAILED, "out of memory");
}

/* Why a spawn failed, as far as it can be told: chdir and exec share their errnos. */
static int launch_explain(const struct spawn *how, int r, struct error *e)
{
	const char *why = strerror(-r);

	if (r == -E2BIG)
		return error_set(e, LAUNCH_SPAWN_FAILED,
				 "cannot start %s: its arguments and environment are too long; "
				 "shorten the task's skills or the daemon's environment",
				 how->file);
	if (r == -ENOEXEC)
		return error_set(
			e, LAUNCH_SPAWN_FAILED,
			"cannot start %s: neither a program nor a script with a #! line",
			how->file);
	if (access(how->cwd, X_OK) < 0)
		return error_set(e, LAUNCH_SPAWN_FAILED, "cannot enter the workspace %s: %s",
				 how->cwd, strerror(errno));
	if (r == -ENOENT)
		return error_set(
			e, LAUNCH_SPAWN_FAILED,
			"cannot start %s: the interpreter of its #! line does not exist",
			how->file);
	return error_set(e, LAUNCH_SPAWN_FAILED, "cannot start %s: %s", how->file, why);
}

/* A child of which we could not keep hold: gone before anybody hears of it. */
static void launch_undo(pid_t pid)
{
	(void)kill(-pid, SIGKILL); /* unreaped, so the number is still its own */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int launch_spawn(const struct launcher *launcher, const struct launch_env *env,
			const struct spawn *how, struct launch_result *result, struct error *e)
{
	const char *boot = environ_boot(env);
	pid_t pid;
	int r = spawn_process(how, &pid);

	if (r < 0)
		return launch_explain(how, r, e);
	/* no attribute of posix_spawn does this; a worker of another user keeps ours */
	if (launcher->nofile.rlim_max != 0)
		(void)prlimit(pid, RLIMIT_NOFILE, &launcher->nofile, NULL);
	result->pidfd = r = spawn_pidfd(pid);
	if (r < 0)
		result->pidfd = -1;
	/* a kernel that has no pidfds at all is the caller's to deal with */
	if (r < 0 && r != -ENOSYS) {
		launch_undo(pid);
		return error_set(e, LAUNCH_SPAWN_FAILED,
				 "cannot watch the new worker, so it was ended: %s; raise "
				 "LimitNOFILE of the daemon if it is about open files",
				 strerror(-r));
	}
	result->pid = pid;
	if (boot)
		identity_started_in(boot, pid, result->started);
	else
		identity_started(pid, result->started);
	return 0;
}

/* The workspace is there. */
static int launch_process(const struct launcher *launcher, const struct launch_env *env,
			  const struct launch_spec *spec, struct launch_result *result,
			  struct error *e)
{
	const char *branch = spec->branch_name;
	CLEANUP(freep) char *file = NULL;
	CLEANUP(freep) char **envp = NULL;
	CLEANUP(fs_closep) int log = -1;
	char **argv;
	int r;

	r = launch_check_profile(spec->profile, e);
	if (r != 0)
		return r;
	log = logfile_open(launcher, spec, e);
	if (log < 0)
		return LAUNCH_SPAWN_FAILED;
	if (result->branch)
		branch = result->branch;
	else if (branch && branch[strspn(branch, " \t\r\n\v\f")] == '\0')
		branch = NULL;
	argv = argv_build(launcher, spec);
	envp = environ_build(env, spec, result->workspace, branch);
	if (!argv || !envp)
		r = error_set(e, LAUNCH_SPAWN_FAILED, "out of memory");
	else
		r = launch_find(env, argv, &file, e);
	if (r == 0) {
		const struct spawn how = {
			.file = file,
			.argv = argv,
			.envp = envp,
			.cwd = result->workspace,
			.out = log,
			.err = log,
		};

		r = launch_spawn(launcher, env, &how, result, e);
	}
	(void)launch_strv_free(argv);
	return r;
}

int launch_worker(const struct launcher *launcher, const struct launch_spec *spec,
		  struct launch_result *result, struct error *e)
{
	CLEANUP(environ_freep) struct launch_env *own = NULL;
	const struct launch_env *env = launcher->prepared;
	int r;

	*result = (struct launch_result){ .pidfd = -1 };
	r = launch_check_task(spec->task, e);
	if (r != 0)
		return r;
	if (!env) {
		if (environ_prepare(&own, launcher->environ) < 0)
			return error_set(e, LAUNCH_WORKSPACE_FAILED,
					 "workspace: out of memory");
		env = own;
	}
	r = workspace_prepare(env, spec, &result->workspace, &result->branch, e);
	if (r != 0)
		return r;
	return launch_process(launcher, env, spec, result, e);
}
