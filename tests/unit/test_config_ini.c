/* kanband.conf: what is taken, what is refused and with which sentence, drop-ins, words. */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/config.h"
#include "kit/suite.h"
#include "launch/launch.h"
#include "util/fs.h"
#include "util/quote.h"
#include "util/strv.h"

/* ---- right files ---- */

/* A line under a section, and how --check-config says the value. */
static const struct {
	const char *section, *line, *option, *text;
} good[] = {
	{ "kanband", "max_spawn = 3", "max_spawn", "3" },
	{ "kanband", "max_spawn=3", "max_spawn", "3" },
	{ "kanband", "max_spawn: 3", "max_spawn", "3" },
	{ "kanband", "  max_spawn = 3  ; three", "max_spawn", "3" },
	{ "kanband", "max_spawn = 0", "max_spawn", "0" },
	{ "kanband", "max_spawn = NONE", "max_spawn", "none" },
	{ "kanband", "max_in_progress = auto", "max_in_progress", "auto" },
	{ "kanband", "claim_ttl = 90", "claim_ttl", "90s" },
	{ "kanband", "claim_ttl = 90s", "claim_ttl", "90s" },
	{ "kanband", "claim_ttl = 90 s", "claim_ttl", "90s" },
	{ "kanband", "claim_ttl = 90min", "claim_ttl", "90min" },
	{ "kanband", "claim_ttl = 120MIN", "claim_ttl", "2h" },
	{ "kanband", "claim_ttl = 2h", "claim_ttl", "2h" },
	{ "kanband", "claim_ttl = 48h", "claim_ttl", "2d" },
	{ "kanband", "claim_ttl = 366d", "claim_ttl", "366d" },
	{ "kanband", "crash_grace = 0", "crash_grace", "0s" },
	{ "kanband", "busy_timeout = 3", "busy_timeout", "3s" },
	{ "kanband", "busy_timeout = 1500ms", "busy_timeout", "1500ms" },
	{ "kanband", "busy_timeout = 0", "busy_timeout", "0s" },
	{ "kanband", "dispatch_stale_timeout_seconds = off", "dispatch_stale_timeout_seconds",
	  "off" },
	{ "kanband", "dispatch_stale_timeout_seconds = 0", "dispatch_stale_timeout_seconds",
	  "0s" },
	{ "kanband", "review_dispatch = YES", "review_dispatch", "yes" },
	{ "kanband", "review_dispatch = true", "review_dispatch", "yes" },
	{ "kanband", "review_dispatch = on", "review_dispatch", "yes" },
	{ "kanband", "review_dispatch = 1", "review_dispatch", "yes" },
	{ "kanband", "auto_decompose = no", "auto_decompose", "no" },
	{ "kanband", "auto_decompose = False", "auto_decompose", "no" },
	{ "kanband", "auto_decompose = off", "auto_decompose", "no" },
	{ "kanband", "auto_decompose = 0", "auto_decompose", "no" },
	{ "kanband", "default_assignee =  Coder ", "default_assignee", "coder" },
	{ "kanband", "default_assignee =", "default_assignee", "" },
	{ "kanband", "dispatch_profiles = a, B c,,d", "dispatch_profiles", "a b c d" },
	{ "kanband", "dispatch_profiles = a\n  b ; and\n\tc", "dispatch_profiles", "a b c" },
	{ "kanband", "dispatch_profiles =", "dispatch_profiles", "" },
	{ "kanband", "dispatch_profiles = *", "dispatch_profiles", "*" },
	{ "kanband", "log_level = Debug", "log_level", "debug" },
	{ "kanband", "socket = /run//k/./s/", "socket", "/run/k/s" },
	{ "worker", "worker_log_rotate_bytes = 1024", "worker_log_rotate_bytes", "1K" },
	{ "worker", "worker_log_rotate_bytes = 3k", "worker_log_rotate_bytes", "3K" },
	{ "worker", "worker_log_rotate_bytes = 1G", "worker_log_rotate_bytes", "1G" },
	{ "worker", "worker_log_rotate_bytes = 1025", "worker_log_rotate_bytes", "1025" },
	{ "worker", "worker_log_rotate_bytes = 0", "worker_log_rotate_bytes", "0" },
	{ "worker", "hermes = /opt/h/bin/hermes", "hermes", "/opt/h/bin/hermes" },
	{ "worker", "hermes = h2", "hermes", "h2" },
	{ "worker", "launcher = fork", "launcher", "fork" },
	{ "worker", "launcher = systemd", "launcher", "systemd" },
	{ "worker", "memory_max = 2G", "memory_max", "2G" },
	{ "board x", "tasks_max = 500", "tasks_max", "500" },
	{ "worker", "oom_score_adjust = -5", "oom_score_adjust", "-5" },
	{ "worker", "slice = kanban-x.slice", "slice", "kanban-x.slice" },
	{ "worker", "protect = strict", "protect", "strict" },
	{ "worker", "launcher = command\ncommand = nice -n 5", "command", "nice -n 5" },
	{ "worker", "launcher = command\ncommand = srun 'a b'\n # no\n  --x \"c\\\"d\" ; no",
	  "command", "srun 'a b' --x 'c\"d'" },
	{ "board x", "paused = yes", "paused", "yes" },
	{ "board x", "terminate_grace = 1500ms", "terminate_grace", "1500ms" },
};

