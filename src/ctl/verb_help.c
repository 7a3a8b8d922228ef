/* help: the verbs in groups, or one of them. */
#include "ctl.h"

static void help_all(struct ctl *ctl)
{
	static const char *const groups[] = { "tasks", "what happens", "the daemon", "boards",
					      "the installation" };
	FILE *out = ctl->out;

	(void)fputs("usage: kanbanctl [option …] VERB [argument …]\n", out);
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		(void)fprintf(out, "\n%s:\n", groups[g]);
		for (const struct ctl_verb *const *v = ctl->verbs; *v; v++) {
			char left[96];

			if ((*v)->group != g)
				continue;
			(void)snprintf(left, sizeof(left), "%s%s%s", (*v)->name,
				       *(*v)->args ? " " : "", (*v)->args);
			ctl_help_line(out, left, (*v)->what);
		}
	}
	(void)fputs("\noptions:\n", out);
	ctl_help_globals(ctl, out);
	ctl_help_line(out, "-V, --version", "the version");
	(void)fputs("\n\"kanbanctl help VERB\" tells more; so does kanbanctl(1).\n", out);
}

static int verb_help_run(struct ctl *ctl, int argc, char **argv)
{
	static char option[] = "--help";
	char *ask[] = { NULL, option, NULL };
	const struct ctl_verb *verb;
	char **args = NULL;

	if (ctl->verb && !ctl_args(ctl, NULL, argc, argv, 0, 1, &args))
		return ctl->exit;
	if (!args || !args[0]) {
		help_all(ctl);
		return CTL_OK;
	}
	verb = ctl_verb_find(ctl, args[0]);
	if (!verb)
		return ctl_verb_none(ctl, args[0]);
	ctl->verb = verb;
	ask[0] = args[0];
	return verb->run(ctl, 2, ask);
}

static const struct ctl_verb verb_help = {
	.name = "help",
	.args = "[VERB]",
	.what = "show this text, or all about a verb",
	.group = CTL_SETUP,
	.rank = 40,
	.run = verb_help_run,
};
CTL_VERB(verb_help);
