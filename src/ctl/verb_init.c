/*
 * init: a kanban root, or one more board in it.
 *
 * Every step is repeatable: a folder that is there is fine, a board that is there is left
 * alone, and a kill in between leaves something that the next init completes. The database is
 * made under `<db>.init.lock`, as everybody else opens one for the first time. On a SQLite with
 * the WAL-reset bug it is made in DELETE mode.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/account.h"
#include "db/db.h"
#include "db/db_file.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/printable.h"

#define INIT_LOCK_MS 10000 /* the board contract, §2 */
#define INIT_MODE    0750

/* What init is about. */
struct init {
	struct ctl *ctl;
	char *root;
	const char *slug;
	char *db_path;
	bool created; /* the database is new */
};

static void init_deinit(struct init *init)
{
	free(init->root);
	free(init->db_path);
}

/* Make one folder; its parent is there. */
static int init_folder(struct ctl *ctl, char *path)
{
	CLEANUP(freep) char *mine = path;
	int r;

	if (!mine)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = account_take(ctl, mine);
	if (r != 0)
		return r;
	if (mkdir(mine, INIT_MODE) == 0)
		return 0;
	if (errno == EEXIST && fs_is_dir(mine))
		return 0;
	if (errno == EEXIST)
		errno = ENOTDIR;
	return ctl_say(ctl, errno == EACCES || errno == EROFS ? CTL_NOT_ALLOWED : CTL_IO,
		       "cannot make the folder %s: %s", mine, strerror(errno));
}

static int init_folders(const struct init *init)
{
	static const char *const of_default[] = { "kanban/logs", "kanban/workspaces",
						  "kanban/boards/default", NULL };
	static const char *const of_slug[] = { "", "/logs", "/workspaces", "/attachments",
					       NULL };
	bool is_default = strcmp(init->slug, "default") == 0;
	CLEANUP(freep) char *above = strdup(init->root);
	char *slash = above ? strrchr(above, '/') : NULL;
	int r;

	if (slash && slash != above) {
		*slash = '\0';
		r = fs_mkdir_p(above, 0755);
		if (r < 0)
			return ctl_say(init->ctl,
				       r == -EACCES || r == -EROFS ? CTL_NOT_ALLOWED : CTL_IO,
				       "cannot make the folder %s: %s", above, strerror(-r));
	}
	r = init_folder(init->ctl, fs_path("%s", init->root));
	if (r == 0)
		r = init_folder(init->ctl, fs_path("%s/kanban", init->root));
	if (r == 0)
		r = init_folder(init->ctl, fs_path("%s/kanban/boards", init->root));
	for (const char *const *f = of_default; r == 0 && is_default && *f; f++)
		r = init_folder(init->ctl, fs_path("%s/%s", init->root, *f));
	for (const char *const *f = of_slug; r == 0 && !is_default && *f; f++)
		r = init_folder(init->ctl,
				fs_path("%s/kanban/boards/%s%s", init->root, init->slug, *f));
	return r;
}

/* Wait for `<db>.init.lock`; *fd: out. */
static int init_lock(const struct init *init, int *fd)
{
	CLEANUP(freep) char *path = fs_path("%s.init.lock", init->db_path);
	const struct timespec pause = { .tv_nsec = 20000000 };
	int most = ctl_busy_timeout_ms(init->ctl, true);
	uint64_t end = clock_mono_ms() + (unsigned)(most < INIT_LOCK_MS ? most : INIT_LOCK_MS);
	int r = path ? fs_lock_open(path) : -ENOMEM;

	if (r < 0)
		return ctl_say(init->ctl,
			       r == -EACCES || r == -EROFS ? CTL_NOT_ALLOWED : CTL_IO,
			       "cannot open %s.init.lock: %s", init->db_path, strerror(-r));
	*fd = r;
	while ((r = fs_lock_try(*fd)) == -EWOULDBLOCK && clock_mono_ms() < end)
		(void)nanosleep(&pause, NULL); /* cut short by a signal: only an earlier try */
	if (r == -EWOULDBLOCK)
		return ctl_say(init->ctl, CTL_TRY_AGAIN,
			       "somebody else is opening board %s; try again", init->slug);
	return r == 0 ? 0
		      : ctl_say(init->ctl, CTL_IO, "cannot lock %s: %s", path, strerror(-r));
}

static bool init_sidecar(const struct init *init, enum db_part part)
{
	return db_file_stamp(init->db_path, part).size > 0;
}

/*
 * Is the -journal that of a transaction that began on an empty file: an init that was killed.
 * Its header has a magic number of 8 bytes and, 16 bytes in, the size of the file before, in
 * pages (https://sqlite.org/fileformat2.html#the_rollback_journal); all 0 as long as it is not
 * in force.
 */
static bool init_journal_of_ours(const struct init *init)
{
	static const unsigned char magic[8] = {
		0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7
	};
	CLEANUP(freep) char *path = db_file_path(init->db_path, DB_JOURNAL);
	unsigned char head[20] = { 0 };
	CLEANUP(fs_closep) int fd = -1;

	fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	if (fd < 0 || read(fd, head, sizeof(head)) != (ssize_t)sizeof(head))
		return false;
	if (head[0] != 0 && memcmp(head, magic, sizeof(magic)) != 0)
		return false;
	return head[16] == 0 && head[17] == 0 && head[18] == 0 && head[19] == 0;
}

