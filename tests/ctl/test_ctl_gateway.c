/* Gateways: what would dispatch and why, and the files that --fix writes. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/gateway_scan.h"
#include "gateway/gateway_yaml.h"
#include "gateway/unit_file.h"
#include "kit/ctl.h"
#include "kit/suite.h"
#include "util/fs.h"
#include "util/quote.h"

static char unit_path[320];

static void setup(void)
{
	world_setup();
	(void)ok("init");
	(void)snprintf(unit_path, sizeof(unit_path), "SYSTEMD_UNIT_PATH=%s/sys", world_root);
	world_env(unit_path);
	ck_assert_int_eq(fs_mkdir_p(world_path("sys"), 0755), 0);
	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/ann"), 0755), 0);
}

static void put(const char *name, const char *text)
{
	world_put(name, text, strlen(text));
}

/* A unit that starts the gateway of the folder @home with further lines. */
static void unit(const char *name, const char *home, const char *lines)
{
	char text[2048];

	(void)snprintf(text, sizeof(text),
		       "[Unit]\n; a comment\n[Service]\nEnvironment=HERMES_HOME=%s%s\n%s"
		       "ExecStart=/usr/bin/python3 -m hermes_cli.main gateway run --replace\n",
		       world_root, home, lines);
	put(name, text);
}

/* The gateway of @profile as `gateways --json` has it; borrowed until the next call. */
static json_t *gate(const char *profile)
{
	static json_t *all;
	const struct ctl_result *r = kanbanctl("gateways", "--json");
	json_t *one;
	size_t i;

	json_decref(all);
	all = json_loads(r->out, 0, NULL);
	ck_assert_msg(all != NULL, "exit %d: %s", r->exit, r->err);
	ck_assert_int_eq(r->exit, json_is_true(json_object_get(all, "well")) ? 0 : 1);
	json_array_foreach(json_object_get(all, "gateways"), i, one)
	{
		if (strcmp(json_string_value(json_object_get(one, "profile")), profile) == 0)
			return one;
	}
	ck_abort_msg("no gateway of %s", profile);
}

static bool on(const char *profile)
{
	return json_is_true(json_object_get(gate(profile), "dispatches"));
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	return text ? text : "";
}

static void shell(const char *command)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "%d from: %s", status, command);
}

/* ---- config.yaml --------------------------------------------------------------------- */

