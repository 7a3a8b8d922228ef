/* What is said about a board in trouble, as JSON: reports, copies, what was done. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct candidate;
struct mend_report;

/* Each is about one board of one root and begins with {"board", "root"}; NULL: out of memory.
 * @root NULL: no root, the board was pinned. */

/** wire_report() - of check and repair. @will: what is done about it, or NULL: as @rep says */
json_t *wire_report(const char *slug, const char *root, bool well,
		    const struct mend_report *rep, const char *will);

/** wire_restored() - @from: which copy it was, or would be */
json_t *wire_restored(const char *slug, const char *root, const char *from, bool restored,
		      int64_t tasks);

/** wire_accepted() */
json_t *wire_accepted(const char *slug, const char *root, int64_t tasks);

/** wire_snapshot() - @path: of the one that was taken */
json_t *wire_snapshot(const char *slug, const char *root, const char *path);

/** wire_copies() - what a board can be restored from, an array; NULL: out of memory */
json_t *wire_copies(const struct candidate *list, size_t n);
