/*
 * The launcher `slurm`: a worker is a job of a cluster, and has an attendant on this host
 * (slurm_attend.c), which is started as any worker would be: as a unit where there is a service
 * manager, so that it outlives kanband, else as a child.
 *
 * The job's name is that of its run, and its comment says of which root and host: so a run's
 * job is found again without anything being remembered. What the job reads (arguments and
 * environment, some of it secret) is a file of the account alone on the root, which the job
 * takes away when it begins.
 *
 * End: the cluster is asked. A job that goes on although its attendant is gone (killed, or this
 * host was started anew) is ended: nobody would see its end, and its run is given up.
 */
#include "slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/spawn.h"
#include "unit.h"
#include "util/fs.h"
#include "util/strv.h"

#define SLURM_ABOUT_SIZE 640
#define SLURM_HOST_SIZE  65

static const struct launch_type *slurm_base(const struct launcher *launcher)
{
	return launcher->manager != UNIT_MANAGER_NONE ? &unit_type : &fork_type;
}

static void slurm_name(const struct launch_run *run, char out[UNIT_NAME_SIZE])
{
	unit_name(run, out);
	out[strlen(out) - strlen(".service")] = '\0';
}

static void slurm_about(const struct launch_run *run, char out[SLURM_ABOUT_SIZE])
{
	char description[512], host[SLURM_HOST_SIZE] = "";

	unit_description(run, description, sizeof(description));
	(void)gethostname(host, sizeof(host) - 1); /* "" is as good as any */
	(void)snprintf(out, SLURM_ABOUT_SIZE, "%s from %s", description, host);
}

/* Where the file is that the job reads. */
static char *slurm_file(const struct launch_run *run)
{
	char name[UNIT_NAME_SIZE];

	slurm_name(run, name);
	return fs_path("%s/kanban/.kanband.jobs/%s", run->root, name);
}

/* One word for a shell, whatever is in it. */
static char *slurm_quote(const char *text)
{
	char *out = malloc(strlen(text) * 4 + 3), *p = out;

	if (!out)
		return NULL;
	*p++ = '\'';
	for (; *text; text++)
		if (*text == '\'')
			p = stpcpy(p, "'\\''");
		else
			*p++ = *text;
	*p++ = '\'';
	*p = '\0';
	return out;
}

/* What the job runs: no word of the task is in it. */
static char *slurm_script(const char *self, const char *file)
{
	CLEANUP(freep) char *program = slurm_quote(self);
	CLEANUP(freep) char *input = slurm_quote(file);

	if (!program || !input)
		return NULL;
	return fs_path("exec <%s || exit 126\nrm -f %s\nexec %s " SLURM_WORKER_OPTION, input,
		       input, program);
}

/* In a file name of Slurm's, % begins a pattern, and there is no way to write a backslash. */
static char *slurm_log(const struct launch_spec *spec)
{
	CLEANUP(freep) char *path = fs_path("%s/%s.log", spec->logs_dir, spec->task);
	char *out = path ? malloc(strlen(path) * 2 + sizeof("--output=")) : NULL, *p;

	if (!out)
		return NULL;
	p = stpcpy(out, "--output=");
	for (const char *from = path; *from; from++) {
		if (*from == '%')
			*p++ = '%';
		*p++ = *from;
	}
	*p = '\0';
	return out;
}

static void slurm_add(struct strv *argv, const char *option, long long value, const char *unit)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "%s=%lld%s", option, value, unit);
	launch_strv_add(argv, text);
}

static void slurm_limits(struct strv *argv, const struct launch_limits *l)
{
	char text[64];

	if (l->memory_max > 0)
		slurm_add(argv, "--mem", (l->memory_max - 1) / (1 << 20) + 1, "M");
	if (l->cpu_quota > 0)
		slurm_add(argv, "--cpus-per-task", (l->cpu_quota - 1) / 100 + 1, "");
	if (l->runtime_max_s > 0) {
		(void)snprintf(text, sizeof(text), "--time=%lld:%02lld",
			       (long long)l->runtime_max_s / 60,
			       (long long)l->runtime_max_s % 60);
		launch_strv_add(argv, text);
	}
}

