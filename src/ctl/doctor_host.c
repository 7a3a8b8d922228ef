/* doctor: the host: SQLite, the file system, the hermes program, the clock. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "board/discover.h"
#include "ctl.h"
#include "ctl/doctor.h"
#include "daemon/config.h"
#include "db/db.h"
#include "launch/unit.h"
#include "process/proc.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/quote.h"

#define DOCTOR_CLOCK_S   120        /* how far off stamps may be between processes */
#define DOCTOR_CLOCK_MIN 1735689600 /* 2025-01-01: no kanband is as old as that */

/* ---- SQLite -------------------------------------------------------------------------- */

/* Is the database in WAL mode: bytes 18 and 19 of its header. */
static bool sqlite_is_wal(const char *db_path)
{
	unsigned char header[20];
	CLEANUP(fs_closep) int fd = -1;
	struct stat st;

	/* no connection is open here, so closing this descriptor drops nobody's locks */
	fd = open(db_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       pread(fd, header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
	       header[18] == 2 && header[19] == 2;
}

void doctor_sqlite(struct doctor *d)
{
	CLEANUP(discovery_deinit) struct discovery disc = { 0 };
	const char *version = db_library_version();
	struct error e = ERROR_NULL;
	size_t wal = 0;

	if (!db_wal_reset_bug()) {
		doctor_well(d, "sqlite", NULL,
			    "%s; a Hermes on such a library turns a board into WAL when it "
			    "opens it, unless config.yaml has database.journal_mode: delete",
			    version);
		return;
	}
	if (discover_boards(&disc, d->root, NULL, &e) < 0)
		disc.count = 0; /* told by the check of boards */
	for (size_t i = 0; i < disc.count; i++) {
		const struct board_place *b = &disc.boards[i];

		if (!b->db_exists || *b->duplicate_of || !sqlite_is_wal(b->db_path))
			continue;
		wal++;
		doctor_say(d, DOCTOR_SQLITE_WAL, b->slug,
			   quote_command("%ssqlite3 %q 'PRAGMA journal_mode=DELETE'",
					 d->remedy.as_owner, b->db_path),
			   "SQLite %s has the WAL-reset bug (fixed in 3.51.3, 3.50.7, 3.44.6) "
			   "and this board is in WAL mode: kanband works around it, a gateway "
			   "may not. Take a newer SQLite, or leave WAL mode while nobody has "
			   "the board open; database.journal_mode: delete in config.yaml keeps "
			   "a Hermes with a newer one from turning it back",
			   version);
	}
	if (wal == 0)
		doctor_well(
			d, "sqlite", NULL,
			"%s, which has the WAL-reset bug; no board is in WAL mode, and with "
			"database.journal_mode: delete in config.yaml a Hermes with a newer "
			"SQLite leaves it so",
			version);
}

/* ---- the file system ----------------------------------------------------------------- */

enum doctor_fs doctor_fs(unsigned long type, const char **name)
{
	/* numbers of statfs(2) and of the kernel's magic.h */
	static const struct {
		unsigned long type;
		const char *name;
		enum doctor_fs kind;
	} known[] = {
		{ 0x6969, "NFS", DOCTOR_FS_NETWORK },
		{ 0x517B, "SMB", DOCTOR_FS_NETWORK },
		{ 0xFF534D42, "CIFS", DOCTOR_FS_NETWORK },
		{ 0xFE534D42, "SMB 2", DOCTOR_FS_NETWORK },
		{ 0x00C36400, "Ceph", DOCTOR_FS_NETWORK },
		{ 0x0BD00BD0, "Lustre", DOCTOR_FS_NETWORK },
		{ 0x5346414F, "AFS", DOCTOR_FS_NETWORK },
		{ 0x6B414653, "AFS", DOCTOR_FS_NETWORK },
		{ 0x73757245, "Coda", DOCTOR_FS_NETWORK },
		{ 0x564C, "NCP", DOCTOR_FS_NETWORK },
		{ 0x01161970, "GFS2", DOCTOR_FS_NETWORK },
		{ 0x7461636F, "OCFS2", DOCTOR_FS_NETWORK },
		{ 0x47504653, "GPFS", DOCTOR_FS_NETWORK },
		{ 0x19830326, "BeeGFS", DOCTOR_FS_NETWORK },
		{ 0x01021997, "9p", DOCTOR_FS_NETWORK },
		{ 0x786F4256, "a folder of the VirtualBox host", DOCTOR_FS_NETWORK },
		{ 0xBACBACBC, "a folder of the VMware host", DOCTOR_FS_NETWORK },
		{ 0x65735546, "FUSE", DOCTOR_FS_MAYBE },
		{ 0x01021994, "tmpfs", DOCTOR_FS_MEMORY },
		{ 0x858458F6, "ramfs", DOCTOR_FS_MEMORY },
		{ 0xEF53, "ext4", DOCTOR_FS_LOCAL },
		{ 0x58465342, "XFS", DOCTOR_FS_LOCAL },
		{ 0x9123683E, "btrfs", DOCTOR_FS_LOCAL },
		{ 0x2FC12FC1, "ZFS", DOCTOR_FS_LOCAL },
		{ 0xCA451A4E, "bcachefs", DOCTOR_FS_LOCAL },
		{ 0xF2F52010, "F2FS", DOCTOR_FS_LOCAL },
		{ 0x794C7630, "overlayfs", DOCTOR_FS_LOCAL },
	};

	type &= 0xFFFFFFFFUL;
	*name = "";
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].type == type) {
			*name = known[i].name;
			return known[i].kind;
		}
	return DOCTOR_FS_LOCAL;
}

