/* What lane.c and lane_look.c share: a row of a lane, and what keeps it from being claimed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct tick;

struct lane_row {
	const char *task, *assignee, *last_error; /* borrowed until the next one */
	int64_t scheduled_at, priority;
};

/* Per-profile counts of this tick, so that the cap is asked of the database once a profile. */
struct lane_profile {
	char *assignee; /* as stored */
	int64_t running;
	bool chosen; /* some of them by this walk */
};

struct lane_profiles {
	struct lane_profile *v;
	size_t n;
};

void lane_profiles_deinit(struct lane_profiles *profiles);

/* What keeps a row from being claimed, in the order of the board contract. */
enum lane_why {
	LANE_FREE,
	LANE_NO_ASSIGNEE,
	LANE_NO_PROFILE,
	LANE_SCHEDULED,
	LANE_HELD,
	LANE_OCCUPIED, /* a worker of it lives, whatever its row says */
	LANE_CAPPED,
	LANE_GUARD,
	LANE_BACKOFF,
	LANE_PARENT,
};

struct lane_look {
	enum lane_why why;
	const char *assignee; /* whom it goes to */
	bool assign;          /* … because the row names nobody */
	char name[256];       /* its canonical name, from LANE_CAPPED on */
	struct lane_profile *profile;
	const char *reason; /* LANE_GUARD */
	int64_t until;      /* LANE_HELD, LANE_GUARD, LANE_BACKOFF */
};

/**
 * lane_look() - may the row be claimed? Nothing is noted. The budget is checked before it,
 * pools after it.
 * Return: 0, or as db_step().
 */
MUST_CHECK int lane_look(const struct tick *t, struct lane_profiles *profiles,
			 const struct lane_row *row, bool review, struct lane_look *look);
