/*
 * Reads and writes the health record of a board, and compares it with what is found: are the
 * bytes the ones it speaks of, is another try due, did the board go back in time.
 */
#include "recovery/health.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db.h"
#include "db/db_file.h"
#include "db/db_registry.h"
#include "util/digest.h"
#include "util/fs.h"

#define HEALTH_FILE_MAX    65536
#define HEALTH_RETRY_MIN_S 300
#define HEALTH_RETRY_MAX_S 21600

/* clang-format off */
static const char sql_counts[] =
	"SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM task_links),"
	" (SELECT count(*) FROM task_runs), (SELECT count(*) FROM task_events)";

static const char sql_sequence[] =
	"SELECT coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'task_events'), 0)";
/* clang-format on */

static const char *const health_names[] = {
	[HEALTH_HEALTHY] = "healthy",     [HEALTH_SUSPECT] = "suspect",
	[HEALTH_REPAIRING] = "repairing", [HEALTH_QUARANTINED] = "quarantined",
	[HEALTH_LOST] = "lost",           [HEALTH_SCHEMA] = "schema",
};

const char *health_state_name(enum health_state state)
{
	return health_names[state];
}

static enum health_state health_state_from(const char *text)
{
	for (size_t i = 0; text && i < sizeof(health_names) / sizeof(health_names[0]); i++)
		if (strcmp(health_names[i], text) == 0)
			return (enum health_state)i;
	return HEALTH_HEALTHY;
}

/* ---- the record ---------------------------------------------------------------------- */

static void health_text(const json_t *object, const char *key, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	(void)snprintf(out, size, "%s", text ? text : "");
}

static int64_t health_int(const json_t *object, const char *key, int64_t none)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) ? json_integer_value(v) : none;
}

int health_read(const char *db_path, struct health *h)
{
	CLEANUP(freep) char *path = fs_path("%s.health.json", db_path);
	CLEANUP(freep) char *text = NULL;
	const json_t *print, *good;
	json_t *root;
	size_t len;
	int r;

	*h = (struct health){ .print.size = -1, .print.change_counter = -1 };
	if (!path)
		return -ENOMEM;
	r = fs_read_file(path, HEALTH_FILE_MAX, &text, &len);
	if (r == -ENOENT || r == -EFBIG || r == -EINVAL)
		return 0;
	if (r < 0)
		return r;
	root = json_loadb(text, len, 0, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		return 0;
	}
	print = json_object_get(root, "fingerprint");
	good = json_object_get(root, "good");
	h->state = health_state_from(json_string_value(json_object_get(root, "state")));
	health_text(root, "kind", h->kind, sizeof(h->kind));
	health_text(root, "reason", h->reason, sizeof(h->reason));
	health_text(root, "evidence", h->evidence, sizeof(h->evidence));
	h->first_seen = health_int(root, "first_seen", 0);
	h->last_seen = health_int(root, "last_seen", 0);
	h->attempts = health_int(root, "attempts", 0);
	h->retry_at = health_int(root, "retry_at", 0);
	h->last_epoch = health_int(root, "last_epoch", 0);
	h->begun = health_int(root, "begun", 0);
	h->print.size = health_int(print, "size", -1);
	h->print.mtime_ns = health_int(print, "mtime_ns", 0);
	h->print.ctime_ns = health_int(print, "ctime_ns", 0);
	h->print.inode = health_int(print, "inode", 0);
	h->print.change_counter = health_int(print, "change_counter", -1);
	health_text(print, "sha256", h->print.sha256, sizeof(h->print.sha256));
	h->good.event_seq = health_int(good, "event_seq", 0);
	h->good.tasks = health_int(good, "tasks", 0);
	h->good.links = health_int(good, "links", 0);
	h->good.runs = health_int(good, "runs", 0);
	h->good.events = health_int(good, "events", 0);
	h->good.at = health_int(good, "at", 0);
	health_text(good, "snapshot", h->good.snapshot, sizeof(h->good.snapshot));
	json_decref(root);
	return 0;
}

static json_t *health_or_null(const char *text)
{
	json_t *v = *text ? json_string(text) : json_null();

	return v ? v
		 : json_null(); /* bytes that are no UTF-8 in a path: it is told elsewhere */
}

