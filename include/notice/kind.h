/*
 * Which events subscribers hear of, and in what words: one row each. The row is all there is:
 * what is read of a board, what is sent, folded, counted in a digest, and the message itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum notice_flags {
	NOTICE_QUIET = 1, /* read, so that the cursor passes it, and not sent */
	NOTICE_HUMAN = 2, /* somebody has to do something: first in a digest */
	NOTICE_FOLDS = 4, /* repeats become one message with a count */
	NOTICE_ENDS = 8,  /* ends the folding of what came before it */
};

enum notice_part_flags {
	NOTICE_FIRST = 1,  /* its first line that says something, not all lines in one */
	NOTICE_ELSE = 2,   /* only where the part before it said nothing */
	NOTICE_NUMBER = 4, /* a whole number, 0 if it is none */
};

#define NOTICE_PARTS 4

/* A piece of the message: a member of the event's payload, or "=title", "=result", "=status" of
 * the task. Nothing of it is written when there is no such text. */
struct notice_part {
	const char *before, *member;
	unsigned chars; /* at most */
	unsigned flags;
	const char *after; /* or NULL */
};

struct notice_kind {
	const char *name; /* in the board */
	unsigned flags;
	const char *glyph; /* first character of the message */
	const char *many;  /* in the counts of a digest */
	const char *words; /* behind the task's id */
	const char *tail;  /* behind the parts, or NULL */
	struct notice_part parts[NOTICE_PARTS];
};

/* Name, flags, glyph, in a digest, words, tail, parts. */
/* clang-format off */
#define NOTICE_SENT_KINDS(X) \
	X("completed", 0, "✔", "done", " done", NULL, \
	  { " — ", "=title", 120, 0, NULL }, \
	  { "\n", "summary", 200, NOTICE_FIRST, NULL }, \
	  { "\n", "=result", 160, NOTICE_FIRST | NOTICE_ELSE, NULL }) \
	X("blocked", NOTICE_HUMAN, "⏸", "blocked", " blocked", NULL, \
	  { ": ", "reason", 160, 0, NULL }) \
	X("gave_up", NOTICE_HUMAN | NOTICE_FOLDS, "✖", "given up", \
	  " gave up after repeated spawn failures", NULL, \
	  { "\n", "error", 200, 0, NULL }) \
	X("crashed", NOTICE_FOLDS, "✖", "crashed", \
	  " worker crashed (pid gone); dispatcher will retry", NULL, { 0 }) \
	X("timed_out", 0, "⏱", "timed out", " timed out", "; will retry", \
	  { " (iteration budget of ", "budget_max", 80, 0, " used up)" }, \
	  { " (max_runtime=", "limit_seconds", 0, NOTICE_NUMBER | NOTICE_ELSE, "s)" }) \
	X("review_requested", NOTICE_HUMAN, "👀", "ready for review", " ready for review", NULL, \
	  { " — ", "=title", 120, 0, NULL }, \
	  { "\n", "summary", 200, 0, NULL }) \
	X("changes_requested", NOTICE_HUMAN, "🛑", "sent back", " changes requested", NULL, \
	  { " by ", "reviewer", 80, 0, NULL }, \
	  { " → ", "implementer", 80, 0, NULL }, \
	  { ": ", "reason", 160, 0, NULL }, \
	  { ": ", "summary", 160, NOTICE_ELSE, NULL }) \
	X("block_loop_detected", NOTICE_HUMAN, "🛑", "routed to triage", \
	  " routed to TRIAGE — needs a human decision", NULL, \
	  { " (blocked ", "recurrences", 80, 0, "x for the same cause)" }, \
	  { ": ", "reason", 160, 0, NULL }) \
	X("status", 0, "🔄", "moved", "", NULL, \
	  { " → ", "status", 80, 0, NULL }, \
	  { " → ", "=status", 80, NOTICE_ELSE, NULL })
#define NOTICE_QUIET_KINDS(X) \
	X("archived", NOTICE_QUIET, "", "", "", NULL, { 0 }) \
	X("unblocked", NOTICE_QUIET | NOTICE_ENDS, "", "", "", NULL, { 0 })
#define NOTICE_KINDS(X) NOTICE_SENT_KINDS(X) NOTICE_QUIET_KINDS(X)
/* clang-format on */

/* All of them, and those that make a message, as a list for SQL's IN: the NULL equals nothing.
 */
#define NOTICE_SQL_NAME(name, ...) ", '" name "'"
#define NOTICE_SQL_KINDS           "NULL" NOTICE_KINDS(NOTICE_SQL_NAME)
#define NOTICE_SQL_SENT            "NULL" NOTICE_SENT_KINDS(NOTICE_SQL_NAME)

/** notice_kind_count(), notice_kind_at() - all of them, in the order of the table */
size_t notice_kind_count(void);
const struct notice_kind *notice_kind_at(size_t i);

/** notice_kind() - that kind; NULL: subscribers do not hear of it. @name: NULL is none */
const struct notice_kind *notice_kind(const char *name);

/** notice_kind_sent() - the static name of a kind that makes a message, or NULL */
const char *notice_kind_sent(const char *name);

/**
 * notice_kind_is_ours() - can a message be sent there from outside of a gateway
 * @platform: as stored. Terminals, servers and the like tell their own sessions themselves.
 */
bool notice_kind_is_ours(const char *platform);
