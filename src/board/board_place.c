/* Where the parts of one board are. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "util/fs.h"

void board_place_deinit(struct board_place *place)
{
	free(place->db_path);
	free(place->folder);
	free(place->logs_dir);
	free(place->workspaces_dir);
	free(place->default_workdir);
	free(place->refused);
	*place = (struct board_place){ 0 };
}

/* @root without the slashes at its end, in a printf "%.*s" */
static int place_root_len(const char *root)
{
	size_t len = strlen(root);

	while (len > 1 && root[len - 1] == '/')
		len--;
	return (int)(len == 1 && root[0] == '/' ? 0 : len);
}

char *board_place_db_path(const char *root, const char *pinned_db, const char *slug)
{
	int len = place_root_len(root);

	if (pinned_db)
		return strdup(pinned_db);
	if (strcmp(slug, DISCOVER_DEFAULT) == 0)
		return fs_path("%.*s/kanban.db", len, root);
	return fs_path("%.*s/kanban/boards/%s/kanban.db", len, root, slug);
}

int board_place_init(struct board_place *place, const char *root, const char *pinned_db,
		     const char *slug)
{
	bool is_default = strcmp(slug, DISCOVER_DEFAULT) == 0;
	int len = place_root_len(root);

	(void)snprintf(place->slug, sizeof(place->slug), "%s", slug);
	place->db_path = board_place_db_path(root, pinned_db, slug);
	place->folder = fs_path("%.*s/kanban/boards/%s", len, root, slug);
	if (is_default) {
		place->logs_dir = fs_path("%.*s/kanban/logs", len, root);
		place->workspaces_dir = fs_path("%.*s/kanban/workspaces", len, root);
	} else {
		place->logs_dir = fs_path("%.*s/kanban/boards/%s/logs", len, root, slug);
		place->workspaces_dir =
			fs_path("%.*s/kanban/boards/%s/workspaces", len, root, slug);
	}
	if (place->db_path && place->folder && place->logs_dir && place->workspaces_dir)
		return 0;
	board_place_deinit(place);
	return -ENOMEM;
}
