/* kanband: options, and which of the three things to do: check the config, sweep once, or
 * serve. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/once.h"
#include "util/fs.h"
#include "util/log.h"

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
	"The one dispatcher of a Hermes kanban root.\n"
	"\n"
	"  -c, --config FILE     read FILE instead of the default kanband.conf\n"
	"  -r, --root DIR        serve this kanban root; may be given several times\n"
	"  -s, --socket PATH     where the control socket is\n"
	"      --launcher WHICH  auto, fork or command\n"
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
	(void)fprintf(stderr, "kanband: %s; kanband --help lists the options\n", what);
	return EX_USAGE;
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
		return fputs(usage, stdout) < 0 || fflush(stdout) != 0 ? EX_IOERR : 0;
	case 'V':
		return printf("kanband %s\nLicence MIT.\n", KANBAND_VERSION) < 0 ? EX_IOERR : 0;
	default: /* getopt_long has said what is wrong */
		return usage_error("bad option");
	}
}

static int options_parse(struct options *o, int argc, char **argv)
{
	int c, r;

	while ((c = getopt_long(argc, argv, "c:r:s:l:hV", longopts, NULL)) != -1) {
		r = option_take(o, c);
		if (r >= 0)
			return r;
	}
	if (optind < argc)
		return usage_error("arguments are not taken");
	if (o->check_config && o->run_once)
		return usage_error("--check-config and --once do not go together");
	if ((o->once.dry_run || o->once.board) && !o->run_once)
		return usage_error("--dry-run and --board go with --once");
	if (o->once.json && !o->run_once && !o->check_config)
		return usage_error("--json goes with --once or --check-config");
	if (o->cli.log_level && log_level_from_text(o->cli.log_level) < 0)
		return usage_error("--log-level takes error, warning, notice, info or debug");
	if (o->cli.launcher && strcmp(o->cli.launcher, "auto") != 0 &&
	    strcmp(o->cli.launcher, "fork") != 0 && strcmp(o->cli.launcher, "command") != 0)
		return usage_error("--launcher takes auto, fork or command");
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
	if (o->run_once)
		return once_run(config, &o->once, environ);
	return daemon_run(config, &o->cli, environ);
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int r = standard_fds();

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
