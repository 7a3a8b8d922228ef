#include "root/watchdir.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "root/dispatch.h"
#include "util/log.h"

struct folder_watch {
	struct folder_watch *next;
	struct root *root;
	char *folder;
	bool used; /* by a board of the last scan */
	bool dead; /* being closed */
	uv_fs_event_t event;
};

/* Is that a file whose change can mean a commit: NAME, NAME-wal or NAME-journal?
 * @journal: out: it is the last */
static bool watchdir_matches(const char *db_path, const char *filename, bool *journal)
{
	const char *base = strrchr(db_path, '/');
	size_t n;

	base = base ? base + 1 : db_path;
	n = strlen(base);
	if (strncmp(filename, base, n) != 0)
		return false;
	*journal = strcmp(filename + n, "-journal") == 0;
	return filename[n] == '\0' || *journal || strcmp(filename + n, "-wal") == 0;
}

static bool watchdir_in(const struct folder_watch *w, const char *db_path)
{
	size_t n = strlen(w->folder);

	return strncmp(db_path, w->folder, n) == 0 && db_path[n] == '/' &&
	       !strchr(db_path + n + 1, '/');
}

static void watchdir_event(uv_fs_event_t *handle, const char *filename, int events, int status)
{
	struct folder_watch *w = handle->data;
	struct root *root = w->root;

	if (status < 0 || !filename || w->dead)
		return;
	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];
		bool journal;

		if (d->dispatched && watchdir_in(w, d->board.place.db_path) &&
		    watchdir_matches(d->board.place.db_path, filename, &journal))
			dispatch_changed(d, journal && (events & UV_RENAME));
	}
}

static void watchdir_closed(uv_handle_t *handle)
{
	struct folder_watch *w = handle->data;

	free(w->folder);
	free(w);
}

static void watchdir_drop(struct folder_watch *w)
{
	w->dead = true;
	uv_close((uv_handle_t *)&w->event, watchdir_closed);
}

static void watchdir_add(struct root *root, const char *folder)
{
	struct folder_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return;
	w->root = root;
	w->used = true;
	w->folder = strdup(folder);
	r = uv_fs_event_init(root->env->loop, &w->event);
	if (r < 0 || !w->folder) {
		free(w->folder);
		free(w);
		return;
	}
	w->event.data = w;
	r = uv_fs_event_start(&w->event, watchdir_event, folder, 0);
	if (r < 0) {
		log_debug("cannot watch %s: %s; changes are seen at the sweep", folder,
			  uv_strerror(r));
		watchdir_drop(w);
		return;
	}
	w->next = root->watches;
	root->watches = w;
}

static void watchdir_use(struct root *root, const char *db_path)
{
	char folder[4096];

	if (snprintf(folder, sizeof(folder), "%s", db_path) >= (int)sizeof(folder))
		return;
	for (struct folder_watch *w = root->watches; w; w = w->next)
		if (watchdir_in(w, db_path)) {
			w->used = true;
			return;
		}
	watchdir_add(root, dirname(folder));
}

void watchdir_update(struct root *root)
{
	struct folder_watch **p = &root->watches;

	for (struct folder_watch *w = root->watches; w; w = w->next)
		w->used = false;
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched)
			watchdir_use(root, root->boards[i]->board.place.db_path);
	while (*p) {
		struct folder_watch *w = *p;

		if (w->used) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		watchdir_drop(w);
	}
}

void watchdir_close(struct root *root)
{
	while (root->watches) {
		struct folder_watch *w = root->watches;

		root->watches = w->next;
		watchdir_drop(w);
	}
}
