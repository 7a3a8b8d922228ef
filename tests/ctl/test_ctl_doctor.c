/* doctor among planted faults: each is found, and the command that it prints removes it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kit/doctor.h"
#include "notify/outbox.h"
#include "recovery/health.h"
#include "util/fs.h"

/* ---- nothing planted ----------------------------------------------------------------------
 */

START_TEST(all_well)
{
	static const char *const names[] = { "lease", "daemon", "gateway",    "config",
					     "unit",  "sqlite", "filesystem", "hermes",
					     "board", "notify", "clock" };
	struct statfs st;
	char conf[512];
	json_t *j, *check;
	size_t i;

	owner();
	(void)snprintf(conf, sizeof(conf), "[worker]\nhermes = %s/bin/hermes\n", world_root);
	world_put("k.conf", conf, strlen(conf));
	use_config("k.conf");
	put("units/kanband.service", "[Service]\nWatchdogSec=30\n");
	put("units/multi-user.target.wants/kanband.service", "");
	j = doctor();
	ck_assert_str_eq(member(j, "root"), world_root);
	ck_assert(json_is_false(json_object_get(j, "daemon")));
	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		bool seen = false;

		json_array_foreach(json_object_get(j, "checks"), i, check) seen |=
			strcmp(member(check, "check"), names[n]) == 0;
		ck_assert_msg(seen, "no check %s", names[n]);
	}
	json_array_foreach(json_object_get(j, "checks"), i, check)
	{
		ck_assert_uint_eq(json_object_size(check), 6);
		if (strcmp(member(check, "check"), "filesystem") != 0)
			ck_assert_msg(strcmp(member(check, "status"), "ok") == 0, "%s: %s",
				      member(check, "check"), member(check, "text"));
	}
	if (statfs(world_root, &st) == 0 && st.f_type != 0x01021994) {
		ck_assert(json_is_true(json_object_get(j, "well")));
		/* for people: a line each */
		ck_assert_ptr_nonnull(strstr(ok("doctor", "--config", config_arg),
					     "ok       lease: kanband"));
	}
	json_decref(j);
	fails(66, "no kanban root", "doctor", "--root", "/nonexistent/x");
}
END_TEST

/* ---- the lease ----------------------------------------------------------------------------
 */

static void owner_child(void)
{
	owner();
}

START_TEST(stopped)
{
	int status;

	with_child(owner_child);
	ck_assert(!finds("lease", ""));
	ck_assert_int_eq(kill(child_pid(), SIGSTOP), 0);
	ck_assert_int_eq(waitpid(child_pid(), &status, WUNTRACED), child_pid());
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "stopped"));
	paste();
	ck_assert_int_eq(waitpid(child_pid(), &status, WCONTINUED), child_pid());
	gone();
}
END_TEST

static void stranger_child(void)
{
	hold("kanban/.dispatcher.lock");
}

START_TEST(stranger)
{
	with_child(stranger_child);
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "no kanband"));
	paste();
	child_ended();
	gone();
	ck_assert_ptr_nonnull(strstr(last_text, "nobody"));
}
END_TEST

static void gateway_child(void)
{
	hold("gateway.lock");
	hold("kanban/.dispatcher.lock");
}

/* A gateway that runs, dispatches and has no unit: the incident. */
START_TEST(gateway_owns)
{
	with_child(gateway_child);
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "the gateway of profile default"));
	paste();
	child_ended();
	gone();
	ck_assert_int_eq(unlink(world_path("config.yaml")), 0);
	with_child(gateway_child);
	ck_assert(finds("gateway", "default"));
	ck_assert_str_eq(last_status, "error");
	ck_assert_ptr_nonnull(strstr(last_text, "nothing keeps it"));
	paste();
	child_ended();
	gone();
}
END_TEST

static void gateway_ann(void)
{
	hold("profiles/ann/gateway.lock");
}

