/*
 * What a board is: one vocabulary for the daemon, --once, the API, kanbanctl on files and the
 * documents, and one answer to the question whether that is bad.
 */
#pragma once

#include <stdbool.h>

#include "recovery/health.h"

enum board_state {
	BOARD_NEW,         /* not looked at yet */
	BOARD_HEALTHY,     /* may be worked on */
	BOARD_MISSING,     /* no file yet, or an empty one: nothing to dispatch */
	BOARD_TROUBLED,    /* the last try failed for a passing reason */
	BOARD_SUSPECT,     /* damage was seen, and no dispatcher has judged it yet */
	BOARD_REPAIRING,   /* a repair was begun and has not ended */
	BOARD_SCHEMA,      /* a table or column that must be there is not */
	BOARD_LOST,        /* sound, but it went back in time: fails closed */
	BOARD_QUARANTINED, /* damaged: left alone until its bytes change or the daemon restarts
			    */
	BOARD_STATES,
};

/** board_state_name() - "healthy", "missing" …: the word for it everywhere */
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
