/*
 * A world for the notifier: real boards, the real outbox, a clock that is set by hand, and
 * chats that take, refuse or ignore messages as the test says. What was delivered is written to
 * a file at the moment of its arrival, so that it survives the end of the process, however that
 * comes.
 *
 * delivery_step() marks each point between two effects: a test may have the process end there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "db/db.h"
#include "folder.h"
#include "notify/notify.h"

#define WORLD_BOARDS 2
#define WORLD_SENDS  64

/* One message that a child has. */
struct delivery_send {
	bool used;
	char target[200], text[4200];
	notify_ended_fn done;
	void *done_arg;
	char killed[128];
};

enum delivery_answer { WORLD_TAKE, WORLD_FAIL, WORLD_REFUSE, WORLD_HANG };

struct world {
	uv_loop_t loop;
	struct jobs jobs;
	struct outbox *outbox;
	struct gateways *gateways;
	struct notify *n;
	struct notify_settings settings;
	struct db *db[WORLD_BOARDS];
	bool want[WORLD_BOARDS], look[WORLD_BOARDS], absent[WORLD_BOARDS];
	struct delivery_send sends[WORLD_SENDS];
	unsigned running, running_max;
	uint64_t mono;
	int64_t wall;
	enum delivery_answer (*answer)(const char *target, const char *text);
	unsigned tries;    /* messages handed to children */
	int steps, die_at; /* the process ends at that step; 0: never */
	char log[20000];
	bool stopped, closed, intent_fails;
	unsigned looks;
	int64_t held[WORLD_BOARDS]; /* a look is due then */
};

extern struct world world;

void delivery_step(void);

/* ---- boards -------------------------------------------------------------------------- */

void sql_on(int board, const char *fmt, ...);

int64_t value_on(int board, const char *fmt, ...);

void add_task(int board, const char *id, const char *status, const char *chat);

int64_t add_event_at(int board, const char *id, const char *kind, const char *payload,
		     int64_t at);

int64_t add_event(int board, const char *id, const char *kind);

int64_t cursor_of(int board, const char *id);

/* ---- a visit, as the root makes it --------------------------------------------------- */

void delivery_visit(int board);

/* ---- chats --------------------------------------------------------------------------- */

/* Let the children do what the test says. Return: did any end? */
bool delivery_children(void);

/* Everything that arrived, as lines; the file is emptied. */
char *delivery_take(void);

/* ---- the notifier -------------------------------------------------------------------- */

unsigned delivery_logged(const char *part);

void delivery_open(void);

/* Forget everything but the files. */
void delivery_close(void);

void delivery_reopen(void);

void delivery_setup(void);

void delivery_teardown(void);

/* Until nothing happens any more at this moment of the clock. */
void delivery_settle(void);

/* Let the time pass, turn by turn as the notifier asks for them. */
void delivery_pass(int64_t seconds);

/* Entries of the outbox. */
unsigned delivery_entries(void);