/* The same beside a kanband: the lease holds it back, which is said. */
START_TEST(gateway_waits)
{
	owner();
	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/ann"), 0755), 0);
	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/bob"), 0755), 0);
	with_child(gateway_ann);
	ck_assert(!finds("gateway", "bob"));
	ck_assert(finds("gateway", "ann"));
	ck_assert_str_eq(last_status, "warning");
	ck_assert_ptr_nonnull(strstr(last_text, "it runs and would dispatch"));
	ck_assert_ptr_nonnull(strstr(last_text, "the lease keeps it from it while"));
	paste();
	child_ended();
	gone();
}
END_TEST

/* One that does not run and is started by a unit: the drop-in is its remedy. */
START_TEST(gateway_unit)
{
	char unit[512];

	owner();
	(void)snprintf(unit, sizeof(unit),
		       "[Service]\nEnvironment=HERMES_HOME=%s\nExecStart=hermes gateway run\n",
		       world_root);
	world_put("units/hermes-gateway-0a1b2c3d.service", unit, strlen(unit));
	remedied("gateway", "default", "once started it would dispatch");
	ck_assert_int_eq(
		access(world_path("units/hermes-gateway-0a1b2c3d.service.d/kanband.conf"),
		       F_OK),
		0);
}
END_TEST

/* ---- a holder outside of the pid namespace ------------------------------------------------
 */

/* kanbanctl in a pid namespace of its own, where a lock of somebody outside has no line. */
static bool inside(void)
{
	char script[1024];

	(void)snprintf(script, sizeof(script),
		       "#!/bin/sh\nexec unshare -p -f --mount-proc '%s' \"$@\"\n",
		       world_binary());
	program("inside", script);
	if (system("unshare -p -f --mount-proc true 2>/dev/null") != 0)
		return false;
	world_program(world_path("bin/inside"));
	return true;
}

static void unseen_holder(void)
{
	hold("kanban/.dispatcher.lock");
}

START_TEST(unseen)
{
	json_t *j;

	if (!inside()) {
		cannot(DOCTOR_LEASE_UNSEEN, "no pid namespace can be made");
		return;
	}
	ck_assert_ptr_nonnull(strstr(kanbanctl("leader")->out, "nobody"));
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "nobody has it"));
	with_child(unseen_holder);
	ck_assert_ptr_nonnull(
		strstr(kanbanctl("leader")->out, "a process that cannot be seen from here\n"));
	j = parsed(0, "leader");
	ck_assert(json_is_true(json_object_get(j, "held")));
	ck_assert(json_is_true(json_object_get(j, "unseen")));
	ck_assert(json_is_false(json_object_get(j, "kanband")));
	ck_assert(json_is_null(json_object_get(j, "pid")));
	json_decref(j);
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "not seen from here"));
	/* the command is for the host of that container: here, it is this one */
	program("fuser", "#!/bin/sh\n[ -e \"$2\" ]\n");
	paste();
	ck_assert_int_eq(kill(child_pid(), SIGKILL), 0);
	child_ended();
	gone();
}
END_TEST

/* The owner file says who it is, and that is told as what it is. */
START_TEST(unseen_kanband)
{
	char pid[32];
	json_t *j;

	if (!inside())
		return;
	with_child(owner_child);
	(void)snprintf(pid, sizeof(pid), ", pid %d there", (int)child_pid());
	ck_assert_ptr_nonnull(strstr(ok("leader"), "cannot be seen from here (the owner file "
						   "says: kanband "));
	ck_assert_ptr_nonnull(strstr(ok("leader"), " on h"));
	ck_assert_ptr_nonnull(strstr(ok("leader"), pid));
	j = parsed(0, "leader");
	ck_assert(json_is_true(json_object_get(j, "unseen")));
	ck_assert(json_is_true(json_object_get(j, "kanband")));
	json_decref(j);
	ck_assert(!finds("lease", ""));
	ck_assert(!finds("daemon", ""));
	ck_assert_int_eq(kill(child_pid(), SIGKILL), 0);
	child_ended();
	ck_assert(finds("lease", ""));
}
END_TEST

