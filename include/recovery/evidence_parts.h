/* Inside of src/board/evidence*.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

/*
 * A board as it is kept. Its database is read through @fd alone: closing any other descriptor
 * of a file drops what locks this process has on it (https://sqlite.org/howtocorrupt.html,
 * 2.2), and the same goes for the -shm.
 */
struct evidence_of {
	const char *path;
	int fd;       /* of the database */
	int shm;      /* of the -shm, as far as it is locked by evidence_still() */
	bool shm_too; /* the -shm may be opened and closed */
	bool journal; /* a -journal would be content: no transaction is going on */
	bool still;   /* nobody can write to it */
};

#define EVIDENCE_OF_NULL                                                                       \
	{                                                                                      \
		.fd = -1, .shm = -1, .shm_too = true, .journal = true                          \
	}

/**
 * evidence_still() - keep others from writing until evidence_of_deinit(), as a reader does
 * With SQLite's own locks (https://sqlite.org/lockingv3.html,
 * https://sqlite.org/walformat.html#locks) on @of's descriptors, because SQLite itself would
 * not lock a file whose header it cannot read, and would play back a hot journal before that is
 * kept.
 * @until: clock_mono_ms() until which others are waited for; then it is not still
 */
void evidence_still(struct evidence_of *of, uint64_t until);
void evidence_of_deinit(struct evidence_of *of);

/**
 * evidence_same_set() - does the set @b hold what the database has now, or its sidecars
 * Return: 1, 0 or -errno.
 */
MUST_CHECK int evidence_same_set(const struct evidence_of *of, const char *b,
				 bool sidecars_alone);
/** evidence_same_db() - the database without its sidecars */
MUST_CHECK int evidence_same_db(const struct evidence_of *of, const char *b);

/**
 * evidence_copy_set() - make the set @to, whole or not at all
 * @sha256: of the database as it was when the set got its name
 * Return: 0; -EAGAIN what was copied is not what was there at any instant; other -errno.
 */
MUST_CHECK int evidence_copy_set(const struct evidence_of *of, const char *to,
				 const char *sha256);

extern const char *const evidence_sidecars[];
#define N_SIDECARS 3
