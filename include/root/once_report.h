/* --once: what it did on a board, added up over its visits. */
#pragma once

struct board_job;
struct dispatch;

/** once_report_visited() - add a visit to the report and say whether another one is wanted */
void once_report_visited(struct dispatch *d, const struct board_job *bj);
