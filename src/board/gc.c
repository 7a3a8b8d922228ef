/*
 * Which tasks are finished long enough is read first; then the board is not needed any more. A
 * name comes from a row, so it is anybody's text: it is looked up in the folder, never joined
 * to a path, and a name with a slash is none.
 */
#include "board/gc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/discover.h"
#include "board/view.h"
#include "util/fs.h"
#include "util/fs_tree.h"

struct gc {
	int64_t before;
	bool dry_run;
	json_t *tasks; /* id → true: it has a scratch workspace */
	struct gc_report *report;
};

static bool gc_is_name(const char *id)
{
	return *id && id[0] != '.' && !strchr(id, '/') && strlen(id) < 200;
}

static int gc_row(void *arg, json_t *row)
{
	const json_t *at = json_object_get(row, "completed_at");
	const char *id = json_string_value(json_object_get(row, "id"));
	const char *kind = json_string_value(json_object_get(row, "workspace_kind"));
	struct gc *gc = arg;

	if (!json_is_integer(at)) /* archived before it was done */
		at = json_object_get(row, "created_at");
	if (!id || !gc_is_name(id) || json_integer_value(at) >= gc->before)
		return 0;
	return json_object_set_new(gc->tasks, id,
				   json_boolean(kind && strcmp(kind, "scratch") == 0)) < 0
		       ? -ENOMEM
		       : 0;
}

static void gc_failed(struct gc *gc, int r, const char *folder, const char *name)
{
	if (gc->report->failed++ == 0)
		(void)error_errno(&gc->report->why, r, "cannot remove %s/%s", folder, name);
}

/* Is "ID.log", "ID.log.3" the log of a task that is over, and old itself */
static bool gc_is_log(const struct gc *gc, int dir, const char *name, struct stat *st)
{
	const char *dot = strstr(name, ".log");
	CLEANUP(freep) char *id = NULL;

	while (dot && strstr(dot + 1, ".log"))
		dot = strstr(dot + 1, ".log");
	if (!dot ||
	    (dot[4] && (dot[4] != '.' || strspn(dot + 5, "0123456789") != strlen(dot + 5))))
		return false;
	id = strndup(name, (size_t)(dot - name));
	return id && json_object_get(gc->tasks, id) &&
	       fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode) &&
	       st->st_mtime < gc->before;
}

static void gc_logs(struct gc *gc, const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!dir)
		fs_closep(&fd);
	while (dir && (entry = readdir(dir))) {
		struct stat st;

		if (!gc_is_log(gc, fd, entry->d_name, &st))
			continue;
		if (!gc->dry_run && unlinkat(fd, entry->d_name, 0) < 0) {
			gc_failed(gc, -errno, folder, entry->d_name);
			continue;
		}
		gc->report->logs++;
		gc->report->bytes += st.st_size;
	}
	if (dir)
		(void)closedir(dir); /* it was only read */
}

static void gc_workspaces(struct gc *gc, const char *folder)
{
	CLEANUP(fs_closep)
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	const char *id;
	json_t *scratch;

	if (dir < 0)
		return;
	json_object_foreach(gc->tasks, id, scratch)
	{
		int64_t bytes = 0;
		struct stat st;
		int r = 0;

		if (!json_is_true(scratch) || fstatat(dir, id, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode))
			continue;
		if (!gc->dry_run)
			r = fs_tree_remove(dir, id, &bytes);
		gc->report->bytes += bytes;
		if (r < 0)
			gc_failed(gc, r, folder, id);
		else
			gc->report->workspaces++;
	}
}

int gc_run(struct db *db, const struct board_place *place, int64_t before, bool dry_run,
	   struct gc_report *report, struct error *e)
{
	static const char *const over[] = { "done", "archived" };
	struct gc gc = {
		.before = before, .dry_run = dry_run, .tasks = json_object(), .report = report
	};
	int r = gc.tasks ? 0 : error_set(e, -ENOMEM, "out of memory");

	*report = (struct gc_report){ .why = ERROR_NULL };
	for (size_t i = 0; r == 0 && i < 2; i++) {
		const struct view_filter filter = { .status = over[i], .limit = -1 };

		r = view_tasks(db, &filter, gc_row, &gc, e);
	}
	if (r == 0) {
		gc_workspaces(&gc, place->workspaces_dir);
		gc_logs(&gc, place->logs_dir);
	}
	json_decref(gc.tasks);
	return r;
}
