/*
 * Programs of a case: run to the end with a bound, or kept as a daemon with a socket that
 * stands in for the service manager.
 *
 * stdout and stderr go to files, never to pipes: a worker that wrongly kept one open must not
 * make the test wait. $RIG_WRAP (words) is put in front of kanband and kanbanctl, e.g.
 * valgrind.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit.h"
#include "rig.h"

#define RIG_ARGV_MAX 64

/* In the child: descriptors, death with the test, exec. */
static void rig_exec_program(const char *const *argv, const char *out, const char *err)
{
	const char *words[RIG_ARGV_MAX] = { NULL };
	char *wrap = getenv("RIG_WRAP") ? strdup(getenv("RIG_WRAP")) : NULL;
	int in = open("/dev/null", O_RDONLY), o, e;
	size_t n = 0;

	for (char *w; wrap && n < 16 && (w = strsep(&wrap, " "));)
		if (*w)
			words[n++] = w;
	words[n++] = rig_program(argv[0]);
	for (size_t i = 1; argv[i] && n < RIG_ARGV_MAX - 1; i++)
		words[n++] = argv[i];
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	o = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	e = open(err, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
	if (in < 0 || o < 0 || e < 0 || dup2(in, 0) < 0 || dup2(o, 1) < 0 || dup2(e, 2) < 0)
		_exit(126);
	(void)close_range(3, ~0U, 0);
	/* One that kanband was handed by whoever started it; no worker may see it. */
	(void)dup2(0, 33);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)execvpe(words[0], (char *const *)(uintptr_t)words, rig.env);
	_exit(127);
}

static pid_t rig_spawn(const char *const *argv, const char *out, const char *err)
{
	const pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		rig_exec_program(argv, out, err);
	return pid;
}

static int rig_exit_value(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -WTERMSIG(wait_status);
}

struct rig_out *rig_run(int seconds, const char *const *argv)
{
	struct rig_out *result = rig_keep(calloc(1, sizeof(*result)));
	const unsigned n = ++rig.runs;
	char *out = rig_path(rig_printf("out.%u", n)), *err = rig_path(rig_printf("err.%u", n));
	const int64_t until = rig_mono_us() + (int64_t)seconds * 1000000;
	const pid_t pid = rig_spawn(argv, out, err);
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
		if (rig_mono_us() > until) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, NULL, 0);
			ck_abort_msg("%s %s … did not end within %d s; stderr:\n%s", argv[0],
				     argv[1] ? argv[1] : "", seconds, rig_read(err));
		}
		rig_pause();
	}
	ck_assert_int_eq(got, pid);
	result->status = rig_exit_value(status);
	result->text = rig_read(out);
	result->err = rig_read(err);
	ck_assert_msg(result->status != 127, "%s could not be run", argv[0]);
	ck_assert_msg(result->status >= 0, "%s ended by signal %d:\n%s", argv[0],
		      -result->status, result->err);
	return result;
}

/* ---- --once ---------------------------------------------------------------------------- */

static const char rig_board_shape[] =
	"{\"slug\":\"TEXT\",\"state\":\"TEXT\",\"reclaimed\":\"INT\",\"stale\":\"INT\","
	"\"crashed\":\"ANY\",\"rate_limited\":\"ANY\",\"timed_out\":\"ANY\","
	"\"promoted\":\"INT\",\"spawned\":\"ANY\",\"auto_blocked\":\"ANY\","
	"\"respawn_guarded\":\"ANY\",\"skipped\":{\"unassigned\":\"ANY\","
	"\"nonspawnable\":\"ANY\",\"profile_capped\":\"ANY\",\"scheduled\":\"ANY\"},"
	"\"repaired\":\"ANY\",\"skipped_locked\":\"ANY\",\"error\":\"ANY\"}";

static void rig_check_ids(json_t *list, const char *what)
{
	json_t *id;
	size_t i;

	ck_assert_msg(json_is_array(list), "%s is no list", what);
	json_array_foreach(list, i, id)
		ck_assert_msg(json_is_string(id), "%s has something but a task id", what);
}

