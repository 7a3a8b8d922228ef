/* doctor: the boards, and folders that are taken for boards. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "board/discover.h"
#include "board/state.h"
#include "ctl.h"
#include "ctl/boards.h"
#include "ctl/doctor.h"
#include "db/db_file.h"
#include "process/proc.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/quote.h"

#define DOCTOR_MANY      20 /* lines about one kind of thing; then one for the rest */
#define DOCTOR_LOCKS_MAX ((size_t)8 << 20)

/* ---- who keeps a board busy ---------------------------------------------------------- */

/* Who has a lock for writing on that inode; 0 nobody who is seen. SQLite's are POSIX locks. */
static pid_t busy_locker(const char *locks, const struct stat *st)
{
	pid_t found = 0;

	for (const char *l = locks; l && *l; l = strchr(l, '\n') ? strchr(l, '\n') + 1 : NULL) {
		unsigned major_no, minor_no;
		unsigned long long ino;
		int pid;

		if (sscanf(l, "%*u: POSIX ADVISORY WRITE %d %x:%x:%llu ", &pid, &major_no,
			   &minor_no, &ino) != 4 ||
		    ino != st->st_ino || pid <= 0)
			continue;
		if (makedev(major_no, minor_no) == st->st_dev)
			return pid;
		found = pid; /* btrfs and overlayfs show stat(2) another device */
	}
	return found;
}

static pid_t busy_pid(const char *db)
{
	static const enum db_part parts[] = { DB_MAIN, DB_SHM };
	CLEANUP(freep) char *locks = NULL;
	pid_t pid = 0;

	if (fs_read_file("/proc/locks", DOCTOR_LOCKS_MAX, &locks, NULL) < 0)
		return 0;
	for (size_t i = 0; pid == 0 && i < 2; i++) {
		CLEANUP(freep) char *path = db_file_path(db, parts[i]);
		struct stat st;

		if (path && stat(path, &st) == 0)
			pid = busy_locker(locks, &st);
	}
	return pid;
}

/* Waits for the board; and if that was in vain, ends who has it. */
static void board_busy(struct doctor *d, const char *slug, const json_t *board)
{
	pid_t pid = busy_pid(json_text(board, "db"));
	CLEANUP(freep) char *comm = NULL;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (pid > 0 && fs_read_file(path, 256, &comm, NULL) == 0)
		comm[strcspn(comm, "\n")] = '\0';
	if (pid > 0)
		doctor_say(d, DOCTOR_BOARD_BUSY, slug,
			   quote_command("kanbanctl --root %q check %q; [ $? -ne 75 ] || kill "
					 "-TERM %d",
					 d->root, slug, (int)pid),
			   "busy: %s; pid %d (%s) has it locked", json_text(board, "error"),
			   (int)pid, comm ? comm : "?");
	else
		doctor_say(d, DOCTOR_BOARD_BUSY, slug,
			   quote_command("kanbanctl --root %q check %q", d->root, slug),
			   "troubled: %s; if somebody has it locked, who is not seen from here",
			   json_text(board, "error"));
}

/* ---- the others ---------------------------------------------------------------------- */

/* A file that cannot be opened; malloc'd */
static char *unreadable_remedy(const struct doctor *d, const char *db, enum doctor_id *id)
{
	struct stat st;

	*id = DOCTOR_BOARD_UNREADABLE;
	if (stat(db, &st) == 0 && S_ISREG(st.st_mode))
		return remedy_own(&d->remedy, db);
	*id = DOCTOR_BOARD_NO_FILE;
	return remedy_aside(&d->remedy, db);
}

/* The command for a board in that state; malloc'd */
static char *board_remedy(const struct doctor *d, const json_t *board, enum doctor_id *id)
{
	const char *state = json_text(board, "state"), *slug = json_text(board, "slug");

	if (strcmp(state, "quarantined") == 0) {
		/* one that would lose rows is for the operator to decide */
		bool loses = strstr(json_text(board, "error"), "would lose") != NULL;

		*id = loses ? DOCTOR_BOARD_LOSSY : DOCTOR_BOARD_DAMAGED;
		if (loses) /* to see what is lost before it is */
			return quote_command("kanbanctl --root %q repair %q --dry-run; "
					     "kanbanctl --root %q repair %q --salvage",
					     d->root, slug, d->root, slug);
		/* first whether it can be done, which changes nothing */
		if (strstr(json_text(board, "error"), " is left"))
			return quote_command("kanbanctl --root %q restore %q --dry-run && "
					     "kanbanctl --root %q restore %q",
					     d->root, slug, d->root, slug);
		return quote_command("kanbanctl --root %q repair %q --dry-run && "
				     "kanbanctl --root %q repair %q",
				     d->root, slug, d->root, slug);
	}
	if (strcmp(state, "lost") == 0) {
		*id = DOCTOR_BOARD_LOST;
		return quote_command("kanbanctl --root %q restore %q", d->root, slug);
	}
	if (strcmp(state, "schema") ==
	    0) { /* Hermes adds what a board lacks when it opens it */
		*id = DOCTOR_BOARD_SCHEMA;
		return quote_command(
			"%senv HERMES_KANBAN_HOME=%q hermes kanban --board %q list",
			d->remedy.as_owner, d->root, slug);
	}
	if (strcmp(state, "troubled") == 0)
		return unreadable_remedy(d, json_text(board, "db"), id);
	/* being looked at, or repaired, when kanband ended: that is begun again */
	*id = DOCTOR_BOARD_OTHER;
	return quote_command("kanbanctl --root %q repair %q", d->root, slug);
}

