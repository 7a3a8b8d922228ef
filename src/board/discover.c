/*
 * Finding boards.
 *
 * Happy path: the sweep calls discover_boards() once per round. It opens the boards folder,
 * collects the names that are slugs, stats `kanban.db`, `kanban.db-wal` and `board.json` of
 * each relative to that folder, sorts, and merges with the array of the last call, so that in
 * the steady state nothing is allocated and no file is opened but the folder itself.
 *
 * Failure modes: a root or a boards folder that cannot be read is an error, and the array stays
 * as it was; a boards folder that is not there means that there is only `default`. Trouble with
 * one board (a board.json that is no JSON, too large, a FIFO) is a note, once, and its defaults
 * hold. A board whose folder vanishes between two stat calls is simply not there.
 *
 * Names: Hermes takes a folder `Foo` for board `foo`; here it is ignored and a note says so.
 */
#include "board/discover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board.h"
#include "db/db_file.h"
#include "util/fs.h"

#define DISCOVER_TOLD_MAX 64 /* odd folder names that are remembered */

/* One folder of this call. */
struct discover_seen {
	char slug[BOARD_SLUG_MAX + 1];
	struct fs_stamp db, wal, meta;
	bool db_exists;
};

/* Stat the database at @path and its -wal. */
static bool discover_stat_db(const char *path, struct fs_stamp *db, struct fs_stamp *wal)
{
	bool there = fs_stamp_at(AT_FDCWD, path, db);

	*wal = there ? db_file_stamp(path, DB_WAL) : (struct fs_stamp){ 0 };
	return there;
}

/* Of a link, below the folder @in of the root, the -wal is where it leads to. Else this is not
 * asked for: it takes longer. */
static bool discover_link_wal(const struct discovery *d, int dir, const char *in,
			      const char *path, struct fs_stamp *wal)
{
	CLEANUP(freep) char *whole = NULL;
	char to[1];

	if (readlinkat(dir, path, to, sizeof(to)) < 0)
		return false;
	whole = fs_path("%s/%s%s", d->root, in, path);
	if (whole)
		*wal = db_file_stamp(whole, DB_WAL);
	return true;
}

int discover_one(const char *root, const char *pinned_db, const char *slug,
		 struct board_place *place, struct error *e)
{
	CLEANUP(freep) char *meta_path = NULL;
	struct board_place p = { 0 };
	struct fs_stamp meta, plain;
	int r;

	if (!fs_is_slug(slug))
		return error_set(e, -EINVAL,
				 "\"%s\" is no board name: 1 to 64 of a-z, 0-9, - and _, "
				 "the first a letter or digit",
				 slug);
	if (!fs_is_dir(root))
		return error_set(e, -ENOENT, "there is no kanban root at %s", root);
	r = board_place_init(&p, root, pinned_db, slug);
	if (r < 0)
		return error_set(e, r, "out of memory");
	meta_path = fs_path("%s/board.json", p.folder);
	if (!meta_path) {
		board_place_deinit(&p);
		return error_set(e, -ENOMEM, "out of memory");
	}
	p.db_exists = discover_stat_db(p.db_path, &p.db, &p.wal);
	(void)fs_stamp_at(AT_FDCWD, meta_path, &meta); /* none is an answer too */
	r = discover_meta(NULL, AT_FDCWD, meta_path, &meta, &p);
	if (r == 0 && strcmp(slug, DISCOVER_DEFAULT) != 0 && meta.ino == 0) {
		CLEANUP(freep) char *own = fs_path("%s/kanban.db", p.folder);

		if (!own)
			r = -ENOMEM;
		else if (!fs_stamp_at(AT_FDCWD, own, &plain))
			r = -ENOENT;
	}
	if (r < 0) {
		board_place_deinit(&p);
		return error_set(e, r,
				 r == -ENOENT ? "there is no board %s in %s"
					      : "out of memory (board %s in %s)",
				 slug, root);
	}
	*place = p;
	return 0;
}