static void slurm_submit(struct strv *argv, const struct launch_order *o, const char *name,
			 const char *about, const char *file)
{
	CLEANUP(freep) char *script = slurm_script(o->launcher->self, file);
	CLEANUP(freep) char *log = slurm_log(o->spec);
	CLEANUP(freep) char *job = fs_path("--job-name=%s", name);
	CLEANUP(freep) char *comment = fs_path("--comment=%s", about);
	static const char *const fixed[] = {
		"sbatch",
		"--parsable",
		"--no-requeue",
		"--export=ALL",
		"--propagate=NONE",
		"--nodes=1",
		"--ntasks=1",
		"--chdir=/",
		"--input=/dev/null",
		"--open-mode=append",
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		launch_strv_add(argv, fixed[i]);
	slurm_limits(argv, o->limits);
	argv->failed |= !script || !log || !job || !comment;
	if (argv->failed)
		return;
	launch_strv_add(argv, job);
	launch_strv_add(argv, comment);
	launch_strv_add(argv, log);
	launch_strv_add(argv, "--wrap");
	launch_strv_add(argv, script);
}

static int slurm_write(const struct launch_order *o, const char *file)
{
	CLEANUP(fs_closep) int fd = unit_input_new(o);
	CLEANUP(freep) char *folder = fs_path("%s/kanban/.kanband.jobs", o->spec->root);
	struct stat st;
	void *data;
	int r;

	if (fd < 0)
		return fd;
	if (!folder)
		return -ENOMEM;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = mkdir(folder, 0700) < 0 && errno != EEXIST ? -errno : 0;
	if (r < 0)
		return r;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	r = fs_write_atomic(file, data, (size_t)st.st_size, 0600);
	(void)munmap(data, (size_t)st.st_size);
	return r;
}

/* What the commands of Slurm look at, and what marks a run. */
static bool slurm_wants(const char *entry)
{
	static const char *const names[] = {
		"PATH=",  "HOME=",   "USER=",         "LOGNAME=",
		"LANG=",  "LC_",     "TZ=",           "LD_LIBRARY_PATH=",
		"SLURM_", "SBATCH_", "HERMES_KANBAN_"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/*
 * What the attendant has of the worker: the marks by which it is known. The cluster keeps it
 * with the job, so there is nothing else in it. The job is given all of it, because with any
 * other choice Slurm first runs a login shell of the account on the node, for up to minutes.
 */
static char **slurm_environ(const struct launch_order *o)
{
	char **all;
	char run[24];
	const struct environ_var vars[] = {
		{ "HERMES_KANBAN_TASK", o->spec->task },
		{ "HERMES_KANBAN_RUN_ID", run },
		{ "HERMES_KANBAN_DB", o->spec->db_path },
		{ "HERMES_KANBAN_BOARD", o->spec->board },
	};

	(void)snprintf(run, sizeof(run), "%lld", (long long)o->spec->run);
	all = environ_block(o->env->inherited, NULL, vars, sizeof(vars) / sizeof(vars[0]));
	for (char **from = all, **to = all; all && (*to = *from); from++)
		to += slurm_wants(*from);
	return all;
}

static int slurm_attend(const struct launch_order *o, char *const *argv,
			struct launch_result *result, struct error *e)
{
	static const struct launch_limits none = { .memory_max = -1,
						   .memory_high = -1,
						   .memory_swap_max = -1,
						   .tasks_max = -1,
						   .cpu_weight = -1,
						   .io_weight = -1,
						   .cpu_quota = -1,
						   .runtime_max_s = -1,
						   .devices = true,
						   .network = true };
	CLEANUP(freep) char **envp = slurm_environ(o);
	struct launch_order attendant = *o;
	int r;

	if (!envp)
		return error_set(e, LAUNCH_SPAWN_FAILED, "out of memory");
	attendant.limits = &none;
	attendant.file = o->launcher->self;
	attendant.argv = argv;
	attendant.envp = envp;
	attendant.cwd = "/";
	r = slurm_base(o->launcher)->start(&attendant, result, e);
	/* its end alone does not tell how the job ended: slurm_ended() is asked */
	result->child = false;
	return r;
}

/* Without the client nothing can be submitted: of this host, and told before a run is begun. */
static int slurm_client(const struct launch_order *o, struct error *e)
{
	const char *path = environ_path(o->env->inherited);
	CLEANUP(freep) char *file = NULL;
	int r = spawn_find("sbatch", path, &file);

	if (r == 0)
		return 0;
	error_cause(e, r);
	return error_set(e, LAUNCH_SPAWN_FAILED,
			 "sbatch is not on the PATH of the daemon (%s); install the client of "
			 "Slurm or set another launcher",
			 path);
}

static int slurm_start(const struct launch_order *o, struct launch_result *result,
		       struct error *e)
{
	const struct launch_run run = { .root = o->spec->root,
					.board = o->spec->board,
					.task = o->spec->task,
					.run = o->spec->run };
	CLEANUP(freep) char *file = slurm_file(&run);
	char name[UNIT_NAME_SIZE], about[SLURM_ABOUT_SIZE], grace[24];
	struct strv argv = { 0 };
	int r;

	if (strchr(o->spec->logs_dir, '\\') || strchr(o->spec->task, '\\'))
		return error_set(
			e, LAUNCH_SPAWN_FAILED,
			"the log of task %.80s has a \\ in its path, which Slurm cannot "
			"open; use another root or another id",
			o->spec->task);
	r = slurm_client(o, e);
	if (r != 0)
		return r;
	slurm_name(&run, name);
	slurm_about(&run, about);
	/* the attendant must be done before it is killed itself */
	(void)snprintf(grace, sizeof(grace), "%lld", (long long)o->launcher->grace_ms / 2);
	launch_strv_add(&argv, o->launcher->self);
	launch_strv_add(&argv, SLURM_ATTEND_OPTION);
	launch_strv_add(&argv, grace);
	launch_strv_add(&argv, name);
	launch_strv_add(&argv, about);
	if (file)
		launch_strv_add(&argv, file);
	if (file && !argv.failed)
		slurm_submit(&argv, o, name, about, file);
	r = !file || argv.failed ? -ENOMEM : slurm_write(o, file);
	if (r < 0) {
		error_cause(e, r);
		r = error_set(e, LAUNCH_SPAWN_FAILED, "cannot write %s for the job: %s",
			      file ? file : "a file", strerror(-r));
	} else {
		r = slurm_attend(o, argv.items, result, e);
	}
	if (r != 0 && file)
		(void)unlink(file);
	(void)strv_free(argv.items);
	return r;
}

static int slurm_finish(const struct launcher *launcher, const struct launch_spec *spec,
			struct launch_result *result, struct error *e)
{
	return slurm_base(launcher)->finish(launcher, spec, result, e);
}

/* How its commands are called. @own: what has to be freed after that */
static bool slurm_commands(const struct launcher *launcher, struct worker_env **own,
			   struct slurm *slurm)
{
	const struct worker_env *env = launcher->prepared;

	if (!env && worker_env_new(own, launcher) < 0)
		return false;
	env = env ? env : *own;
	*slurm = (struct slurm){ .envp = environ_plain(env->inherited),
				 .path = environ_path(env->inherited) };
	return true;
}

static int slurm_find_attendant(const struct launcher *launcher, const struct launch_run *run,
				pid_t *pid)
{
	return slurm_base(launcher)->find ? slurm_base(launcher)->find(launcher, run, pid) : 1;
}

static int slurm_ended(const struct launcher *launcher, const struct launch_run *run,
		       struct ending *ending)
{
	CLEANUP(worker_env_freep) struct worker_env *own = NULL;
	CLEANUP(freep) char *file = slurm_file(run);
	char name[UNIT_NAME_SIZE], about[SLURM_ABOUT_SIZE];
	struct slurm_job job = { .over = false };
	struct slurm slurm;
	int r;

	if (!slurm_commands(launcher, &own, &slurm))
		return -ENOMEM;
	slurm_name(run, name);
	slurm_about(run, about);
	r = slurm_find(&slurm, name, about, &job);
	if (r == 0 && !job.over)
		r = slurm_abandon(&slurm, &job);
	if (file && r >= 0) {
		(void)unlink(file);   /* of a job that never began */
		slurm_note_end(file); /* of an attendant that was killed */
	}
	if (r == 0)
		*ending = job.ending;
	/* its attendant did not end by itself, and nobody knows of the job: its note stays, and
	 * the next run waits until it is ended */
	else if (r < 0 && ending->kind != ENDING_EXITED) {
		*ending = (struct ending){ .why = ENDING_BY_HOST };
		r = 0;
	}
	/* what the attendant said by its end is as good */
	else if (r < 0)
		r = 1;
	/* no job: the attendant could not have one, or it is forgotten since long */
	else if (r == 1 && slurm_base(launcher)->ended)
		r = slurm_base(launcher)->ended(launcher, run, ending);
	return r;
}

static void slurm_collect(const struct launcher *launcher, const struct launch_run *run)
{
	if (slurm_base(launcher)->collect)
		slurm_base(launcher)->collect(launcher, run);
}

static void slurm_sweep(const struct launcher *launcher, const char *root)
{
	CLEANUP(worker_env_freep) struct worker_env *own = NULL;
	CLEANUP(freep) char *folder = fs_path("%s/kanban/.kanband.jobs", root);
	char host[SLURM_HOST_SIZE] = "";
	struct slurm slurm;

	(void)gethostname(host, sizeof(host) - 1);
	/* what cannot be ended now is, by a later sweep or by the task's next run */
	if (folder && slurm_commands(launcher, &own, &slurm))
		IGNORE(slurm_note_sweep(&slurm, folder, NULL, NULL, host));
	if (slurm_base(launcher)->sweep)
		slurm_base(launcher)->sweep(launcher, root);
}

static void slurm_used(const struct launcher *launcher, struct usage *list, size_t n)
{
	CLEANUP(worker_env_freep) struct worker_env *own = NULL;
	struct slurm slurm;

	for (size_t i = 0; i < n; i++) {
		const struct launch_run run = { .root = list[i].root,
						.board = list[i].board,
						.task = list[i].task,
						.run = list[i].run };
		CLEANUP(freep) char *file = slurm_file(&run);

		if (!file || !slurm_note_id(file, list[i].job))
			continue;
		/* so far it was its attendant's */
		list[i].memory = list[i].cpu_us = list[i].tasks = -1;
	}
	if (slurm_commands(launcher, &own, &slurm))
		slurm_usage(&slurm, list, n);
}

const struct launch_type slurm_type = {
	.start = slurm_start,
	.finish = slurm_finish,
	.find = slurm_find_attendant,
	.ended = slurm_ended,
	.collect = slurm_collect,
	.sweep = slurm_sweep,
	.usage = slurm_used,
};