/* ---- the host -----------------------------------------------------------------------------
 */

START_TEST(file_systems)
{
	const char *name;

	ck_assert_int_eq(doctor_fs(0x6969, &name), DOCTOR_FS_NETWORK);
	ck_assert_str_eq(name, "NFS");
	ck_assert_int_eq(doctor_fs(0xFFFFFFFFFF534D42UL, &name), DOCTOR_FS_NETWORK);
	ck_assert_str_eq(name, "CIFS");
	ck_assert_int_eq(doctor_fs(0x01021997, &name), DOCTOR_FS_NETWORK);
	ck_assert_int_eq(doctor_fs(0x65735546, &name), DOCTOR_FS_MAYBE);
	ck_assert_int_eq(doctor_fs(0x01021994, &name), DOCTOR_FS_MEMORY);
	ck_assert_int_eq(doctor_fs(0xEF53, &name), DOCTOR_FS_LOCAL);
	ck_assert_int_eq(doctor_fs(0x12345678, &name), DOCTOR_FS_LOCAL);
	ck_assert_str_eq(name, "");
}
END_TEST

START_TEST(wal)
{
	if (!strstr(ok("init", "--board", "x"), "WAL-reset bug")) {
		cannot(DOCTOR_SQLITE_WAL, "the library of this host has not got the bug");
		return;
	}
	ck_assert(!finds("sqlite", "x"));
	(void)world_sql("kanban/boards/x/kanban.db", "PRAGMA journal_mode=WAL");
	remedied("sqlite", "x", "WAL-reset bug");
}
END_TEST

START_TEST(no_hermes)
{
	world_env("PATH=/nonexistent");
	put("k.conf", "");
	use_config("k.conf");
	remedied("hermes", "", "hermes is not on the PATH");
}
END_TEST

