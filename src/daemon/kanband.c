/* kanband: options, and which of the three things to do: check the config, sweep once, or
 * serve. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/once.h"
#include "launch/slurm.h"
#include "launch/unit.h"
#include "util/fs.h"
#include "util/log.h"
#include "util/suggest.h"
#include <daemon/daemon.h> /* not src/daemon/daemon.h, which is nearer */

extern char **environ;

struct options {
	struct config_cli cli;
	struct once_options once;
	const char **roots; /* NULL-terminated */
	size_t n_roots;
	bool run_once, check_config;
};

static const char usage[] =
	"Usage: kanband [OPTION]...\n"
	"Starts a worker for each ready task on the boards of a kanban root.\n"
	"\n"
	"  -c, --config FILE     read FILE instead of the default kanband.conf\n"
	"  -r, --root DIR        serve this kanban root; may be given several times\n"
	"  -s, --socket PATH     where the control socket is\n"
	"      --launcher WHICH  %s\n"
	"  -l, --log-level LEVEL error, warning, notice, info or debug\n"
	"      --once            one sweep of all boards, a report, and out\n"
	"      --dry-run         with --once: say what would be done, write nothing\n"
	"      --board SLUG      with --once: only this board\n"
	"      --json            with --once or --check-config: print JSON\n"
	"      --check-config    print every setting with where it came from, and exit\n"
	"  -h, --help            this text\n"
	"  -V, --version         version and licence\n"
	"\n"
	"Exit status: 0 well, 1 a board is damaged or could not be swept (--once), 64 usage, "
	"66 no\n"
	"such root or board, 74 I/O error, 75 the lease is held elsewhere (--once), 77 not "
	"allowed,\n"
	"78 configuration. See kanband(8) and kanband.conf(5).\n";

enum { OPT_LAUNCHER = 256, OPT_ONCE, OPT_DRY_RUN, OPT_BOARD, OPT_JSON, OPT_CHECK };

static const struct option longopts[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "root", required_argument, NULL, 'r' },
	{ "socket", required_argument, NULL, 's' },
	{ "launcher", required_argument, NULL, OPT_LAUNCHER },
	{ "log-level", required_argument, NULL, 'l' },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "board", required_argument, NULL, OPT_BOARD },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static int usage_error(const char *what)
{
	bool asks = *what && what[strlen(what) - 1] == '?';

	(void)fprintf(stderr, "kanband: %s%s kanband --help\n", what, asks ? " See" : "; see");
	return EX_USAGE;
}

static int option_help(void)
{
	char launchers[96];
	int n = printf(usage, config_launchers(launchers, sizeof(launchers)));

	return n < 0 || fflush(stdout) != 0 ? EX_IOERR : 0;
}

static int option_launcher_wrong(void)
{
	char launchers[96], what[128];

	(void)snprintf(what, sizeof(what), "--launcher takes %s",
		       config_launchers(launchers, sizeof(launchers)));
	return usage_error(what);
}

static int option_root(struct options *o, const char *path)
{
	const char **more = reallocarray(o->roots, o->n_roots + 2, sizeof(char *));

	if (!more)
		return -ENOMEM;
	o->roots = more;
	more[o->n_roots++] = path;
	more[o->n_roots] = NULL;
	o->cli.roots = more;
	return 0;
}

/* What getopt_long() did not take, and what may have been meant. Return: the exit status */
static int option_wrong(int c, const char *word)
{
	const char *names[sizeof(longopts) / sizeof(longopts[0])], *near;
	const size_t len = strcspn(word, "=");
	CLEANUP(freep) char *name = len > 2 ? strndup(word + 2, len - 2) : NULL;
	char what[200], list[96] = "";
	size_t n = 0, alike = 0;

	for (; longopts[n].name; n++) {
		size_t have = strlen(list);

		names[n] = longopts[n].name;
		if (name && strncmp(names[n], name, len - 2) == 0)
			(void)snprintf(list + have, sizeof(list) - have, "%s--%s",
				       alike++ ? ", " : "", names[n]);
	}
	near = name ? suggest(name, names, n) : NULL;
	if (c == ':')
		(void)snprintf(what, sizeof(what), "%.60s wants a value", word);
	else if (word[0] == '-' && word[1] != '-')
		(void)snprintf(what, sizeof(what), "there is no option -%c", optopt);
	else if (alike > 1)
		(void)snprintf(what, sizeof(what), "%.60s may be any of %s", word, list);
	else if (alike == 1)
		(void)snprintf(what, sizeof(what), "%s takes no value", list);
	else if (near)
		(void)snprintf(what, sizeof(what),
			       "there is no option %.60s; did you mean --%s?", word, near);
	else
		(void)snprintf(what, sizeof(what), "there is no option %.60s", word);
	return usage_error(what);
}