START_TEST(takes)
{
	CLEANUP(freep)
	char *text = fs_path("# c\n; c\n\n[%s] ; c\n%s\n", good[_i].section, good[_i].line);
	CLEANUP(freep) char *said = NULL;
	const struct config_option *option = config_option_find(good[_i].option);

	put("k.conf", text);
	load_ok();
	ck_assert_uint_eq(warning_count(), 0);
	said = config_value_text(option, value_of(good[_i].option, "x"));
	ck_assert_str_eq(said, good[_i].text);
}
END_TEST

/* What is said can be read again, and means the same. */
START_TEST(round_trip)
{
	const struct config_option *option = config_option_find(good[_i].option);
	const struct config_syntax syntax = { dir, false, false };
	struct config_value a = { 0 };
	CLEANUP(freep) char *again = NULL;

	ck_assert_int_eq(config_value_parse(option, &syntax, good[_i].text, &a, &why), 0);
	again = config_value_text(option, &a);
	ck_assert_str_eq(again, good[_i].text);
	config_value_clear(&a);
}
END_TEST

/* ---- wrong files ---- */

/* % is the folder of the case. */
static const struct {
	const char *text, *sentence;
} bad[] = {
	/* sections */
	{ "[workers]\n", "%/k.conf:1: unknown section [workers]; did you mean [worker]?" },
	{ "\n[bord x]\n", "%/k.conf:2: unknown section [bord x]; did you mean [board SLUG]?" },
	{ "[mail]\n", "%/k.conf:1: unknown section [mail]; there are [kanband], [worker], "
		      "[notify], [health], "
		      "[root PATH], "
		      "[board SLUG], [profile NAME], [pool NAME], [hook NAME]" },
	{ "[]\n", "%/k.conf:1: unknown section []; there are [kanband], [worker], [notify], "
		  "[health], [root PATH], "
		  "[board SLUG], [profile NAME], [pool NAME], [hook NAME]" },
	{ "[kanband\n", "%/k.conf:1: a section header has to end in ]" },
	{ "[kanband] x\n", "%/k.conf:1: a section header has to end in ]" },
	{ "[kanband ; ]\n", "%/k.conf:1: a section header has to end in ]" },
	{ "[root x/y]\n", "%/k.conf:1: [root PATH]: \"x/y\" is not an absolute path" },
	{ "[root]\n", "%/k.conf:1: [root PATH]: \"\" is not an absolute path" },
	{ "[root ~bob/x]\n",
	  "%/k.conf:1: [root PATH]: \"~bob/x\": only ~ and ~/... stand for a home folder" },
	{ "[board A/b]\n",
	  "%/k.conf:1: [board SLUG]: \"A/b\" is no board's slug (a to z, 0 to 9, _ and -; at "
	  "most 64, the first a letter or digit)" },
	{ "[board]\n", "%/k.conf:1: [board SLUG]: \"\" is no board's slug (a to z, 0 to 9, _ "
		       "and -; at most 64, the first a letter or digit)" },
	/* keys */
	{ "[kanband]\nmax_spwan = 3\n",
	  "%/k.conf:2: max_spwan: unknown key in [kanband]; did you mean max_spawn?" },
	{ "[kanband]\ndispatch_interval = 3\n",
	  "%/k.conf:2: dispatch_interval: unknown key in [kanband]; did you mean "
	  "dispatch_interval_seconds?" },
	{ "[worker]\nclaim_ttl_seconds = 3\n",
	  "%/k.conf:2: claim_ttl_seconds: unknown key in [worker]; did you mean claim_ttl?" },
	{ "[kanband]\ncolour = red\n",
	  "%/k.conf:2: colour: unknown key in [kanband]; see kanband.conf(5)" },
	{ "[kanband]\nMax_Spawn = 1\n",
	  "%/k.conf:2: Max_Spawn: unknown key in [kanband]; did you mean max_spawn?" },
	{ "[kanband]\nnotify_timeout = 30\n",
	  "%/k.conf:2: notify_timeout: has no effect in [kanband]; it belongs in [notify] or "
	  "[root PATH]" },
	{ "[kanband]\npaused = yes\n",
	  "%/k.conf:2: paused: has no effect in [kanband]; it belongs in [board SLUG]" },
	{ "[profile x]\nmax_spawn = 1\n",
	  "%/k.conf:2: max_spawn: has no effect in [profile x]; it belongs in [kanband] or "
	  "[root PATH] or [board SLUG]" },
	{ "[profile X]\nnice = 1\n",
	  "%/k.conf:1: [profile NAME]: \"X\" is no name of a profile (a to z, 0 to 9, _ and -; "
	  "at most 64, the first a letter or digit)" },
	{ "[board x]\nlauncher = fork\n",
	  "%/k.conf:2: launcher: has no effect in [board x]; it belongs in [worker]" },
	{ "[board x]\nhermes = h\n", "%/k.conf:2: hermes: has no effect in [board x]; it "
				     "belongs in [worker] or [root PATH]" },
	{ "[kanband]\npinned_db = /x\n", "%/k.conf:2: pinned_db: is taken from the environment "
					 "only (HERMES_KANBAN_DB)" },
	{ "max_spawn = 3\n", "%/k.conf:1: max_spawn: stands before any section; put [kanband] "
			     "or another above it" },
	{ "[kanband]\n= 3\n", "%/k.conf:2: the key before = is missing" },
	{ "[kanband]\n\nmax_spawn\n",
	  "%/k.conf:3: is neither a [section], nor key = value, nor a comment" },
	/* inih goes on behind a bad line, but the first fault is the one that is told */
	{ "[kanband]\nrubbish\nmax_spawn = x\n[kanband]\n",
	  "%/k.conf:2: is neither a [section], nor key = value, nor a comment" },
	{ "[kanband]\nmax_spawn = x\nrubbish\n",
	  "%/k.conf:2: max_spawn: \"x\" is not a whole number, nor none" },
	{ "[kanband]\nmax_spawn = 1\n  failure_limit = 2\n",
	  "%/k.conf:3: an indented line goes on with the value above it, and max_spawn has "
	  "only one; remove the indent to begin a new key" },
	/* values */
	{ "[kanband]\nmax_spawn =\n",
	  "%/k.conf:2: max_spawn: \"\" is not a whole number, nor none" },
	{ "[kanband]\nmax_spawn = 3 # three\n",
	  "%/k.conf:2: max_spawn: \"3 # three\" is not a whole number, nor none" },
	{ "[kanband]\nmax_spawn = -1\n", "%/k.conf:2: max_spawn: -1 is out of range; allowed "
					 "is 0 to 1000000, or none" },
	{ "[kanband]\nmax_spawn = 0x10\n",
	  "%/k.conf:2: max_spawn: \"0x10\" is not a whole number, nor none" },
	{ "[kanband]\nmax_spawn = 99999999999999999999\n",
	  "%/k.conf:2: max_spawn: \"99999999999999999999\" is too large a number" },
	{ "[kanband]\nclaim_ttl = 9999999999999999d\n",
	  "%/k.conf:2: claim_ttl: \"9999999999999999d\" is too large a number" },
	{ "[kanband]\nfailure_limit = 0\n",
	  "%/k.conf:2: failure_limit: 0 is out of range; allowed is 1 to 1000000" },
	{ "[kanband]\nclaim_ttl = 0\n",
	  "%/k.conf:2: claim_ttl: 0s is out of range; allowed is 1s to 366d" },
	{ "[kanband]\nclaim_ttl = 367d\n",
	  "%/k.conf:2: claim_ttl: 367d is out of range; allowed is 1s to 366d" },
	{ "[kanband]\nclaim_ttl = 5m\n", "%/k.conf:2: claim_ttl: \"5m\" is not a duration such "
					 "as 90, 90s, 15min, 2h or 1d" },
	{ "[kanband]\nclaim_ttl = 500ms\n", "%/k.conf:2: claim_ttl: \"500ms\" is not a "
					    "duration such as 90, 90s, 15min, 2h or 1d" },
	{ "[kanband]\nclaim_ttl = 1h 30min\n", "%/k.conf:2: claim_ttl: \"1h 30min\" is not a "
					       "duration such as 90, 90s, 15min, 2h or 1d" },
	{ "[kanband]\nbusy_timeout = 2h\n",
	  "%/k.conf:2: busy_timeout: 2h is out of range; allowed is 0s to 1h" },
	{ "[kanband]\nbusy_timeout = 5 fortnights\n",
	  "%/k.conf:2: busy_timeout: \"5 fortnights\" is not a duration such as 5, 500ms, 5s "
	  "or 2min" },
	{ "[worker]\nworker_log_rotate_bytes = 2T\n",
	  "%/k.conf:2: worker_log_rotate_bytes: \"2T\" is not a size such as 4096, 512K, 2M or "
	  "1G" },
	{ "[kanband]\nreview_dispatch = maybe\n",
	  "%/k.conf:2: review_dispatch: \"maybe\" is neither yes nor no" },
	{ "[kanband]\nreview_dispatch =\n",
	  "%/k.conf:2: review_dispatch: \"\" is neither yes nor no" },
	{ "[kanband]\nlog_level = loud\n", "%/k.conf:2: log_level: \"loud\" is not one of "
					   "error, warning, notice, info, debug" },
	{ "[kanband]\ndefault_assignee = a b\n",
	  "%/k.conf:2: default_assignee: \"a b\" is not a profile name (a to z, 0 to 9, _ and "
	  "-; at most 64, the first a letter or digit)" },
	{ "[kanband]\ndispatch_profiles = a,../b\n",
	  "%/k.conf:2: dispatch_profiles: \"../b\" is not a profile name (a to z, 0 to 9, _ "
	  "and -; at most 64, the first a letter or digit)" },
	{ "[kanband]\nsocket = k.sock\n",
	  "%/k.conf:2: socket: \"k.sock\" is not an absolute path" },
	{ "[kanband]\nsocket = /"
	  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
	  "23456789012345678901234567\n",
	  "%/k.conf:2: socket: the path has 109 bytes, a socket may have 107 at most" },
	{ "[worker]\nslice = agents\n",
	  "%/k.conf:2: slice: \"agents\" is no name of a slice; write kanban.slice, or "
	  "kanban-NAME.slice for one below it" },
	{ "[worker]\nslice = a--b.slice\n",
	  "%/k.conf:2: slice: \"a--b.slice\" is no name of a slice; write kanban.slice, or "
	  "kanban-NAME.slice for one below it" },
	{ "[worker]\nslice = /kanban.slice\n",
	  "%/k.conf:2: slice: \"/kanban.slice\" is no name of a slice; write kanban.slice, or "
	  "kanban-NAME.slice for one below it" },
	{ "[worker]\nhermes =\n", "%/k.conf:2: hermes: a program is missing" },
	{ "[worker]\nhermes = bin/hermes\n",
	  "%/k.conf:2: hermes: \"bin/hermes\" is not an absolute path" },
	/* what is there twice */
	{ "[kanband]\nmax_in_progress = 1\nmax_in_progress = 5\n",
	  "%/k.conf:3: max_in_progress: is given twice, in line 2 too; remove one of the two" },
	{ "[kanband]\nmax_spawn = 1\n[worker]\n[kanband]\nmax_spawn = 5\n",
	  "%/k.conf:5: max_spawn: is given twice, in line 2 too; remove one of the two" },
	{ "[pool a]\nlimit = 1\n[pool b]\n[pool a]\nprofiles = x\n",
	  "%/k.conf:4: [pool a]: stands in this file twice, around line 2 too; put the two "
	  "together, or give one another name" },
	/* the command */
	{ "[worker]\nlauncher = command\n",
	  "%/k.conf:2: launcher = command needs [worker] command, which is not set" },
	{ "[worker]\nlauncher = command\ncommand =\n",
	  "%/k.conf:2: launcher = command needs [worker] command, which is not set" },
	{ "[worker]\ncommand = nice\n",
	  "%/k.conf:2: command has no effect unless [worker] launcher = command" },
	{ "[worker]\ncommand = nice 'x\n\n[kanband]\n",
	  "%/k.conf:2: command: the quote ' is not closed" },
	{ "[worker]\ncommand = nice \"x\n", "%/k.conf:2: command: the quote \" is not closed" },
	{ "[worker]\ncommand = nice \\\n",
	  "%/k.conf:2: command: ends in a backslash that protects nothing" },
	{ "[worker]\ncommand = '' x\n", "%/k.conf:2: command: the first word is empty" },
	/* long text in a message is cut, between characters */
	{ "[kanband]\nlog_level = "
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xC3\xA4\xC3\xA4\xC3\xA4\n",
	  "%/k.conf:2: log_level: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "...\" is not one of error, warning, notice, info, debug" },
};