/* The line goes, what belongs to it goes with it, and the rest counts. */
START_TEST(bad_config)
{
	static const struct {
		const char *before, *word, *after;
	} t[] = {
		{ "[kanband]\nnonsense = 1\nmax_spawn = 3\n", "nonsense",
		  "[kanband]\n# nonsense = 1\nmax_spawn = 3\n" },
		{ "[notify]\nnotify = perhaps\n", "notify", "[notify]\n# notify = perhaps\n" },
		{ "[kanband]\n[bored x]\npaused = yes\n\n[notify]\nnotify = off\n", "bored",
		  "[kanband]\n# [bored x]\n# paused = yes\n# \n[notify]\nnotify = off\n" },
		{ "[worker]\nlauncher_ = a\n  b\n  c\nhermes = x\n", "launcher_",
		  "[worker]\n# launcher_ = a\n#   b\n#   c\nhermes = x\n" },
		{ "[kanband]\nnonsense", "neither a [section]", "[kanband]\n# nonsense" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		CLEANUP(freep) char *text = NULL, *kept = NULL;

		put("a 'k'.conf", t[i].before);
		use_config("a 'k'.conf");
		ck_assert(finds("config", ""));
		ck_assert_ptr_nonnull(strstr(last_remedy, "--check-config --config"));
		remedied("config", "", t[i].word);
		ck_assert_int_eq(fs_read_file(config_arg, 4096, &text, NULL), 0);
		ck_assert_str_eq(text, t[i].after);
		ck_assert_int_eq(fs_read_file(world_path("a 'k'.conf.bak"), 4096, &kept, NULL),
				 0);
		ck_assert_str_eq(kept, t[i].before);
	}
	/* one that is not there: it is asked again, which says why */
	use_config("none.conf");
	ck_assert(finds("config", ""));
	ck_assert_ptr_nonnull(strstr(last_remedy, "kanband --check-config --config"));
}
END_TEST

/* What is ignored is taken out where that is all there is to it; else an editor is named. */
START_TEST(odd_config)
{
	put("k.conf", "");
	use_config("k.conf");
	put("config.yaml", "kanban:\n  failure_limit: many\n  max_spawn: 3\n");
	remedied("config", "", "failure_limit");
	put("config.yaml", "kanban:\n  dispatch_profiles:\n    - ann\n    - ../bob\n");
	remedied("config", "", "dispatch_profiles");
	put("config.yaml", "kanban: {failure_limit: many, max_spawn: 3}\n");
	ck_assert(finds("config", ""));
	ck_assert_ptr_nonnull(strstr(last_remedy, "${EDITOR:-vi} +1 "));
	put("config.yaml", "kanban:\n\t- x: [\n");
	ck_assert(finds("config", ""));
	ck_assert_msg(strstr(last_remedy, "${EDITOR:-vi} +") != NULL, "%s: %s", last_text,
		      last_remedy);
	ck_assert_int_eq(unlink(world_path("config.yaml")), 0);
	ck_assert(!finds("config", ""));
	world_env("HERMES_KANBAN_CLAIM_TTL_SECONDS=lots");
	ck_assert(finds("config", ""));
	ck_assert_str_eq(last_remedy, "unset HERMES_KANBAN_CLAIM_TTL_SECONDS");
}
END_TEST

START_TEST(unit)
{
	put("units/kanband.service", "[Service]\nExecStart=kanband\n");
	remedied("unit", "kanband.service", "not enabled");
	remedied("watchdog", "kanband.service", "there is none");
	ck_assert_int_eq(access(world_path("units/kanband.service.d/watchdog.conf"), F_OK), 0);
	put("units/kanband.service.d/zz.conf", "[Service]\nWatchdogSec=0\n");
	ck_assert(finds("watchdog", "kanband.service"));
}
END_TEST

/* A /var/lib of this case's own, on the same disk; false: not possible */
static bool own_var_lib(void)
{
	return own_mounts("/var/lib") && fs_mkdir_p(world_path("var"), 0755) == 0 &&
	       mount(world_path("var"), "/var/lib", NULL, MS_BIND, NULL) == 0;
}

/* A unit of a person's own manager ends with the last logout. */
START_TEST(linger)
{
	put(".config/systemd/user/kanband.service", "[Service]\nWatchdogSec=30\n");
	put(".config/systemd/user/default.target.wants/kanband.service", "");
	ck_assert(!finds("unit", "kanband.service"));
	if (getuid() != 0 || !own_var_lib()) {
		cannot(DOCTOR_LINGER_OFF, "the host's own folder would have to be changed");
		return;
	}
	program("loginctl",
		"#!/bin/sh\n"
		"[ \"$1\" = enable-linger ] && mkdir -p /var/lib/systemd/linger &&\n"
		"touch /var/lib/systemd/linger/\"$2\"\n");
	remedied("linger", "root", "it is off");
	ck_assert_int_eq(umount("/var/lib"), 0);
}
END_TEST

/* What cannot be mended in place is copied elsewhere; that the units are to follow is said. */
START_TEST(memory_root)
{
	char home[320];
	struct statfs st;

	if (statfs(world_root, &st) < 0 || st.f_type == 0x01021994 || !own_var_lib()) {
		cannot(DOCTOR_ROOT_MEMORY, "needs a folder on a disk, and the right to mount");
		return;
	}
	ck_assert_int_eq(fs_mkdir_p(world_path("mem"), 0755), 0);
	ck_assert_int_eq(mount("none", world_path("mem"), "tmpfs", 0, NULL), 0);
	(void)snprintf(home, sizeof(home), "HERMES_KANBAN_HOME=%s/mem", world_root);
	world_env(home);
	(void)ok("init");
	(void)ok("add", "a task");
	ck_assert(finds("filesystem", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "gone with the next boot"));
	ck_assert_ptr_nonnull(strstr(last_text, "point their units there"));
	paste();
	/* as it was exported in that shell */
	world_env("HERMES_KANBAN_HOME=/var/lib/hermes");
	gone();
	ck_assert_ptr_nonnull(strstr(ok("list"), "a task"));
	/* two roots are not mixed */
	world_env(home);
	ck_assert(finds("filesystem", ""));
	ck_assert_int_lt(strlen(last_remedy) + 32, sizeof(last_remedy));
	memmove(last_remedy + 2, last_remedy, strlen(last_remedy) + 1);
	memcpy(last_remedy, "! ", 2);
	paste();
	ck_assert_int_eq(umount(world_path("mem")), 0);
	ck_assert_int_eq(umount("/var/lib"), 0);
}
END_TEST

/* tests/preload/host.c between kanbanctl and the C library; false: not possible, told. */
static bool host_preload(enum doctor_id id)
{
	static char preload[512];
	char command[1200];

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	cannot(id, "a sanitizer has to be the first that is preloaded");
	return false;
#endif
	(void)snprintf(preload, sizeof(preload), "LD_PRELOAD=%s/host.so", world_root);
	(void)snprintf(command, sizeof(command),
		       "test -r tests/preload/host.c && "
		       "${CC:-cc} -shared -fPIC -o '%s/host.so' tests/preload/host.c",
		       world_root);
	if (system(command) != 0) {
		cannot(id, "needs the source and a compiler");
		return false;
	}
	world_env(preload);
	return true;
}

static void distant_root(enum doctor_id id, const char *type, const char *word)
{
	static char root[320], home[320];

	if (!host_preload(id))
		return;
	if (!own_var_lib()) {
		cannot(id, "needs the right to mount");
		return;
	}
	(void)snprintf(home, sizeof(home), "HERMES_KANBAN_HOME=%s/far", world_root);
	(void)snprintf(root, sizeof(root), "HOST_ROOT=%s/far", world_root);
	world_env(home);
	(void)ok("init");
	(void)ok("add", "a task");
	world_env(root);
	ck_assert(!finds("filesystem", "") || !strstr(last_text, word));
	world_env(type);
	ck_assert(finds("filesystem", ""));
	ck_assert_ptr_nonnull(strstr(last_text, word));
	paste();
	world_env("HERMES_KANBAN_HOME=/var/lib/hermes"); /* as it was exported in that shell */
	gone();
	ck_assert_ptr_nonnull(strstr(ok("list"), "a task"));
	ck_assert_int_eq(umount("/var/lib"), 0);
}

START_TEST(network_root)
{
	distant_root(DOCTOR_ROOT_NETWORK, "HOST_FS=0x6969", "the root is on NFS");
}
END_TEST

START_TEST(fuse_root)
{
	distant_root(DOCTOR_ROOT_FUSE, "HOST_FS=0x65735546", "network file system in disguise");
}
END_TEST

START_TEST(clock_old)
{
	static char file[320];
	char sets[400];

	if (!host_preload(DOCTOR_CLOCK_OLD))
		return;
	(void)snprintf(file, sizeof(file), "HOST_CLOCK=%s/1970", world_root);
	world_env(file);
	ck_assert(!finds("clock", ""));
	put("1970", "");
	(void)snprintf(sets, sizeof(sets),
		       "#!/bin/sh\n[ \"$*\" = 'set-ntp true' ] && rm '%s/1970'\n", world_root);
	program("timedatectl", sets);
	remedied("clock", "", "it says 1970");
}
END_TEST

START_TEST(clock_back)
{
	struct timespec ahead[2] = { { .tv_sec = time(NULL) + 3600 },
				     { .tv_sec = time(NULL) + 3600 } };

	ck_assert(!finds("clock", ""));
	ck_assert_int_eq(utimensat(AT_FDCWD, world_path("kanban.db"), ahead, 0), 0);
	remedied("clock", "", "board default was written");
}
END_TEST

/* ---- boards -------------------------------------------------------------------------------
 */

static void damage(const char *name)
{
	char junk[100];
	int fd = open(world_path(name), O_WRONLY | O_CLOEXEC);

	memset(junk, 'x', sizeof(junk));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), 0), (ssize_t)sizeof(junk));
	close(fd);
}

