/* Waiting for a commit that is under way. */
#pragma once

#include "board/board.h"

/** board_await_between() - is a transaction under way, by its rollback journal */
bool board_await_between(const struct board *b);

/** board_await_pending() - has somebody written to the log what is no commit yet */
bool board_await_pending(const struct board *b);

/** board_await_overtaken() - is there, after a visit, a commit of a WAL board that it has not
 * seen, or is one being written */
bool board_await_overtaken(const struct board *b);

/** board_await() - wait for the commit that woke us as long as somebody still writes; at most
 * 40 ms, without any lock. Thread: pool; the board is open and the job's. */
void board_await(const struct board *b, struct board_job *bj);
