/* The tables and indexes of a board as of Hermes 0.21 (CONTRACT §4), for boards that we make.
 */
#pragma once

/** schema_board_sql - every CREATE statement, idempotent (IF NOT EXISTS) */
extern const char schema_board_sql[];
