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
#include "launch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launch/identity.h"
#include "process/proc.h"
#include "process/spawn.h"
#include "util/fs.h"
#include "util/strv.h"
#include "util/text.h"

int launcher_init(struct launcher *launcher)
{
	struct worker_env *env = NULL;
	int r = worker_env_new(&env, launcher);

	if (r < 0)
		return r;
	launcher_deinit(launcher);
	launcher->prepared = env;
	return 0;
}

void launcher_deinit(struct launcher *launcher)
{
	launcher->prepared = worker_env_free(launcher->prepared);
}

const struct environment *launcher_environment(const struct launcher *launcher)
{
	return launcher->prepared ? launcher->prepared->inherited : NULL;
}

void launch_spec_deinit(struct launch_spec *spec)
{
	char **const strings[] = {
		&spec->root,         &spec->board,           &spec->db_path,
		&spec->task,         &spec->claim_lock,      &spec->profile,
		&spec->profile_home, &spec->workspaces_root, &spec->default_workdir,
		&spec->logs_dir,     &spec->extra_skill,
	};

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		freep(strings[i]);
	task_row_deinit(&spec->row);
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

/* A value of the task that would be an option of the command prefix. */
static int launch_check_prefix(const struct launcher *launcher, const struct launch_spec *spec,
			       struct error *e)
{
	const char *word = argv_turns_option(launcher, spec);

	if (!word)
		return 0;
	return error_set(e, LAUNCH_SPAWN_FAILED,
			 "the command's word %s would begin with - and be an option; make the "
			 "task anew under another id, or write --option=%s",
			 word, word);
}

/* The first word of the command line is what must be there on this host. */
static int launch_program(const struct worker_env *env, char *const *argv, char **file,
			  struct error *e)
{
	int r = worker_env_find(env, argv[0], file);

	if (r == 0)
		return 0;
	error_cause(e, r);
	if (r == -ENOENT && strchr(argv[0], '/'))
		return error_set(e, LAUNCH_SPAWN_FAILED, "%s does not exist", argv[0]);
	if (r == -ENOENT)
		return error_set(e, LAUNCH_SPAWN_FAILED,
				 "%s is not on the PATH of the daemon (%s); install it or set "
				 "HERMES_BIN",
				 argv[0], environ_path(env->inherited));
	if (r == -EACCES)
		return error_set(e, LAUNCH_SPAWN_FAILED,
				 "%s is there, but not an executable file of this user",
				 argv[0]);
	return error_set(e, LAUNCH_SPAWN_FAILED, "out of memory");
}

static const struct launch_type *launch_type_of(const struct launcher *launcher)
{
	static const struct launch_type *const types[] = {
#define LAUNCH_ROW(name, word, type) [LAUNCHER_##name] = &type##_type,
		LAUNCHERS(LAUNCH_ROW)
#undef LAUNCH_ROW
	};
	const struct launch_type *type = types[launcher->kind];

	return type == &fork_type && launcher->groups ? &group_type : type;
}

/* The workspace is there. */
static int launch_process(const struct launcher *launcher, const struct worker_env *env,
			  const struct launch_spec *spec, struct launch_result *result,
			  struct error *e)
{
	const char *branch = spec->row.branch_name;
	CLEANUP(freep) char *file = NULL;
	CLEANUP(freep) char **envp = NULL;
	CLEANUP(fs_closep) int log = -1;
	char **argv;
	int r;

	r = launch_check_profile(spec->profile, e);
	if (r == 0)
		r = launch_check_prefix(launcher, spec, e);
	if (r != 0)
		return r;
	log = logfile_open(launcher, spec, e);
	if (log < 0)
		return e->code;
	if (result->branch)
		branch = result->branch;
	else if (branch && text_is_blank(branch))
		branch = NULL;
	argv = argv_build(launcher, spec);
	envp = worker_env_build(env, spec, result->workspace, branch);
	if (!argv || !envp)
		r = error_set(e, LAUNCH_SPAWN_FAILED, "out of memory");
	else
		r = launch_program(env, argv, &file, e);
	if (r == 0 && spec->wanted && !spec->wanted(spec->wanted_arg, e))
		r = LAUNCH_CALLED_OFF;
	if (r == 0) {
		const struct launch_order order = {
			.launcher = launcher,
			.spec = spec,
			.limits = &spec->limits,
			.env = env,
			.file = file,
			.argv = argv,
			.envp = envp,
			.cwd = result->workspace,
			.log = log,
			.number = spec->run > 0 ? proc_run_number(spec->db_path, spec->run) : 0,
		};

		r = launch_type_of(launcher)->start(&order, result, e);
	}
	(void)strv_free(argv);
	return r;
}

bool launch_tells(const struct launcher *launcher)
{
	return launch_type_of(launcher)->ended != NULL;
}

int launch_ended(const struct launcher *launcher, const struct launch_run *run,
		 struct ending *ending)
{
	const struct launch_type *type = launch_type_of(launcher);

	return type->ended ? type->ended(launcher, run, ending) : 1;
}

/* By what marks the processes of the run: the number, else the environment. */
static int launch_find_process(const struct launch_run *run, pid_t *pid)
{
	CLEANUP(freep) pid_t *pids = NULL;
	uint64_t number = run->db ? proc_run_number(run->db, run->run) : 0;
	struct identity_found *found = NULL;
	size_t n = 0;
	int r = identity_scan(&found, &n);

	*pid = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (found[i].run != run->run || strcmp(found[i].task, run->task) != 0)
			continue;
		if (identity_is_worker(found, n, i, run->db) && (!*pid || found[i].pid < *pid))
			*pid = found[i].pid;
	}
	identity_found_free(found, r == 0 ? n : 0);
	if (r < 0 || *pid > 0)
		return r;
	/* one that wrote its environment over */
	r = number != 0 ? proc_pids(&pids, &n) : 1;
	for (size_t i = 0; r == 0 && i < n && *pid == 0; i++)
		if (proc_run_of(pids[i]) == number)
			*pid = pids[i];
	return r == 0 && *pid == 0 ? 1 : r;
}