/* ---- the sweep ----------------------------------------------------------------------- */

/* Say once that @name is a board to Hermes and none to us. */
static void discover_odd_name(struct discovery *d, int boards, const char *name)
{
	char lower[BOARD_SLUG_MAX + 1], path[BOARD_SLUG_MAX + 16];
	struct fs_stamp stamp;
	size_t len = strlen(name);

	if (len > BOARD_SLUG_MAX || d->n_told >= DISCOVER_TOLD_MAX)
		return;
	for (size_t i = 0; i <= len; i++)
		lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a'
								   : name[i]);
	if (!fs_is_slug(lower))
		return;
	for (size_t i = 0; i < d->n_told; i++)
		if (strcmp(d->told[i], name) == 0)
			return;
	(void)snprintf(path, sizeof(path), "%.64s/kanban.db", name);
	if (!fs_stamp_at(boards, path, &stamp)) {
		(void)snprintf(path, sizeof(path), "%.64s/board.json", name);
		if (!fs_stamp_at(boards, path, &stamp))
			return;
	}
	discover_push(&d->told, &d->n_told, strdup(name));
	discover_note(d,
		      "folder kanban/boards/%s is ignored: board names are lower case; rename "
		      "it to %s",
		      name, lower);
}

static int discover_empty(struct discovery *d, const char *slug)
{
	if (d->n_empty == d->cap_empty) {
		size_t cap = d->cap_empty ? d->cap_empty * 2 : 8;
		char(*more)[BOARD_SLUG_MAX + 1] = realloc(d->empty, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		d->empty = more;
		d->cap_empty = cap;
	}
	memcpy(d->empty[d->n_empty++], slug, strlen(slug) + 1);
	return 0;
}

/* Look at one folder; appends to d->seen if it is a board, else to d->empty. */
static int discover_folder(struct discovery *d, int boards, const char *slug)
{
	struct discover_seen *s;
	char path[BOARD_SLUG_MAX + 32];
	size_t len = strlen(slug);
	bool has_meta;

	if (d->n_seen == d->cap_seen) {
		size_t cap = d->cap_seen ? d->cap_seen * 2 : 32;
		struct discover_seen *more = realloc(d->seen, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		d->seen = more;
		d->cap_seen = cap;
	}
	s = &d->seen[d->n_seen];
	memset(s, 0, sizeof(*s));
	memcpy(s->slug, slug, len + 1);
	memcpy(path, slug, len);
	memcpy(path + len, "/kanban.db", sizeof("/kanban.db"));
	s->db_exists = fs_stamp_at(boards, path, &s->db);
	if (s->db_exists && !d->no_wal &&
	    !discover_link_wal(d, boards, "kanban/boards/", path, &s->wal)) {
		memcpy(path + len, "/kanban.db-wal", sizeof("/kanban.db-wal"));
		(void)fs_stamp_at(boards, path, &s->wal); /* none is an answer too */
	}
	memcpy(path + len, "/board.json", sizeof("/board.json"));
	has_meta = fs_stamp_at(boards, path, &s->meta);
	if (!s->db_exists && !has_meta)
		return discover_empty(d, slug);
	d->n_seen++;
	return 0;
}

static int discover_by_slug(const void *a, const void *b)
{
	const struct discover_seen *x = a, *y = b;

	return strcmp(x->slug, y->slug);
}

/* Fill d->seen, sorted, without `default`. */
static int discover_scan(struct discovery *d, int boards, struct error *e)
{
	struct dirent *entry;
	int fd, r = 0;
	DIR *dir;

	d->n_seen = 0;
	fd = fcntl(boards, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return error_errno(e, -errno, "cannot read the boards folder");
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		(void)close(fd);
		return error_errno(e, r, "cannot read the boards folder");
	}
	while (r == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		const char *name = entry->d_name;

		if (entry->d_type != DT_DIR && entry->d_type != DT_LNK &&
		    entry->d_type != DT_UNKNOWN)
			continue;
		if (!fs_is_slug(name))
			discover_odd_name(d, boards, name);
		else if (strcmp(name, DISCOVER_DEFAULT) != 0)
			r = discover_folder(d, boards, name);
	}
	if (r == 0)
		r = -errno;
	(void)closedir(dir);
	if (r < 0)
		return error_errno(e, r, "cannot read the boards folder");
	if (d->n_seen > 1)
		qsort(d->seen, d->n_seen, sizeof(*d->seen), discover_by_slug);
	return 0;
}

/* `default` is there whatever the folders say. */
static void discover_default(struct discovery *d, int root, int boards,
			     struct discover_seen *out)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->slug, DISCOVER_DEFAULT, sizeof(DISCOVER_DEFAULT));
	if (d->pinned) {
		out->db_exists = discover_stat_db(d->pinned, &out->db, &out->wal);
	} else {
		out->db_exists = fs_stamp_at(root, "kanban.db", &out->db);
		if (out->db_exists && !d->no_wal &&
		    !discover_link_wal(d, root, "", "kanban.db", &out->wal))
			(void)fs_stamp_at(root, "kanban.db-wal", &out->wal);
	}
	if (boards >= 0)
		(void)fs_stamp_at(boards, DISCOVER_DEFAULT "/board.json", &out->meta);
}