START_TEST(yaml_words)
{
	static const struct {
		const char *text;
		enum gateway_word word;
		bool by_hand; /* no one-line command is safe */
	} t[] = {
		{ "", GATEWAY_UNSET, false },
		{ "# nothing\n", GATEWAY_UNSET, false },
		{ "model: x\n", GATEWAY_UNSET, false },
		{ "model: x", GATEWAY_UNSET, false },
		{ "kanban:\n", GATEWAY_UNSET, false },
		{ "kanban: null\nother: 1\n", GATEWAY_UNSET, false },
		{ "kanban: {}\n", GATEWAY_UNSET, false },
		{ "kanban: { failure_limit: 3 }\n", GATEWAY_UNSET, false },
		{ "kanban:\n  failure_limit: 3\nb: 1\n", GATEWAY_UNSET, false },
		{ "a: 1\nkanban:\n\n    # why\n    failure_limit: 3\n", GATEWAY_UNSET, false },
		{ "kanban:\n  dispatch_in_gateway: true\n", GATEWAY_ON, false },
		{ "kanban:\n  x: {dispatch_in_gateway: false}\n  dispatch_in_gateway: yes # "
		  "y\n",
		  GATEWAY_ON, false },
		{ "kanban: {dispatch_in_gateway: on, failure_limit: 3}\n", GATEWAY_ON, false },
		{ "kanban:\n  dispatch_in_gateway: \"false\"\n", GATEWAY_ON, false },
		{ "kanban:\n  dispatch_in_gateway: False\n", GATEWAY_OFF, false },
		{ "kanban:\n  dispatch_in_gateway: no\n", GATEWAY_OFF, false },
		{ "kanban:\n  dispatch_in_gateway: off\n", GATEWAY_OFF, false },
		{ "kanban:\n  dispatch_in_gateway: 0\n", GATEWAY_OFF, false },
		{ "kanban:\n  dispatch_in_gateway:\n", GATEWAY_OFF, false },
		{ "kanban:\n  dispatch_in_gateway: false\nkanban:\n  a: 1\n", GATEWAY_UNSET,
		  false },
		{ "kanban:\n  dispatch_in_gateway: false\n  dispatch_in_gateway: true\n",
		  GATEWAY_ON, false },
		{ "---\nkanban:\n  a: 1\n", GATEWAY_UNSET, false },
		{ "a: 1\n...\n", GATEWAY_UNSET, true },
		{ "{a: 1}\n", GATEWAY_UNSET, true },
		{ "kanban:\n  dispatch_in_gateway: &x true\n", GATEWAY_ON, false },
		{ "kanban:\n  \"dispatch_in_gateway\": true\n", GATEWAY_ON, true },
		{ "kanban:\n  dispatch_in_gateway:\n    true\n", GATEWAY_ON, true },
		{ "kanban:\n  dispatch_in_gateway: [no]\n", GATEWAY_ON, true },
		{ "a: &k {x: 1}\nkanban: *k\n", GATEWAY_UNSET, true },
		{ "kanban: [1]\n", GATEWAY_UNSET, true },
		{ "kanban:\n  - {\n", GATEWAY_BROKEN, true },
		{ "\tkanban: 1\n", GATEWAY_BROKEN, true },
		{ "- a\n- b\n", GATEWAY_BROKEN, true },
		{ "a: 1\n---\nb: 2\n", GATEWAY_BROKEN, true },
		{ "\xFF\xFE\xFF", GATEWAY_BROKEN, true },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		CLEANUP(freep) char *after = NULL;
		CLEANUP(freep) char *fix = NULL;
		struct gateway_yaml y;

		put("config.yaml", t[i].text);
		ck_assert_int_eq(gateway_yaml_read(world_root, &y), 0);
		ck_assert_msg(y.word == t[i].word, "case %zu: %d: %s", i, y.word, t[i].text);
		ck_assert_msg((y.word == GATEWAY_BROKEN) == (y.why != NULL), "case %zu", i);
		fix = gateway_yaml_fix(&y);
		gateway_yaml_deinit(&y);
		ck_assert_ptr_nonnull(fix);
		ck_assert_msg((strstr(fix, "EDITOR") != NULL) == t[i].by_hand, "case %zu: %s",
			      i, fix);
		if (t[i].by_hand || t[i].word == GATEWAY_OFF)
			continue;
		shell(fix);
		ck_assert_int_eq(gateway_yaml_read(world_root, &y), 0);
		ck_assert_int_eq(fs_read_file(world_path("config.yaml"), 65536, &after, NULL),
				 0);
		ck_assert_msg(y.word == GATEWAY_OFF, "case %zu: %s\nbecame\n%s", i, t[i].text,
			      after);
		gateway_yaml_deinit(&y);
	}
}
END_TEST

/* Other keys, and files that are none. */
START_TEST(yaml_files)
{
	struct gateway_yaml y;

	put("config.yaml", "kanban:\n  failure_limit: 7\n  max_spawn: 3\nmodel: x\n");
	ck_assert_int_eq(gateway_yaml_read(world_root, &y), 0);
	{
		CLEANUP(freep) char *fix = gateway_yaml_fix(&y);
		CLEANUP(freep) char *text = NULL;

		shell(fix);
		ck_assert_int_eq(fs_read_file(y.path, 65536, &text, NULL), 0);
		ck_assert_str_eq(text,
				 "kanban:\n  dispatch_in_gateway: false\n  failure_limit: "
				 "7\n  max_spawn: 3\nmodel: x\n");
	}
	gateway_yaml_deinit(&y);
	ck_assert_int_eq(unlink(world_path("config.yaml")), 0);
	ck_assert_int_eq(mkfifo(world_path("config.yaml"), 0644), 0); /* never waited for */
	ck_assert_int_eq(gateway_yaml_read(world_root, &y), 0);
	ck_assert_int_eq(y.word, GATEWAY_BROKEN);
	gateway_yaml_deinit(&y);
	ck_assert_int_eq(gateway_yaml_read("/nonexistent", &y), 0);
	ck_assert_int_eq(y.word, GATEWAY_UNSET);
	gateway_yaml_deinit(&y);
}
END_TEST