START_TEST(refuses)
{
	put("k.conf", bad[_i].text);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_str_eq(why.text, here(bad[_i].sentence));
	ck_assert_ptr_null(config);
}
END_TEST

START_TEST(refuses_odd_bytes_and_lengths)
{
	char line[300];

	put_bytes("k.conf", "[kanband]\nmax_\0spawn = 1\n", 24);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_str_eq(why.text,
			 here("%/k.conf:2: a NUL byte does not belong in a text file"));
	memset(line, 'x', sizeof(line));
	memcpy(line, "[worker]\nhermes=/", 17);
	line[sizeof(line) - 1] = '\0';
	put("k.conf", line);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_str_eq(why.text, here("%/k.conf:2: the line has 290 bytes, at most 197 are "
					"possible; lists and the command may go on in indented "
					"lines"));
	/* the longest line that goes is taken whole */
	line[9 + 197] = '\0';
	put("k.conf", line);
	load_ok();
	ck_assert_uint_eq(strlen(settings_of(NULL).hermes), 197 - 7);
}
END_TEST

START_TEST(long_section_header)
{
	char long_name[201], *text;

	memset(long_name, 'r', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	/* two roots that differ behind the 49 bytes that inih would keep; a ] in a path */
	text = fs_path("[root %s/%s/a]\nmax_spawn = 1\n[root %s/%s/b[1]]\nmax_spawn = 2\n", dir,
		       long_name, dir, long_name);
	put("k.conf", text);
	free(text);
	load_ok();
	ck_assert_ptr_nonnull(config_roots(config)[1]);
	ck_assert_ptr_null(config_roots(config)[2]);
	ck_assert_int_eq(settings_of(NULL).max_spawn, 1);
	ck_assert_str_eq(strrchr(config_roots(config)[1], '/'), "/b[1]");
}
END_TEST

START_TEST(more_sections_than_there_can_be)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	for (int i = 0; i < 20000; i++)
		(void)fprintf(out, "[board b%d]\nweight = 2\n", i);
	ck_assert_int_eq(fclose(out), 0);
	put("k.conf", text);
	free(text);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "more than 4096 sections"));
}
END_TEST

