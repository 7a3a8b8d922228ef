/* What came of a change of a task, or of what lies around tasks, as JSON. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct edit_done;
struct gc_report;

/* Each begins with {"board", "root"}, without "root" for @root NULL (kanbanctl on files, where
 * the caller named it). NULL: out of memory. */

/** wire_change() - task @id was changed */
json_t *wire_change(const char *slug, const char *root, const char *id,
		    const struct edit_done *done);

/** wire_change_ended() - of a verb that may end a worker; @change: given away */
json_t *wire_change_ended(json_t *change, bool worker_ended);

/** wire_change_added() - @created: false where its idempotency key had it already */
json_t *wire_change_added(const char *slug, const char *root, const char *id,
			  const char *status, bool created);

/** wire_change_gc() */
json_t *wire_change_gc(const char *slug, const char *root, const struct gc_report *report,
		       bool dry_run);

/** wire_change_retried() - @n tasks of the board */
json_t *wire_change_retried(const char *slug, const char *root, int64_t n);