START_TEST(corrupt)
{
	(void)ok("add", "a task");
	damage("kanban.db");
	remedied("board", "default", "corrupt");
	ck_assert_ptr_nonnull(strstr(ok("list"), "a task"));
}
END_TEST

/* What the record says of these bytes is not looked at again. */
START_TEST(quarantined)
{
	struct health h = { .state = HEALTH_QUARANTINED, .kind = "corrupt" };
	json_t *j, *board;

	(void)ok("add", "a task");
	(void)snprintf(h.reason, sizeof(h.reason), "row 7 is missing from an index");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	j = parsed(1, "boards");
	board = json_array_get(json_object_get(j, "boards"), 0);
	ck_assert_str_eq(member(board, "state"), "quarantined");
	ck_assert_str_eq(member(board, "error"), h.reason);
	ck_assert(json_is_null(json_object_get(board, "tasks")));
	ck_assert_str_eq(member(j, "source"), "files");
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(kanbanctl("status")->out, h.reason));
	ck_assert_ptr_nonnull(strstr(kanbanctl("status")->out, "from the files"));
	ck_assert_ptr_nonnull(strstr(kanbanctl("board")->out, h.reason));
	remedied("board", "default", h.reason);
	/* and one whose bytes changed since is */
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	(void)world_sql("kanban.db", "UPDATE tasks SET title = 'another'");
	ck_assert(!finds("board", "default"));
}
END_TEST