START_TEST(customs_of_text_files)
{
	put("k.conf", "\xEF\xBB\xBF[kanband]\r\nmax_spawn = 3\r\n\r\nfailure_limit = 4");
	load_ok();
	ck_assert_int_eq(settings_of(NULL).max_spawn, 3);
	ck_assert_int_eq(settings_of(NULL).failure_limit, 4);
	ck_assert_str_eq(value_of("failure_limit", NULL)->source, here("%/k.conf:4"));
}
END_TEST

START_TEST(sections_merge)
{
	put("k.conf", here("[root %/r]\nfailure_limit = 5\n"
			   "[board b]\npaused = yes\nmax_spawn = 7\n"
			   "[root %//r/./]\nmax_spawn = 2\n"
			   "[root ~/r]\nreview_dispatch = yes\n"));
	load_ok();
	ck_assert_str_eq(config_roots(config)[0], here("%/r"));
	ck_assert_ptr_null(config_roots(config)[1]);
	ck_assert_int_eq(settings_of(NULL).max_spawn, 2);
	ck_assert_int_eq(settings_of(NULL).failure_limit, 5);
	ck_assert(settings_of(NULL).review_dispatch);
	ck_assert(!settings_of(NULL).paused);
	ck_assert_int_eq(settings_of("b").max_spawn, 7);
	ck_assert(settings_of("b").paused);
}
END_TEST