void doctor_filesystem(struct doctor *d)
{
	const char *name, *move = "mkdir /var/lib/hermes && cp -aT %q /var/lib/hermes && "
				  "export HERMES_KANBAN_HOME=/var/lib/hermes";
	struct statfs st;

	if (statfs(d->root, &st) < 0) {
		doctor_say(d, DOCTOR_ROOT_UNSEEN, NULL, quote_command("ls -la %q", d->root),
			   "it cannot be looked at: %s", strerror(errno));
		return;
	}
	switch (doctor_fs((unsigned long)st.f_type, &name)) {
	case DOCTOR_FS_NETWORK:
		doctor_say(d, DOCTOR_ROOT_NETWORK, NULL, quote_command(move, d->root),
			   "the root is on %s: locks and shared memory do not reach across "
			   "hosts, and boards will be damaged. Stop kanband and the gateways, "
			   "move "
			   "it, and point their units there",
			   name);
		return;
	case DOCTOR_FS_MAYBE:
		doctor_say(d, DOCTOR_ROOT_FUSE, NULL, quote_command(move, d->root),
			   "the root is on %s, which may be a network file system in disguise",
			   name);
		return;
	case DOCTOR_FS_MEMORY:
		doctor_say(
			d, DOCTOR_ROOT_MEMORY, NULL, quote_command(move, d->root),
			"the root is on %s: everything in it is gone with the next boot. Stop "
			"kanband and the gateways, move it, and point their units there",
			name);
		return;
	case DOCTOR_FS_LOCAL:
		break;
	}
	if (st.f_blocks > 0 && st.f_bavail < st.f_blocks / 100)
		doctor_say(d, DOCTOR_ROOT_FULL, NULL,
			   quote_command("du -xh %q | sort -h | tail", d->root),
			   "less than 1 %% of it is free");
	else
		doctor_well(d, "filesystem", NULL, "%s, local",
			    *name ? name : "of a kind not known here");
}

/* ---- hermes -------------------------------------------------------------------------- */

