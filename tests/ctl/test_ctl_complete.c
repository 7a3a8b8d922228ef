/* Completion: bash, fish and zsh really complete; and nothing is left out. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/ctl.h"
#include "kit/suite.h"
#include "util/fs.h"

#define FOLDER "conf/completions/"

static char here[1024];

static void setup(void)
{
	ck_assert_ptr_nonnull(getcwd(here, sizeof(here) - 128));
	world_setup();
	(void)ok("init");
	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/ann"), 0755), 0);
	ck_assert_int_eq(fs_mkdir_p(world_path("bin"), 0755), 0);
	ck_assert_int_eq(symlink(world_binary(), world_path("bin/kanbanctl")), 0);
}

/* Not where the source is not at hand, or that shell is not installed. */
static bool has(const char *shell, const char *file)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "command -v %s >/dev/null", shell);
	if (access(file, R_OK) == 0 && system(command) == 0)
		return true;
	printf("SKIP: %s is not installed, or %s is not here\n", shell, file);
	return false;
}

/* What @argv prints, without its last newline; static. */
static const char *run(const char *const *argv)
{
	static char out[65536];
	int ends[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char path[4096];

		(void)snprintf(path, sizeof(path), "%s/bin:%s", world_root, getenv("PATH"));
		(void)setenv("PATH", path, 1);
		(void)setenv("HERMES_KANBAN_HOME", world_root, 1);
		(void)setenv("HOME", world_root, 1);
		if (dup2(ends[1], 1) < 0)
			_exit(126);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(ends[1]);
	while ((n = read(ends[0], out + used, sizeof(out) - 1 - used)) > 0)
		used += (size_t)n;
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "%s: %x", argv[0], status);
	while (used > 0 && out[used - 1] == '\n')
		used--;
	out[used] = '\0';
	return out;
}

/* What bash offers for @line, whose words are separated by blanks; joined by blanks. */
static const char *bash(const char *line)
{
	static const char script[] = "source \"$1\"\n"
				     "complete -p kanbanctl >/dev/null || exit 9\n"
				     "read -ra COMP_WORDS <<<\"$2\"\n"
				     "[[ $2 == *' ' ]] && COMP_WORDS+=('')\n"
				     "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
				     "_kanbanctl\n"
				     "echo \"${COMPREPLY[*]}\"\n";
	char file[1200];

	(void)snprintf(file, sizeof(file), "%s/" FOLDER "kanbanctl.bash", here);
	return run((const char *const[]){ "bash", "--norc", "-c", script, "bash", file, line,
					  NULL });
}

START_TEST(in_bash)
{
	CLEANUP(freep) char *id = NULL;
	CLEANUP(freep) char *blocked = NULL;

	if (!has("bash", FOLDER "kanbanctl.bash"))
		return;
	(void)ok("--board", "work", "init");
	id = strdup(ok("add", "one"));
	blocked = strdup(ok("add", "two"));
	(void)ok("block", blocked);
	ck_assert_ptr_nonnull(strstr(bash("kanbanctl "), "add list show"));
	ck_assert_str_eq(bash("kanbanctl re"), "retry resume reload repair restore");
	ck_assert_str_eq(bash("kanbanctl repair "), "default work");
	ck_assert_str_eq(bash("kanbanctl repair w"), "work");
	ck_assert_str_eq(bash("kanbanctl repair default "), "");
	ck_assert_str_eq(bash("kanbanctl --board "), "default work");
	ck_assert_str_eq(bash("kanbanctl --board = w"), "work");
	ck_assert_str_eq(bash("kanbanctl --board work show "), "");
	ck_assert_ptr_nonnull(strstr(bash("kanbanctl show t_"), id));
	ck_assert_str_eq(bash("kanbanctl unblock "), blocked);
	ck_assert_str_eq(bash("kanbanctl list --status bl"), "blocked");
	ck_assert_str_eq(bash("kanbanctl add --assignee "), "default ann");
	ck_assert_str_eq(bash("kanbanctl add --body x"), "");
	ck_assert_str_eq(bash("kanbanctl gateways --f"), "--fix");
	ck_assert_str_eq(bash("kanbanctl notify "), "retry");
	ck_assert_str_eq(bash("kanbanctl restore work /nonexis"), "");
	/* without a root: nothing, and no noise */
	ck_assert_str_eq(bash("kanbanctl --root /nonexistent check "), "");
}
END_TEST

/* Ids and titles are anybody's text. */
START_TEST(hostile)
{
	const char *words;

	(void)ok("add", "a $(touch x) `y` ;z");
	(void)world_sql(
		"kanban.db",
		"INSERT INTO tasks (id, title, status, created_at) VALUES"
		" ('$(touch x)', 't', 'ready', 1), ('-rf', 't', 'ready', 1),"
		" ('a b', 't', 'ready', 1), ('t_ok', 'x' || char(10) || char(27) || '[2J',"
		" 'ready', 1), ('', 't', 'ready', 1)");
	words = ok("words", "tasks");
	ck_assert_ptr_null(strstr(words, "$(touch x)\t"));
	ck_assert_ptr_null(strstr(words, "-rf"));
	ck_assert_ptr_null(strstr(words, "a b"));
	ck_assert_ptr_null(strchr(words, '\033'));
	ck_assert_ptr_nonnull(strstr(words, "t_ok\tx\\n"));
	if (has("bash", FOLDER "kanbanctl.bash")) {
		ck_assert_ptr_null(strchr(bash("kanbanctl show "), '$'));
		ck_assert_int_ne(access("x", F_OK), 0);
	}
}
END_TEST