/* ---- files ---- */

START_TEST(dropins_in_byte_order)
{
	put("k.conf", "[kanband]\nmax_spawn = 1\nfailure_limit = 1\n");
	put("k.conf.d/10-a.conf", "[kanband]\nmax_spawn = 2\n");
	put("k.conf.d/9.conf", "[kanband]\nmax_spawn = 3\n"); /* '9' > '1' */
	put("k.conf.d/Z.conf", "[kanband]\nmax_spawn = 4\n");
	put("k.conf.d/_.conf", "[kanband]\nmax_spawn = 5\n"); /* '_' > 'Z' in bytes */
	put("k.conf.d/.hidden.conf", "rubbish\n");
	put("k.conf.d/note.txt", "rubbish\n");
	put("k.conf.d/.conf", "rubbish\n");
	load_ok();
	ck_assert_int_eq(settings_of(NULL).max_spawn, 5);
	ck_assert_str_eq(value_of("max_spawn", NULL)->source, here("%/k.conf.d/_.conf:2"));
	ck_assert_int_eq(settings_of(NULL).failure_limit, 1);
	ck_assert_uint_eq(config->files.n, 5);
	/* each file begins anew: a section does not reach into the next */
	put("k.conf.d/zz.conf", "max_spawn = 6\n");
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_str_eq(why.text,
			 here("%/k.conf.d/zz.conf:1: max_spawn: stands before any section; put "
			      "[kanband] or another above it"));
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
	CLEANUP(freep) char *link = fs_path("%s/k.conf.d/a.conf", dir);
	CLEANUP(freep) char *none = fs_path("%s/none.conf", dir);
	CLEANUP(freep) char *big = malloc(1024 * 1024 + 1);
	struct config_cli cli = { .file = none };

	ck_assert_int_eq(load_with(cli, env_home), -ENOENT);
	ck_assert_str_eq(why.text, here("%/none.conf: cannot be read: No such file or "
					"directory"));
	cli.file = dir;
	ck_assert_int_eq(load_with(cli, env_home), -EISDIR);
	ck_assert_str_eq(why.text, here("%: cannot be read: Is a directory"));

	ck_assert_ptr_nonnull(big);
	memset(big, '#', 1024 * 1024 + 1);
	put_bytes("k.conf", big, 1024 * 1024 + 1);
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_str_eq(why.text, here("%/k.conf: larger than 1048576 bytes, which is no "
					"kanband.conf"));
	put_bytes("k.conf", big, 1024 * 1024);
	load_ok();

	put("k.conf", "");
	put("k.conf.d/b.conf", "");
	ck_assert_int_eq(symlink("/nowhere", link), 0);
	ck_assert_int_eq(load(), -ENOENT);
	ck_assert_str_eq(why.text, here("%/k.conf.d/a.conf: cannot be read: No such file or "
					"directory"));
}
END_TEST

