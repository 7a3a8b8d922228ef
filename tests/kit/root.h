/* A root in a loop of the case: a board, a worker program, what the root calls back. */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "board.h"
#include "board/board.h"
#include "recovery/repair.h"
#include "root/dispatch.h"
#include "root/hostfault.h"
#include "root/root.h"
#include "util/clock.h"

struct world {
	uv_loop_t loop;
	uv_timer_t guard;
	bool expired;
	struct jobs jobs;
	struct root_env env;
	struct launcher launcher;
	struct root *root;
	unsigned visits; /* news: one at the end of each visit, and some */
	bool stopped;
	void (*on_changed)(void); /* acts in the midst of things */
	int64_t since;
};

extern struct world w;

void on_changed(void *arg);
void on_stopped(void *arg);
void on_guard(uv_timer_t *timer);
/* Turn the loop until the condition holds; the guard makes a hang a failure. */
#define UNTIL_MS(cond, ms)                                                                     \
	do {                                                                                   \
		w.expired = false;                                                             \
		ck_assert_int_eq(uv_timer_start(&w.guard, on_guard, ms, 0), 0);                \
		while (!(cond) && !w.expired)                                                  \
			(void)uv_run(&w.loop, UV_RUN_ONCE);                                    \
		(void)uv_timer_stop(&w.guard);                                                 \
	} while (0)

#define UNTIL(cond)                                                                            \
	do {                                                                                   \
		UNTIL_MS(cond, 20000);                                                         \
		ck_assert_msg(!w.expired, "waited in vain for %s", #cond);                     \
	} while (0)

/* What hermes does. The script runs with HERMES_KANBAN_TASK and the like. */
void kit_root_hermes(const char *script);

void kit_root_setup(void);
void kit_root_begin(void);
void kit_root_end(void);
struct dispatch *kit_root_board(const char *slug);
/* A look at the rows from beside, not while a visit runs: it may hold them. */
bool kit_root_kinds_are(const char *task, const char *kinds);

void kit_root_ready(const char *id);
