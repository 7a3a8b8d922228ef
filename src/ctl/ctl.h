/*
 * What every verb of kanbanctl works with: the options that all have, the root and the board
 * they mean, exit codes, output.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "board/discover.h"
#include "board/edit.h"
#include "ctl/screen.h"
#include "util/error.h"

struct ctl_verb;
struct db;
struct json_t;

/* Exit codes; those of sysexits.h keep their numbers. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_NOT_WELL = 1,   /* the thing asked about is not well, or the task refused */
	CTL_USAGE = 64,     /* a wrong option or argument */
	CTL_NO_INPUT = 66,  /* no such root, board or task */
	CTL_NO_DAEMON = 69, /* the daemon does not run */
	CTL_IO = 74,        /* a file or a disk */
	CTL_TRY_AGAIN = 75, /* busy, or the lease is held elsewhere */
	CTL_NOT_ALLOWED = 77,
	CTL_CONFIG = 78,         /* the environment or a configuration file */
	CTL_END_OF_READER = 256, /* within kanbanctl: nobody reads the output any more */
};

/* One call of kanbanctl. */
struct ctl {
	const char *root_arg;                /* --root, or NULL */
	const char *board_arg;               /* --board, or NULL */
	const char *socket_arg;              /* --socket, or NULL */
	bool json;                           /* --json */
	char *const *env;                    /* environ(7), borrowed */
	const char *no_daemon;               /* why none is asked; NULL: there is none */
	bool daemon_hangs;                   /* … because it does not answer */
	const struct ctl_verb *verb;         /* NULL before one is known */
	const struct ctl_verb *const *verbs; /* ctl_verbs() */
	size_t n_verbs;
	bool describe;        /* only tell the options, for completion, see ctl_args() */
	FILE *out;            /* stdout */
	struct screen screen; /* what stdout is */
	bool was_root;        /* account_take() gave root's rights up */
	bool stdin_used;      /* a text was read from standard input */
	bool stop;            /* ctl_args(): nothing is left to do, see exit */
	int exit;             /* with it */
};

/* In the order of the help text. */
enum ctl_group {
	CTL_TASKS,  /* what is to be done */
	CTL_WATCH,  /* what happens */
	CTL_DAEMON, /* steering */
	CTL_BOARDS, /* keeping boards whole */
	CTL_SETUP,  /* the installation */
	CTL_HIDDEN, /* for scripts */
};

enum ctl_verb_flags {
	CTL_NEEDS_DAEMON = 1 << 0, /* works through the control socket only */
	CTL_TABLE = 1 << 1,        /* prints a table: --output, --noheadings and --raw */
	CTL_TABLES = 1 << 2,       /* prints several: no --output */
};

/*
 * A verb is one file, verb_NAME.c, with its entry and a CTL_VERB() of it at its end. Help,
 * completion and the manual's checks are made from it.
 */
struct ctl_verb {
	const char *name;
	const char *args; /* for the usage line, "" for none */
	const char *what; /* one line for --help */
	enum ctl_group group;
	int rank;             /* in the order of the help text within the group */
	unsigned flags;       /* enum ctl_verb_flags */
	const char *complete; /* words of the arguments, one for each; NULL: those of args */
	int (*run)(struct ctl *ctl, int argc, char **argv); /* argv[0]: the verb; exit code */
};

/*
 * Names an entry at the end of its file. Its address goes into a section of its own, which the
 * linker makes one array of, so that no list of verbs has to be kept; the files of verbs are
 * therefore linked by name and not out of the archive.
 */
#if __has_attribute(retain) /* --gc-sections of lld */
#define CTL_GATHERED __attribute__((used, retain, section("ctl_verbs")))
#else
#define CTL_GATHERED __attribute__((used, section("ctl_verbs")))
#endif
#define CTL_VERB(verb) static const struct ctl_verb *const verb##_entry CTL_GATHERED = &(verb)

/** ctl_no_daemon() - why the files are read and no daemon is asked, as a sentence part */
const char *ctl_no_daemon(const struct ctl *ctl);

/** ctl_main() - kanbanctl, but for the process: returns the exit code */
int ctl_main(int argc, char **argv, char *const *env);

/* ---- which verbs there are: ctl_verbs.c ---- */

/** ctl_verbs() - all of them in the order of the help text, NULL-terminated; malloc'd, NULL:
 * out of memory */
MUST_CHECK const struct ctl_verb **ctl_verbs(size_t *n);

/** ctl_verb_find() - the one called @name, or NULL */
const struct ctl_verb *ctl_verb_find(const struct ctl *ctl, const char *name);

/** ctl_verb_none() - say that none is called @word, and which may be meant.
 * Return: CTL_USAGE */
int ctl_verb_none(const struct ctl *ctl, const char *word);

/* ---- what is said: ctl_say.c ---- */

/** ctl_env() - a variable that is set and not blank, or NULL */
const char *ctl_env(const struct ctl *ctl, const char *name);

