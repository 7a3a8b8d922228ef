/* The rows that begin with somebody else's change: ready → the worker runs. */
#pragma once

#include <stdbool.h>

/** bench_stamp_ms() - when the first worker since the stamp file was removed came to run */
double bench_stamp_ms(double patience_ms);