int launch_find(const struct launcher *launcher, const struct launch_run *run, pid_t *pid)
{
	const struct launch_type *type = launch_type_of(launcher);
	int r = type->find ? type->find(launcher, run, pid) : 1;

	return r == 1 ? launch_find_process(run, pid) : r;
}

void launch_collect(const struct launcher *launcher, const struct launch_run *run)
{
	const struct launch_type *type = launch_type_of(launcher);

	if (type->collect)
		type->collect(launcher, run);
}

void launch_sweep(const struct launcher *launcher, const char *root)
{
	const struct launch_type *type = launch_type_of(launcher);

	if (type->sweep)
		type->sweep(launcher, root);
}

void launch_usage(const struct launcher *launcher, struct usage *list, size_t n)
{
	const struct launch_type *type = launch_type_of(launcher);

	if (type->usage && n > 0)
		type->usage(launcher, list, n);
}

int launch_begin(const struct launcher *launcher, const struct launch_spec *spec,
		 struct launch_result *result, struct error *e)
{
	CLEANUP(worker_env_freep) struct worker_env *own = NULL;
	const struct worker_env *env = launcher->prepared;
	int r;

	*result = (struct launch_result){ .pidfd = -1 };
	r = launch_check_task(spec->task, e);
	if (r != 0)
		return r;
	if (!env) {
		if (worker_env_new(&own, launcher) < 0)
			return error_set(e, LAUNCH_WORKSPACE_FAILED,
					 "workspace: out of memory");
		env = own;
	}
	r = workspace_prepare(env->inherited, spec, &result->workspace, &result->branch, e);
	if (r != 0)
		return r;
	return launch_process(launcher, env, spec, result, e);
}

int launch_finish(const struct launcher *launcher, const struct launch_spec *spec,
		  struct launch_result *result, struct error *e)
{
	const struct launch_type *type = launch_type_of(launcher);

	if (!result->pending)
		return 0;
	result->pending = false;
	return type->finish(launcher, spec, result, e);
}

bool launch_host_fault(int outcome, const struct error *e)
{
	if (outcome == LAUNCH_PLACE_FAILED)
		return true;
	switch (-e->cause) {
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOSPC:
	case EDQUOT:
	case EROFS:
	case EIO:
		return true;
	case ENOENT: /* of the program, or of its interpreter */
	case EACCES:
	case EPERM:
	case ENOEXEC:
	case ETXTBSY:
	case ELIBBAD:
	case ENOTDIR:
	case ELOOP:
	case ECONNREFUSED: /* of the manager of services */
	case ECONNRESET:
	case ENOTCONN:
	case EHOSTDOWN:
	case ETIMEDOUT:
		return outcome == LAUNCH_SPAWN_FAILED;
	default:
		return false;
	}
}
