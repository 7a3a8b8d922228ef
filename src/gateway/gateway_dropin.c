/*
 * The drop-in that keeps a gateway's unit from dispatching beside us: its text, its place, and
 * whether one that stands there is ours to remove.
 */
#include "gateway/gateway_dropin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/unit_file.h"
#include "notify/gateway.h"
#include "util/fs.h"

#define DROPIN_MAX   ((size_t)64 << 10)
#define DROPIN_FIRST "# Points a Hermes gateway at kanband,"

char *gateway_dropin_text(const char *unit)
{
	const char *name = unit ? unit : "kanband.service";
	CLEANUP(freep)
	char *wants =
		*name ? fs_path("[Unit]\nWants=%s\nAfter=%s\n\n", name, name) : strdup("");

	return wants ? fs_path(DROPIN_FIRST
			       " the one dispatcher of its kanban root: the gateway\n"
			       "# delivers through its own adapters and dispatches nothing "
			       "itself. "
			       "It belongs into\n"
			       "# hermes-gateway.service.d/ and that of each profile's unit, "
			       "hermes-gateway-NAME.service.d/;\n"
			       "# `kanbanctl gateways --fix` shows which there are, and puts "
			       "it there "
			       "with --yes.\n"
			       "%s[Service]\n"
			       "Environment=HERMES_KANBAN_DISPATCH_IN_GATEWAY=0\n",
			       wants)
		     : NULL;
}

char *gateway_dropin_path(const struct unit *unit)
{
	return fs_path("%s/" GATEWAY_DROPIN, unit->own);
}

int gateway_dropin_write(const struct unit *unit, const char *kanband)
{
	CLEANUP(freep) char *path = gateway_dropin_path(unit), *old = NULL, *kept = NULL;
	CLEANUP(freep) char *text = gateway_dropin_text(kanband);
	int r = path && text ? fs_mkdir_p(unit->own, 0755) : -ENOMEM;

	kept = path ? fs_path("%s.old", path) : NULL;
	if (r == 0 && !kept)
		r = -ENOMEM;
	if (r == 0 && fs_read_file(path, DROPIN_MAX, &old, NULL) == 0 && strcmp(old, text) != 0)
		r = fs_write_atomic(kept, old, strlen(old), 0644);
	return r == 0 ? fs_write_atomic(path, text, strlen(text), 0644) : r;
}

bool gateway_dropin_is_ours(const struct unit *unit)
{
	CLEANUP(freep) char *path = gateway_dropin_path(unit), *text = NULL;

	return path && fs_read_file(path, DROPIN_MAX, &text, NULL) == 0 &&
	       strncmp(text, DROPIN_FIRST, sizeof(DROPIN_FIRST) - 1) == 0;
}

int gateway_dropin_remove(const struct unit *unit)
{
	CLEANUP(freep) char *path = gateway_dropin_path(unit);
	CLEANUP(freep) char *kept = path ? fs_path("%s.old", path) : NULL;

	if (!kept)
		return -ENOMEM;
	if (!gateway_dropin_is_ours(unit))
		return -ENOENT;
	if (rename(kept, path) == 0)
		return 0;
	if (errno != ENOENT || unlink(path) < 0)
		return -errno;
	(void)rmdir(unit->own); /* other drop-ins may be in it */
	return 0;
}