/* No more readable than its board: a reason may quote a row. Of a board that is gone, than it
 * was. */
static mode_t health_mode(const char *db_path, const char *path)
{
	struct stat st;

	if (stat(db_path, &st) < 0 && lstat(path, &st) < 0)
		return 0600;
	return 0600 | (st.st_mode & 0044);
}

int health_write(const char *db_path, const struct health *h)
{
	CLEANUP(freep) char *path = fs_path("%s.health.json", db_path);
	CLEANUP(freep) char *text = NULL;
	json_t *root;

	root = json_pack(
		"{s:s, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:o}, s:o, s:I, s:I, s:I, s:I, "
		"s:I, s:I,"
		" s:{s:I, s:I, s:I, s:I, s:I, s:I, s:o}}",
		"state", health_state_name(h->state), "kind", health_or_null(h->kind), "reason",
		health_or_null(h->reason), "fingerprint", "size", (json_int_t)h->print.size,
		"mtime_ns", (json_int_t)h->print.mtime_ns, "ctime_ns",
		(json_int_t)h->print.ctime_ns, "inode", (json_int_t)h->print.inode,
		"change_counter", (json_int_t)h->print.change_counter, "sha256",
		health_or_null(h->print.sha256), "evidence", health_or_null(h->evidence),
		"first_seen", (json_int_t)h->first_seen, "last_seen", (json_int_t)h->last_seen,
		"attempts", (json_int_t)h->attempts, "retry_at", (json_int_t)h->retry_at,
		"last_epoch", (json_int_t)h->last_epoch, "begun", (json_int_t)h->begun, "good",
		"event_seq", (json_int_t)h->good.event_seq, "tasks", (json_int_t)h->good.tasks,
		"links", (json_int_t)h->good.links, "runs", (json_int_t)h->good.runs, "events",
		(json_int_t)h->good.events, "at", (json_int_t)h->good.at, "snapshot",
		health_or_null(h->good.snapshot));
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	if (!text || !path)
		return -ENOMEM;
	return fs_write_atomic(path, text, strlen(text), health_mode(db_path, path));
}

/* ---- fingerprints -------------------------------------------------------------------- */

static int health_hash_add(struct digest *d, int fd)
{
	CLEANUP(freep) uint8_t *buf = malloc(1 << 18);
	off_t at = 0;
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	while ((n = pread(fd, buf, 1 << 18, at)) > 0) {
		digest_add(d, buf, (size_t)n);
		at += n;
	}
	return n < 0 ? -errno : 0;
}

static int health_hash(int fd, char hex[HEALTH_HASH_MAX])
{
	struct digest d;
	int r;

	digest_init(&d);
	r = health_hash_add(&d, fd);
	if (r == 0)
		digest_hex(&d, hex);
	return r;
}

static int health_hash_sidecar(struct digest *d, const char *db_path, enum db_part part)
{
	CLEANUP(freep) char *path = db_file_path(db_path, part);
	CLEANUP(db_registry_closep)
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;

	if (!path)
		return -ENOMEM;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return health_hash_add(d, fd);
}

int health_hash_set(const char *db_path, int fd, bool journal, char hex[HEALTH_HASH_MAX])
{
	struct digest d;
	int r;

	digest_init(&d);
	r = health_hash_add(&d, fd);
	/* the labels tell it from the hash of the database alone */
	digest_add(&d, db_file_suffix(DB_WAL), 4);
	if (r == 0)
		r = health_hash_sidecar(&d, db_path, DB_WAL);
	digest_add(&d, db_file_suffix(DB_JOURNAL), 8);
	if (r == 0 && journal)
		r = health_hash_sidecar(&d, db_path, DB_JOURNAL);
	digest_hex(&d, hex);
	return r;
}