static int init_database(struct init *init)
{
	CLEANUP(fs_closep) int lock = -1;
	struct error e = ERROR_NULL;
	bool half, there;
	struct stat st;
	int r;

	r = init_lock(init, &lock);
	if (r != 0)
		return r;
	half = init_sidecar(init, DB_JOURNAL) && init_journal_of_ours(init);
	there = stat(init->db_path, &st) == 0;
	if (there && (!S_ISREG(st.st_mode) || (st.st_size > 0 && !half)))
		return 0; /* whatever it is, it is not ours to make */
	if (init_sidecar(init, DB_WAL) || (init_sidecar(init, DB_JOURNAL) && !half))
		return ctl_say(init->ctl, CTL_NOT_WELL,
			       "%s is gone or empty, but its -wal or -journal is there: this "
			       "board has lost its file; put the file back from a snapshot or "
			       "move the rest away first",
			       init->db_path);
	r = edit_create_board(init->db_path, !db_wal_reset_bug(), &e);
	if (r != 0) {
		(void)error_prefix(&e, "cannot make %s: ", init->db_path);
		return ctl_fail(init->ctl, r, &e);
	}
	init->created = true;
	return 0;
}

/* "my-board" → "My Board", as Hermes names it */
static void init_name(const char *slug, char name[BOARD_SLUG_MAX + 1])
{
	bool begin = true;
	size_t i;

	for (i = 0; i < BOARD_SLUG_MAX && slug[i]; i++) {
		bool gap = slug[i] == '-' || slug[i] == '_';

		name[i] = gap ? ' ' : slug[i];
		if (begin && name[i] >= 'a' && name[i] <= 'z')
			name[i] = (char)(name[i] - 'a' + 'A');
		begin = gap;
	}
	name[i] = '\0';
}

/* board.json of a board that is not `default`; one that is there stays */
static int init_meta(const struct init *init)
{
	CLEANUP(freep) char *path = NULL;
	CLEANUP(freep) char *dump = NULL;
	CLEANUP(freep) char *text = NULL;
	char name[BOARD_SLUG_MAX + 1];
	json_t *meta;
	int r;

	if (strcmp(init->slug, "default") == 0)
		return 0;
	path = fs_path("%s/kanban/boards/%s/board.json", init->root, init->slug);
	if (path && access(path, F_OK) == 0)
		return 0;
	init_name(init->slug, name);
	meta = json_pack("{s:s, s:s, s:s, s:s, s:s, s:n, s:n, s:I, s:b}", "slug", init->slug,
			 "name", name, "description", "", "icon", "", "color", "",
			 "default_workdir", "project_id", "created_at",
			 (json_int_t)clock_wall_s(), "archived", 0);
	dump = meta ? json_dumps(meta, JSON_INDENT(2)) : NULL;
	json_decref(meta);
	text = dump ? fs_path("%s\n", dump) : NULL;
	if (!path || !text)
		return ctl_say(init->ctl, CTL_IO, "out of memory");
	r = fs_write_atomic(path, text, strlen(text), 0644);
	if (r < 0)
		return ctl_say(init->ctl,
			       r == -EACCES || r == -EROFS ? CTL_NOT_ALLOWED : CTL_IO,
			       "cannot write %s: %s", path, strerror(-r));
	return 0;
}

static int init_told(const struct init *init)
{
	const struct ctl *ctl = init->ctl;
	const char *mode = db_wal_reset_bug() ? "delete" : "wal";

	if (ctl->json)
		return ctl_print_json(
			ctl,
			json_pack("{s:o, s:s, s:o, s:b, s:o}", "root", json_utf8(init->root),
				  "board", init->slug, "db", json_utf8(init->db_path),
				  "created", init->created, "journal_mode",
				  init->created ? json_string(mode) : json_null()),
			CTL_OK);
	/* ctl_main() looks at the error flag */
	(void)fprintf(
		ctl->out,
		init->created ? "made board %s: " : "board %s is there already: ", init->slug);
	printable_put(ctl->out, init->db_path, strlen(init->db_path), 0);
	(void)fputs(!init->created       ? "\n"
		    : db_wal_reset_bug() ? " (DELETE mode: the SQLite of this host has the "
					   "WAL-reset bug)\n"
					 : " (WAL mode)\n",
		    ctl->out);
	return CTL_OK;
}

static int verb_init_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(init_deinit) struct init init = { .ctl = ctl };
	size_t len;
	char **args;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &args))
		return ctl->exit;
	init.slug = ctl->board_arg ? ctl->board_arg : "default";
	if (!fs_is_slug(init.slug))
		return ctl_say(ctl, CTL_USAGE,
			       "\"%s\" is no board name: 1 to 64 of a-z, 0-9, - and _, the "
			       "first a letter or digit",
			       init.slug);
	if (args[0] && ctl->root_arg && strcmp(args[0], ctl->root_arg) != 0)
		return ctl_say(ctl, CTL_USAGE, "two roots: %s and %s", ctl->root_arg, args[0]);
	if (args[0])
		ctl->root_arg = args[0];
	r = ctl_root_own(ctl, &init.root);
	if (r != 0)
		return r;
	for (len = strlen(init.root); len > 1 && init.root[len - 1] == '/'; len--)
		init.root[len - 1] = '\0';
	init.db_path = board_place_db_path(init.root, NULL, init.slug);
	if (!init.db_path)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = init_folders(&init);
	if (r == 0)
		r = account_take(ctl, init.db_path);
	if (r == 0)
		r = init_meta(&init);
	if (r == 0)
		r = init_database(&init);
	return r == 0 ? init_told(&init) : r;
}

static const struct ctl_verb verb_init = {
	.name = "init",
	.args = "[FOLDER]",
	.what = "make a kanban root, or a board in one",
	.group = CTL_SETUP,
	.rank = 10,
	.run = verb_init_run,
};
CTL_VERB(verb_init);
