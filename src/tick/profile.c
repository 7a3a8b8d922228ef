/*
 * Profiles as tasks name them.
 */
#include "tick/profile.h"

#include <ctype.h>
#include <string.h>

bool profile_name(const char *assignee, char *out, size_t size)
{
	size_t n = strlen(assignee);

	while (n > 0 && isspace((unsigned char)*assignee)) {
		assignee++;
		n--;
	}
	while (n > 0 && isspace((unsigned char)assignee[n - 1]))
		n--;
	if (n == 0 || n >= size)
		return false;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)tolower((unsigned char)assignee[i]);
	out[n] = '\0';
	return !strchr(out, '/') && strcmp(out, ".") != 0 && strcmp(out, "..") != 0;
}

/* @name: of profile_name() */
static bool profile_unlisted(const struct tick *t, const char *name)
{
	const struct settings *set = t->rq->set;

	if (!set->profiles_limited)
		return false;
	for (size_t i = 0; set->dispatch_profiles && set->dispatch_profiles[i]; i++)
		if (strcmp(set->dispatch_profiles[i], name) == 0)
			return false;
	return true;
}

bool profile_left_out(const struct tick *t, const char *assignee)
{
	char name[256];

	return profile_name(assignee, name, sizeof(name)) && profile_unlisted(t, name);
}

bool profile_spawnable(const struct tick *t, const char *assignee)
{
	char name[256];

	if (!profile_name(assignee, name, sizeof(name)) || profile_unlisted(t, name))
		return false;
	return strcmp(name, "default") == 0 || t->rq->host->profile(t->rq->host->arg, name);
}