/*
 * Carry what was seen of one board into @place, which may be a new one (zeroed).
 * Return: 1 if its database is another file than before, 0 if not, -errno.
 */
static int discover_apply(struct discovery *d, int boards, const struct discover_seen *s,
			  const struct discover_seen *first, struct board_place *place)
{
	const struct discover_seen *file = d->pinned ? first : s;
	char path[BOARD_SLUG_MAX + 16];
	int moved, r = 0;

	if (!place->db_path)
		r = board_place_init(place, d->root, d->pinned, s->slug);
	if (r < 0)
		return r;
	moved = place->db.dev != file->db.dev || place->db.ino != file->db.ino;
	place->moved = moved;
	place->db_exists = file->db_exists;
	place->db = file->db;
	place->wal = file->wal;
	if (fs_stamp_equal(&place->meta, &s->meta))
		return moved;
	(void)snprintf(path, sizeof(path), "%s/board.json", s->slug);
	r = discover_meta(d, boards, path, &s->meta, place);
	return r < 0 ? r : moved;
}

/* Are the boards the same as in the last call */
static bool discover_same(const struct discovery *d)
{
	if (d->count != d->n_seen + 1)
		return false;
	for (size_t i = 1; i < d->count; i++)
		if (strcmp(d->boards[i].slug, d->seen[i - 1].slug) != 0)
			return false;
	return true;
}

/* Make room in d->boards for what d->seen says, keeping the boards that are known already. */
static int discover_merge(struct discovery *d)
{
	size_t count = d->n_seen + 1, old = 0;
	struct board_place *next;

	next = calloc(count, sizeof(*next));
	if (!next)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *slug = i == 0 ? DISCOVER_DEFAULT : d->seen[i - 1].slug;

		/* both are sorted after their first element, which is `default` */
		while (i > 0 && old < d->count && strcmp(d->boards[old].slug, slug) < 0)
			board_place_deinit(&d->boards[old++]);
		if (old < d->count && strcmp(d->boards[old].slug, slug) == 0)
			next[i] = d->boards[old++];
	}
	while (old < d->count)
		board_place_deinit(&d->boards[old++]);
	free(d->boards);
	d->boards = next;
	d->count = count;
	return 0;
}

static int discover_by_file(const void *a, const void *b, void *arg)
{
	const struct board_place *boards = arg;
	size_t i = *(const size_t *)a, j = *(const size_t *)b;
	const struct fs_stamp *x = &boards[i].db, *y = &boards[j].db;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return i < j ? -1 : i > j; /* among equals the earlier board comes first */
}

