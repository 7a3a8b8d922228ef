#include "lease.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/prctl.h>

#include "files.h"
#include "suite.h"

extern char **environ;

/* The roles */

const char *role_host(void)
{
	static char host[256];

	if (gethostname(host, sizeof(host)) < 0)
		abort(); /* also called outside of Check */
	return host;
}

static int role_hold(const char *root, bool with_child)
{
	struct lease_identity who = { .host = role_host(), .unit = "kanband.service" };
	char *const argv[] = { (char *)"sleep", (char *)"1000", NULL };
	struct error e = ERROR_NULL;
	struct lease *lease = NULL;
	int64_t epoch;
	pid_t child = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the test fails */
	if (lease_try(&lease, root, &who, &epoch, &e) != 0) {
		printf("0 %s\n", e.text);
		return 1;
	}
	if (with_child && posix_spawnp(&child, "sleep", NULL, NULL, argv, environ) != 0)
		return 1;
	printf("%" PRId64 " %d\n", epoch, (int)child);
	(void)fflush(stdout);
	for (;;)
		(void)pause();
}

static int role_gateway(const char *path, bool leave_to_child)
{
	int fd = open(path, O_RDWR | O_CREAT, 0644);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NAME, "python3");
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 1;
	if (leave_to_child) {
		pid_t child = fork();

		if (child != 0) {
			printf("1 %d\n", (int)child);
			(void)fflush(stdout);
		}
	} else {
		printf("1 0\n");
		(void)fflush(stdout);
	}
	for (;;)
		(void)pause();
}

void helper_start_argv(struct helper *h, char *const argv[])
{
	posix_spawn_file_actions_t actions;
	char line[512] = "";
	int child = 0, out[2];
	ssize_t n;

	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
	ck_assert_int_eq(posix_spawn_file_actions_adddup2(&actions, out[1], 1), 0);
	ck_assert_int_eq(posix_spawnp(&h->pid, argv[0], &actions, NULL, argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(out[1]);
	n = read(out[0], line, sizeof(line) - 1);
	(void)close(out[0]);
	ck_assert_msg(n > 0, "the helper %s said nothing", argv[1]);
	ck_assert_int_eq(sscanf(line, "%" SCNd64 " %d", &h->epoch, &child), 2);
	ck_assert_msg(h->epoch > 0, "helper: %s", line);
	h->child = child;
}

void helper_start(struct helper *h, const char *role, const char *path)
{
	char self[PATH_MAX];
	char *const argv[] = { self, (char *)role, (char *)path, NULL };
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(n, 0);
	self[n] = '\0';
	helper_start_argv(h, argv);
}

void helper_kill(struct helper *h)
{
	if (h->pid <= 0)
		return;
	ck_assert_int_eq(kill(h->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(h->pid, NULL, 0), h->pid);
	h->pid = 0;
}

struct fix fix;

void fix_on_guard(uv_timer_t *timer)
{
	(void)timer;
	fix.expired = true;
}

void fix_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	fix.folder = fs_path("%s/lease.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(fix.folder));
	fix.root = fs_path("%s/root", fix.folder);
	fix.lock = fs_path("%s/kanban/.dispatcher.lock", fix.root);
	fix.owner = fs_path("%s/kanban/.dispatcher.owner.json", fix.root);
	ck_assert_int_eq(mkdir(fix.root, 0755), 0);
	ck_assert_int_eq(uv_loop_init(&fix.loop), 0);
	ck_assert_int_eq(uv_timer_init(&fix.loop, &fix.guard), 0);
	(void)uv_timer_start(&fix.guard, fix_on_guard, 0, 0);
	(void)uv_run(&fix.loop, UV_RUN_NOWAIT); /* libuv opens what it keeps */
	fix.fds = files_descriptors();
}

void fix_make_kanban(void)
{
	CLEANUP(freep) char *kanban = fs_path("%s/kanban", fix.root);

	ck_assert_int_eq(fs_mkdir_p(kanban, 0755), 0);
}

void fix_teardown(void)
{
	uv_close((uv_handle_t *)&fix.guard, NULL);
	ck_assert_int_eq(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(files_descriptors(), fix.fds);
	ck_assert_int_eq(uv_loop_close(&fix.loop), 0);
	files_remove(fix.folder);
	free(fix.folder);
	free(fix.root);
	free(fix.lock);
	free(fix.owner);
}

void fix_on_closed(void *arg)
{
	struct seen *s = arg;

	s->closed++;
}

static void on_any(struct seen *s)
{
	if (s->close_me)
		lease_close(STEAL(s->close_me), fix_on_closed, s);
}

static void on_acquired(void *arg, int64_t epoch)
{
	struct seen *s = arg;

	s->acquired++;
	s->epoch = epoch;
	on_any(s);
}

static void on_standby(void *arg, const char *holder)
{
	struct seen *s = arg;

	s->standby++;
	(void)snprintf(s->holder, sizeof(s->holder), "%s", holder);
	on_any(s);
}

static void on_lost(void *arg, const char *why)
{
	struct seen *s = arg;

	s->lost++;
	(void)snprintf(s->why, sizeof(s->why), "%s", why);
	on_any(s);
}

static void on_failed(void *arg, const struct error *e)
{
	struct seen *s = arg;

	s->failed++;
	s->error = *e;
	on_any(s);
}

static const struct lease_events events = { on_acquired, on_standby, on_lost, on_failed };

struct lease *open_root(const char *root, struct seen *s)
{
	struct lease_identity who = { .host = role_host(),
				      .unit = "kanband.service",
				      .socket = "/run/kanband/control.sock" };
	struct lease *lease = NULL;

	ck_assert_int_eq(lease_open(&lease, &fix.loop, root, &who, &events, s), 0);
	ck_assert_int_eq(s->acquired + s->standby + s->lost + s->failed, 0);
	return lease;
}

void close_lease(struct lease *lease, struct seen *s)
{
	lease_close(lease, fix_on_closed, s);
	RUN_UNTIL(s->closed == 1);
}

int try_root(struct lease **lease, int64_t *epoch, struct error *e)
{
	struct lease_identity who = { .host = role_host() };

	return lease_try(lease, fix.root, &who, epoch, e);
}

bool suite_role(int argc, char **argv, int *status)
{
	const char *role = argc == 3 ? argv[1] : "";

	if (strcmp(role, "hold") == 0 || strcmp(role, "parent") == 0)
		*status = role_hold(argv[2], strcmp(role, "parent") == 0);
	else if (strcmp(role, "gateway") == 0 || strcmp(role, "heir") == 0)
		*status = role_gateway(argv[2], strcmp(role, "heir") == 0);
	else
		return false;
	return true;
}
