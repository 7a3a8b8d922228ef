/* The row that begins with somebody else's commit: ready → the worker runs. */
#pragma once

#include <stdbool.h>

/** bench_row_ready() - measure and add the row; @wal: journal mode of the board */
void bench_row_ready(bool wal);

/** bench_stamp_ms() - when the first worker since the stamp file was removed came to run */
double bench_stamp_ms(double patience_ms);
