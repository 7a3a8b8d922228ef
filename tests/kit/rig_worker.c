/* Workers of a case: their scripts, what they recorded, and processes that play one. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit.h"
#include "rig.h"

void rig_do(const char *task, const char *script)
{
	rig_write(rig_printf("do/%s", task), script);
}

void rig_let_go(void)
{
	rig_write("stop", "");
}

/* The run of a record "TASK.RUN.json" of that task, or -1. */
static int64_t rig_record_run(const char *name, const char *task)
{
	const size_t len = strlen(task);
	char *end;
	int64_t run;

	if (strncmp(name, task, len) || name[len] != '.')
		return -1;
	run = strtoll(name + len + 1, &end, 10);
	return strcmp(end, ".json") ? -1 : run;
}

static unsigned rig_records(const char *task, int64_t *newest)
{
	DIR *dir = opendir(rig_path("ran"));
	unsigned count = 0;

	*newest = -1;
	ck_assert_ptr_nonnull(dir);
	for (struct dirent *d; (d = readdir(dir));) {
		const int64_t run = rig_record_run(d->d_name, task);

		count += run >= 0;
		*newest = run > *newest ? run : *newest;
	}
	(void)closedir(dir);
	return count;
}

unsigned rig_ran_count(const char *task)
{
	int64_t newest;

	return rig_records(task, &newest);
}

json_t *rig_ran(const char *task)
{
	int64_t newest;

	RIG_UNTIL(rig_records(task, &newest) > 0, 15000);
	return rig_json(rig_read(rig_printf("ran/%s.%lld.json", task, (long long)newest)));
}

char *rig_argv(const char *task)
{
	json_t *argv = json_object_get(rig_ran(task), "argv"), *word;
	char *text = rig_printf("%s", "");
	size_t i;

	json_array_foreach(argv, i, word) if (i > 0) text =
		rig_printf("%s%s%s", text, i > 1 ? " " : "", json_string_value(word));
	return text;
}

const char *rig_var(const char *task, const char *name)
{
	return json_string_value(json_object_get(json_object_get(rig_ran(task), "env"), name));
}

/* ---- processes ------------------------------------------------------------------------- */

/* Fields of /proc/PID/stat after the name, which may hold anything: the state is field 3. */
static bool rig_stat(pid_t pid, char *state, unsigned long long *start)
{
	char path[64], line[1024], *after;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	after = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	(void)fclose(file);
	return after && sscanf(after,
			       ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
			       "%*d %*d %*d %*d %llu",
			       state, start) == 2;
}

bool rig_alive(pid_t pid)
{
	unsigned long long start;
	char state;

	return rig_stat(pid, &state, &start) && state != 'Z' && state != 'X';
}

char *rig_started(pid_t pid)
{
	unsigned long long init = 0, own = 0;
	char *boot = rig_read("/proc/sys/kernel/random/boot_id"), state;

	ck_assert_ptr_nonnull(boot);
	boot[strcspn(boot, "\n")] = '\0';
	ck_assert(rig_stat(1, &state, &init) && rig_stat(pid, &state, &own));
	return rig_printf("%s:%llu|%llu", boot, init, own);
}

/* Start it as a grandchild: its end is then somebody else's to reap, as with a real worker. */
static void rig_orphan(char *const *argv, char *const *env)
{
	const pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		const int null = open("/dev/null", O_RDWR);

		if (fork() != 0)
			_exit(0);
		(void)setsid();
		if (null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 && dup2(null, 2) >= 0)
			(void)execve(argv[0], argv, env);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

pid_t rig_worker(const char *slug, const char *task, int64_t run)
{
	char *argv[] = { rig_program("rig-worker"), NULL };
	char *number = rig_printf("%lld", (long long)run);

	rig_env("HERMES_KANBAN_TASK", task);
	rig_env("HERMES_KANBAN_RUN_ID", number);
	rig_env("HERMES_KANBAN_DB", rig_db(slug));
	rig_env("HERMES_KANBAN_BOARD", slug);
	rig_orphan(argv, rig.env);
	rig_env("HERMES_KANBAN_TASK", NULL);
	rig_env("HERMES_KANBAN_RUN_ID", NULL);
	rig_env("HERMES_KANBAN_DB", NULL);
	rig_env("HERMES_KANBAN_BOARD", NULL);
	return (pid_t)json_integer_value(json_object_get(rig_ran(task), "pid"));
}

pid_t rig_sleeper(void)
{
	static unsigned serial;
	char *name = rig_printf("sleeper%u", serial++);
	char *script = rig_printf("echo $$ > '%s.new' && mv '%s.new' '%s'; while [ -e '%s' ] "
				  "&& [ ! -e stop ]; do sleep 0.1; done",
				  name, name, name, rig.dir);
	char *argv[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" },
			 rig_printf("cd '%s' && %s", rig.dir, script), NULL };

	rig_orphan(argv, rig.env);
	RIG_UNTIL(rig_exists(name), 5000);
	return (pid_t)atol(rig_read(name));
}

pid_t rig_dead_pid(void)
{
	static pid_t serial = 4194304; /* the highest that Linux gives out */

	return ++serial;
}

pid_t rig_worker_row(const char *slug, const char *task, int64_t run)
{
	const pid_t pid = rig_worker(slug, task, run);

	rig_sql(slug,
		"UPDATE tasks SET worker_pid=%d WHERE id=%Q AND current_run_id=%lld;"
		"UPDATE task_runs SET worker_pid=%d WHERE id=%lld",
		(int)pid, task, run, (int)pid, run);
	if (rig_int(slug, "SELECT count(*) FROM pragma_table_info('task_runs') WHERE "
			  "name='worker_started_at'"))
		rig_sql(slug,
			"UPDATE tasks SET worker_started_at=%Q WHERE id=%Q AND "
			"current_run_id=%lld;"
			"UPDATE task_runs SET worker_started_at=%Q WHERE id=%lld",
			rig_started(pid), task, run, rig_started(pid), run);
	return pid;
}

pid_t rig_child_pid(const char *task, int64_t run, const char *kind)
{
	char *path = rig_printf("ran/%s.%lld.%s", task, (long long)run, kind);

	RIG_UNTIL(rig_exists(path), 10000);
	return (pid_t)atol(rig_read(path));
}
