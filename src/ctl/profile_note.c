/* What is said of a profile that is not there: by add, assign and edit of tasks. */
#include "ctl/profile_note.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "tick/profile.h"
#include "util/fs.h"
#include "util/suggest.h"
#include "util/text.h"

#define PROFILE_NOTE_MAX 1024 /* names that are looked at */

char *profile_near(const char *root, const char *name)
{
	CLEANUP(freep) char *folder = fs_path("%s/profiles", root);
	char *names[PROFILE_NOTE_MAX];
	DIR *dir = folder ? opendir(folder) : NULL;
	const struct dirent *entry;
	const char *near;
	char *found;
	size_t n = 0;

	while (dir && n < PROFILE_NOTE_MAX && (entry = readdir(dir))) {
		names[n] = fs_is_slug(entry->d_name) ? strdup(entry->d_name) : NULL;
		n += names[n] != NULL;
	}
	if (dir)
		(void)closedir(dir);
	near = suggest(name, (const char *const *)names, n);
	found = near ? strdup(near) : NULL;
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	return found;
}

void profile_note(struct ctl *ctl, const char *assignee)
{
	CLEANUP(freep) char *root = NULL;
	CLEANUP(freep) char *folder = NULL;
	CLEANUP(freep) char *near = NULL;
	char name[BOARD_SLUG_MAX + 1];

	if (ctl_env(ctl, "HERMES_KANBAN_DB") || text_is_blank(assignee))
		return;
	if (!profile_name(assignee, name, sizeof(name)) || !fs_is_slug(name)) {
		(void)ctl_say(ctl, CTL_OK,
			      "note: %.80s can be no profile (a to z, 0 to 9, _ and -); no "
			      "dispatcher will start the task",
			      assignee);
		return;
	}
	if (strcmp(name, "default") == 0 || ctl_root(ctl, &root) != 0)
		return;
	folder = fs_path("%s/profiles/%s", root, name);
	if (!folder || fs_is_dir(folder))
		return;
	near = profile_near(root, name);
	(void)ctl_say(ctl, CTL_OK,
		      "note: there is no profile %s in %s%s%s; no dispatcher will start the "
		      "task until there is",
		      name, root, near ? "; did you mean " : "", near ? near : "");
}
