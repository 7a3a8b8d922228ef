/* What the readers of a configuration add to it: sections with their values, and warnings. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

int config_warn(struct config *config, const char *fmt, ...)
{
	struct error tidy = ERROR_NULL;
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	(void)error_set(&tidy, -EINVAL, "%s", text);
	free(text);
	return config_strv_push(&config->warnings, strdup(tidy.text));
}

struct config_section *config_section_get(struct config_section **sections, size_t *count,
					  unsigned where, const char *name, bool make)
{
	struct config_section *more, s = { .where = where };

	for (size_t i = 0; i < *count; i++)
		if ((*sections)[i].where == where && strcmp((*sections)[i].name, name) == 0)
			return &(*sections)[i];
	if (!make)
		return NULL;
	more = reallocarray(*sections, *count + 1, sizeof(*more));
	if (!more)
		return NULL;
	*sections = more;
	s.name = strdup(name);
	s.values = config_values_new();
	if (!s.name || !s.values) {
		free(s.name);
		free(s.values);
		return NULL;
	}
	more[*count] = s;
	return &more[(*count)++];
}

void config_sections_free(struct config_section *sections, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < sections[i].n_own; k++)
			free((char *)sections[i].caps[k].profile);
		free(sections[i].caps);
		free(sections[i].name);
		(void)config_values_free(sections[i].values);
	}
	free(sections);
}