/* ---- units --------------------------------------------------------------------------- */

START_TEST(unit_syntax)
{
	struct unit_path path;
	struct unit u;
	char setting[320];
	char *env[] = { setting, NULL };

	(void)snprintf(setting, sizeof(setting), "%s", unit_path);
	put("sys/e.env", "# c\nF1=one two\nF2=\"quoted # v\"\nexport F3='x'\nD=file\n");
	(void)snprintf(setting, sizeof(setting), "%s", unit_path);
	{
		char text[1024];

		(void)snprintf(
			text, sizeof(text),
			"[Service]\nEnvironment=GONE=1\nEnvironment=\n"
			"Environment=A=1 \"B=two words\" 'C=it\\'s' \\\n# in between\n D=4 "
			"E=%%n P=100%%%%\nEnvironmentFile=-/nonexistent\n"
			"EnvironmentFile=%s/sys/e.env\nUnsetEnvironment=A\n"
			"WatchdogSec=1min 30s\n[Install]\nWantedBy=x.target\n",
			world_root);
		put("sys/t.service", text);
	}
	put("sys/t.service.d/10.conf", "[Service]\nEnvironment=\"B=of the drop-in\"\n");
	put("sys/service.d/10.conf", "[Service]\nEnvironment=B=weaker\n");
	put("sys/service.d/90.conf", "[Service]\nEnvironment=G=all\n");
	put("sys/a.target.wants/t.service", "");
	ck_assert_int_eq(unit_path_system(&path, env), 0);
	ck_assert_int_eq(unit_load(&path, "t.service", &u), 0);
	ck_assert(u.enabled);
	ck_assert_ptr_null(unit_env(&u, "GONE"));
	ck_assert_ptr_null(unit_env(&u, "A"));
	ck_assert_str_eq(unit_env(&u, "B"), "of the drop-in");
	ck_assert_str_eq(unit_env(&u, "C"), "it's");
	ck_assert_str_eq(unit_env(&u, "D"), "file");
	ck_assert_str_eq(unit_env(&u, "E"), "t.service");
	ck_assert_str_eq(unit_env(&u, "P"), "100%");
	ck_assert_str_eq(unit_env(&u, "F1"), "one");
	ck_assert_str_eq(unit_env(&u, "F2"), "quoted # v");
	ck_assert_str_eq(unit_env(&u, "F3"), "x");
	ck_assert_str_eq(unit_env(&u, "G"), "all");
	ck_assert_str_eq(unit_value(&u, "Service.WatchdogSec"), "1min 30s");
	unit_deinit(&u);
	ck_assert_int_eq(unit_load(&path, "no.service", &u), -ENOENT);
	ck_assert_int_eq(unit_load(&path, "../x.service", &u), -EINVAL);
	ck_assert_int_eq(unit_load(&path, "a b.service", &u), -EINVAL);
	ck_assert_int_eq(unit_load(&path, ".service", &u), -EINVAL);
	unit_path_deinit(&path);
}
END_TEST

START_TEST(quoting)
{
	CLEANUP(freep) char *a = quote_command("rm %q %q %d%%", "plain/x-1", "a b'c$(x)`y`", 7);
	CLEANUP(freep) char *b = quote_command("%q", "");

	ck_assert_str_eq(a, "rm plain/x-1 'a b'\\''c$(x)`y`' 7%");
	ck_assert_str_eq(b, "''");
}
END_TEST

/* ---- who dispatches ------------------------------------------------------------------ */