/** ctl_fail() - tell @e on standard error.  Return: the exit code for @r. */
int ctl_fail(const struct ctl *ctl, int r, const struct error *e);

/** ctl_say() - one sentence on standard error, "kanbanctl VERB: " before it.  Return: @exit */
int ctl_say(const struct ctl *ctl, int exit, const char *fmt, ...) PRINTF(3, 4);

/** ctl_print_json() - @json (given away, NULL is out of memory) as the output.
 * Return: exit code */
int ctl_print_json(const struct ctl *ctl, struct json_t *json, int exit);

/* ---- arguments: ctl_args.c ---- */

enum ctl_arg_kind {
	CTL_ARG_FLAG, /* bool */
	CTL_ARG_TEXT, /* const char * into argv */
	CTL_ARG_LONG, /* char *, malloc'd; "-" reads standard input */
	CTL_ARG_INT,  /* int64_t within min … max */
	CTL_ARG_LIST, /* struct ctl_list *, may be given more than once */
};

struct ctl_list {
	const char **items; /* NULL-terminated, the array is malloc'd */
	size_t n;
};

static inline void ctl_list_deinit(struct ctl_list *list)
{
	free(list->items);
	list->items = NULL;
}

struct ctl_arg {
	const char *name; /* long option without its dashes */
	enum ctl_arg_kind kind;
	void *to;
	const char *value; /* placeholder in the usage, NULL for a flag */
	const char *what;  /* for --help */
	int64_t min, max;  /* CTL_ARG_INT */
};

/**
 * ctl_args() - parse what stands behind the verb
 * Long options may be cut short as long as one is meant; letters mean the same everywhere.
 * @options: of the verb, ended by a NULL name, or NULL; --root, --board, --socket, --json and
 *           --help are understood everywhere
 * @positional: out, @min to @max of them, NULL-terminated; it is @argv, reordered
 * Return: true to go on; false when the verb is over, with @ctl->exit (help, or a mistake that
 * was told).
 */
MUST_CHECK bool ctl_args(struct ctl *ctl, const struct ctl_arg *options, int argc, char **argv,
			 int min, int max, char ***positional);

#define CTL_GLOBALS 9 /* options that are taken with every verb, with the end */

/** ctl_help_line(), ctl_help_globals() - parts of a help text */
void ctl_help_line(FILE *out, const char *left, const char *right);
void ctl_help_globals(struct ctl *ctl, FILE *out);

/** ctl_long_text() - @text, or standard input for "-"; malloc'd; see CTL_ARG_LONG.
 * Return: 0, or an exit code after telling why. */
MUST_CHECK int ctl_long_text(struct ctl *ctl, const char *what, const char *text, char **out);

/** ctl_int() - a whole number of @min … @max, nothing around it */
MUST_CHECK bool ctl_int(const char *text, int64_t min, int64_t max, int64_t *out);

/* ---- root and board: ctl_place.c ---- */

/** ctl_absolute() - @path made absolute, `~/` replaced by the home folder; malloc'd, NULL: out
 * of memory */
MUST_CHECK char *ctl_absolute(const struct ctl *ctl, const char *path);

/** ctl_root() - the kanban root meant: --root, else the environment, else ~/.hermes if it is
 * there, else the one root that the host's daemon or --socket serves; malloc'd. Where it is
 * another account's, root has become that account.
 * Return: 0, or an exit code after telling why. */
MUST_CHECK int ctl_root(struct ctl *ctl, char **root);

/** ctl_root_own() - the same, but never a root that only the host's daemon knows */
MUST_CHECK int ctl_root_own(struct ctl *ctl, char **root);

/** ctl_is_root() - is something of Hermes in the folder @root, as a board or a profile, or is
 * the database named elsewhere */
bool ctl_is_root(const struct ctl *ctl, const char *root);

/** ctl_no_root() - tell that no folder is seen at @root. Return: exit code */
int ctl_no_root(const struct ctl *ctl, const char *root);

/**
 * ctl_place() - the board meant: --board, else HERMES_KANBAN_BOARD, else `default`; without
 * --root and --board, HERMES_KANBAN_DB is its database
 * Return: 0, then board_place_deinit(); or an exit code after telling why.
 */
MUST_CHECK int ctl_place(struct ctl *ctl, struct board_place *place);

/** ctl_is_board() - can @slug be a board; told if not */
MUST_CHECK bool ctl_is_board(const struct ctl *ctl, const char *slug);

/** ctl_open() - open the board at @place, to write or only to read.
 * Return: 0, or an exit code after telling why. */
MUST_CHECK int ctl_open(const struct ctl *ctl, const struct board_place *place, bool write,
			struct db **db);

/** ctl_busy_timeout_ms() - HERMES_KANBAN_BUSY_TIMEOUT_MS, or what the board contract says */
int ctl_busy_timeout_ms(const struct ctl *ctl, bool write);