static void rig_check_board(json_t *board)
{
	static const char *const lists[] = { "crashed", "rate_limited", "timed_out",
					     "auto_blocked" };
	static const char *const skips[] = { "unassigned", "nonspawnable", "profile_capped",
					     "scheduled" };
	json_t *skipped = json_object_get(board, "skipped"), *error, *item;
	size_t i;

	rig_json_is(board, rig_board_shape, "a board");
	for (i = 0; i < 4; i++)
		rig_check_ids(json_object_get(board, lists[i]), lists[i]);
	for (i = 0; i < 4; i++)
		rig_check_ids(json_object_get(skipped, skips[i]), skips[i]);
	error = json_object_get(board, "error");
	ck_assert_msg(json_is_null(error) || json_is_string(error), "error is no text");
	json_array_foreach(json_object_get(board, "spawned"), i, item)
		rig_json_is(item,
			    "{\"task\":\"TEXT\",\"run\":\"ANY\",\"assignee\":\"TEXT\","
			    "\"workspace\":\"ANY\",\"pid\":\"ANY\"}",
			    "spawned");
	json_array_foreach(json_object_get(board, "respawn_guarded"), i, item)
		rig_json_is(item, "{\"task\":\"TEXT\",\"reason\":\"TEXT\"}", "respawn_guarded");
}

/* The documented shape, exactly: no member more, none less. */
static void rig_check_shape(json_t *json)
{
	json_t *root, *board;
	size_t r, b;

	rig_json_is(json, "{\"epoch\":\"INT\",\"roots\":\"ANY\"}", "the result");
	json_array_foreach(json_object_get(json, "roots"), r, root)
	{
		rig_json_is(root, "{\"root\":\"TEXT\",\"estop\":\"ANY\",\"boards\":\"ANY\"}",
			    "a root");
		json_array_foreach(json_object_get(root, "boards"), b, board)
			rig_check_board(board);
	}
}

struct rig_out *rig_once_args(const char *const *more)
{
	const char *argv[RIG_ARGV_MAX] = { "kanband", "--config", rig_path("kanband.conf"),
					   "--root",  rig.root,   "--launcher",
					   "fork",    "--once",   "--json" };
	struct rig_out *out;

	for (size_t n = 9; *more && n < RIG_ARGV_MAX - 1; n++)
		argv[n] = *more++;
	out = rig_run(60, argv);
	ck_assert_msg(rig.any_status || out->status == 0, "kanband --once: exit %d\n%s\n%s",
		      out->status, out->text, out->err);
	out->json = rig_json(out->text);
	rig_check_shape(out->json);
	return out;
}

struct rig_out *rig_once_as_nobody(void)
{
	struct rig_out *out = rig_keep(calloc(1, sizeof(*out)));

	if (geteuid() != 0)
		return NULL;
	/* The build may be where nobody may not look. */
	rig_shell("chmod 755 . && cp '%s' kanband-copy && chown -R 65534:65534 root",
		  rig_program("kanband"));
	rig_shell("setpriv --reuid=65534 --regid=65534 --clear-groups ./kanband-copy --config "
		  "kanband.conf --root '%s' --launcher fork --once --json >out.nobody "
		  "2>err.nobody && s=0 || s=$?; echo $s >status.nobody",
		  rig.root);
	out->text = rig_read("out.nobody");
	out->err = rig_read("err.nobody");
	out->status = atoi(rig_read("status.nobody"));
	ck_assert_msg(out->status == 0, "exit %d: %s", out->status, out->err);
	out->json = rig_json(out->text);
	rig_check_shape(out->json);
	return out;
}

json_t *rig_of(const struct rig_out *out, const char *slug)
{
	json_t *root, *board;
	size_t r, b;

	json_array_foreach(json_object_get(out->json, "roots"), r, root) json_array_foreach(
		json_object_get(root, "boards"), b,
		board) if (!strcmp(json_string_value(json_object_get(board, "slug")),
				   slug)) return board;
	return NULL;
}

json_t *rig_tick(const char *slug)
{
	struct rig_out *out = rig_once();
	json_t *board = rig_of(out, slug);

	ck_assert_msg(board != NULL, "no board %s in %s", slug, out->text);
	ck_assert_msg(json_is_null(json_object_get(board, "error")), "%s", out->text);
	return board;
}

static int rig_by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *rig_ids(json_t *board, const char *member, bool ordered)
{
	const char *dot = strchr(member, '.');
	json_t *list = dot ? json_object_get(json_object_get(board, "skipped"), dot + 1)
			   : json_object_get(board, member);
	const size_t count = json_array_size(list);
	const char **ids = rig_keep(calloc(count + 1, sizeof(*ids)));
	char *text = rig_printf("%s", "");
	json_t *item;
	size_t i;

	ck_assert_msg(json_is_array(list), "no list %s", member);
	json_array_foreach(list, i, item) ids[i] =
		json_string_value(json_is_object(item) ? json_object_get(item, "task") : item);
	if (!ordered)
		qsort(ids, count, sizeof(*ids), rig_by_text);
	for (i = 0; i < count; i++)
		text = rig_printf("%s%s%s", text, i ? "," : "", ids[i]);
	return text;
}

/* ---- daemons --------------------------------------------------------------------------- */