START_TEST(decided_by)
{
	ck_assert(!on("default")); /* none was ever started */
	ck_assert(json_is_false(json_object_get(gate("default"), "known")));
	put("gateway.lock", "");
	ck_assert(on("default"));
	put("config.yaml", "kanban:\n  dispatch_in_gateway: false\n");
	ck_assert(!on("default"));
	ck_assert_ptr_nonnull(strstr(text_of(gate("default"), "why"), "config.yaml"));
	put("config.yaml", "kanban: [\n");
	ck_assert(on("default"));
	ck_assert_ptr_nonnull(strstr(text_of(gate("default"), "why"), "cannot be read"));
	put(".env", "SECRET=hunter2\nHERMES_KANBAN_DISPATCH_IN_GATEWAY=off\n");
	ck_assert(!on("default"));
	ck_assert_ptr_nonnull(strstr(text_of(gate("default"), "why"), ".env"));
	ck_assert_ptr_null(strstr(kanbanctl("gateways")->out, "hunter2"));
	/* what .env turns on again, the unit cannot turn off */
	put("config.yaml", "");
	put(".env", "HERMES_KANBAN_DISPATCH_IN_GATEWAY=1\n");
	unit("sys/hermes-gateway-1.service", "",
	     "Environment=HERMES_KANBAN_DISPATCH_IN_GATEWAY=0\n");
	ck_assert(on("default"));
	{
		CLEANUP(freep) char *fix = strdup(text_of(gate("default"), "fix"));

		ck_assert_ptr_nonnull(strstr(fix, ".env"));
		fix[strcspn(fix, "&")] = '\0'; /* without daemon-reload */
		shell(fix);
	}
	ck_assert(!on("default"));
	ck_assert(!on("ann"));
}
END_TEST

START_TEST(whose_unit)
{
	unit("sys/hermes-gateway-77.service", "/profiles/ann", "");
	ck_assert(on("ann"));
	ck_assert(!on("default"));
	ck_assert_int_eq(unlink(world_path("sys/hermes-gateway-77.service")), 0);
	/* by the command */
	{
		char text[1024];

		(void)snprintf(
			text, sizeof(text),
			"[Service]\nEnvironment=HERMES_HOME=%s\nExecStart=hermes --profile "
			"Ann gateway run\n",
			world_root);
		put("sys/hermes-gateway-x.service", text);
	}
	ck_assert(on("ann"));
	ck_assert(!on("default"));
	ck_assert_int_eq(unlink(world_path("sys/hermes-gateway-x.service")), 0);
	/* of another root */
	put("sys/hermes-gateway-o.service",
	    "[Service]\nEnvironment=HERMES_HOME=/srv/other\nExecStart=hermes gateway run\n");
	ck_assert(!on("default"));
	/* a name that tells nothing, and one that is none */
	put("sys/hermes-gateway-$(x).service", "[Service]\n");
	put("sys/hermes-gateway-l.service", "");
	ck_assert(!on("default"));
	/* of a person: found in the home folder */
	unit(".config/systemd/user/hermes-gateway.service", "", "");
	ck_assert(on("default"));
	ck_assert_str_eq(
		text_of(json_array_get(json_object_get(gate("default"), "units"), 0), "scope"),
		"user");
}
END_TEST

/* ---- --fix --------------------------------------------------------------------------- */

#define DROPIN "sys/hermes-gateway-1.service.d/kanband.conf"

