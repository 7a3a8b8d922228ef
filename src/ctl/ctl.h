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
	const char *root_arg;   /* --root, or NULL */
	const char *board_arg;  /* --board, or NULL */
	const char *socket_arg; /* --socket, or NULL */
	bool json;              /* --json */
	char *const *env;       /* environ(7), borrowed */
	const char *verb;       /* its name, "" before one is known */
	FILE *out;              /* stdout */
	struct screen screen;   /* what stdout is */
	bool stdin_used;        /* a text was read from standard input */
	bool stop;              /* ctl_args(): nothing is left to do, see exit */
	int exit;               /* with it */
};

typedef int (*ctl_verb_fn)(struct ctl *ctl, int argc, char **argv);

enum ctl_verb_flags {
	CTL_NEEDS_DAEMON = 1 << 0, /* works through the control socket only */
};

struct ctl_verb {
	const char *name;
	const char *args; /* for the usage line, "" for none */
	const char *what; /* one line for --help */
	unsigned flags;   /* enum ctl_verb_flags */
	ctl_verb_fn run;  /* argv[0] is the verb; returns the exit code */
};

/** ctl_verbs() - every verb, ended by a NULL name */
const struct ctl_verb *ctl_verbs(void);

/** ctl_main() - kanbanctl, but for the process: returns the exit code */
int ctl_main(int argc, char **argv, char *const *env);

/* The verbs. */
int ctl_verb_accept(struct ctl *ctl, int argc, char **argv);
int ctl_verb_add(struct ctl *ctl, int argc, char **argv);
int ctl_verb_block(struct ctl *ctl, int argc, char **argv);
int ctl_verb_board(struct ctl *ctl, int argc, char **argv);
int ctl_verb_boards(struct ctl *ctl, int argc, char **argv);
int ctl_verb_check(struct ctl *ctl, int argc, char **argv);
int ctl_verb_comment(struct ctl *ctl, int argc, char **argv);
int ctl_verb_complete(struct ctl *ctl, int argc, char **argv);
int ctl_verb_doctor(struct ctl *ctl, int argc, char **argv);
int ctl_verb_drain(struct ctl *ctl, int argc, char **argv);
int ctl_verb_events(struct ctl *ctl, int argc, char **argv);
int ctl_verb_gateways(struct ctl *ctl, int argc, char **argv);
int ctl_verb_heartbeat(struct ctl *ctl, int argc, char **argv);
int ctl_verb_init(struct ctl *ctl, int argc, char **argv);
int ctl_verb_leader(struct ctl *ctl, int argc, char **argv);
int ctl_verb_list(struct ctl *ctl, int argc, char **argv);
int ctl_verb_metrics(struct ctl *ctl, int argc, char **argv);
int ctl_verb_notify(struct ctl *ctl, int argc, char **argv);
int ctl_verb_pause(struct ctl *ctl, int argc, char **argv);
int ctl_verb_reload(struct ctl *ctl, int argc, char **argv);
int ctl_verb_repair(struct ctl *ctl, int argc, char **argv);
int ctl_verb_restore(struct ctl *ctl, int argc, char **argv);
int ctl_verb_resume(struct ctl *ctl, int argc, char **argv);
int ctl_verb_show(struct ctl *ctl, int argc, char **argv);
int ctl_verb_snapshot(struct ctl *ctl, int argc, char **argv);
int ctl_verb_snapshots(struct ctl *ctl, int argc, char **argv);
int ctl_verb_status(struct ctl *ctl, int argc, char **argv);
int ctl_verb_tick(struct ctl *ctl, int argc, char **argv);
int ctl_verb_top(struct ctl *ctl, int argc, char **argv);
int ctl_verb_unblock(struct ctl *ctl, int argc, char **argv);
int ctl_verb_words(struct ctl *ctl, int argc, char **argv);
int ctl_verb_workers(struct ctl *ctl, int argc, char **argv);

/* ---- arguments: args.c ---- */

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
 * @options: of the verb, ended by a NULL name, or NULL; --root, --board, --json and --help are
 *           understood everywhere
 * @positional: out, @min to @max of them, NULL-terminated; it is @argv, reordered
 * Return: true to go on; false when the verb is over, with @ctl->exit (help, or a mistake that
 * was told).
 */
MUST_CHECK bool ctl_args(struct ctl *ctl, const struct ctl_arg *options, int argc, char **argv,
			 int min, int max, char ***positional);

/** ctl_long_text() - @text, or standard input for "-"; malloc'd; see CTL_ARG_LONG.
 * Return: 0, or an exit code after telling why. */
MUST_CHECK int ctl_long_text(struct ctl *ctl, const char *what, const char *text, char **out);

/** ctl_int() - a whole number of @min … @max, nothing around it */
MUST_CHECK bool ctl_int(const char *text, int64_t min, int64_t max, int64_t *out);

/** ctl_help() - the usage of @ctl->verb, or of kanbanctl */
void ctl_help(const struct ctl *ctl, const struct ctl_arg *options, FILE *out);

/* ---- context: context.c ---- */

/** ctl_env() - a variable that is set and not blank, or NULL */
const char *ctl_env(const struct ctl *ctl, const char *name);

/** ctl_absolute() - @path made absolute, `~/` replaced by the home folder; malloc'd, NULL: out
 * of memory */
MUST_CHECK char *ctl_absolute(const struct ctl *ctl, const char *path);

/** ctl_root() - the kanban root meant: --root, else the environment; malloc'd.
 * Return: 0, or an exit code after telling why. */
MUST_CHECK int ctl_root(const struct ctl *ctl, char **root);

/**
 * ctl_place() - the board meant: --board, else HERMES_KANBAN_BOARD, else `default`; without
 * --root and --board, HERMES_KANBAN_DB is its database
 * Return: 0, then board_place_deinit(); or an exit code after telling why.
 */
MUST_CHECK int ctl_place(const struct ctl *ctl, struct board_place *place);

/** ctl_is_board() - can @slug be a board; told if not */
MUST_CHECK bool ctl_is_board(const struct ctl *ctl, const char *slug);

/** ctl_open() - open the board at @place, to write or only to read.
 * Return: 0, or an exit code after telling why. */
MUST_CHECK int ctl_open(const struct ctl *ctl, const struct board_place *place, bool write,
			struct db **db);

/** ctl_busy_timeout_ms() - HERMES_KANBAN_BUSY_TIMEOUT_MS, or what the board contract says */
int ctl_busy_timeout_ms(const struct ctl *ctl, bool write);

/** ctl_fail() - tell @e on standard error.  Return: the exit code for @r. */
int ctl_fail(const struct ctl *ctl, int r, const struct error *e);

/** ctl_say() - one sentence on standard error, "kanbanctl VERB: " before it.  Return: @exit */
int ctl_say(const struct ctl *ctl, int exit, const char *fmt, ...) PRINTF(3, 4);

/** ctl_print_json() - @json (given away, NULL is out of memory) as the output.
 * Return: exit code */
int ctl_print_json(const struct ctl *ctl, struct json_t *json, int exit);
