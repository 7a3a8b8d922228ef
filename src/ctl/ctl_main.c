/* The verbs, and kanbanctl from its first word to its exit code. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "util/text.h"

/* In the order of the help text: making, working, looking, mending, the daemon, the host. */
static const struct ctl_verb verbs[] = {
	{ "init", "[FOLDER]", "make a kanban root, or a board in one", 0, ctl_verb_init },
	{ "add", "TITLE", "add a task", 0, ctl_verb_add },
	{ "list", "", "list the tasks of a board", 0, ctl_verb_list },
	{ "show", "[TASK]", "everything about a task", 0, ctl_verb_show },
	{ "complete", "[TASK]", "a task is done", 0, ctl_verb_complete },
	{ "block", "[TASK]", "a task cannot go on", 0, ctl_verb_block },
	{ "unblock", "TASK", "a blocked task can go on", 0, ctl_verb_unblock },
	{ "heartbeat", "[TASK]", "a running task is alive", 0, ctl_verb_heartbeat },
	{ "comment", "[TASK] TEXT", "add a comment to a task", 0, ctl_verb_comment },
	{ "status", "", "the root at a glance", 0, ctl_verb_status },
	{ "boards", "", "list the boards", 0, ctl_verb_boards },
	{ "board", "[BOARD]", "everything about a board", 0, ctl_verb_board },
	{ "leader", "", "who dispatches", 0, ctl_verb_leader },
	{ "check", "[BOARD]", "what is wrong with a board, and what will be done", 0,
	  ctl_verb_check },
	{ "repair", "[BOARD]", "make a damaged board whole", 0, ctl_verb_repair },
	{ "snapshot", "[BOARD]", "copy a board, verified, into its snapshots", 0,
	  ctl_verb_snapshot },
	{ "snapshots", "[BOARD]", "list what a board can be restored from", 0,
	  ctl_verb_snapshots },
	{ "restore", "[BOARD [COPY]]", "bring a board back from a copy", 0, ctl_verb_restore },
	{ "accept", "[BOARD]", "go on with a lost board as it is", 0, ctl_verb_accept },
	{ "workers", "", "the workers that run", CTL_NEEDS_DAEMON, ctl_verb_workers },
	{ "tick", "[BOARD]", "look at a board, or all, now", CTL_NEEDS_DAEMON, ctl_verb_tick },
	{ "pause", "[BOARD]", "start nothing new on a board, or on any", CTL_NEEDS_DAEMON,
	  ctl_verb_pause },
	{ "resume", "[BOARD]", "take a pause or a drain back", CTL_NEEDS_DAEMON,
	  ctl_verb_resume },
	{ "drain", "", "start nothing new, wait until no worker runs", CTL_NEEDS_DAEMON,
	  ctl_verb_drain },
	{ "notify", "[retry [TASK]]", "notifications that fail or are parked", 0,
	  ctl_verb_notify },
	{ "events", "", "what happened, and with --follow what happens", CTL_NEEDS_DAEMON,
	  ctl_verb_events },
	{ "top", "", "a live view of the root", CTL_NEEDS_DAEMON, ctl_verb_top },
	{ "metrics", "", "numbers for a monitoring system", CTL_NEEDS_DAEMON,
	  ctl_verb_metrics },
	{ "reload", "", "read the configuration again", CTL_NEEDS_DAEMON, ctl_verb_reload },
	{ "doctor", "", "what is wrong with the whole installation, and the remedies", 0,
	  ctl_verb_doctor },
	{ "gateways", "", "which gateways would dispatch, and how to stop them", 0,
	  ctl_verb_gateways },
	{ "words", "KIND [STATUS]",
	  "verbs, boards, tasks or profiles, one a line, for completion", 0, ctl_verb_words },
	{ NULL, NULL, NULL, 0, NULL },
};

const struct ctl_verb *ctl_verbs(void)
{
	return verbs;
}

static const struct ctl_verb *ctl_find(const char *name)
{
	for (const struct ctl_verb *v = verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

/* Options before the verb. *@i: out, where the verb is; argc without one. */
static bool ctl_before(struct ctl *ctl, int argc, char **argv, int *i)
{
	int n = 1;

	while (n < argc && argv[n][0] == '-') {
		const char *word = argv[n];

		if (strcmp(word, "--version") == 0) {
			(void)fprintf(ctl->out, "kanbanctl %s\n", KANBAND_VERSION);
			ctl->exit = CTL_OK;
			return false;
		}
		if ((strcmp(word, "--root") == 0 || strcmp(word, "--board") == 0 ||
		     strcmp(word, "--socket") == 0) &&
		    n + 1 < argc)
			n++;
		else if (strcmp(word, "--") == 0)
			break;
		n++;
	}
	*i = n;
	return true;
}

/* With a descriptor of 0 to 2 closed, a database or a lock could get its number. */
static bool ctl_std_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return false;
	return true;
}

static int ctl_run(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_verb *verb;
	char **none;
	int at = 0;

	for (int i = 1; i < argc; i++)
		if (!text_is_utf8(argv[i], strlen(argv[i])))
			return ctl_say(ctl, CTL_USAGE, "argument %d is not UTF-8 text", i);
	if (!ctl_before(ctl, argc, argv, &at))
		return ctl->exit;
	verb = at < argc ? ctl_find(argv[at]) : NULL;
	if (at < argc && !verb && argv[at][0] != '-')
		return ctl_say(ctl, CTL_USAGE, "there is no verb %s; see kanbanctl --help",
			       argv[at]);
	/* the options before the verb, as if they had no verb */
	if (!ctl_args(ctl, NULL, at, argv, 0, 0, &none))
		return ctl->exit;
	if (!verb) {
		ctl_help(ctl, NULL, stderr);
		return CTL_USAGE;
	}
	ctl->verb = verb->name;
	return verb->run(ctl, argc - at, argv + at);
}

/* Has whoever read our output gone away */
static bool ctl_reader_gone(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

int ctl_main(int argc, char **argv, char *const *env)
{
	struct ctl ctl = { .env = env, .verb = "", .out = stdout };
	int exit, error;

	if (!ctl_std_fds())
		return CTL_IO;
	screen_open(&ctl.screen, stdout);
	exit = ctl_run(&ctl, argc, argv);
	error = fflush(stdout) == 0 ? 0 : errno;
	if (error == 0 && !ferror(stdout))
		return exit;
	if (error == EPIPE || ctl_reader_gone()) /* enough was read, as with any other tool */
		return exit;
	return ctl_say(&ctl, CTL_IO, "cannot write the output: %s",
		       error ? strerror(error) : "it failed on the way");
}