static bool hermes_runs(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Where on @path is it; malloc'd, NULL if nowhere (or no memory) */
static char *hermes_find(const char *name, const char *path)
{
	if (strchr(name, '/'))
		return hermes_runs(name) ? strdup(name) : NULL;
	while (path && *path) {
		size_t n = strcspn(path, ":");
		CLEANUP(freep) char *file = fs_path("%.*s/%s", (int)n, path, name);

		if (file && n > 0 && hermes_runs(file))
			return STEAL(file);
		path += n + (path[n] == ':');
	}
	return NULL;
}

void doctor_hermes(struct doctor *d)
{
	const char *name = d->set.hermes ? d->set.hermes : "hermes";
	const char *path = ctl_env(d->ctl, "PATH"), *whose = "PATH";
	struct proc_environ env = { 0 };
	CLEANUP(freep) char *found = NULL;

	/* what counts is what the daemon has, where that can be seen */
	if (d->leader.kanband && d->leader.pid > 0 &&
	    proc_environ_read(&env, d->leader.pid) == 0) {
		const char *bin = proc_environ_get(&env, "HERMES_BIN");

		path = proc_environ_get(&env, "PATH");
		name = bin && *bin ? bin : name;
		whose = "PATH of kanband";
	}
	found = hermes_find(name, path);
	if (found)
		doctor_well(d, "hermes", NULL, "%s", found);
	else
		doctor_say(
			d, DOCTOR_HERMES_MISSING, NULL,
			quote_command(
				d->client
					? "h=$(command -v hermes || find \"$HOME\" /opt /usr "
					  "-xdev -name hermes -type f -perm -u+x 2>/dev/null | "
					  "head -n 1) && [ -n \"$h\" ] && mkdir -p %q && "
					  "printf "
					  "'[worker]\\nhermes = %%s\\n' \"$h\" "
					  ">%q/hermes.conf && kanbanctl --root %q "
					  "reload"
					: "h=$(command -v hermes || find \"$HOME\" /opt /usr "
					  "-xdev -name hermes -type f -perm -u+x 2>/dev/null | "
					  "head -n 1) && [ -n \"$h\" ] && mkdir -p %q && "
					  "printf "
					  "'[worker]\\nhermes = %%s\\n' \"$h\" "
					  ">%q/hermes.conf",
				d->config_dir, d->config_dir, d->root),
			"%s is not on the %s: no worker can be started, no message sent", name,
			whose);
	proc_environ_deinit(&env);
}

/* ---- how workers are started --------------------------------------------------------- */

void doctor_launcher(struct doctor *d)
{
	enum launcher_kind set = d->config ? config_launcher(d->config) : LAUNCHER_AUTO;
	struct error why = ERROR_NULL;
	enum unit_manager manager;

	if (set != LAUNCHER_AUTO && set != LAUNCHER_SYSTEMD) {
		doctor_well(d, "launcher", NULL, "%s, as configured",
			    config_launcher_word(set));
		return;
	}
	/* what kanband finds at its start under this account */
	manager = unit_manager_find(&why);
	if (manager != UNIT_MANAGER_NONE)
		doctor_well(d, "launcher", NULL, "systemd: %s starts workers as units",
			    manager == UNIT_MANAGER_OWN ? "the account's service manager"
							: "the system's service manager");
	else if (!fs_is_dir("/run/systemd/system"))
		doctor_well(d, "launcher", NULL, "fork: %s", why.text);
	else
		doctor_say(d, DOCTOR_LAUNCHER_CHILDREN, NULL,
			   fs_path("loginctl enable-linger %u", (unsigned)geteuid()),
			   "workers are children of kanband, without limits of their own: %s",
			   why.text);
}

/* ---- the clock ----------------------------------------------------------------------- */

/* The newest stamp that is ahead of @now, of a file of the root. Return: seconds, 0 none. */
static int64_t clock_ahead(const struct doctor *d, int64_t now, char *what, size_t size)
{
	CLEANUP(discovery_deinit) struct discovery disc = { 0 };
	struct error e = ERROR_NULL;
	int64_t most = 0;

	if (discover_boards(&disc, d->root, NULL, &e) < 0)
		return 0;
	for (size_t i = 0; i < disc.count; i++) {
		int64_t at = disc.boards[i].db.mtime_ns / 1000000000 - now;

		if (at > most) {
			most = at;
			(void)snprintf(what, size, "board %s was written", disc.boards[i].slug);
		}
	}
	if (d->leader.has_file && d->leader.owner.since - now > most) {
		most = d->leader.owner.since - now;
		(void)snprintf(what, size, "the lease was taken");
	}
	return most;
}

void doctor_clock(struct doctor *d)
{
	char what[BOARD_SLUG_MAX + 32] = "";
	int64_t now = clock_wall_s(), ahead = clock_ahead(d, now, what, sizeof(what));
	char text[32];

	screen_time(now, text);
	if (now < DOCTOR_CLOCK_MIN)
		doctor_say(d, DOCTOR_CLOCK_OLD, NULL, strdup("timedatectl set-ntp true"),
			   "it says %s: claims expire and reminders come at the wrong time",
			   text);
	else if (ahead > DOCTOR_CLOCK_S)
		doctor_say(d, DOCTOR_CLOCK_BACK, NULL,
			   quote_command("timedatectl set-ntp true && %sfind %q -newermt now "
					 "-exec touch -h {} +",
					 d->remedy.as_owner, d->root),
			   "it says %s, and %s %" PRId64
			   " s later than that: it went back, and "
			   "claims will expire late",
			   text, what, ahead);
	else
		doctor_well(d, "clock", NULL, "it says %s, and nothing is newer", text);
}
