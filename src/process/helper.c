/*
 * Runs the programs that help the dispatcher, with a time limit and a bounded output, and
 * judges what they said.
 */
#include "process/helper.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "process/run.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define HELPER_PR_MS   15000
#define HELPER_PR_KEEP 300000 /* ms that an answer is good for */
#define HELPER_PRS     32

#define HELPER_WORD 128 /* longest argument that comes out of a row */

extern char **environ;

/* A word that can be an argument: no option, no path, nothing a program could take for more. */
static bool helper_word(const char *text)
{
	size_t n = 0;

	for (; text[n]; n++)
		if (n >= HELPER_WORD ||
		    (!isalnum((unsigned char)text[n]) && (n == 0 || !strchr("_-.", text[n]))))
			return false;
	return n > 0;
}

/* It works on @root, whoever's environment the daemon was started with. */
static char **helper_environ(const struct environment *env, const char *root)
{
	const struct environ_var vars[] = {
		{ "HERMES_HOME", root },
		{ "HERMES_KANBAN_HOME", root },
	};

	return environ_block(env, "default", vars, sizeof(vars) / sizeof(vars[0]));
}

static int helper_spawn(const struct helper *helper, char *const *argv, const char *logs_dir,
			pid_t *pid, struct error *e)
{
	CLEANUP(freep) char *log = fs_path("%s/decompose.log", logs_dir);
	CLEANUP(freep) char **envp = helper_environ(helper->environment, helper->root);
	CLEANUP(freep) char *file = NULL;
	CLEANUP(fs_closep) int out = -1;
	struct spawn how = { .argv = argv, .envp = envp, .cwd = helper->root };
	int r;

	if (!envp || !log)
		return error_set(e, -ENOMEM, "out of memory");
	r = spawn_find(helper->hermes, environ_path(helper->environment), &file);
	if (r < 0)
		return error_errno(e, r, "cannot find %s", helper->hermes);
	r = fs_mkdir_p(logs_dir, 0755);
	if (r < 0)
		return error_errno(e, r, "cannot make %s", logs_dir);
	out = spawn_fd_high(
		open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
	if (out < 0)
		return error_errno(e, out, "cannot open %s", log);
	how.file = file;
	how.out = how.err = out;
	r = spawn_process(&how, pid);
	return r < 0 ? error_errno(e, r, "cannot start %s", file) : 0;
}

int helper_decompose(const struct helper *helper, const char *board, const char *task,
		     const char *logs_dir, pid_t *pid, int *pidfd, struct error *e)
{
	char words[][16] = { "kanban", "--board", "decompose", "--author", "--json" };
	char author[] = "auto-decomposer";
	CLEANUP(freep) char *hermes = strdup(helper->hermes);
	CLEANUP(freep) char *slug = strdup(board);
	CLEANUP(freep) char *id = strdup(task);
	char *argv[] = { hermes, words[0], words[1], slug,     words[2],
			 id,     words[3], author,   words[4], NULL };
	int r;

	if (!hermes || !slug || !id)
		return error_set(e, -ENOMEM, "out of memory");
	if (!helper_word(task) || !helper_word(board))
		return error_set(e, -EINVAL,
				 "the task's id is no plain word; decompose it by hand");
	r = helper_spawn(helper, argv, logs_dir, pid, e);
	if (r < 0)
		return r;
	*pidfd = spawn_pidfd(*pid);
	if (*pidfd < 0)
		*pidfd = -1; /* watch_open() tries again */
	return 0;
}

/* ---- pull requests ------------------------------------------------------------------- */

/* Answers of the last minutes, so that a tick of many guarded tasks asks once for each. */
static struct helper_pr {
	pthread_mutex_t lock;
	struct {
		char url[256];
		uint64_t at_ms;
		int open;
	} v[HELPER_PRS];
} helper_prs = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool helper_pr_known(const char *url, int *open)
{
	uint64_t now = clock_mono_ms();
	bool known = false;

	(void)pthread_mutex_lock(&helper_prs.lock);
	for (size_t i = 0; !known && i < HELPER_PRS; i++) {
		known = strcmp(helper_prs.v[i].url, url) == 0 &&
			now - helper_prs.v[i].at_ms < HELPER_PR_KEEP;
		if (known)
			*open = helper_prs.v[i].open;
	}
	(void)pthread_mutex_unlock(&helper_prs.lock);
	return known;
}

static void helper_pr_keep(const char *url, int open)
{
	size_t oldest = 0;

	(void)pthread_mutex_lock(&helper_prs.lock);
	for (size_t i = 1; i < HELPER_PRS; i++)
		if (helper_prs.v[i].at_ms < helper_prs.v[oldest].at_ms)
			oldest = i;
	(void)snprintf(helper_prs.v[oldest].url, sizeof(helper_prs.v[oldest].url), "%s", url);
	helper_prs.v[oldest].at_ms = clock_mono_ms();
	helper_prs.v[oldest].open = open;
	(void)pthread_mutex_unlock(&helper_prs.lock);
}

/* What `gh` needs of our environment: where things are, who it is, how to the network. */
static char **helper_gh_environ(void)
{
	static const char *const wanted[] = {
		"PATH=",        "HOME=",         "USER=",
		"LANG=",        "LC_ALL=",       "XDG_CONFIG_HOME=",
		"GH_",          "GITHUB_TOKEN=", "HTTPS_PROXY=",
		"https_proxy=", "NO_PROXY=",     "no_proxy=",
		"SSL_CERT_"
	};
	size_t n = 0, count = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 1, sizeof(*env));
	for (size_t i = 0; env && i < n; i++)
		for (size_t k = 0; k < sizeof(wanted) / sizeof(wanted[0]); k++)
			if (strncmp(environ[i], wanted[k], strlen(wanted[k])) == 0) {
				env[count++] = environ[i];
				break;
			}
	return env;
}

static int helper_pr_ask(const char *url)
{
	const char *const argv[] = { "gh",    "pr",   "view",   url, "--json",
				     "state", "--jq", ".state", NULL };
	CLEANUP(freep) char *file = NULL;
	CLEANUP(freep) struct run_output *output = calloc(1, sizeof(*output));
	CLEANUP(freep) char **envp = helper_gh_environ();
	const char *path = getenv("PATH");
	struct run gh = { .argv = (char *const *)argv, .timeout_ms = HELPER_PR_MS };

	if (!output || !envp || !path || spawn_find("gh", path, &file) < 0)
		return -1;
	gh.envp = envp;
	gh.file = file;
	if (run_program(&gh, output) < 0 || output->status != 0)
		return -1;
	if (strncmp(output->out, "OPEN", 4) == 0)
		return 1;
	return strncmp(output->out, "CLOSED", 6) == 0 || strncmp(output->out, "MERGED", 6) == 0
		       ? 0
		       : -1;
}

int helper_pr_open(const char *url)
{
	int open = -1;

	if (helper_pr_known(url, &open))
		return open;
	open = helper_pr_ask(url);
	helper_pr_keep(url, open);
	return open;
}
