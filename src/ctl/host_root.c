/*
 * Who runs kanbanctl on a host whose daemon serves /var/lib/hermes means that root, without a
 * root of his own at ~/.hermes. The daemons are asked what they serve; where none answers,
 * kanban.conf says what one would serve. Several are listed, and none is chosen.
 */
#include "ctl/host_root.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/client_find.h"
#include "daemon/config.h"
#include "util/json.h"
#include "util/printable.h"
#include "util/strv.h"

/* What the daemons say, put together. */
struct host_root_found {
	json_t *paths; /* array of texts without doubles */
	struct error denied;
};

static int host_root_add(json_t *paths, const json_t *roots)
{
	json_t *one;
	size_t i;

	json_array_foreach(roots, i, one)
	{
		const char *path = json_text(one, "root");
		bool known = *path != '/';

		for (size_t k = 0; !known && k < json_array_size(paths); k++)
			known = strcmp(json_string_value(json_array_get(paths, k)), path) == 0;
		if (!known && json_array_append_new(paths, json_string(path)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int host_root_ask(const struct ctl *ctl, struct host_root_found *f)
{
	CLEANUP(strv_freep) char **sockets = client_sockets_host(ctl);
	int r = sockets && f->paths ? 0 : -ENOMEM;

	for (char **s = sockets; r == 0 && *s; s++) {
		CLEANUP(json_freep) json_t *roots = NULL;
		struct error e = ERROR_NULL;
		int answer = client_roots(ctl, *s, &roots, &e);

		if (answer == 0)
			r = host_root_add(f->paths, roots);
		else if (answer == -ENOMEM)
			r = answer;
		else if (answer == -EPERM || answer == -ETIMEDOUT)
			f->denied = e;
	}
	return r;
}

/* The roots of kanban.conf that are there, where no daemon says anything. */
static int host_root_configured(const struct ctl *ctl, json_t *paths)
{
	const struct config_cli cli = { .file = NULL };
	CLEANUP(config_freep) struct config *config = NULL;
	struct error e = ERROR_NULL;
	struct stat st;

	if (config_load(&config, &cli, ctl->env, &e) < 0)
		return 0; /* whoever needs it says what is wrong with it */
	for (const char *const *p = config_roots(config); *p; p++)
		if (stat(*p, &st) == 0 && json_array_append_new(paths, json_string(*p)) < 0)
			return -ENOMEM;
	return 0;
}

static int host_root_several(const struct ctl *ctl, const json_t *paths)
{
	CLEANUP(freep) char *list = strdup("");

	for (size_t i = 0; list && i < json_array_size(paths); i++) {
		char *more = NULL;

		if (asprintf(&more, "%s%s%s", list, i ? ", " : "",
			     json_string_value(json_array_get(paths, i))) < 0)
			more = NULL;
		free(list);
		list = more;
	}
	return list ? ctl_say(ctl, CTL_USAGE, "which root? --root takes one of %s", list)
		    : ctl_say(ctl, CTL_IO, "out of memory");
}

/* The only one of @paths; NULL for none. */
static int host_root_choose(const struct ctl *ctl, const json_t *paths, char **root)
{
	if (json_array_size(paths) > 1)
		return host_root_several(ctl, paths);
	if (json_array_size(paths) == 0)
		return 0;
	*root = strdup(json_string_value(json_array_get(paths, 0)));
	return *root ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
}

int host_root(const struct ctl *ctl, char **root)
{
	struct host_root_found f = { .paths = json_array(), .denied = ERROR_NULL };
	int r = host_root_ask(ctl, &f);

	*root = NULL;
	if (r == 0 && json_array_size(f.paths) == 0 && f.denied.code == 0)
		r = host_root_configured(ctl, f.paths);
	if (r < 0)
		r = ctl_say(ctl, CTL_IO, "out of memory");
	else if (json_array_size(f.paths) == 0 && f.denied.code != 0)
		r = ctl_say(ctl, f.denied.code == -EPERM ? CTL_NOT_ALLOWED : CTL_NO_DAEMON,
			    "%s", f.denied.text);
	else
		r = host_root_choose(ctl, f.paths, root);
	json_decref(f.paths);
	if (r == 0 && *root && isatty(STDERR_FILENO))
		(void)ctl_say(ctl, 0, "the root of this host: %s", *root);
	return r;
}

int host_root_of_socket(const struct ctl *ctl, const char *own, char **root)
{
	CLEANUP(json_freep) json_t *paths = json_array();
	CLEANUP(json_freep) json_t *roots = NULL;
	struct error e = ERROR_NULL;
	int r = client_roots(ctl, ctl->socket_arg, &roots, &e);

	*root = NULL;
	if (r == 0)
		r = paths ? host_root_add(paths, roots) : -ENOMEM;
	if (r == -ENOMEM)
		return ctl_say(ctl, CTL_IO, "out of memory");
	if (r < 0)
		return ctl_say(ctl,
			       r == -EACCES || r == -EPERM ? CTL_NOT_ALLOWED : CTL_NO_DAEMON,
			       "%s", e.text);
	for (size_t i = 0; own && i < json_array_size(paths); i++)
		if (strcmp(json_string_value(json_array_get(paths, i)), own) == 0) {
			*root = strdup(own);
			return *root ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
		}
	r = host_root_choose(ctl, paths, root);
	return r != 0 || *root ? r
			       : ctl_say(ctl, CTL_NO_INPUT, "the daemon at %s serves no root",
					 ctl->socket_arg);
}
