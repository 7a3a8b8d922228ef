/*
 * States of a board. Whoever wants to know whether one is bad asks here.
 */
#include "board/state.h"

#include <stddef.h>
#include <string.h>

#include "db/db.h"

static const struct {
	const char *name;
	unsigned flags;
} states[BOARD_STATES] = {
#define STATE_ROW(name, word, flags) { word, flags },
	BOARD_STATES_OF(STATE_ROW)
#undef STATE_ROW
};

const char *board_state_name(enum board_state state)
{
	return states[state].name;
}

enum board_state board_state_of(int outcome)
{
	switch (outcome) {
	case 0:
		return BOARD_HEALTHY;
	case DB_MISSING:
		return BOARD_MISSING;
	case DB_SCHEMA_BAD:
		return BOARD_SCHEMA;
	case DB_LOST:
		return BOARD_LOST;
	case DB_OVERRUN:
	case DB_CORRUPT:
		return BOARD_QUARANTINED;
	default:
		return BOARD_TROUBLED;
	}
}

enum board_state board_state_of_health(enum health_state health)
{
	static const enum board_state of[] = {
		[HEALTH_HEALTHY] = BOARD_HEALTHY,     [HEALTH_SUSPECT] = BOARD_SUSPECT,
		[HEALTH_REPAIRING] = BOARD_REPAIRING, [HEALTH_QUARANTINED] = BOARD_QUARANTINED,
		[HEALTH_LOST] = BOARD_LOST,           [HEALTH_SCHEMA] = BOARD_SCHEMA,
	};

	return of[health];
}

bool board_state_stands(enum board_state state)
{
	return states[state].flags == BOARD_STANDS;
}

bool board_state_bad(enum board_state state)
{
	return states[state].flags & BOARD_BAD;
}

bool board_state_word_bad(const char *word)
{
	static const char *const aside[] = { "archived", "paused", "duplicate" };

	for (size_t i = 0; i < BOARD_STATES; i++)
		if (strcmp(word, states[i].name) == 0)
			return board_state_bad((enum board_state)i);
	for (size_t i = 0; i < sizeof(aside) / sizeof(aside[0]); i++)
		if (strcmp(word, aside[i]) == 0)
			return false;
	return true;
}