/* Find the boards that share a database file. */
static int discover_duplicates(struct discovery *d)
{
	if (d->count > d->cap_order) {
		size_t *more = realloc(d->order, d->count * sizeof(*more));

		if (!more)
			return -ENOMEM;
		d->order = more;
		d->cap_order = d->count;
	}
	for (size_t i = 0; i < d->count; i++) {
		d->order[i] = i;
		d->boards[i].duplicate_of[0] = '\0';
		if (d->pinned && i > 0)
			memcpy(d->boards[i].duplicate_of, DISCOVER_DEFAULT,
			       sizeof(DISCOVER_DEFAULT));
	}
	if (d->pinned)
		return 0;
	qsort_r(d->order, d->count, sizeof(*d->order), discover_by_file, d->boards);
	for (size_t i = 1, first = 0; i < d->count; i++) {
		const struct board_place *a = &d->boards[d->order[first]];
		struct board_place *b = &d->boards[d->order[i]];

		if (!b->db_exists || a->db.dev != b->db.dev || a->db.ino != b->db.ino)
			first = i;
		else
			memcpy(b->duplicate_of, a->slug, sizeof(b->duplicate_of));
	}
	return 0;
}

/* Everything after the folders are open. */
static int discover_update(struct discovery *d, int root, int boards, struct error *e)
{
	struct discover_seen first;
	bool moved = false;
	int r = 0;

	d->n_seen = d->n_empty = 0;
	if (boards >= 0)
		r = discover_scan(d, boards, e);
	if (r < 0)
		return r;
	discover_default(d, root, boards, &first);
	if (!discover_same(d)) {
		moved = true;
		r = discover_merge(d);
	}
	for (size_t i = 0; r >= 0 && i < d->count; i++) {
		r = discover_apply(d, boards, i == 0 ? &first : &d->seen[i - 1], &first,
				   &d->boards[i]);
		moved = moved || r > 0;
	}
	if (r >= 0)
		r = moved ? discover_duplicates(d) : 0;
	if (r < 0) { /* out of memory in the middle: begin anew next time */
		discovery_deinit(d);
		return error_set(e, r, "out of memory");
	}
	return 0;
}

/* The cache is about one root and one pinned database. */
static int discover_about(struct discovery *d, const char *root, const char *pinned)
{
	if (d->root && strcmp(d->root, root) == 0 && !d->pinned == !pinned &&
	    (!pinned || strcmp(d->pinned, pinned) == 0))
		return 0;
	discovery_deinit(d);
	d->root = strdup(root);
	d->pinned = pinned ? strdup(pinned) : NULL;
	if (d->root && (d->pinned || !pinned))
		return 0;
	discovery_deinit(d);
	return -ENOMEM;
}

int discover_boards(struct discovery *d, const char *root, const char *pinned_db,
		    struct error *e)
{
	CLEANUP(fs_closep) int root_fd = -1;
	CLEANUP(fs_closep) int boards = -1;
	int r;

	discover_free_list(&d->notes, &d->n_notes);
	r = discover_about(d, root, pinned_db);
	if (r < 0)
		return error_set(e, r, "out of memory");
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return error_errno(e, -errno, "cannot open the kanban root %s", root);
	boards = openat(root_fd, "kanban/boards", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (boards < 0 && errno != ENOENT && errno != ENOTDIR)
		return error_errno(e, -errno, "cannot read %s/kanban/boards", root);
	return discover_update(d, root_fd, boards, e);
}

void discovery_deinit(struct discovery *d)
{
	for (size_t i = 0; i < d->count; i++)
		board_place_deinit(&d->boards[i]);
	free(d->boards);
	discover_free_list(&d->notes, &d->n_notes);
	discover_free_list(&d->told, &d->n_told);
	free(d->root);
	free(d->pinned);
	free(d->seen);
	free(d->empty);
	free(d->order);
	*d = (struct discovery){ .no_wal = d->no_wal };
}
