/* The locks of a board. Pool threads take them. */
#pragma once

#include <stdint.h>

#include "board/board.h"

/**
 * board_lock_take() - take the file <db>@suffix, made if it is not there
 * @until: of clock_mono_ms(), until which it is tried; 0: once. flock(2) has no time-out.
 * Return: the descriptor, which holds it until it is closed; -EWOULDBLOCK another process has
 * it; other -errno.
 */
MUST_CHECK int board_lock_take(const struct board *b, const char *suffix, uint64_t until,
			       struct error *e);

/**
 * board_lock_own() - have the `.dispatcher.lock` of the board's folder before a tick
 * It stays ours until board_deinit(). The sweep that trusts nothing looks whether it is still
 * the one that the path names. Where there can be none it is gone on without, as Hermes does.
 * Return: 0; -EWOULDBLOCK another process dispatches this board; -ENOMEM.
 */
MUST_CHECK int board_lock_own(struct board *b, struct board_job *bj);

/**
 * board_lock_init() - take `<db>.init.lock`
 * First opens of all processes come one after the other, but nobody waits for that longer than
 * the contract says. The daemon waits between its visits, not in them.
 * @fd: out; -1: go on without
 * Return: 0; DB_TRANSIENT not yet; -errno.
 */
MUST_CHECK int board_lock_init(struct board *b, struct board_job *bj, int *fd);
