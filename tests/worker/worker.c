/*
 * The scripted worker of the black-box tests: what kanband starts as HERMES_BIN.
 *
 * It first records how it was started (argv, environment, folder, descriptors, session, signal
 * state) in $RIG_DIR/ran/TASK.RUN.json, put there by rename so that a reader never sees half of
 * it, then follows the lines of $RIG_DIR/do/TASK, or of $RIG_DIR/do/default, one after the
 * other:
 *
 *     exit N        leave with that status          signal N      end itself by that signal
 *     wait NAME     until $RIG_DIR/NAME exists       touch NAME    make $RIG_DIR/NAME
 *     ignore N      ignore that signal from now on   ctl WORDS…    run $KANBANCTL with the
 * words child         a child in the same group        escape        a child in a session of
 * its own sql TEXT      run it on $HERMES_KANBAN_DB      done         report the task as
 * completed alone         hold a lock named after the task; if somebody has it, make
 * $RIG_DIR/DOUBLE
 *
 * Children only wait for $RIG_DIR/stop; their pids go to $RIG_DIR/ran/TASK.RUN.child and
 * .escape.
 *
 * Failure modes: anything unexpected is told on stderr (the worker log) and ends it with 98. It
 * never outlives its test: whatever waits gives up (99) when the process RIG_PID or the folder
 * is gone, or after two minutes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define WORKER_PATIENCE_S 120

static void worker_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void worker_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	_exit(98);
}

static const char *worker_env(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value ? value : otherwise;
}

static char *worker_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *worker_path(const char *fmt, ...)
{
	char *path = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&path, fmt, ap) < 0)
		worker_die("out of memory");
	va_end(ap);
	return path;
}

static const char *worker_dir(void)
{
	const char *dir = getenv("RIG_DIR");

	if (!dir)
		worker_die("worker: RIG_DIR is not set");
	return dir;
}

static int64_t worker_now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* One poll of something awaited; ends the process when nobody waits for it any more. */
static void worker_breathe(int64_t since)
{
	const struct timespec nap = { 0, 10000000 };
	const long owner = atol(worker_env("RIG_PID", "0"));

	if ((owner > 0 && kill((pid_t)owner, 0) && errno == ESRCH) ||
	    (access(worker_dir(), F_OK) && errno == ENOENT) ||
	    worker_now_s() - since > WORKER_PATIENCE_S)
		_exit(99);
	(void)nanosleep(&nap, NULL);
}

static void worker_wait(const char *name)
{
	char *path = worker_path("%s/%s", worker_dir(), name);
	const int64_t since = worker_now_s();

	while (access(path, F_OK)) {
		char *stop = worker_path("%s/stop", worker_dir());

		if (!access(stop, F_OK))
			_exit(99); /* the case is over */
		free(stop);
		worker_breathe(since);
	}
	free(path);
}

/* Write whole, then rename: a reader that sees the name sees all of it. */
static void worker_publish(const char *path, const char *text)
{
	char *temp = worker_path("%s.%d", path, (int)getpid());
	FILE *file = fopen(temp, "we");

	if (!file || fputs(text, file) < 0 || fclose(file) || rename(temp, path))
		worker_die("worker: %s: %s", path, strerror(errno));
	free(temp);
}

static json_t *worker_text(const char *text)
{
	json_t *value = json_string(text); /* NULL where it is not UTF-8 */

	return value ? value : json_string("(not UTF-8)");
}

static json_t *worker_environ(void)
{
	json_t *env = json_object();

	for (char **e = environ; *e; e++) {
		const char *eq = strchr(*e, '=');

		if (eq)
			(void)json_object_setn_new(env, *e, (size_t)(eq - *e),
						   worker_text(eq + 1));
	}
	return env;
}

static json_t *worker_fds(void)
{
	json_t *fds = json_object();
	DIR *dir = opendir("/proc/self/fd");

	if (!dir)
		worker_die("worker: /proc/self/fd: %s", strerror(errno));
	for (struct dirent *d; (d = readdir(dir));) {
		char target[4096];
		ssize_t n;

		if (d->d_name[0] == '.' || atoi(d->d_name) == dirfd(dir))
			continue;
		n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		(void)json_object_set_new(fds, d->d_name, worker_text(target));
	}
	(void)closedir(dir);
	return fds;
}