/* ---- words ---- */

static const struct {
	const char *text, *words[6];
} words[] = {
	{ "", { NULL } },
	{ "  \t ", { NULL } },
	{ "a", { "a" } },
	{ " a  b\tc ", { "a", "b", "c" } },
	{ "a'b c'd", { "ab cd" } },
	{ "'' \"\" x", { "", "", "x" } },
	{ "'a\\b' \"a\\b\" a\\b", { "a\\b", "a\\b", "ab" } },
	{ "\"a\\\"b\" \"\\\\\" \"\\$x\" \"\\`\"", { "a\"b", "\\", "$x", "`" } },
	{ "a\\ b \\' \\\"", { "a b", "'", "\"" } },
	{ "'\"' \"'\"", { "\"", "'" } },
	{ "$(rm -rf x) `y` $HOME ~", { "$(rm", "-rf", "x)", "`y`", "$HOME", "~" } },
	{ "a;b|c&d>e <f *", { "a;b|c&d>e", "<f", "*" } },
};

START_TEST(splits_words)
{
	char **got = NULL, **again = NULL;
	CLEANUP(freep) char *joined = NULL;
	size_t n = sizeof(words[_i].words) / sizeof(words[_i].words[0]);

	ck_assert_int_eq(config_strv_split(words[_i].text, &got, &why), 0);
	joined = quote_words((const char *const *)got);
	ck_assert_ptr_nonnull(joined);
	ck_assert_int_eq(config_strv_split(joined, &again, &why), 0);
	for (size_t i = 0; i < n && (words[_i].words[i] || got[i]); i++) {
		ck_assert_pstr_eq(got[i], words[_i].words[i]);
		ck_assert_pstr_eq(again[i], words[_i].words[i]);
		if (i + 1 == n)
			ck_assert_ptr_null(got[n]);
	}
	(void)strv_free(got);
	(void)strv_free(again);
}
END_TEST

