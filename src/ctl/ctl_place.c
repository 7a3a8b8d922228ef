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
#include <unistd.h>

#include "board/view.h"
#include "ctl.h"
#include "daemon/config.h"
#include "db/db.h"
#include "util/fs.h"

#define CTL_BUSY_MS      120000 /* the board contract, §3 */
#define CTL_BUSY_READ_MS 10000  /* who only looks does not wait that long */

const char *ctl_env(const struct ctl *ctl, const char *name)
{
	size_t len = strlen(name);

	for (char *const *v = ctl->env; *v; v++)
		if (strncmp(*v, name, len) == 0 && (*v)[len] == '=') {
			const char *value = *v + len + 1;

			return value[strspn(value, " \t\n")] ? value : NULL;
		}
	return NULL;
}

/* ---- telling ------------------------------------------------------------------------------
 */

int ctl_say(const struct ctl *ctl, int exit, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	/* there is nobody to tell when standard error fails */
	(void)fprintf(stderr, "kanbanctl%s%s: ", *ctl->verb ? " " : "", ctl->verb);
	screen_put(stderr, text ? text : "out of memory", strlen(text ? text : "out of memory"),
		   0);
	(void)fputc('\n', stderr);
	free(text);
	return exit;
}

static int ctl_exit_of(int r)
{
	switch (r) {
	case EDIT_NO_TASK:
	case DB_MISSING:
	case -ENOENT:
	case -ENOTDIR:
		return CTL_NO_INPUT;
	case EDIT_INVALID:
	case -EINVAL:
		return CTL_USAGE;
	case EDIT_REFUSED:
	case DB_SCHEMA_BAD:
	case DB_CORRUPT:
		return CTL_NOT_WELL;
	case DB_TRANSIENT:
	case DB_CONFLICT:
		return CTL_TRY_AGAIN;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return CTL_NOT_ALLOWED;
	default:
		return CTL_IO;
	}
}

int ctl_fail(const struct ctl *ctl, int r, const struct error *e)
{
	return ctl_say(ctl, ctl_exit_of(r), "%s", e->text);
}

int ctl_print_json(const struct ctl *ctl, json_t *json, int exit)
{
	char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;

	json_decref(json);
	if (!text)
		return ctl_say(ctl, CTL_IO, "out of memory");
	(void)fputs(text, ctl->out); /* ctl_main() looks at the error flag */
	(void)fputc('\n', ctl->out);
	free(text);
	return exit;
}

/* ---- root and board -----------------------------------------------------------------------
 */

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

int ctl_root(const struct ctl *ctl, char **root)
{
	struct error e = ERROR_NULL;
	int r;

	if (ctl->root_arg && !*ctl->root_arg)
		return ctl_say(ctl, CTL_USAGE, "--root needs a folder");
	if (ctl->root_arg) {
		*root = ctl_absolute(ctl, ctl->root_arg);
		return *root ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
	}
	r = config_root_from_env(ctl->env, root, &e);
	if (r == -ENOENT)
		return ctl_say(ctl, CTL_CONFIG, "%s", e.text);
	return r < 0 ? ctl_fail(ctl, r, &e) : 0;
}

/* A worker's own database: HERMES_KANBAN_DB. */
static int ctl_pinned(const struct ctl *ctl, const char *pin, const char *slug,
		      struct board_place *place)
{
	CLEANUP(freep) char *path = ctl_absolute(ctl, pin);
	CLEANUP(freep) char *root = NULL;
	struct error e = ERROR_NULL;

	*place = (struct board_place){ 0 };
	/* the root only adds what board.json says: without one the database is enough */
	if (path && config_root_from_env(ctl->env, &root, &e) == 0 &&
	    discover_one(root, path, slug, place, &e) == 0)
		return 0;
	(void)snprintf(place->slug, sizeof(place->slug), "%s", slug);
	place->db_path = STEAL(path);
	return place->db_path ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
}

int ctl_place(const struct ctl *ctl, struct board_place *place)
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
		return ctl_say(ctl, CTL_NO_INPUT, "%s; \"kanbanctl init\" makes one", e.text);
	return r < 0 ? ctl_fail(ctl, r, &e) : 0;
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

	r = write ? db_open(db, &opt, &e)
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
			       "board %s is damaged: %s; nothing was changed", place->slug,
			       e.text);
	if (r == -EINVAL) /* a folder or a device where the file should be */
		r = -ENOENT;
	(void)error_prefix(&e, "board %s: ", place->slug);
	return ctl_fail(ctl, r, &e);
}
