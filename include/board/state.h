/*
 * What a board is: one vocabulary for the daemon, --once, the API, kanbanctl on files and the
 * documents, and one answer to the question whether that is bad.
 */
#pragma once

#include <stdbool.h>

#include "recovery/health.h"

enum board_state_flags {
	BOARD_BAD = 1,    /* trouble, passing or not */
	BOARD_STANDS = 3, /* … that stays until its bytes change or somebody acts */
};

/* Name, the word for it everywhere, flags. */
/* clang-format off */
#define BOARD_STATES_OF(X) \
	X(NEW, "new", 0)                       /* not looked at yet */ \
	X(HEALTHY, "healthy", 0)               /* may be worked on */ \
	X(MISSING, "missing", 0)               /* no file, or an empty one: nothing to do */ \
	X(TROUBLED, "troubled", BOARD_BAD)     /* the last try failed for a passing reason */ \
	X(SUSPECT, "suspect", BOARD_BAD)       /* damage was seen, no dispatcher judged it */ \
	X(REPAIRING, "repairing", BOARD_BAD)   /* a repair was begun and has not ended */ \
	X(SCHEMA, "schema", BOARD_STANDS)      /* a table or column that must be there is not */ \
	X(LOST, "lost", BOARD_STANDS)          /* sound, but it went back in time: closed */ \
	X(QUARANTINED, "quarantined", BOARD_STANDS) /* damaged: until its bytes change */

enum board_state {
#define BOARD_STATE(name, word, flags) BOARD_##name,
	BOARD_STATES_OF(BOARD_STATE)
#undef BOARD_STATE
	BOARD_STATES,
};
/* clang-format on */

/** board_state_name() - "healthy", "missing" … */
const char *board_state_name(enum board_state state);

/** board_state_of() - the state of a board by what opening or visiting it came to: 0, -errno or
 * an enum db_outcome */
enum board_state board_state_of(int outcome);

/** board_state_of_health() - the state that its durable record tells */
enum board_state board_state_of_health(enum health_state health);

/** board_state_stands() - is it trouble that stays until its bytes change or somebody acts:
 * nothing works on such a board */
bool board_state_stands(enum board_state state);

/** board_state_bad() - is it trouble, passing or not */
bool board_state_bad(enum board_state state);

/** board_state_word_bad() - the same of a word as reports have it: a state's name, or why a
 * board is put aside (archived, paused, duplicate), which is no trouble; a word that is none of
 * these is
 */
bool board_state_word_bad(const char *word);