START_TEST(lost)
{
	struct health h = { .state = HEALTH_LOST, .kind = "lost" };

	(void)ok("add", "a task");
	(void)ok("snapshot");
	(void)world_sql("kanban.db", "DELETE FROM tasks");
	ck_assert_int_eq(health_read(world_path("kanban.db"), &h), 0);
	h.state = HEALTH_LOST;
	h.good.tasks = 1;
	(void)snprintf(h.reason, sizeof(h.reason), "it has no task, and had one");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	remedied("board", "default", "it has no task");
	ck_assert_ptr_nonnull(strstr(ok("list"), "a task"));
}
END_TEST

/* A record that says that rows would be lost: a command that dares to is shown. */
START_TEST(would_lose)
{
	struct health h = { .state = HEALTH_QUARANTINED, .kind = "corrupt" };

	(void)ok("add", "a task");
	(void)snprintf(h.reason, sizeof(h.reason), "a repair would lose 3 rows of tasks");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	ck_assert(finds("board", "default"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "--salvage"));
	remedied("board", "default", "would lose");
}
END_TEST

/* A kanband that was killed while it looked, and that nobody started again. */
START_TEST(suspect)
{
	struct health h = { .state = HEALTH_SUSPECT, .kind = "corrupt" };

	(void)snprintf(h.reason, sizeof(h.reason), "a read failed");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	remedied("board", "default", "a read failed");
}
END_TEST

/* A board without a table: Hermes adds it when it opens the board. */
START_TEST(schema)
{
	char hermes[2048];

	(void)ok("--board", "old", "init");
	(void)snprintf(
		hermes, sizeof(hermes),
		"#!/bin/sh\n[ \"$1 $2 $3 $4\" = 'kanban --board old list' ] &&\n"
		"exec sqlite3 \"$HERMES_KANBAN_HOME/kanban/boards/old/kanban.db\" '%s'\n",
		world_sql("kanban/boards/old/kanban.db",
			  "SELECT replace(sql, '''', '''\"''\"''') FROM sqlite_master "
			  "WHERE name = 'task_runs'"));
	program("hermes", hermes);
	(void)world_sql("kanban/boards/old/kanban.db", "DROP TABLE task_runs");
	remedied("board", "old", "task_runs");
}
END_TEST

