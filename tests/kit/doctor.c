#include "doctor.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "root/lease.h"
#include "util/fs.h"

char unit_path[320];
const char *config_arg;
char last_text[4096], last_remedy[8192], last_status[16];
static char shell_path[2048], last_check[64], last_about[256];
static int last_id, pasted = -1; /* of enum doctor_id; -1: none */
static struct lease *lease;
static pid_t child;

/* Which program plants it, or why none can: every finding stands here. */
static const char *const planters[DOCTOR_IDS] = {
	[DOCTOR_LEASE_NOBODY] = "daemon",
	[DOCTOR_LEASE_GATEWAY] = "ctl",
	[DOCTOR_LEASE_STRANGER] = "ctl",
	[DOCTOR_LEASE_UNSEEN] = "ctl",
	[DOCTOR_LEASE_STOPPED] = "ctl",
	[DOCTOR_DAEMON_SILENT] = "daemon",
	[DOCTOR_PAUSED_ALL] = "daemon",
	[DOCTOR_PAUSED_BOARD] = "daemon",
	[DOCTOR_PAUSED_ESTOP] = "daemon",
	[DOCTOR_GATEWAY_WILL] = "ctl",
	[DOCTOR_GATEWAY_DOES] = "ctl",
	[DOCTOR_CONFIG_BAD] = "ctl",
	[DOCTOR_CONFIG_ODD] = "ctl",
	[DOCTOR_UNIT_NONE] = "the host says whether it has a service manager: see "
			     "tests/systemd/doctor.sh",
	[DOCTOR_UNIT_DISABLED] = "ctl",
	[DOCTOR_UNIT_STALE] = "a service manager says so: see tests/systemd/doctor.sh",
	[DOCTOR_UNIT_INACTIVE] = "a service manager says so: see tests/systemd/doctor.sh",
	[DOCTOR_UNIT_OUTSIDE] = "a service manager says so: see tests/systemd/doctor.sh",
	[DOCTOR_WATCHDOG_NONE] = "ctl",
	[DOCTOR_LINGER_OFF] = "ctl",
	[DOCTOR_SQLITE_WAL] = "ctl",
	[DOCTOR_ROOT_UNSEEN] = "the root goes away between two looks",
	[DOCTOR_ROOT_NETWORK] = "ctl",
	[DOCTOR_ROOT_FUSE] = "ctl",
	[DOCTOR_ROOT_MEMORY] = "ctl",
	[DOCTOR_ROOT_FULL] = "its command shows what fills it; what may go is for people",
	[DOCTOR_HERMES_MISSING] = "ctl",
	[DOCTOR_LAUNCHER_CHILDREN] = "the host says whether it has a service manager: see "
				     "tests/systemd/launch-units.sh",
	[DOCTOR_BOARD_UNSEEN] = "ctl_boards",
	[DOCTOR_BOARD_DAMAGED] = "ctl_boards",
	[DOCTOR_BOARD_LOSSY] = "ctl_boards",
	[DOCTOR_BOARD_LOST] = "ctl_boards",
	[DOCTOR_BOARD_SCHEMA] = "ctl_boards",
	[DOCTOR_BOARD_BUSY] = "ctl_boards",
	[DOCTOR_BOARD_NO_FILE] = "ctl_boards",
	[DOCTOR_BOARD_UNREADABLE] = "ctl_boards",
	[DOCTOR_BOARD_OTHER] = "ctl_boards",
	[DOCTOR_BOARD_MORE] = "a count of those that are told with the next look: see many",
	[DOCTOR_TASKS_UNASSIGNED] = "ctl_boards",
	[DOCTOR_TASKS_NO_PROFILE] = "ctl_boards",
	[DOCTOR_TASKS_GUARDED] = "ctl_boards",
	[DOCTOR_TASKS_NO_GIT] = "ctl_boards",
	[DOCTOR_FOLDER_CASE] = "ctl_boards",
	[DOCTOR_NOTIFY_UNWRITTEN] = "a disk that fails: see test_unwritten in test_notify; the "
				    "command shows which and how full it is",
	[DOCTOR_NOTIFY_UNSERVED] = "daemon",
	[DOCTOR_NOTIFY_PARKED] = "daemon",
	[DOCTOR_NOTIFY_MORE] = "daemon",
	[DOCTOR_COPY_FAILS] = "its command shows what is run, which people mend: see copies in "
			      "test_daemon_hooks",
	[DOCTOR_HOOK_FAILS] = "its command shows what is run, which people mend: see fails in "
			      "test_daemon_hooks",
	[DOCTOR_OUTBOX_UNREADABLE] = "ctl_boards",
	[DOCTOR_OUTBOX_ASIDE] = "ctl_boards",
	[DOCTOR_CLOCK_OLD] = "ctl",
	[DOCTOR_CLOCK_BACK] = "ctl",
};

