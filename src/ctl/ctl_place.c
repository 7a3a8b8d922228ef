/*
 * Which root and which board are meant, how they are opened, and how failures are told.
 *
 * The command line beats the environment: HERMES_KANBAN_DB, which a dispatcher gives its
 * workers, counts only while neither --root nor --board says something else.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/view.h"
#include "ctl.h"
#include "ctl/account.h"
#include "ctl/host_root.h"
#include "daemon/config.h"
#include "db/db.h"
#include "recovery/door.h"
#include "util/fs.h"
#include "util/text.h"

#define CTL_BUSY_MS      120000 /* the board contract, §3 */
#define CTL_BUSY_READ_MS 10000  /* who only looks does not wait that long */

char *ctl_absolute(const struct ctl *ctl, const char *path)
{
	CLEANUP(freep) char *cwd = NULL;
	const char *home = ctl_env(ctl, "HOME");

	if (path[0] == '~' && (path[1] == '/' || path[1] == '\0') && home)
		return fs_path("%s%s", home, path + 1);
	if (path[0] == '/')
		return strdup(path);
	cwd = getcwd(NULL, 0);
	if (!cwd) /* the folder is gone; the path may be good all the same */
		return strdup(path);
	return fs_path("%s/%s", cwd, path);
}

/* Of --root or the environment; *@guessed: nobody named it, and it is ~/.hermes. */
static int ctl_root_named(const struct ctl *ctl, char **root, bool *guessed)
{
	struct error e = ERROR_NULL;
	int r = 0;

	*guessed = false;
	if (ctl->root_arg && !*ctl->root_arg)
		return ctl_say(ctl, CTL_USAGE, "--root needs a folder");
	if (ctl->root_arg) {
		*root = ctl_absolute(ctl, ctl->root_arg);
		return *root ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
	}
	*guessed = !ctl_env(ctl, "HERMES_KANBAN_HOME") && !ctl_env(ctl, "HERMES_HOME");
	r = config_root_from_env(ctl->env, root, &e);
	if (r == -ENOENT && *guessed) {
		*root = NULL; /* not even a home folder */
		return 0;
	}
	if (r == -ENOENT)
		return ctl_say(ctl, CTL_CONFIG, "%s", e.text);
	return r < 0 ? ctl_fail(ctl, r, &e) : 0;
}

int ctl_root_own(struct ctl *ctl, char **root)
{
	bool guessed;
	int r = ctl_root_named(ctl, root, &guessed);

	if (r == 0 && !*root)
		return ctl_say(
			ctl, CTL_CONFIG,
			"no kanban root: neither HERMES_KANBAN_HOME, HERMES_HOME nor HOME "
			"is set; name one with --root");
	return r == 0 ? account_take(ctl, *root) : r;
}

int ctl_root(struct ctl *ctl, char **root)
{
	CLEANUP(freep) char *own = NULL;
	bool guessed;
	struct stat st;
	int r = ctl_root_named(ctl, &own, &guessed);

	*root = NULL;
	if (r != 0)
		return r;
	if (guessed && ctl->socket_arg)
		r = host_root_of_socket(ctl, own, root);
	else if (guessed && (!own || (stat(own, &st) < 0 && errno != EACCES)))
		r = host_root(ctl, root);
	if (r == 0 && !*root && !own)
		return ctl_say(
			ctl, CTL_CONFIG,
			"no kanban root: neither HERMES_KANBAN_HOME, HERMES_HOME nor HOME "
			"is set, and no daemon of this host answers; name one with --root");
	if (r == 0 && !*root)
		*root = STEAL(own);
	if (r == 0)
		r = account_take(ctl, *root);
	if (r == 0)
		return 0;
	free(*root);
	*root = NULL;
	return r;
}

bool ctl_is_root(const struct ctl *ctl, const char *root)
{
	static const char *const signs[] = { "kanban.db", "kanban", "config.yaml", "profiles" };

	if (ctl_env(ctl, "HERMES_KANBAN_DB"))
		return true;
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		CLEANUP(freep) char *path = fs_path("%s/%s", root, signs[i]);

		/* what cannot be told is told by whoever opens it */
		if (!path || access(path, F_OK) == 0 || errno == EACCES)
			return true;
	}
	return false;
}

int ctl_no_root(const struct ctl *ctl, const char *root)
{
	struct stat st;
	int r = stat(root, &st) < 0 ? -errno : -ENOTDIR;

	if (r == -EACCES)
		return ctl_say(
			ctl, CTL_NOT_ALLOWED,
			"%s: %s; run kanbanctl as the account that owns the root, or with "
			"sudo",
			root, strerror(EACCES));
	return ctl_say(ctl, CTL_NO_INPUT,
		       "there is no kanban root at %s: name one with --root, or make one with "
		       "\"kanbanctl init\"",
		       root);
}