/* SigBlk and SigIgn of /proc/self/status, as they stand there. */
static void worker_signals(json_t *record)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256], key[32], value[64];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%31[A-Za-z]: %63s", key, value) == 2 &&
		    (!strcmp(key, "SigBlk") || !strcmp(key, "SigIgn")))
			(void)json_object_set_new(record, key, worker_text(value));
	if (file)
		(void)fclose(file);
}

static void worker_record(int argc, char **argv, const char *path)
{
	json_t *record = json_object(), *args = json_array();
	char *cwd = getcwd(NULL, 0), *text;
	struct timespec now;

	for (int i = 0; i < argc; i++)
		(void)json_array_append_new(args, worker_text(argv[i]));
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)json_object_set_new(record, "argv", args);
	(void)json_object_set_new(record, "env", worker_environ());
	(void)json_object_set_new(record, "fds", worker_fds());
	(void)json_object_set_new(record, "cwd", worker_text(cwd ? cwd : "?"));
	(void)json_object_set_new(record, "pid", json_integer(getpid()));
	(void)json_object_set_new(record, "sid", json_integer(getsid(0)));
	(void)json_object_set_new(record, "pgid", json_integer(getpgid(0)));
	(void)json_object_set_new(
		record, "mono_us",
		json_integer((json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000));
	worker_signals(record);
	text = json_dumps(record, JSON_COMPACT);
	if (!text)
		worker_die("worker: no record");
	worker_publish(path, text);
	free(text);
	free(cwd);
	json_decref(record);
}

/* A child that only waits; @escape gives it a session and a parent of its own. */
static void worker_child(const char *stem, bool escape)
{
	char *path = worker_path("%s.%s", stem, escape ? "escape" : "child");
	const pid_t pid = fork();
	const int64_t since = worker_now_s();

	if (pid < 0)
		worker_die("worker: fork: %s", strerror(errno));
	if (pid == 0) {
		char text[32];

		if (escape && (setsid() < 0 || fork() != 0))
			_exit(0);
		(void)snprintf(text, sizeof(text), "%d", (int)getpid());
		worker_publish(path, text);
		worker_wait("stop");
		_exit(0);
	}
	if (escape)
		(void)waitpid(pid, NULL, 0);
	while (access(path, F_OK))
		worker_breathe(since);
	free(path);
}