/* One option. Return: -1 go on, else the exit status. */
static int option_take(struct options *o, int c)
{
	switch (c) {
	case 'c':
		o->cli.file = optarg;
		return -1;
	case 'r':
		return option_root(o, optarg) < 0 ? EX_OSERR : -1;
	case 's':
		o->cli.socket = optarg;
		return -1;
	case 'l':
		o->cli.log_level = optarg;
		return -1;
	case OPT_LAUNCHER:
		o->cli.launcher = optarg;
		return -1;
	case OPT_ONCE:
		o->run_once = true;
		return -1;
	case OPT_DRY_RUN:
		o->once.dry_run = true;
		return -1;
	case OPT_BOARD:
		o->once.board = optarg;
		return -1;
	case OPT_JSON:
		o->once.json = true;
		return -1;
	case OPT_CHECK:
		o->check_config = true;
		return -1;
	case 'h':
		return option_help();
	case 'V':
		return printf("kanband %s\nLicence MIT.\n", KANBAND_VERSION) < 0 ? EX_IOERR : 0;
	default:
		return EX_USAGE; /* options_parse() has told */
	}
}

static int options_parse(struct options *o, int argc, char **argv)
{
	int c, r;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":c:r:s:l:hV", longopts, NULL)) != -1) {
		r = c == '?' || c == ':' ? option_wrong(c, argv[optind - 1])
					 : option_take(o, c);
		if (r >= 0)
			return r;
	}
	if (optind < argc)
		return usage_error("it takes options only, a folder as --root FOLDER");
	if (o->check_config && o->run_once)
		return usage_error("--check-config and --once do not go together");
	if ((o->once.dry_run || o->once.board) && !o->run_once)
		return usage_error("--dry-run and --board go with --once");
	if (o->once.json && !o->run_once && !o->check_config)
		return usage_error("--json goes with --once or --check-config");
	if (o->cli.log_level && log_level_from_text(o->cli.log_level) < 0)
		return usage_error("--log-level takes error, warning, notice, info or debug");
	if (o->cli.launcher && !config_is_launcher(o->cli.launcher))
		return option_launcher_wrong();
	if (o->once.board && !fs_is_slug(o->once.board))
		return usage_error("--board takes a board's slug (a-z, 0-9, _ and -)");
	return -1;
}

/* Descriptors 0 to 2 must be open, or a database would get one of them. */
static int standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	} while (fd <= 2);
	return close(fd) < 0 ? -errno : 0;
}

/*
 * Root over somebody else's root: whoever can write that root would choose what root runs.
 * Return: 0 or the exit status.
 */
static int run_as_owner(const struct config *config)
{
	for (const char *const *root = config_roots(config); *root; root++) {
		const struct passwd *who;
		struct stat st;
		char name[32];

		/* one that is not there is told by whoever needs it */
		if (geteuid() != 0 || stat(*root, &st) < 0 || st.st_uid == 0)
			continue;
		who = getpwuid(st.st_uid);
		(void)snprintf(name, sizeof(name), "#%lu", (unsigned long)st.st_uid);
		log_error("%s belongs to the account %s, and as root its workers would run as "
			  "root: start kanband@%s.service, or kanband as that account",
			  *root, who ? who->pw_name : name, who ? who->pw_name : "OWNER");
		return EX_CONFIG;
	}
	return 0;
}

static int run(struct options *o)
{
	struct config *config = NULL;
	struct error e = ERROR_NULL;
	int r;

	log_open(LOG_INFO);
	r = config_load(&config, &o->cli, environ, &e);
	if (r < 0) {
		log_error("%s", e.text);
		return EX_CONFIG;
	}
	/* a sweep by hand tells the warnings when it has its roots: one message at a time */
	for (const char *const *w = config_warnings(config); *w && !o->run_once; w++)
		log_warning("%s", *w);
	/* a sweep by hand speaks through its report: only what is wrong goes to stderr */
	o->once.log_level = o->cli.log_level ? config_log_level(config) : LOG_ERR;
	log_set_level(o->run_once ? o->once.log_level : config_log_level(config));
	if (o->check_config) {
		r = config_print(config, stdout, o->once.json);
		config_free(config);
		return r < 0 ? EX_IOERR : 0;
	}
	r = run_as_owner(config);
	if (r != 0)
		return r;
	if (o->run_once)
		return once_run(config, &o->once, environ);
	return daemon_run(config, &o->cli, environ);
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int r;

	if (argc == 2 && strcmp(argv[1], UNIT_WORKER_OPTION) == 0)
		return unit_worker_main();
	if (argc == 2 && strcmp(argv[1], SLURM_WORKER_OPTION) == 0)
		return slurm_worker_main();
	if (argc > 1 && strcmp(argv[1], SLURM_ATTEND_OPTION) == 0)
		return slurm_attend_main(argc, argv);
	r = standard_fds();
	if (r < 0)
		return EX_OSERR;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return EX_OSERR;
	r = options_parse(&o, argc, argv);
	if (r < 0)
		r = run(&o);
	free(o.roots);
	return r;
}