START_TEST(odd_boards)
{
	put("kanban/boards/Upper/board.json", "{}");
	remedied("folder", "Upper", "lower case");
	ck_assert_int_eq(access(world_path("kanban/boards/upper"), F_OK), 0);
	/* what a name could do to a shell */
	put("kanban/boards/A b'$(touch x)/board.json", "{}");
	ck_assert(!finds("folder", "A b'$(touch x)"));
	ck_assert_int_ne(access("/x", F_OK), 0);
	/* a folder where the database should be, and one that was moved there before */
	ck_assert_int_eq(fs_mkdir_p(world_path("kanban/boards/odd/kanban.db"), 0755), 0);
	put("kanban/boards/odd/kanban.db.away", "");
	put("kanban/boards/odd/board.json", "{}");
	remedied("board", "odd", "unreadable");
	ck_assert_int_eq(access(world_path("kanban/boards/odd/kanban.db.away.~1~"), F_OK), 0);
}
END_TEST

/* Somebody who copied a board as root left a file that its owner cannot open. */
START_TEST(unreadable)
{
	const uid_t nobody = 65534;
	char file[300];

	if (getuid() != 0) {
		cannot(DOCTOR_BOARD_UNREADABLE, "needs two users");
		cannot(DOCTOR_BOARD_UNSEEN, "needs two users");
		return;
	}
	(void)snprintf(file, sizeof(file), "%s", world_path("kanban.db"));
	ck_assert_int_eq(chown(world_root, nobody, nobody), 0);
	ck_assert_int_eq(chmod(file, 0600), 0);
	ck_assert_int_eq(chmod(world_path("kanban"), 0755), 0);
	world_user(nobody);
	remedied("board", "", "Permission denied");
	ck_assert(finds("board", "default"));
	paste();
	gone();
	world_user(0);
}
END_TEST

static void locker(void)
{
	sqlite3 *db;

	if (sqlite3_open(world_path("kanban.db"), &db) != SQLITE_OK ||
	    sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
		_exit(1);
}

/* The command waits for whoever has it, and ends him only when that was in vain. */
START_TEST(busy)
{
	world_env("HERMES_KANBAN_BUSY_TIMEOUT_MS=300");
	with_child(locker);
	ck_assert(finds("board", "default"));
	ck_assert_ptr_nonnull(strstr(last_text, "test_ctl_doctor) has it locked"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "kill -TERM"));
	paste();
	child_ended();
	gone();
	/* he ended by himself meanwhile: nobody is ended */
	with_child(locker);
	ck_assert(finds("board", "default"));
	ck_assert_int_eq(kill(child_pid(), SIGKILL), 0);
	child_ended();
	paste();
	gone();
}
END_TEST

/* More than can be told: they come when those before them are done. */
START_TEST(many)
{
	json_t *j, *check;
	size_t i, told = 0;

	for (int n = 0; n < 22; n++) {
		char slug[16], path[64];

		(void)snprintf(slug, sizeof(slug), "b%02d", n);
		(void)snprintf(path, sizeof(path), "kanban/boards/%s/kanban.db", slug);
		(void)ok("--board", slug, "init");
		damage(path);
	}
	ck_assert(finds("board", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "2 more"));
	ck_assert_ptr_nonnull(strstr(last_remedy, " boards"));
	j = doctor();
	json_array_foreach(json_object_get(j, "checks"), i, check)
	{
		if (strcmp(member(check, "finding"), "damaged") != 0)
			continue;
		told++;
		paste_text(member(check, "remedy"));
	}
	json_decref(j);
	ck_assert_uint_eq(told, 20);
	ck_assert(!finds("board", ""));
	ck_assert(finds("board", "b21"));
}
END_TEST

/* ---- notifications ------------------------------------------------------------------------
 */

static void park(const char *task, const char *reason, bool parked)
{
	json_t *value = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:b, s:I, s:I, s:s, s:s, s:I}",
		"board", "default", "task", task, "platform", "telegram", "chat", "-100",
		"thread", "", "profile", "default", "failures", 3, "since", (json_int_t)100,
		"retry_at", (json_int_t)0, "parked", parked, "cursor", (json_int_t)1, "row",
		(json_int_t)1, "reason", reason, "fold_kind", "", "fold_at", (json_int_t)0);
	struct outbox_change change = { "s1", value };
	struct outbox *outbox;
	struct error e = ERROR_NULL;

	ck_assert_ptr_nonnull(value);
	ck_assert_msg(outbox_open(&outbox, world_path("kanban/.kanband.outbox"), NULL, &e) == 0,
		      "%s", e.text);
	ck_assert_int_eq(outbox_write(outbox, &change, 1, true, &e), 0);
	outbox_free(outbox);
	json_decref(value);
}