#define WORLD_FINDING(id, check, name, how) { check, name },
static const struct {
	const char *check, *name;
} findings[DOCTOR_IDS] = { DOCTOR_FINDINGS(WORLD_FINDING) };

/* Shared by all cases, each of which is a process. */
static bool *cleared;

/* ---- the world ----------------------------------------------------------------------- */

void plant(const char *name, const char *text)
{
	world_put(name, text, strlen(text));
}

void program(const char *name, const char *text)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "bin/%s", name);
	plant(path, text);
	ck_assert_int_eq(chmod(world_path(path), 0755), 0);
}

void use_config(const char *name)
{
	static char kept[512];

	(void)snprintf(kept, sizeof(kept), "%s", world_path(name));
	config_arg = kept;
}

static void programs(void)
{
	char text[4096], kanband[1024];

	(void)snprintf(kanband, sizeof(kanband), "%s", world_binary());
	*strrchr(kanband, '/') = '\0';
	ck_assert_int_eq(fs_mkdir_p(world_path("bin"), 0755), 0);
	ck_assert_int_eq(symlink(world_binary(), world_path("bin/kanbanctl")), 0);
	(void)snprintf(text, sizeof(text),
		       "#!/bin/sh\n"
		       "case \"$*\" in\n"
		       "*--check-config*) exec '%s/kanband' \"$@\";;\n"
		       "esac\n"
		       "export RUNTIME_DIRECTORY='%s'\n"
		       "echo $$ >'%s/daemon.pid'\n"
		       "exec '%s/kanband' --config '%s/k.conf' \"$@\" 2>>'%s/daemon.log'\n",
		       kanband, world_root, world_root, kanband, world_root, world_root);
	program("kanband", text);
	/* enough of systemctl: enable makes the link, start and restart of kanband do that, and
	 * everything else is written down */
	program("systemctl", "#!/bin/sh\n"
			     "d=${0%/bin/*}\n"
			     "echo \"$*\" >>\"$d/systemctl.log\"\n"
			     "case \"$1 $2\" in\n"
			     "enable*)\n"
			     "	mkdir -p \"$d/units/multi-user.target.wants\"\n"
			     "	ln -s \"../$2\" \"$d/units/multi-user.target.wants/$2\";;\n"
			     "restart*kanband*)\n"
			     "	[ -e \"$d/k.conf\" ] || exit 0\n"
			     "	p=$(cat \"$d/daemon.pid\" 2>/dev/null)\n"
			     "	[ -z \"$p\" ] || kill -TERM \"$p\"\n"
			     "	while [ -n \"$p\" ] && kill -0 \"$p\" 2>/dev/null; do sleep "
			     "0.05; done\n"
			     "	exec \"$d/bin/kanband\" --root \"$d\";;\n"
			     "start*kanband*) [ ! -e \"$d/k.conf\" ] || exec "
			     "\"$d/bin/kanband\" --root \"$d\";;\n"
			     "esac\n");
	program("timedatectl", "#!/bin/sh\nexit 0\n");
	program("hermes", "#!/bin/sh\nexit 0\n");
}