START_TEST(fix)
{
	CLEANUP(freep) char *written = NULL;
	CLEANUP(freep) char *shipped = NULL;
	unsigned long long before;
	const struct ctl_result *r;

	unit("sys/hermes-gateway-1.service", "", "");
	before = world_sum();
	fails(64, "--yes", "gateways", "--yes");
	for (int i = 0; i < 2; i++) {
		r = i ? kanbanctl("gateways", "--fix", "--yes", "--dry-run")
		      : kanbanctl("gateways", "--fix");
		ck_assert_int_eq(r->exit, 1);
		ck_assert_ptr_nonnull(strstr(r->out, "would write"));
		ck_assert_ptr_nonnull(strstr(r->out, DROPIN));
		ck_assert_ptr_nonnull(
			strstr(r->out, "Environment=HERMES_KANBAN_DISPATCH_IN_GATEWAY=0\n"));
		ck_assert_ptr_nonnull(strstr(r->out, "Nothing was written"));
	}
	ck_assert(world_sum() == before);
	r = kanbanctl("gateways", "--fix", "--yes");
	ck_assert_int_eq(r->exit, 0);
	ck_assert_ptr_nonnull(strstr(r->out, "wrote"));
	ck_assert_ptr_nonnull(strstr(
		r->out, "systemctl daemon-reload && systemctl restart hermes-gateway-1"));
	ck_assert_int_eq(fs_read_file(world_path(DROPIN), 65536, &written, NULL), 0);
	if (fs_read_file("systemd/hermes-gateway.service.d/kanband.conf", 65536, &shipped,
			 NULL) == 0)
		ck_assert_str_eq(written, shipped); /* where the source is at hand */
	ck_assert(!on("default"));
	/* again: nothing to do */
	before = world_sum();
	ck_assert_int_eq(kanbanctl("gateways", "--fix", "--yes")->exit, 0);
	ck_assert(world_sum() == before);
}
END_TEST

START_TEST(fix_differs)
{
	CLEANUP(freep) char *old = NULL;
	const struct ctl_result *r;

	unit("sys/hermes-gateway-1.service", "", "");
	put(DROPIN, "[Service]\nEnvironment=MINE=1\n");
	r = kanbanctl("gateways", "--fix");
	ck_assert_ptr_nonnull(strstr(r->out, "differs from what is there"));
	r = kanbanctl("gateways", "--fix", "--yes");
	ck_assert_int_eq(r->exit, 0);
	ck_assert_ptr_nonnull(strstr(r->out, "kept as kanband.conf.old"));
	ck_assert_int_eq(fs_read_file(world_path(DROPIN ".old"), 65536, &old, NULL), 0);
	ck_assert_str_eq(old, "[Service]\nEnvironment=MINE=1\n");
	/* something stronger in the unit: said, and not well */
	put("sys/hermes-gateway-1.service.d/zz.conf",
	    "[Service]\nEnvironment=HERMES_KANBAN_DISPATCH_IN_GATEWAY=yes\n");
	r = kanbanctl("gateways", "--fix", "--yes");
	ck_assert_int_eq(r->exit, 1);
	ck_assert_ptr_nonnull(strstr(r->out, "something else in the unit is stronger"));
}
END_TEST

/* Nobody owns yet: the kanband of the gateway's account is wanted if it is enabled. */
START_TEST(fix_wants)
{
	unit("sys/hermes-gateway-1.service", "", "User=alice\n");
	put("sys/kanband@.service", "[Service]\nExecStart=/bin/true\n");
	ck_assert_ptr_nonnull(
		strstr(kanbanctl("gateways", "--fix")->out, "Wants=kanband.service\n"));
	put("sys/multi-user.target.wants/kanband@bob.service", "");
	ck_assert_ptr_nonnull(
		strstr(kanbanctl("gateways", "--fix")->out, "Wants=kanband.service\n"));
	ck_assert_int_eq(
		symlink("../kanband@.service",
			world_path("sys/multi-user.target.wants/kanband@alice.service")),
		0);
	ck_assert_ptr_nonnull(
		strstr(kanbanctl("gateways", "--fix")->out,
		       "Wants=kanband@alice.service\nAfter=kanband@alice.service\n"));
}
END_TEST

/* Root does not write where another account could lead it elsewhere. */
START_TEST(fix_foreign)
{
	if (getuid() != 0)
		return;
	unit(".config/systemd/user/hermes-gateway-1.service", "", "");
	ck_assert_int_eq(chown(world_root, 1, 1), 0);
	/* HOME is that of root here, so the unit is root's own and is written */
	ck_assert_int_eq(kanbanctl("gateways", "--fix", "--yes")->exit, 0);
}
END_TEST