/* A board may lie in a folder of another account than its root, or be a link to a file there.
 * What is made beside it, or in the root, is made by whoever we are then. */
static int ctl_place_take(struct ctl *ctl, const char *root, const struct board_place *place)
{
	CLEANUP(freep) char *locks = fs_path("%s/kanban", root);
	CLEANUP(freep) char *copies = fs_path("%s/snapshots", place->folder);
	int r = locks && copies ? account_take(ctl, locks)
				: ctl_say(ctl, CTL_IO, "out of memory");

	if (r == 0)
		r = account_take(ctl, copies);
	return r == 0 ? account_take(ctl, place->db_path) : r;
}

/* A worker's own database: HERMES_KANBAN_DB. */
static int ctl_pinned(struct ctl *ctl, const char *pin, const char *slug,
		      struct board_place *place)
{
	CLEANUP(freep) char *path = ctl_absolute(ctl, pin);
	CLEANUP(freep) char *root = NULL;
	struct error e = ERROR_NULL;
	int r = path ? account_take(ctl, path) : 0;

	if (r != 0)
		return r;

	*place = (struct board_place){ 0 };
	/* the root only adds what board.json says: without one the database is enough */
	if (path && config_root_from_env(ctl->env, &root, &e) == 0 &&
	    discover_one(root, path, slug, place, &e) == 0)
		return 0;
	(void)snprintf(place->slug, sizeof(place->slug), "%s", slug);
	place->db_path = STEAL(path);
	return place->db_path ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
}

int ctl_place(struct ctl *ctl, struct board_place *place)
{
	const char *slug =
		ctl->board_arg ? ctl->board_arg : ctl_env(ctl, "HERMES_KANBAN_BOARD");
	const char *pin = ctl_env(ctl, "HERMES_KANBAN_DB");
	CLEANUP(freep) char *root = NULL;
	struct error e = ERROR_NULL;
	int r;

	if (!slug)
		slug = "default";
	if (!fs_is_slug(slug))
		return ctl_say(ctl, ctl->board_arg ? CTL_USAGE : CTL_CONFIG,
			       "\"%s\"%s is no board name: 1 to 64 of a-z, 0-9, - and _, the "
			       "first a letter or digit",
			       slug, ctl->board_arg ? "" : " in HERMES_KANBAN_BOARD");
	if (pin && !ctl->root_arg && !ctl->board_arg)
		return ctl_pinned(ctl, pin, slug, place);
	r = ctl_root(ctl, &root);
	if (r != 0)
		return r;
	r = discover_one(root, NULL, slug, place, &e);
	if (r == -ENOENT && fs_is_dir(root))
		return ctl_say(ctl, CTL_NO_INPUT,
			       "%s; \"kanbanctl boards\" lists them, \"kanbanctl init\" makes "
			       "one",
			       e.text);
	if (r == -ENOENT)
		return ctl_no_root(ctl, root);
	return r < 0 ? ctl_fail(ctl, r, &e) : ctl_place_take(ctl, root, place);
}

bool ctl_is_board(const struct ctl *ctl, const char *slug)
{
	if (fs_is_slug(slug))
		return true;
	(void)ctl_say(ctl, CTL_USAGE,
		      "\"%s\" is no board name: 1 to 64 of a-z, 0-9, - and _, the first a "
		      "letter or digit",
		      slug);
	return false;
}

int ctl_busy_timeout_ms(const struct ctl *ctl, bool write)
{
	const char *text = ctl_env(ctl, "HERMES_KANBAN_BUSY_TIMEOUT_MS");
	int64_t ms;

	if (text && ctl_int(text, 0, INT32_MAX, &ms))
		return (int)ms;
	return write ? CTL_BUSY_MS : CTL_BUSY_READ_MS;
}

int ctl_open(const struct ctl *ctl, const struct board_place *place, bool write, struct db **db)
{
	const struct db_options opt = { .path = place->db_path,
					.busy_timeout_ms = ctl_busy_timeout_ms(ctl, write) };
	struct error e = ERROR_NULL;
	int r;

	r = write ? door_open(db, &opt, &e)
		  : view_open(db, place->db_path, opt.busy_timeout_ms, &e);
	if (r == 0)
		return 0;
	if (r == DB_MISSING)
		return ctl_say(
			ctl, CTL_NO_INPUT,
			"board %s has no database (%s: %s); \"kanbanctl --board %s init\" "
			"makes one",
			place->slug, place->db_path, e.text, place->slug);
	if (r == DB_CORRUPT)
		return ctl_say(ctl, CTL_NOT_WELL,
			       "board %s is damaged: %.*s; see kanbanctl check %s", place->slug,
			       (int)text_clause(e.text), e.text, place->slug);
	if (r == -EINVAL) /* a folder or a device where the file should be */
		r = -ENOENT;
	(void)error_prefix(&e, "board %s: ", place->slug);
	return ctl_fail(ctl, r, &e);
}