static void health_print_set(struct health_print *print, const struct stat *st)
{
	print->size = st->st_size;
	print->inode = (int64_t)st->st_ino;
	print->ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
	print->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

int health_print_stat(const char *db_path, struct health_print *print)
{
	struct stat st;

	*print = (struct health_print){ .size = -1, .change_counter = -1 };
	if (stat(db_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	health_print_set(print, &st);
	return 0;
}

int health_print_take(const char *db_path, bool hash, struct health_print *print)
{
	CLEANUP(db_registry_closep) int fd = -1;

	*print = (struct health_print){ .size = -1, .change_counter = -1 };
	fd = open(db_path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return health_print_fd(fd, hash, print);
}

int health_print_fd(int fd, bool hash, struct health_print *print)
{
	unsigned char b[4];
	struct stat st;

	*print = (struct health_print){ .size = -1, .change_counter = -1 };
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	health_print_set(print, &st);
	if (pread(fd, b, 4, 24) == 4)
		print->change_counter =
			(int64_t)b[0] << 24 | (int64_t)b[1] << 16 | (int64_t)b[2] << 8 | b[3];
	return hash ? health_hash(fd, print->sha256) : 0;
}

/* ---- verdicts ------------------------------------------------------------------------ */

static bool health_print_same(const struct health_print *a, const struct health_print *b)
{
	/* one of them may be of health_print_stat() */
	bool counters = a->change_counter >= 0 && b->change_counter >= 0;

	return a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns &&
	       a->inode == b->inode && (!counters || a->change_counter == b->change_counter);
}

bool health_due(const struct health *h, const struct health_print *print, int64_t epoch,
		int64_t now)
{
	return !health_print_same(&h->print, print) || h->last_epoch != epoch ||
	       now >= h->retry_at;
}

enum health_state health_standing(const char *db_path, struct error *why)
{
	CLEANUP(freep)
	struct health *h = calloc(1, sizeof(*h)); /* two paths: too big for here */
	struct health_print print;
	enum health_state state;

	/* what cannot be read says nothing against the board: opening it will tell */
	if (!h || health_read(db_path, h) < 0 || h->state == HEALTH_HEALTHY ||
	    health_print_stat(db_path, &print) < 0 || !health_print_same(&h->print, &print))
		return HEALTH_HEALTHY;
	state = h->state;
	(void)error_set(why, 0, "%s", h->reason[0] ? h->reason : health_state_name(state));
	return state;
}

void health_failed(struct health *h, enum health_state state, const char *kind,
		   const char *reason, int64_t epoch, int64_t now)
{
	int64_t wait = HEALTH_RETRY_MIN_S;
	/* a repair of this trouble that was begun in between does not make it another one */
	bool again = (h->state == state || h->state == HEALTH_REPAIRING) &&
		     strcmp(h->kind, kind) == 0;

	if (!again) {
		h->first_seen = now;
		h->attempts = 0;
	}
	h->state = state;
	(void)snprintf(h->kind, sizeof(h->kind), "%s", kind);
	(void)snprintf(h->reason, sizeof(h->reason), "%s", reason);
	for (int64_t i = 0; i < h->attempts && wait < HEALTH_RETRY_MAX_S; i++)
		wait *= 2;
	h->attempts++;
	h->last_seen = now;
	h->retry_at = now + (wait < HEALTH_RETRY_MAX_S ? wait : HEALTH_RETRY_MAX_S);
	h->last_epoch = epoch;
}

int health_count(struct db *db, int64_t now, struct health_good *good, struct error *e)
{
	int64_t counts[4] = { 0 };
	int r;

	r = db_row_ints(db, e, counts, 4, sql_counts, "");
	if (r != 0)
		return r;
	good->tasks = counts[0];
	good->links = counts[1];
	good->runs = counts[2];
	good->events = counts[3];
	good->at = now;
	return health_sequence(db, &good->event_seq, e);
}

int health_sequence(struct db *db, int64_t *event_seq, struct error *e)
{
	return db_one_int(db, e, event_seq, 0, sql_sequence, "");
}

bool health_went_back(const struct health_good *good, const struct health_good *found,
		      struct error *e)
{
	if (good->event_seq > 0 && found->event_seq < good->event_seq) {
		(void)error_set(
			e, 0,
			"the board went back in time: its newest event is number %" PRId64
			", but number %" PRId64 " was seen before",
			found->event_seq, good->event_seq);
		return true;
	}
	/* who deletes the last task takes its rows along, and the sequence goes on */
	if (good->tasks > 0 && found->tasks == 0 &&
	    (found->event_seq == 0 || found->events > 0 || found->runs > 0 ||
	     found->links > 0)) {
		(void)error_set(e, 0, "the board is empty, but it had %" PRId64 " tasks before",
				good->tasks);
		return true;
	}
	return false;
}