/* Of a gateway of another account in the host's units: root's part writes it, as that account
 * asks for it, and for no other account's unit. */
START_TEST(fix_for_another)
{
	struct stat st;

	if (getuid() != 0)
		return;
	unit("sys/hermes-gateway-1.service", "", "User=nobody\n");
	ck_assert_int_eq(chmod(world_path("sys"), 0755), 0);
	ck_assert_int_eq(chown(world_root, 65534, 65534), 0);
	ck_assert_int_eq(kanbanctl("gateways", "--fix", "--yes")->exit, 0);
	ck_assert_int_eq(stat(world_path(DROPIN), &st), 0);
	ck_assert_uint_eq(st.st_uid, 0);
	ck_assert_int_eq(kanbanctl("gateways", "--undo", "--yes")->exit, 0);
	ck_assert_int_ne(access(world_path(DROPIN), F_OK), 0);
	unit("sys/hermes-gateway-1.service", "", "User=daemon\n");
	ck_assert_int_eq(kanbanctl("gateways", "--fix", "--yes")->exit, 77);
	ck_assert_int_ne(access(world_path(DROPIN), F_OK), 0);
}
END_TEST

/* What --fix wrote is taken away; what was there before is there again; others' files stay. */
START_TEST(undone)
{
	CLEANUP(freep) char *old = NULL;

	unit("sys/hermes-gateway-1.service", "", "");
	ck_assert_ptr_nonnull(strstr(ok("gateways", "--undo"), "no unit of a gateway has"));
	put(DROPIN, "[Service]\nEnvironment=MINE=1\n");
	(void)ok("gateways", "--fix", "--yes");
	ck_assert_ptr_nonnull(strstr(ok("gateways", "--undo"), "would remove"));
	ck_assert(!on("default"));
	ck_assert_ptr_nonnull(
		strstr(ok("gateways", "--undo", "--yes"),
		       "systemctl daemon-reload && systemctl restart hermes-gateway-1"));
	ck_assert_int_eq(fs_read_file(world_path(DROPIN), 65536, &old, NULL), 0);
	ck_assert_str_eq(old, "[Service]\nEnvironment=MINE=1\n");
	ck_assert(on("default"));
	/* that one is not ours */
	ck_assert_ptr_nonnull(
		strstr(ok("gateways", "--undo", "--yes"), "has a drop-in of ours"));
	fails(64, "opposites", "gateways", "--fix", "--undo");
}
END_TEST

/* A manager knows only its own units. */
START_TEST(fix_across_managers)
{
	const char *out;

	put("sys/kanband.service", "[Service]\nExecStart=/bin/true\n");
	unit(".config/systemd/user/hermes-gateway-1.service", "", "");
	out = kanbanctl("gateways", "--fix")->out;
	ck_assert_ptr_nonnull(strstr(out, "DISPATCH_IN_GATEWAY=0"));
	ck_assert_ptr_null(strstr(out, "Wants="));
	put(".config/systemd/user/kanband.service", "[Service]\nExecStart=/bin/true\n");
	ck_assert_ptr_nonnull(
		strstr(kanbanctl("gateways", "--fix")->out, "Wants=kanband.service"));
}
END_TEST

START_TEST(fix_refused)
{
	const struct ctl_result *r;

	unit("sys/hermes-gateway-1.service", "", "");
	put("sys/hermes-gateway-1.service.d", "a file where the folder should be");
	r = kanbanctl("gateways", "--fix", "--yes");
	ck_assert_int_eq(r->exit, 74);
	ck_assert_ptr_nonnull(strstr(r->err, "cannot write"));
	ck_assert(on("default"));
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = {
		yaml_words,      yaml_files, unit_syntax,         quoting,     decided_by,
		whose_unit,      fix,        fix_differs,         fix_wants,   fix_foreign,
		fix_for_another, undone,     fix_across_managers, fix_refused,
	};

	return SUITE_EACH("ctl_gateway", 120, setup, world_teardown, tests);
}
