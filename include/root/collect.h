/* Ends of workers that their launcher keeps until they are booked. */
#pragma once

#include <stdint.h>

struct dispatch;
struct root;

/** collect_add() - the end of a run is known, and goes along with the next visit */
void collect_add(struct dispatch *d, const char *task, int64_t run);

/** collect_offered() - a visit takes all ends along that are known now */
void collect_offered(struct dispatch *d);

/** collect_booked() - that visit booked them: their launcher may forget them */
void collect_booked(struct dispatch *d);

void collect_close(struct dispatch *d);

/** collect_sweep() - have the launcher forget what ended a good while ago and nobody collected
 */
void collect_sweep(struct root *root);
