#include "stamp.h"

#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>

#include "board.h"
#include "board/board.h"
#include "recovery/repair.h"
#include "util/clock.h"
#include "util/fs.h"
#include "visit.h"

bool kit_stamps_differ(void)
{
	char *wal = kit_printf("%s-wal", kit.path);
	struct board_place now = { .db = fs_stamp_of(kit.path), .wal = fs_stamp_of(wal) };

	return board_changed(&board, &now);
}

void kit_age(void)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
					   { .tv_sec = time(NULL) - 100 } };

	ck_assert_int_eq(utimensat(AT_FDCWD, kit.path, times, 0), 0);
	(void)utimensat(AT_FDCWD, kit_printf("%s-wal", kit.path), times, 0);
}

void kit_ready(const char *id)
{
	kit_task(id, "ready", NULL);
}
