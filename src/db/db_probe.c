/* Looking at the files of a database before SQLite opens them. */
#include "db/db_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "db.h"
#include "db/db_file.h"
#include "db/db_registry.h"
#include "util/fs.h"

/* https://sqlite.org/fileformat.html, §1.3: the first 24 bytes of the header */
#define LOOK_FIXED 24
/* §3: name, its length and checksum, the magic number of journals; before it 4 bytes */
#define LOOK_SUPER_TAIL 16
#define LOOK_SUPER_MAX  65536

static const unsigned char probe_magic[8] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };

static uint32_t probe_u32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static const char *probe_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a folder";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFLNK:
		return "a symbolic link";
	default:
		return "a device";
	}
}

int db_probe_super(int journal, char **name, uint64_t *at)
{
	unsigned char tail[LOOK_SUPER_TAIL];
	CLEANUP(freep) char *text = NULL;
	struct stat st;
	uint32_t len;

	if (fstat(journal, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(tail) ||
	    pread(journal, tail, sizeof(tail), st.st_size - (off_t)sizeof(tail)) !=
		    (ssize_t)sizeof(tail) ||
	    memcmp(tail + 8, probe_magic, sizeof(probe_magic)) != 0)
		return 0;
	/* the checksum over the name is not asked for: what looks like one is one */
	len = probe_u32(tail);
	if (len == 0 || len > LOOK_SUPER_MAX || len > st.st_size - (off_t)sizeof(tail))
		return 0;
	text = calloc(1, (size_t)len + 1);
	if (!text)
		return -ENOMEM;
	if (pread(journal, text, len, st.st_size - (off_t)sizeof(tail) - len) != (ssize_t)len)
		return -EIO;
	if (at)
		*at = (uint64_t)st.st_size - sizeof(tail) - len;
	if (at && *at >= 4) /* the number of the page that no database uses */
		*at -= 4;
	if (name)
		*name = STEAL(text);
	return 1;
}

static int probe_journal(const char *path, const char *db_path, struct error *e)
{
	CLEANUP(freep) char *name = NULL;
	CLEANUP(fs_closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	int r;

	if (fd < 0) /* gone by now, or SQLite will say why it cannot be read */
		return 0;
	r = db_probe_super(fd, &name, NULL);
	if (r == -ENOMEM)
		return error_set(e, r, "out of memory");
	if (r != 1)
		return 0;
	return error_set(e, DB_CORRUPT,
			 "the -journal of %s names another file (%.200s) as its super-journal, "
			 "which no journal of a board does",
			 db_path, name);
}

static int probe_sidecar(const char *db_path, enum db_part part, struct error *e)
{
	CLEANUP(freep) char *path = db_file_path(db_path, part);
	struct stat st;

	if (!path)
		return error_set(e, -ENOMEM, "out of memory");
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : error_errno(e, -errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(e, DB_CORRUPT,
				 "%s is %s, which SQLite must not open; move it away", path,
				 probe_kind(st.st_mode));
	/* SQLite writes, cuts and removes it by this name; under the other it is another's */
	if (st.st_nlink > 1)
		return error_set(e, -EMLINK,
				 "%s has another name too (a hard link), whose file SQLite "
				 "would write to; remove one of them",
				 path);
	return part == DB_JOURNAL && st.st_size > 0 ? probe_journal(path, db_path, e) : 0;
}

/* Of a link: may it be followed? */
static int probe_link(const char *path, const struct stat *link, const struct stat *to,
		      struct error *e)
{
	if (link->st_uid == 0 || link->st_uid == geteuid() || link->st_uid == to->st_uid)
		return 0;
	return error_set(
		e, -ELOOP,
		"%s is a symbolic link of another account (uid %u) to a file that is not "
		"its own; it is not followed",
		path, (unsigned)link->st_uid);
}

int db_probe_files(const char *path, struct error *e)
{
	CLEANUP(freep) char *real = NULL;
	struct stat st, link;
	int r = 0;

	if (lstat(path, &link) < 0 || stat(path, &st) < 0)
		return errno == ENOENT ? error_set(e, DB_MISSING, "no such file")
				       : error_errno(e, -errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(e, -EINVAL, "%s is not a regular file; move it away", path);
	if (S_ISLNK(link.st_mode)) {
		r = probe_link(path, &link, &st, e);
		if (r != 0)
			return r;
		real = db_file_real(path); /* SQLite looks for the sidecars there */
		if (!real)
			return error_errno(e, -errno, "cannot look at %s", path);
		path = real;
	}
	for (enum db_part part = DB_WAL; part < DB_PARTS && r == 0; part++)
		r = probe_sidecar(path, part, e);
	return r;
}

/* The head of a TLS record: somebody wrote what was meant for a peer to a descriptor whose
 * number the file had got meanwhile. */
static bool probe_tls_at(const unsigned char *head, size_t at)
{
	unsigned length = (unsigned)head[at + 3] << 8 | head[at + 4];

	return head[at] >= 0x14 && head[at] <= 0x17 && head[at + 1] == 3 && head[at + 2] <= 4 &&
	       length > 0 && length <= 18432;
}

#define LOOK_NONE "not a database: its first 16 bytes are not those of SQLite"
#define LOOK_TLS                                                                               \
	": a program wrote to it what was meant for a network connection (a descriptor that "  \
	"it had closed)"

static const char *probe_no_header(const unsigned char *head, size_t len)
{
	if (len >= LOOK_FIXED && probe_tls_at(head, 0))
		return LOOK_NONE "; a TLS record begins at byte 0" LOOK_TLS;
	if (len >= LOOK_FIXED && memcmp(head, "SQLit", 5) == 0 && probe_tls_at(head, 5))
		return LOOK_NONE "; a TLS record begins at byte 5" LOOK_TLS;
	return LOOK_NONE;
}

const char *db_probe_header(const unsigned char *head, size_t len)
{
	unsigned size;

	if (len < LOOK_FIXED || memcmp(head, "SQLite format 3", 16) != 0)
		return probe_no_header(head, len);
	size = (unsigned)head[16] << 8 | head[17];
	size = size == 1 ? 65536 : size;
	if (size < 512 || size > 65536 || (size & (size - 1)) != 0)
		return "its header is damaged: the page size is none";
	if (head[18] < 1 || head[18] > 2 || head[19] < 1 || head[19] > 2 ||
	    head[18] != head[19])
		return "its header is damaged: the format versions are none";
	if (size - head[20] < 480)
		return "its header is damaged: the reserved bytes leave no room";
	if (head[21] != 64 || head[22] != 32 || head[23] != 32)
		return "its header is damaged: the payload fractions are none";
	return NULL;
}

int db_probe(const char *path, struct db_probe *look, struct error *e)
{
	CLEANUP(db_registry_closep) int fd = -1;
	CLEANUP(freep) char *real = NULL;
	const char *wrong;
	struct stat st;
	ssize_t n;
	int r = db_probe_files(path, e);

	*look = (struct db_probe){ 0 };
	if (r != 0 || db_registry_has(path))
		return r;
	real = db_file_real(path);
	if (!real)
		return error_errno(e, -errno, "cannot look at %s", path);
	look->hot = db_file_stamp(real, DB_WAL).size > 0 ||
		    db_file_stamp(real, DB_JOURNAL).size > 0;
	if (stat(real, &st) == 0 && st.st_size == 0 && !look->hot)
		return error_set(e, DB_MISSING, "empty file");
	fd = open(real, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	n = fd < 0 ? -1 : pread(fd, look->head, sizeof(look->head), 0);
	if (n < 0)
		return error_errno(e, -errno, "cannot read %s", path);
	look->header = true;
	look->wal = n >= 20 && look->head[18] == 2;
	wrong = look->hot ? NULL : db_probe_header(look->head, (size_t)n);
	return wrong ? error_set(e, DB_CORRUPT, "%s", wrong) : 0;
}
