/* doctor among planted faults: each is found, and the command that it prints removes it. */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* Does a check of that name say so, whether it is well or not? */
static bool says(const char *name, const char *text)
{
	json_t *j = doctor(), *check;
	bool said = false;
	size_t i;

	json_array_foreach(json_object_get(j, "checks"), i, check) said |=
		strcmp(member(check, "check"), name) == 0 &&
		strstr(member(check, "text"), text) != NULL;
	json_decref(j);
	return said;
}

/* ---- nothing planted ----------------------------------------------------------------- */

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
	(void)snprintf(conf, sizeof(conf),
		       "[worker]\nlauncher = slurm\nhermes = %s/bin/hermes\n", world_root);
	world_put("k.conf", conf, strlen(conf));
	use_config("k.conf");
	plant("units/kanband.service", "[Service]\nWatchdogSec=30\n");
	plant("units/multi-user.target.wants/kanband.service", "");
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
		if (strcmp(member(check, "check"), "launcher") == 0)
			ck_assert_str_eq(member(check, "text"), "slurm, as configured");
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

/* ---- the lease ----------------------------------------------------------------------- */

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

/* What a Hermes does beside a kanband is told where there is one. */
START_TEST(beside_hermes)
{
	ck_assert(!says("gateway", "plugin hooks"));
	owner();
	ck_assert(!says("gateway", "plugin hooks")); /* no gateway was ever here */
	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/ann"), 0755), 0);
	plant("profiles/ann/gateway.lock", "");
	ck_assert(says("gateway", "gives up dispatching until it is restarted; a later release "
				  "may wait for the lease"));
	ck_assert(says("gateway", "plugin hooks of the dispatcher (kanban_task_claimed) do not "
				  "fire: [hook NAME]"));
	ck_assert(says("gateway", "hermes kanban create warns"));
}
END_TEST

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

/* ---- a holder outside of the pid namespace ------------------------------------------- */

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

/* ---- the host ------------------------------------------------------------------------ */

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
	ck_assert(says("sqlite", "database.journal_mode: delete"));
	(void)world_sql("kanban/boards/x/kanban.db", "PRAGMA journal_mode=WAL");
	ck_assert(says("sqlite", "database.journal_mode: delete"));
	remedied("sqlite", "x", "WAL-reset bug");
}
END_TEST

START_TEST(no_hermes)
{
	world_env("PATH=/nonexistent");
	plant("k.conf", "");
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

		plant("a 'k'.conf", t[i].before);
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
	plant("k.conf", "");
	plant("profiles/ann/config.yaml", "");
	use_config("k.conf");
	plant("config.yaml", "kanban:\n  failure_limit: many\n  max_spawn: 3\n");
	remedied("config", "", "failure_limit");
	plant("config.yaml", "kanban:\n  dispatch_profiles:\n    - ann\n    - ../bob\n");
	remedied("config", "", "dispatch_profiles");
	plant("config.yaml", "kanban: {failure_limit: many, max_spawn: 3}\n");
	ck_assert(finds("config", ""));
	ck_assert_ptr_nonnull(strstr(last_remedy, "${EDITOR:-vi} +1 "));
	plant("config.yaml", "kanban:\n\t- x: [\n");
	ck_assert(finds("config", ""));
	ck_assert_msg(strstr(last_remedy, "${EDITOR:-vi} +") != NULL, "%s: %s", last_text,
		      last_remedy);
	ck_assert_int_eq(unlink(world_path("config.yaml")), 0);
	ck_assert(!finds("config", ""));
	/* limits of nobody */
	plant("config.yaml", "kanban:\n  max_in_progress_per_profile: {anm: 1, default: 2}\n");
	ck_assert(finds("config", ""));
	ck_assert_str_eq(last_text, "max_in_progress_per_profile names the profile anm, and no "
				    "root has one of that name; did you mean ann?");
	plant("config.yaml", "kanban:\n  max_in_progress_per_profile: {ann: 1}\n");
	ck_assert(!finds("config", ""));
	plant("k.conf", "[pool paid]\nlimit = 2\nprofiles = ann zoe\n");
	ck_assert(finds("config", ""));
	ck_assert_str_eq(last_text, "[pool paid] names the profile zoe, and no root has one of "
				    "that name");
	ck_assert_ptr_nonnull(strstr(last_remedy, "kanband --check-config --config"));
	plant("k.conf", "");
	ck_assert_int_eq(unlink(world_path("config.yaml")), 0);
	world_env("HERMES_KANBAN_CLAIM_TTL_SECONDS=lots");
	ck_assert(finds("config", ""));
	ck_assert_str_eq(last_remedy, "unset HERMES_KANBAN_CLAIM_TTL_SECONDS");
}
END_TEST

/* "units/kanband@NAME.service" of whoever runs this */
static const char *own_instance(void)
{
	static char path[300];
	const struct passwd *pw = getpwuid(geteuid());

	ck_assert_ptr_nonnull(pw);
	(void)snprintf(path, sizeof(path), "units/kanband@%.200s.service", pw->pw_name);
	return path;
}

START_TEST(unit)
{
	plant("units/kanband.service", "[Service]\nExecStart=kanband\n");
	remedied("unit", "kanband.service", "not enabled");
	remedied("watchdog", "kanband.service", "there is none");
	ck_assert_int_eq(access(world_path("units/kanband.service.d/watchdog.conf"), F_OK), 0);
	plant("units/kanband.service.d/zz.conf", "[Service]\nWatchdogSec=0\n");
	ck_assert(finds("watchdog", "kanband.service"));
	/* that of another account's root says nothing of this one; its own does */
	plant("units/kanband.service.d/zz.conf", "[Service]\nUser=somebody-else\n");
	ck_assert(!finds("watchdog", "kanband.service"));
	ck_assert(!finds("unit", "kanband.service"));
	plant(own_instance(), "[Service]\nUser=%i\nExecStart=kanband\n");
	ck_assert(finds("unit", strchr(own_instance(), '/') + 1));
	ck_assert_ptr_nonnull(strstr(last_remedy, "enable"));
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
	plant(".config/systemd/user/kanband.service", "[Service]\nWatchdogSec=30\n");
	plant(".config/systemd/user/default.target.wants/kanband.service", "");
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
	plant("1970", "");
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

Suite *test_suite(void)
{
	const TTest *const tests[] = { all_well,     stopped,       stranger,
				       gateway_owns, gateway_waits, beside_hermes,
				       gateway_unit, unseen,        unseen_kanband,
				       file_systems, wal,           no_hermes,
				       bad_config,   odd_config,    unit,
				       linger,       memory_root,   network_root,
				       fuse_root,    clock_old,     clock_back };

	return doctor_suite("ctl", tests, sizeof(tests) / sizeof(tests[0]));
}
