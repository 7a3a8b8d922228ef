/* What came of a change, as the API and kanbanctl on files say it. */
#include "wire/wire_change.h"

#include "board/edit.h"
#include "board/gc.h"
#include "util/json.h"

static json_t *change_of(const char *slug, const char *root, json_t *more)
{
	json_t *head = root ? json_pack("{s:s, s:o}", "board", slug, "root", json_utf8(root))
			    : json_pack("{s:s}", "board", slug);

	return json_join(head, more);
}

json_t *wire_change(const char *slug, const char *root, const char *id,
		    const struct edit_done *done)
{
	return change_of(slug, root,
			 json_pack("{s:o, s:o, s:o, s:o}", "id", json_utf8(id), "status",
				   json_utf8(done->status), "run",
				   done->run ? json_integer(done->run) : json_null(), "event",
				   done->event ? json_integer(done->event) : json_null()));
}

json_t *wire_change_ended(json_t *change, bool worker_ended)
{
	return json_join(change, json_pack("{s:b}", "worker_ended", worker_ended));
}

json_t *wire_change_added(const char *slug, const char *root, const char *id,
			  const char *status, bool created)
{
	return change_of(slug, root,
			 json_pack("{s:o, s:o, s:b}", "id", json_utf8(id), "status",
				   json_utf8(status), "created", created));
}

json_t *wire_change_gc(const char *slug, const char *root, const struct gc_report *report,
		       bool dry_run)
{
	return change_of(slug, root,
			 json_pack("{s:I, s:I, s:I, s:I, s:b}", "workspaces",
				   (json_int_t)report->workspaces, "logs",
				   (json_int_t)report->logs, "bytes", (json_int_t)report->bytes,
				   "failed", (json_int_t)report->failed, "dry_run", dry_run));
}

json_t *wire_change_retried(const char *slug, const char *root, int64_t n)
{
	return change_of(slug, root, json_pack("{s:I}", "retried", (json_int_t)n));
}