void doctor_setup(void)
{
	world_setup();
	(void)ok("init");
	(void)snprintf(unit_path, sizeof(unit_path), "SYSTEMD_UNIT_PATH=%s/units", world_root);
	world_env(unit_path);
	ck_assert_int_eq(fs_mkdir_p(world_path("units"), 0755), 0);
	programs();
	config_arg = NULL;
	lease = NULL;
	child = 0;
	pasted = last_id = -1;
}

/* The daemon that a remedy started. */
static void daemon_end(void)
{
	CLEANUP(freep) char *text = NULL;
	pid_t pid;

	if (fs_read_file(world_path("daemon.pid"), 64, &text, NULL) < 0)
		return;
	pid = (pid_t)atol(text);
	if (pid > 1 && kill(pid, SIGKILL) == 0)
		while (waitpid(-1, NULL, 0) > 0)
			;
}

void doctor_teardown(void)
{
	lease = lease_free(lease);
	if (child > 0) {
		ck_assert_int_eq(kill(child, SIGKILL), 0);
		ck_assert_int_eq(waitpid(child, NULL, 0), child);
	}
	daemon_end();
	world_teardown();
}

bool own_mounts(const char *for_what)
{
	if (unshare(CLONE_NEWNS) == 0 &&
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return true;
	(void)fprintf(stderr, "skipped: no mounts of our own for %s: %s\n", for_what,
		      strerror(errno));
	return false;
}

/* The lease, held by this very process. */
void owner(void)
{
	const struct lease_identity who = { .host = "h" };
	struct error e = ERROR_NULL;
	int64_t epoch;

	ck_assert_msg(lease_try(&lease, world_root, &who, &epoch, &e) == 0, "%s", e.text);
}

void with_child(void (*fn)(void))
{
	int ready[2];
	char byte;

	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		(void)signal(SIGTERM, SIG_DFL); /* not as the test runner has it */
		fn();
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

pid_t child_pid(void)
{
	return child;
}

void child_ended(void)
{
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	child = 0;
}

void hold(const char *name)
{
	int fd = open(world_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		_exit(1);
}

/* ---- asking -------------------------------------------------------------------------- */

json_t *doctor(void)
{
	const struct ctl_result *r =
		config_arg ? kanbanctl("doctor", "--json", "--config", config_arg)
			   : kanbanctl("doctor", "--json");
	json_t *j = json_loads(r->out, 0, NULL);

	ck_assert_msg(j != NULL, "exit %d: %s%s", r->exit, r->out, r->err);
	ck_assert_int_eq(r->exit, json_is_true(json_object_get(j, "well")) ? 0 : 1);
	return j;
}

const char *member(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* The id of a check that is not well. */
static int id_of(const json_t *check)
{
	for (int i = 0; i < DOCTOR_IDS; i++)
		if (strcmp(findings[i].check, member(check, "check")) == 0 &&
		    strcmp(findings[i].name, member(check, "finding")) == 0)
			return i;
	ck_abort_msg("no finding %s %s", member(check, "check"), member(check, "finding"));
}

bool finds(const char *name, const char *about)
{
	json_t *j = doctor(), *check;
	bool found = false;
	size_t i;

	last_text[0] = last_remedy[0] = last_status[0] = '\0';
	last_id = -1;
	json_array_foreach(json_object_get(j, "checks"), i, check)
	{
		ck_assert_str_ne(member(check, "text"), "");
		if (strcmp(member(check, "status"), "ok") == 0) {
			ck_assert_str_eq(member(check, "remedy"), "");
			ck_assert_str_eq(member(check, "finding"), "");
			continue;
		}
		ck_assert_str_ne(member(check, "remedy"), "");
		if (found || strcmp(member(check, "check"), name) != 0 ||
		    strcmp(member(check, "about"), about) != 0)
			continue;
		found = true;
		last_id = id_of(check);
		(void)snprintf(last_check, sizeof(last_check), "%s", name);
		(void)snprintf(last_about, sizeof(last_about), "%s", about);
		(void)snprintf(last_text, sizeof(last_text), "%s", member(check, "text"));
		(void)snprintf(last_remedy, sizeof(last_remedy), "%s", member(check, "remedy"));
		(void)snprintf(last_status, sizeof(last_status), "%s", member(check, "status"));
	}
	json_decref(j);
	return found;
}

static pid_t paste_fork(const char *command, const char *errors)
{
	const char *path = getenv("PATH");
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	(void)snprintf(shell_path, sizeof(shell_path), "%s/bin:%s", world_root,
		       path ? path : "/usr/bin:/bin");
	(void)setenv("PATH", shell_path, 1);
	(void)setenv("HOME", world_root, 1);
	(void)setenv("HERMES_KANBAN_BUSY_TIMEOUT_MS", "300", 1);
	(void)setenv("SYSTEMD_UNIT_PATH", unit_path + strlen("SYSTEMD_UNIT_PATH="), 1);
	if (chdir("/") < 0 || !freopen("/dev/null", "w", stdout) ||
	    !freopen("/dev/null", "r", stdin) || (errors && !freopen(errors, "a", stderr)))
		_exit(99);
	(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(98);
}

void paste_text(const char *command)
{
	pid_t pid = paste_fork(command, NULL);
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d from: %s", status,
		      command);
}

void paste(void)
{
	ck_assert_int_ge(last_id, 0);
	pasted = last_id;
	paste_text(last_remedy);
}

void paste_start(void)
{
	ck_assert_int_ge(last_id, 0);
	pasted = last_id;
	(void)paste_fork(last_remedy,
			 world_path("daemon.log")); /* ended with the daemon that it becomes */
}

static bool is_gone(void)
{
	char check[64], about[256];
	int id = pasted;

	ck_assert_int_ge(id, 0);
	(void)snprintf(check, sizeof(check), "%s", last_check);
	(void)snprintf(about, sizeof(about), "%s", last_about);
	return !finds(check, about) || last_id != id;
}

void gone(void)
{
	ck_assert_msg(is_gone(), "still there: %s", last_text);
	cleared[pasted] = true;
}

void gone_until(int ms)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };

	for (; ms > 0; ms -= 50) {
		if (is_gone()) {
			cleared[pasted] = true;
			return;
		}
		ck_assert(nanosleep(&pause, NULL) == 0 || errno == EINTR);
	}
	gone();
}

void remedied(const char *name, const char *about, const char *word)
{
	ck_assert_msg(finds(name, about), "no finding %s %s", name, about);
	ck_assert_msg(strstr(last_text, word) != NULL, "no \"%s\" in: %s", word, last_text);
	paste();
	gone();
}

void cannot(enum doctor_id id, const char *why)
{
	(void)fprintf(stderr, "skipped: %s %s: %s\n", findings[id].check, findings[id].name,
		      why);
	cleared[id] = true;
}

/* ---- all of them --------------------------------------------------------------------- */

static const char *program_name;

int suite_missing(void)
{
	int n = 0;

	for (size_t i = 0; i < DOCTOR_IDS; i++) {
		const char *who = planters[i];

		if (who && (strcmp(who, program_name) != 0 || cleared[i]))
			continue;
		n++;
		(void)fprintf(stderr, "%s: nobody plants \"%s %s\" and pastes its remedy\n",
			      program_name, findings[i].check, findings[i].name);
	}
	return n;
}

Suite *doctor_suite(const char *program, const void *tests, size_t n)
{
	program_name = program;
	cleared = mmap(NULL, DOCTOR_IDS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		       0);
	if (cleared == MAP_FAILED)
		abort();
	return suite_each(program, 120, doctor_setup, doctor_teardown, tests, n);
}
