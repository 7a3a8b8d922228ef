/* Paths in a configuration: ~ and relative ones made absolute, all of them made tidy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "util/fs.h"

/* In place: no //, no /./, no slash at the end. `..` stays: it may lead out of a link. */
void config_path_normalise(char *path)
{
	char *out = path;

	for (const char *p = path; *p;) {
		size_t n = strcspn(p + 1, "/"); /* the part behind the slash at p */

		if (n > 0 && !(n == 1 && p[1] == '.')) {
			memmove(out, p, n + 1);
			out += n + 1;
		}
		p += n + 1;
	}
	if (out == path)
		*out++ = '/';
	*out = '\0';
}

int config_path(const char *text, const char *home, bool relative, char **path, struct error *e)
{
	CLEANUP(freep) char *joined = NULL;
	CLEANUP(freep) char *cwd = NULL;
	char buf[72];

	if (text[0] == '~' && (text[1] == '/' || !text[1])) {
		if (!home || home[0] != '/')
			return error_set(e, -EINVAL,
					 "\"%s\" needs HOME, which is not set to a folder",
					 config_short(text, buf));
		joined = fs_path("%s/%s", home, text + 1);
	} else if (text[0] == '~') {
		return error_set(e, -EINVAL, "\"%s\": only ~ and ~/... stand for a home folder",
				 config_short(text, buf));
	} else if (text[0] == '/') {
		joined = strdup(text);
	} else if (!*text || !relative) {
		return error_set(e, -EINVAL, "\"%s\" is not an absolute path",
				 config_short(text, buf));
	} else {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return error_errno(e, errno == ENOMEM ? -ENOMEM : -EINVAL,
					   "\"%s\" is relative to a working folder that cannot "
					   "be told",
					   config_short(text, buf));
		joined = fs_path("%s/%s", cwd, text);
	}
	if (!joined)
		return error_set(e, -ENOMEM, "out of memory");
	config_path_normalise(joined);
	*path = STEAL(joined);
	return 0;
}
