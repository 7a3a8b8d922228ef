/* What verbs are told by the environment, and what they tell: sentences, JSON, an exit code. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "db/db.h"
#include "util/json.h"
#include "util/printable.h"

const char *ctl_env(const struct ctl *ctl, const char *name)
{
	size_t len = strlen(name);

	for (char *const *v = ctl->env; *v; v++)
		if (strncmp(*v, name, len) == 0 && (*v)[len] == '=') {
			const char *value = *v + len + 1;

			return value[strspn(value, " \t\n")] ? value : NULL;
		}
	return NULL;
}

const char *ctl_no_daemon(const struct ctl *ctl)
{
	return ctl->no_daemon ? ctl->no_daemon : "no daemon serves this root";
}

int ctl_say(const struct ctl *ctl, int exit, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	/* there is nobody to tell when standard error fails */
	(void)fprintf(stderr, "kanbanctl%s%s: ", ctl->verb ? " " : "",
		      ctl->verb ? ctl->verb->name : "");
	printable_put(stderr, text ? text : "out of memory",
		      strlen(text ? text : "out of memory"), 0);
	(void)fputc('\n', stderr);
	free(text);
	return exit;
}

static int ctl_exit_of(int r)
{
	switch (r) {
	case EDIT_NO_TASK:
	case DB_MISSING:
	case -ENOENT:
	case -ENOTDIR:
		return CTL_NO_INPUT;
	case EDIT_INVALID:
	case -EINVAL:
		return CTL_USAGE;
	case EDIT_REFUSED:
	case DB_SCHEMA_BAD:
	case DB_OVERRUN:
	case DB_CORRUPT:
		return CTL_NOT_WELL;
	case DB_TRANSIENT:
	case DB_CONFLICT:
		return CTL_TRY_AGAIN;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return CTL_NOT_ALLOWED;
	default:
		return CTL_IO;
	}
}

int ctl_fail(const struct ctl *ctl, int r, const struct error *e)
{
	return ctl_say(ctl, ctl_exit_of(r), "%s", e->text);
}

int ctl_print_json(const struct ctl *ctl, json_t *json, int exit)
{
	/* on a terminal nothing in it may act */
	char *text = !json               ? NULL
		     : ctl->screen.width ? json_plain(json, JSON_INDENT(2))
					 : json_dumps(json, JSON_INDENT(2));

	json_decref(json);
	if (!text)
		return ctl_say(ctl, CTL_IO, "out of memory");
	(void)fputs(text, ctl->out); /* ctl_main() looks at the error flag */
	(void)fputc('\n', ctl->out);
	free(text);
	return exit;
}
