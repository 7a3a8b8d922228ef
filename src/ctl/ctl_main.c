/* kanbanctl from its first word to its exit code. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "util/text.h"

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
	bool help = false, version = false;
	const struct ctl_arg options[] = {
		{ "help", CTL_ARG_FLAG, &help, NULL, "this text", 0, 0 },
		{ "version", CTL_ARG_FLAG, &version, NULL, "the version", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	const struct ctl_verb *verb;
	char **words;

	for (int i = 1; i < argc; i++)
		if (!text_is_utf8(argv[i], strlen(argv[i])))
			return ctl_say(ctl, CTL_USAGE, "argument %d is not UTF-8 text", i);
	/* the options before the verb */
	if (!ctl_args(ctl, options, argc, argv, 0, 0, &words))
		return ctl->exit;
	if (version) {
		(void)fprintf(ctl->out, "kanbanctl %s\n", KANBAND_VERSION);
		return CTL_OK;
	}
	verb = ctl_verb_find(ctl, help || !words[0] ? "help" : words[0]);
	if (!verb)
		return ctl_verb_none(ctl, words[0]);
	if (help)
		return verb->run(ctl, 1, argv);
	if (!words[0]) {
		ctl->out = stderr;
		(void)verb->run(ctl, 1, argv); /* what it says goes where mistakes go */
		return CTL_USAGE;
	}
	ctl->verb = verb;
	return verb->run(ctl, argc - (int)(words - argv), words);
}

/* Has whoever read our output gone away */
static bool ctl_reader_gone(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

int ctl_main(int argc, char **argv, char *const *env)
{
	CLEANUP(freep) const struct ctl_verb **verbs = NULL;
	struct ctl ctl = { .env = env, .out = stdout };
	int exit, error;

	if (!ctl_std_fds())
		return CTL_IO;
	ctl.verbs = verbs = ctl_verbs(&ctl.n_verbs);
	if (!verbs)
		return ctl_say(&ctl, CTL_IO, "out of memory");
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