START_TEST(a_profile_has_limits_of_its_own)
{
	struct settings s;

	put("k.conf", "[worker]\nmemory_max = 2G\ntasks_max = 9\n[board x]\nmemory_max = 3G\n"
		      "[profile coder]\nmemory_max = 8G\nnetwork = no\n");
	load_ok();
	config_settings_worker(config, config_roots(config)[0], "x", "coder", &s);
	ck_assert_int_eq(s.memory_max, INT64_C(8) << 30);
	ck_assert_int_eq(s.tasks_max, 9);
	ck_assert(!s.network);
	config_settings_worker(config, config_roots(config)[0], "x", "other", &s);
	ck_assert_int_eq(s.memory_max, INT64_C(3) << 30);
	ck_assert(s.network);
	config_settings_worker(config, config_roots(config)[0], "y", NULL, &s);
	ck_assert_int_eq(s.memory_max, INT64_C(2) << 30);
}
END_TEST

START_TEST(a_pool_has_limits_of_its_own)
{
	struct settings s;

	put("k.conf",
	    "[worker]\nmemory_max = 2G\nnice = 1\n[board x]\nmemory_max = 3G\nnice = 2\n"
	    "[pool big]\nprofiles = coder ada\nmemory_max = 8G\nprotect = strict\n"
	    "[pool x]\nboards = x\nlimit = 3\nmemory_max = 4G\nslice = x.slice\n"
	    "[profile ada]\nmemory_max = 1G\n");
	load_ok();
	config_settings_worker(config, config_roots(config)[0], "x", "coder", &s);
	ck_assert_int_eq(s.memory_max, INT64_C(8) << 30); /* of the first */
	ck_assert_int_eq(s.protect, LAUNCH_PROTECT_STRICT);
	ck_assert_str_eq(s.slice, "x.slice"); /* of the second */
	ck_assert_int_eq(s.nice, 2);          /* of neither: of the board */
	config_settings_worker(config, config_roots(config)[0], "y", "coder", &s);
	ck_assert_int_eq(s.memory_max, INT64_C(8) << 30);
	ck_assert_str_eq(s.slice, "kanban.slice");
	config_settings_worker(config, config_roots(config)[0], "x", "ada", &s);
	ck_assert_int_eq(s.memory_max, INT64_C(1) << 30); /* a profile wins over a pool */
	ck_assert_int_eq(s.protect, LAUNCH_PROTECT_STRICT);
	config_settings_worker(config, config_roots(config)[0], "x", "bob", &s);
	ck_assert_int_eq(s.memory_max, INT64_C(4) << 30); /* a pool over a board */
	config_settings(config, config_roots(config)[0], "x", &s);
	ck_assert_int_eq(s.memory_max, INT64_C(3) << 30); /* a board is no worker */
	ck_assert_uint_eq(s.n_pools, 1);
}
END_TEST