static void worker_ctl(char *words)
{
	char *argv[64] = { (char *)(uintptr_t)worker_env("KANBANCTL", "kanbanctl") };
	size_t n = 1;
	int status = 0;
	pid_t pid;

	for (char *w; n < 63 && (w = strsep(&words, " "));)
		if (*w)
			argv[n++] = w;
	pid = fork();
	if (pid == 0) {
		(void)execvp(argv[0], argv);
		worker_die("worker: %s: %s", argv[0], strerror(errno));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		worker_die("worker: %s %s: wait status %d", argv[0], argv[1] ? argv[1] : "",
			   status);
}

static void worker_sql(const char *text)
{
	sqlite3 *db = NULL;
	char *message = NULL;

	if (sqlite3_open_v2(worker_env("HERMES_KANBAN_DB", ""), &db, SQLITE_OPEN_READWRITE,
			    NULL) ||
	    sqlite3_busy_timeout(db, 20000) || sqlite3_exec(db, text, NULL, NULL, &message))
		worker_die("worker: %s: %s", text, message ? message : sqlite3_errmsg(db));
	(void)sqlite3_close(db);
}

/* Complete the task as a Hermes worker does; a run that is not the current one any more may
 * not. */
static void worker_done(void)
{
	const char *task = worker_env("HERMES_KANBAN_TASK", "");
	const long long run = atoll(worker_env("HERMES_KANBAN_RUN_ID", "0"));
	char *sql = sqlite3_mprintf(
		"BEGIN IMMEDIATE;"
		"INSERT INTO task_events (task_id, run_id, kind, payload, created_at) SELECT "
		"id, "
		"%lld, 'completed', '{\"summary\": \"rig\"}', unixepoch() FROM tasks WHERE "
		"id=%Q "
		"AND status='running' AND current_run_id=%lld;"
		"UPDATE task_runs SET status='done', outcome='completed', "
		"ended_at=unixepoch(), "
		"claim_lock=NULL, claim_expires=NULL, worker_pid=NULL WHERE id=%lld AND "
		"ended_at "
		"IS NULL;"
		"UPDATE tasks SET status='done', completed_at=unixepoch(), claim_lock=NULL, "
		"claim_expires=NULL, worker_pid=NULL, current_run_id=NULL WHERE id=%Q AND "
		"status='running' AND current_run_id=%lld;"
		"COMMIT",
		run, task, run, run, task, run);

	if (!sql)
		worker_die("out of memory");
	worker_sql(sql);
	sqlite3_free(sql);
}

/* Two workers of one task at once are what must never be. */
static void worker_alone(void)
{
	char *path = worker_path("%s/alone.%s", worker_dir(),
				 worker_env("HERMES_KANBAN_TASK", "none"));
	const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		worker_die("worker: %s: %s", path, strerror(errno));
	free(path);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		path = worker_path("%s/DOUBLE", worker_dir());
		worker_publish(path, worker_env("HERMES_KANBAN_TASK", "none"));
		free(path);
	}
}

static void worker_step(char *line, const char *stem)
{
	char *words = line;
	const char *verb = strsep(&words, " ");
	const int n = words ? atoi(words) : 0;

	if (!strcmp(verb, "exit")) {
		_exit(n);
	} else if (!strcmp(verb, "signal")) {
		(void)signal(n, SIG_DFL);
		(void)kill(getpid(), n);
		worker_wait("never");
	} else if (!strcmp(verb, "wait") && words) {
		worker_wait(words);
	} else if (!strcmp(verb, "touch") && words) {
		char *path = worker_path("%s/%s", worker_dir(), words);

		worker_publish(path, "");
		free(path);
	} else if (!strcmp(verb, "done")) {
		worker_done();
	} else if (!strcmp(verb, "alone")) {
		worker_alone();
	} else if (!strcmp(verb, "ignore")) {
		(void)signal(n, SIG_IGN);
	} else if (!strcmp(verb, "child") || !strcmp(verb, "escape")) {
		worker_child(stem, verb[0] == 'e');
	} else if (!strcmp(verb, "ctl") && words) {
		worker_ctl(words);
	} else if (!strcmp(verb, "sql") && words) {
		worker_sql(words);
	} else {
		worker_die("worker: what is \"%s\"", verb);
	}
}

/* The script: of the task, else of all. */
static FILE *worker_script(const char *task)
{
	char *path = worker_path("%s/do/%s", worker_dir(), task);
	FILE *script = fopen(path, "re");

	free(path);
	if (!script && strcmp(task, "default"))
		return worker_script("default");
	return script;
}

int main(int argc, char **argv)
{
	const char *task = worker_env("HERMES_KANBAN_TASK", "none");
	char *stem = worker_path("%s/ran/%s.%s", worker_dir(), task,
				 worker_env("HERMES_KANBAN_RUN_ID", "0"));
	char *record = worker_path("%s.json", stem), line[4096];
	FILE *script = worker_script(task);

	/* A script that begins so must be in force before anybody knows that we run; and it is
	 * closed again, so that the record shows no descriptor of ours. */
	while (script && fgets(line, sizeof(line), script) && !strncmp(line, "ignore ", 7))
		(void)signal(atoi(line + 7), SIG_IGN);
	if (script)
		(void)fclose(script);
	worker_record(argc, argv, record);
	script = worker_script(task);
	while (script && fgets(line, sizeof(line), script)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '#')
			worker_step(line, stem);
	}
	if (script)
		(void)fclose(script);
	free(record);
	free(stem);
	return 0;
}