static int rig_notify_socket(const char *path)
{
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_lt(strlen(path), sizeof(a.sun_path));
	strcpy(a.sun_path, path);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

struct rig_daemon *rig_start_args(bool wait, const char *const *more)
{
	const char *argv[RIG_ARGV_MAX] = { "kanband", "--config", rig_path("kanband.conf"),
					   "--root",  rig.root,   "--launcher",
					   "fork",    "--socket" };
	struct rig_daemon *d = rig_keep(calloc(1, sizeof(*d)));
	const unsigned n = ++rig.runs;
	char *notify = rig_path(rig_printf("notify.%u", n));

	argv[8] = rig_path(rig_printf("control.%u", n));
	for (size_t i = 9; *more && i < RIG_ARGV_MAX - 1; i++)
		argv[i] = *more++;
	d->notify = rig_notify_socket(notify);
	d->err_path = rig_path(rig_printf("err.%u", n));
	d->all = rig_printf("%s", "");
	rig_env("NOTIFY_SOCKET", notify);
	d->pid = rig_spawn(argv, rig_path(rig_printf("out.%u", n)), d->err_path);
	rig_env("NOTIFY_SOCKET", NULL);
	d->next = rig.daemons;
	rig.daemons = d;
	while (wait && !d->ready) {
		const int64_t until = rig_mono_us() + rig_patience_us(15000);

		while (!d->ready && rig_mono_us() < until && !rig_ended(d)) {
			rig_notices(d);
			rig_pause();
		}
		rig_notices(d);
		ck_assert_msg(d->ready, "kanband is not READY (wait status %d):\n%s",
			      d->wait_status, rig_err(d));
	}
	return d;
}

void rig_notices(struct rig_daemon *d)
{
	char text[2048];
	ssize_t n;

	while ((n = recv(d->notify, text, sizeof(text) - 1, 0)) >= 0) {
		char *rest = text;

		text[n] = '\0';
		d->all = rig_printf("%s%s\n", d->all, text);
		for (char *line; (line = strsep(&rest, "\n"));) {
			d->ready += !strcmp(line, "READY=1");
			d->reload += !strcmp(line, "RELOADING=1");
			d->stopping = d->stopping || !strcmp(line, "STOPPING=1");
			if (!strncmp(line, "STATUS=", 7))
				(void)snprintf(d->status, sizeof(d->status), "%s", line + 7);
		}
	}
}

bool rig_status_has(struct rig_daemon *d, const char *part)
{
	rig_notices(d);
	return strstr(d->status, part) != NULL;
}

bool rig_ended(struct rig_daemon *d)
{
	if (d->pid && waitpid(d->pid, &d->wait_status, WNOHANG) == d->pid)
		d->pid = 0;
	return d->pid == 0;
}

int rig_stop(struct rig_daemon *d)
{
	if (!rig_ended(d))
		(void)kill(d->pid, SIGTERM);
	RIG_UNTIL(rig_ended(d), 20000);
	rig_notices(d);
	return rig_exit_value(d->wait_status);
}

void rig_kill9(struct rig_daemon *d)
{
	if (rig_ended(d))
		return;
	(void)kill(d->pid, SIGKILL);
	ck_assert_int_eq(waitpid(d->pid, &d->wait_status, 0), d->pid);
	d->pid = 0;
}

char *rig_err(struct rig_daemon *d)
{
	char *text = rig_read(d->err_path);

	return text ? text : rig_printf("%s", "");
}

static bool rig_crashed(const struct rig_daemon *d)
{
	return WIFSIGNALED(d->wait_status) && WTERMSIG(d->wait_status) != SIGKILL;
}

void rig_watch_daemons(void)
{
	for (struct rig_daemon *d = rig.daemons; d; d = d->next)
		ck_assert_msg(!rig_ended(d) || !rig_crashed(d),
			      "kanband ended by signal %d:\n%s", WTERMSIG(d->wait_status),
			      rig_err(d));
}

void rig_end_daemons(void)
{
	for (struct rig_daemon *d = rig.daemons; d; d = d->next) {
		const bool was_there = !rig_ended(d);

		if (was_there)
			(void)rig_stop(d);
		ck_assert_msg(!rig_crashed(d), "kanband ended by signal %d:\n%s",
			      WTERMSIG(d->wait_status), rig_err(d));
		(void)close(d->notify);
	}
}

json_t *rig_owner(void)
{
	char *text = rig_read("root/kanban/.dispatcher.owner.json");
	json_error_t e;
	json_t *owner = text ? json_loads(text, 0, &e) : NULL;

	if (owner)
		ck_assert_int_eq(json_array_append_new(rig.kept_json, owner), 0);
	return owner;
}

int64_t rig_epoch(void)
{
	return json_integer_value(json_object_get(rig_owner(), "epoch"));
}