START_TEST(words)
{
	ck_assert_ptr_nonnull(strstr(ok("words", "verbs"), "init\tmake"));
	ck_assert_str_eq(ok("words", "profiles"), "default\nann");
	ck_assert_str_eq(ok("words", "boards"), "default");
	ck_assert_str_eq(ok("words", "tasks", "blocked"), "");
	fails(64, "there are verbs", "words", "secrets");
	fails(64, "one argument too many", "words", "boards", "x");
	fails(64, "missing", "words");
}
END_TEST

static const char *fish(const char *line)
{
	char command[2048];

	(void)snprintf(command, sizeof(command),
		       "source %s/" FOLDER "kanbanctl.fish; complete -C '%s'", here, line);
	return run((const char *const[]){ "fish", "--no-config", "-c", command, NULL });
}

START_TEST(in_fish)
{
	if (!has("fish", FOLDER "kanbanctl.fish"))
		return;
	(void)ok("--board", "work", "init");
	ck_assert_ptr_nonnull(strstr(fish("kanbanctl resto"), "restore\tbring a board back"));
	ck_assert_str_eq(fish("kanbanctl repair w"), "work");
	ck_assert_int_eq(strncmp(fish("kanbanctl --board wo"), "work", 4), 0);
	ck_assert_ptr_nonnull(strstr(fish("kanbanctl gateways --f"), "--fix"));
	ck_assert_ptr_null(strstr(fish("kanbanctl status --f"), "--fix"));
}
END_TEST

static const char *zsh(const char *line)
{
	char script[1200], file[1200];

	(void)snprintf(script, sizeof(script), "%s/tests/kit/complete.zsh", here);
	(void)snprintf(file, sizeof(file), "%s/" FOLDER "kanbanctl.zsh", here);
	return run((const char *const[]){ "zsh", "-f", script, file, line, NULL });
}

START_TEST(in_zsh)
{
	if (!has("zsh", FOLDER "kanbanctl.zsh"))
		return;
	(void)ok("--board", "work", "init");
	ck_assert_int_eq(setenv("HOME", world_path("home"), 1), 0);
	ck_assert_int_eq(fs_mkdir_p(world_path("home"), 0755), 0);
	ck_assert_str_eq(zsh("kanbanctl resto"), "kanbanctl restore ");
	ck_assert_str_eq(zsh("kanbanctl repair w"), "kanbanctl repair work ");
	ck_assert_str_eq(zsh("kanbanctl --board wo"), "kanbanctl --board work ");
	ck_assert_str_eq(zsh("kanbanctl list --status bl"), "kanbanctl list --status blocked ");
	ck_assert_str_eq(zsh("kanbanctl gateways --f"), "kanbanctl gateways --fix ");
	ck_assert_str_eq(zsh("kanbanctl status --f"), "kanbanctl status --f");
}
END_TEST

static bool prints(const char *verb, const char *const *tables)
{
	for (; *tables; tables++)
		if (strcmp(verb, *tables) == 0)
			return true;
	return false;
}

/* Every option that the help of a verb names is offered, and every verb has a help. Those of
 * tables are named where there is one; show has several, with columns of their own. */
START_TEST(all_options)
{
	static const char *const tables[] = { "boards",    "gateways", "leader",
					      "list",      "notify",   "show",
					      "snapshots", "workers",  NULL };
	CLEANUP(freep) char *verbs = strdup(ok("words", "verbs"));
	char *save = NULL;
	int n = 0;

	for (char *line = strtok_r(verbs, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save), n++) {
		CLEANUP(freep) char *help = NULL;
		CLEANUP(freep) char *offered = NULL;
		const char *at, *end;

		line[strcspn(line, "\t")] = '\0';
		help = strdup(ok("help", line));
		ck_assert_str_eq(help, ok(line, "--help"));
		offered = strdup(ok("words", "options", line));
		end = strstr(help, "options of every verb");
		ck_assert_ptr_nonnull(end);
		ck_assert_msg((strstr(help, "--noheadings") != NULL) == prints(line, tables),
			      "%s", help);
		ck_assert_msg((strstr(help, "--output") != NULL) ==
				      (prints(line, tables) && strcmp(line, "show") != 0),
			      "%s", help);
		for (at = strstr(help, "  --"); at && at < end; at = strstr(at + 4, "  --")) {
			char option[64];

			(void)snprintf(option, sizeof(option), "%.*s",
				       (int)strcspn(at + 2, " \n"), at + 2);
			ck_assert_msg(strstr(offered, option) != NULL, "%s of %s", option,
				      line);
		}
	}
	ck_assert_int_gt(n, 25);
	if (!has("bash", FOLDER "kanbanctl.bash"))
		return;
	ck_assert_ptr_nonnull(strstr(bash("kanbanctl add --"), "--idempotency-key"));
	ck_assert_ptr_nonnull(strstr(bash("kanbanctl add --"), "--root"));
	ck_assert_str_eq(bash("kanbanctl add --workspace wo"), "worktree");
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { in_bash, hostile, words, in_fish, in_zsh, all_options };

	return SUITE_EACH("ctl_complete", 60, setup, world_teardown, tests);
}
