/*
 * Running git for worktrees: no terminal, no questions, no repository of the daemon's own.
 *
 * A repository can name programs that git runs: hooks, a file system monitor, filters, what
 * fetches. Whoever writes the repository would have them run here, as the daemon and outside of
 * what confines the workers, so none of them is. Filters of the account's own configuration
 * (git-lfs is one) are the operator's choice and stay.
 */
#include "launch.h"

#include <errno.h>
#include <string.h>

#include "process/spawn.h"
#include "util/fs.h"
#include "util/strv.h"

/* A daemon that was started from inside a repository must not lead git to that one. */
static bool git_is_dropped(const char *entry)
{
	static const char *const names[] = {
		"GIT_DIR=",        "GIT_WORK_TREE=",        "GIT_INDEX_FILE=",
		"GIT_COMMON_DIR=", "GIT_OBJECT_DIRECTORY=", "GIT_NAMESPACE=",
		"GIT_PREFIX=",     "GIT_TERMINAL_PROMPT=",  "LC_ALL=",
		"LANGUAGE=",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* Programs of the repository's that are not run; of what has a name in it, see git_filters().
 */
static const char *const git_off[] = {
	"core.hooksPath=/dev/null",
	"core.fsmonitor=false",
	"core.sshCommand=ssh",
	"core.gitProxy=",
	"core.alternateRefsCommand=",
	"core.editor=false",
	"credential.helper=",
	"diff.external=",
	"submodule.recurse=false",
	"fetch.recurseSubmodules=false",
	"gc.auto=0",
	"maintenance.auto=false",
};

/* One key that is set for the calls of @git; a NULL @value is none. 0 or -ENOMEM. */
static int git_set(struct git *git, const char *key, const char *value)
{
	launch_strv_add(&git->config, "-c");
	if (!git->config.failed) {
		CLEANUP(freep) char *text = fs_path("%s=%s", key, value);

		if (!text)
			return -ENOMEM;
		launch_strv_add(&git->config, text);
	}
	return git->config.failed ? -ENOMEM : 0;
}

/* Does the configuration outside of the repository have @key: its value into @out->out. */
static bool git_own_value(const struct git *git, const char *key, struct run_output *out)
{
	static const char *const scopes[] = { "--global", "--system" };

	for (size_t i = 0; i < 2; i++) {
		const char *const args[] = { "config", scopes[i], "--get", key, NULL };

		if (git_run(git, args, out) == 0 && out->status == 0 && !out->out_cut) {
			out->out[strcspn(out->out, "\n")] = '\0';
			return true;
		}
	}
	return false;
}

int git_filters(struct git *git, const char *dir, struct error *e)
{
	const char *const args[] = { "-C",           dir,          "config",
				     "--show-scope", "-z",         "--name-only",
				     "--get-regexp", "^filter\\.", NULL };
	CLEANUP(freep) struct run_output *list = malloc(sizeof(*list));
	CLEANUP(freep) struct run_output *own = malloc(sizeof(*own));
	const char *p, *key;
	int r;

	if (!list || !own)
		return error_set(e, -ENOMEM, "out of memory");
	r = git_run(git, args, list);
	if (r < 0)
		return error_errno(e, r, "cannot run git");
	if (list->out_cut)
		return error_set(e, -E2BIG, "its configuration names too many filters");
	/* SCOPE NUL KEY NUL …; status 1: there is none */
	for (p = list->out; list->status == 0 && p < list->out + list->out_len;
	     p = key + strlen(key) + 1) {
		bool value;

		key = p + strlen(p) + 1;
		if (key >= list->out + list->out_len)
			break;
		if (strcmp(p, "local") != 0 && strcmp(p, "worktree") != 0)
			continue;
		if (strchr(key, '='))
			return error_set(e, -EINVAL,
					 "its configuration has a filter with = in its name");
		value = git_own_value(git, key, own);
		r = git_set(git, key, value ? own->out : "");
		if (r < 0)
			return error_set(e, r, "out of memory");
	}
	return 0;
}

int git_init(struct git *git, const struct environment *env)
{
	CLEANUP(freep) char *file = NULL;
	char *const *from = environ_plain(env);
	static char no_prompt[] = "GIT_TERMINAL_PROMPT=0";
	static char plain[] = "LC_ALL=C";
	/* nothing is fetched here: a remote of the repository's can be a program, too */
	static char no_fetch[] = "GIT_NO_LAZY_FETCH=1";
	static char no_protocol[] = "GIT_ALLOW_PROTOCOL=none";
	size_t n = 0, count = 0;
	int r;

	*git = (struct git){ .timeout_ms = GIT_TIMEOUT_MS };
	r = spawn_find("git", environ_path(env), &file);
	if (r < 0)
		return r;
	while (from[n])
		n++;
	git->own = calloc(n + 5, sizeof(*git->own));
	if (!git->own)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!git_is_dropped(from[i]))
			git->own[count++] = from[i];
	git->own[count++] = no_prompt;
	git->own[count++] = plain;
	git->own[count++] = no_fetch;
	git->own[count++] = no_protocol;
	for (size_t i = 0; i < sizeof(git_off) / sizeof(git_off[0]); i++) {
		launch_strv_add(&git->config, "-c");
		launch_strv_add(&git->config, git_off[i]);
	}
	if (git->config.failed)
		return -ENOMEM;
	git->envp = git->own;
	git->file = STEAL(file);
	return 0;
}

void git_deinit(struct git *git)
{
	free(git->own);
	(void)strv_free(git->config.items);
	free((char *)git->file);
	*git = (struct git){ 0 };
}

int git_run(const struct git *git, const char *const *args, struct run_output *output)
{
	CLEANUP(freep) const char **argv = NULL;
	struct run run = {
		.file = git->file,
		.envp = git->envp,
		.timeout_ms = git->timeout_ms,
	};
	size_t n = 0, k = 0;

	while (args[n])
		n++;
	argv = calloc(git->config.count + n + 2, sizeof(*argv));
	if (!argv)
		return -ENOMEM;
	argv[k++] = "git";
	for (size_t i = 0; i < git->config.count; i++)
		argv[k++] = git->config.items[i];
	for (size_t i = 0; i < n; i++)
		argv[k++] = args[i];
	run.argv = (char *const *)argv;
	return run_program(&run, output);
}

/* The last line that begins with "fatal:" or "error:", else the last line with text in it. */
const char *git_reason(struct run_output *output, char *buf, size_t size)
{
	const char *best = NULL;
	bool strong = false;
	char *save = NULL;

	if (output->timed_out)
		return "git did not end in time and was killed";
	for (char *line = strtok_r(output->err, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		bool marked =
			strncmp(line, "fatal: ", 7) == 0 || strncmp(line, "error: ", 7) == 0;

		if (line[strspn(line, " \t\r")] == '\0' || (strong && !marked))
			continue;
		best = marked ? line + 7 : line;
		strong = marked;
	}
	if (!best)
		return output->status < 0 ? "git was killed by a signal"
					  : "git failed and gave no reason";
	buf[0] = '\0';
	(void)strncat(buf, best, size - 1);
	return buf;
}
