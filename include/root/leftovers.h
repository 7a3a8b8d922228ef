/* What a worker left running that was no child of ours. */
#pragma once

struct dispatch;
struct worker;

/** leftovers_end() - end what carries the run of @w, which has ended. It is not waited for. */
void leftovers_end(const struct dispatch *d, const struct worker *w);