START_TEST(command_reaches_the_launcher)
{
	struct config_cli cli = { .launcher = "fork" };

	put("k.conf",
	    "[worker]\nlauncher = command\ncommand = srun -J 'k {task}' {tusk} {} {A}\n");
	load_ok();
	ck_assert_int_eq(config_launcher(config), LAUNCHER_COMMAND);
	ck_assert_str_eq(config_command(config)[2], "k {task}");
	ck_assert_ptr_null(config_command(config)[6]);
	/* only the first of {tusk} {} {A} looks like a slip */
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert_str_eq(config_warnings(config)[0],
			 here("%/k.conf:3: command: {tusk} is no placeholder and stays as it "
			      "is; there are {board}, {task}, {run} and {profile}"));
	/* --launcher for once may leave the command unused, and then there is none */
	ck_assert_int_eq(load_with(cli, env_home), 0);
	ck_assert_int_eq(config_launcher(config), LAUNCHER_FORK);
	ck_assert_ptr_null(config_command(config));
	put("k.conf", "");
	cli.launcher = "command";
	ck_assert_int_eq(load_with(cli, env_home), -EINVAL);
	ck_assert_str_eq(why.text, "command line --launcher: launcher = command needs [worker] "
				   "command, which is not set");
}
END_TEST

START_TEST(near_names)
{
	ck_assert(config_near("workers", "worker"));
	ck_assert(config_near("wroker", "worker"));
	ck_assert(config_near("auto_decompse", "auto_decompose"));
	ck_assert(!config_near("", "worker"));
	ck_assert(!config_near("x", "paused"));
	ck_assert(!config_near("hermes", "paused"));
	ck_assert(
		!config_near("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			     "aaaa",
			     "paused"));
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("config_ini");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
	tcase_add_loop_test(tc, takes, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(tc, round_trip, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(tc, refuses, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(tc, refuses_odd_bytes_and_lengths);
	tcase_add_test(tc, long_section_header);
	tcase_add_test(tc, more_sections_than_there_can_be);
	tcase_add_test(tc, customs_of_text_files);
	tcase_add_test(tc, sections_merge);
	tcase_add_test(tc, dropins_in_byte_order);
	tcase_add_test(tc, files_that_cannot_be_read);
	tcase_add_loop_test(tc, splits_words, 0, sizeof(words) / sizeof(words[0]));
	tcase_add_test(tc, command_reaches_the_launcher);
	tcase_add_test(tc, a_profile_has_limits_of_its_own);
	tcase_add_test(tc, a_pool_has_limits_of_its_own);
	tcase_add_test(tc, near_names);
	suite_add_tcase(suite, tc);
	return suite;
}