/* A passing fault of a file that can be opened: somebody has it locked. */
static bool board_held(const json_t *board)
{
	const char *db = json_text(board, "db");
	struct stat st;

	return strcmp(json_text(board, "state"), "troubled") == 0 && stat(db, &st) == 0 &&
	       S_ISREG(st.st_mode) && access(db, R_OK | W_OK) == 0;
}

static void doctor_board(struct doctor *d, const char *slug, const json_t *board)
{
	const char *error = json_text(board, "error"), *end;
	enum doctor_id id;
	char *remedy;

	if (board_held(board)) {
		board_busy(d, slug, board);
		return;
	}
	remedy = board_remedy(d, board, &id);
	end = strstr(error, "; see kanbanctl "); /* ours is named behind it */
	doctor_say(d, id, slug, remedy, "%s: %.*s", json_text(board, "state"),
		   (int)(end ? (size_t)(end - error) : strlen(error)), error);
}

/* ---- folders ------------------------------------------------------------------------- */

/* A folder that Hermes takes for a board and we do not. */
static void doctor_folder(struct doctor *d, const char *boards, const char *name)
{
	char lower[BOARD_SLUG_MAX + 1];
	CLEANUP(freep) char *from = fs_path("%s/%s", boards, name);
	CLEANUP(freep) char *to = NULL;
	size_t len = strlen(name);

	if (len > BOARD_SLUG_MAX || !from)
		return;
	for (size_t i = 0; i <= len; i++)
		lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a'
								   : name[i]);
	to = fs_path("%s/%s", boards, lower);
	if (!to || !fs_is_slug(lower) || !fs_is_dir(from))
		return;
	/* -T: not into a folder that is there already; mv says so then */
	doctor_say(d, DOCTOR_FOLDER_CASE, name,
		   quote_command("%smv -nT %q %q", d->remedy.as_owner, from, to),
		   "Hermes takes it for board %s, kanband ignores it: board names are lower "
		   "case",
		   lower);
}

static void doctor_folders(struct doctor *d)
{
	CLEANUP(freep) char *path = fs_path("%s/kanban/boards", d->root);
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;
	int n = 0;

	while (dir && n < DOCTOR_MANY && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !fs_is_slug(entry->d_name)) {
			doctor_folder(d, path, entry->d_name);
			n++;
		}
	if (dir)
		(void)closedir(dir); /* it was only read */
}

void doctor_boards(struct doctor *d)
{
	CLEANUP(discovery_deinit) struct discovery disc = { 0 };
	size_t well = 0, bad = 0;
	struct error e = ERROR_NULL;

	if (discover_boards(&disc, d->root, NULL, &e) < 0) {
		doctor_say(d, DOCTOR_BOARD_UNSEEN, NULL, remedy_own_all(&d->remedy), "%s",
			   e.text);
		return;
	}
	for (size_t i = 0; i < disc.count; i++) {
		CLEANUP(json_freep)
		json_t *board = boards_one(d->ctl, d->root, &disc.boards[i], NULL);
		const char *state = json_text(board, "state");

		if (!board)
			d->memory = true;
		if (board && board_state_word_bad(state) && ++bad <= DOCTOR_MANY)
			doctor_board(d, disc.boards[i].slug, board);
		else if (board && !board_state_word_bad(state))
			well++;
	}
	if (bad > DOCTOR_MANY)
		doctor_say(d, DOCTOR_BOARD_MORE, NULL,
			   quote_command("kanbanctl --root %q boards", d->root),
			   "%zu more are not well", bad - DOCTOR_MANY);
	doctor_well(d, "board", NULL, well == 1 ? "%zu of %zu is well" : "%zu of %zu are well",
		    well, disc.count);
	doctor_folders(d);
}