START_TEST(parked)
{
	json_t *j;

	ck_assert(!finds("notify", "t_1"));
	park("t_1", "chat not found\033[2J", true);
	ck_assert(finds("notify", "t_1"));
	ck_assert_ptr_nonnull(strstr(last_text, "telegram:-100"));
	ck_assert_ptr_nonnull(strstr(last_text, "chat not found"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "notify retry t_1"));
	ck_assert_ptr_null(strchr(kanbanctl("doctor")->out, '\033'));
	j = parsed(1, "notify");
	ck_assert_str_eq(member(j, "source"), "files");
	ck_assert_uint_eq(json_array_size(json_object_get(j, "troubles")), 1);
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(kanbanctl("notify")->out, "parked"));
	fails(69, "no daemon", "notify", "retry");
	park("t_1; touch x", "no route", true);
	ck_assert(finds("notify", "t_1; touch x"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "retry 't_1; touch x'"));
	park("t_1", "no route", false);
	ck_assert(!finds("notify", "t_1"));
}
END_TEST

START_TEST(set_aside)
{
	put("kanban/.kanband.outbox.bad", "x");
	remedied("outbox", "", "set aside");
}
END_TEST

START_TEST(unreadable_outbox)
{
	const uid_t nobody = 65534;

	/* none at all, and no way to begin one */
	ck_assert_int_eq(fs_mkdir_p(world_path("kanban/.kanband.outbox"), 0755), 0);
	remedied("outbox", "", "outbox");
	ck_assert_int_eq(access(world_path("kanban/.kanband.outbox.away"), F_OK), 0);
	if (getuid() != 0)
		return;
	/* of another user than the root; of our own; and one that is only not ours */
	program("sudo", "#!/bin/sh\nexec \"$@\"\n");
	park("t_1", "no route", false);
	ck_assert_int_eq(chmod(world_path("kanban/.kanband.outbox"), 0600), 0);
	ck_assert_int_eq(chown(world_root, nobody, nobody), 0);
	ck_assert_int_eq(chmod(world_path("kanban"), 0755), 0);
	world_user(nobody);
	ck_assert(finds("outbox", ""));
	ck_assert_ptr_nonnull(strstr(last_remedy, "chown --reference="));
	remedied("outbox", "", "Permission denied");
	ck_assert_int_eq(chmod(world_path("kanban/.kanband.outbox"), 0), 0);
	ck_assert(finds("outbox", ""));
	ck_assert_ptr_null(strstr(last_remedy, "chown"));
	remedied("outbox", "", "Permission denied");
	ck_assert_int_eq(chown(world_path("kanban/.kanband.outbox"), 65533, 65533), 0);
	ck_assert_int_eq(chown(world_root, 65533, 65533), 0);
	ck_assert_int_eq(chmod(world_root, 0755), 0);
	ck_assert(finds("outbox", ""));
	ck_assert_ptr_nonnull(strstr(last_remedy, "sudo kanbanctl --root"));
	world_user(0);
	ck_assert(!finds("outbox", ""));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		all_well,      stopped,      stranger,   gateway_owns,
		gateway_waits, gateway_unit, unseen,     unseen_kanband,
		file_systems,  wal,          no_hermes,  bad_config,
		odd_config,    unit,         linger,     memory_root,
		network_root,  fuse_root,    clock_old,  clock_back,
		corrupt,       quarantined,  would_lose, suspect,
		lost,          schema,       odd_boards, unreadable,
		busy,          many,         parked,     unreadable_outbox,
		set_aside,
	};

	return doctor_tests("ctl", tests, sizeof(tests) / sizeof(tests[0]));
}
