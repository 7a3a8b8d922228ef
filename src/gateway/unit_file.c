/*
 * Which units there are, and what each says when its drop-ins are added. The order is that of
 * systemd.unit(5): drop-ins of all folders together, by file name; of two with one name that of
 * the stronger folder holds, and `a-b-c.service` also takes the drop-ins of `a-b-.service.d`,
 * `a-.service.d` and `service.d`.
 */
#include "gateway/unit_file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/unit_parse.h"
#include "util/fs.h"
#include "util/strv.h"

#define UNIT_FILE_MAX   ((size_t)256 << 10)
#define UNIT_ALL_MAX    ((size_t)1 << 20) /* a unit with its drop-ins */
#define UNIT_MOST       256 /* units, and drop-ins of one: more is nobody's installation */
#define UNIT_NAME_BYTES 255

const char *unit_getenv(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=' && (*env)[n + 1] == '/')
			return *env + n + 1;
	return NULL;
}

/* ---- folders ------------------------------------------------------------------------- */

static int path_add(struct unit_path *path, char *owned)
{
	size_t n = 0;
	char **more;

	while (path->dirs && path->dirs[n])
		n++;
	more = owned ? reallocarray(path->dirs, n + 2, sizeof(*more)) : NULL;
	if (!more) {
		free(owned);
		return -ENOMEM;
	}
	path->dirs = more;
	more[n] = owned;
	more[n + 1] = NULL;
	return 0;
}

static int path_add_all(struct unit_path *path, const char *const *dirs)
{
	int r = 0;

	for (; r == 0 && *dirs; dirs++)
		r = path_add(path, strdup(*dirs));
	return r;
}

/* $SYSTEMD_UNIT_PATH: folders between colons; an empty one at the end stands for the usual. */
static int path_given(struct unit_path *path, const char *text, bool *usual)
{
	int r = 0;

	*usual = false;
	while (r == 0) {
		size_t n = strcspn(text, ":");

		if (n > 0)
			r = path_add(path, strndup(text, n));
		else if (!text[n])
			*usual = true;
		if (!text[n])
			break;
		text += n + 1;
	}
	return r;
}

int unit_path_system(struct unit_path *path, char *const *env)
{
	static const char *const usual[] = { "/etc/systemd/system",
					     "/run/systemd/system",
					     "/run/systemd/transient",
					     "/run/systemd/generator",
					     "/usr/local/lib/systemd/system",
					     "/usr/lib/systemd/system",
					     "/lib/systemd/system",
					     "/run/systemd/generator.late",
					     NULL };
	const char *given = unit_getenv(env, "SYSTEMD_UNIT_PATH");
	bool all = true;
	int r = 0;

	*path = (struct unit_path){ .scope = UNIT_SYSTEM, .asks = !given };
	if (given)
		r = path_given(path, given, &all);
	if (r == 0 && all)
		r = path_add_all(path, usual);
	if (r < 0)
		unit_path_deinit(path);
	return r;
}

/* Is it where this account's manager looks: $HOME may say something else */
static bool path_is_mine(const char *home)
{
	const struct passwd *pw = getpwuid(geteuid());

	return pw && strcmp(pw->pw_dir, home) == 0;
}

int unit_path_user(struct unit_path *path, char *const *env, const char *user, const char *home,
		   bool own)
{
	static const char *const usual[] = { "/etc/systemd/user", "/run/systemd/user",
					     "/usr/local/lib/systemd/user",
					     "/usr/lib/systemd/user", NULL };
	const char *config = own ? unit_getenv(env, "XDG_CONFIG_HOME") : NULL;
	const char *data = own ? unit_getenv(env, "XDG_DATA_HOME") : NULL;
	const char *run = own ? unit_getenv(env, "XDG_RUNTIME_DIR") : NULL;
	int r;

	*path = (struct unit_path){ .scope = UNIT_USER,
				    .asks = own && path_is_mine(home) &&
					    !unit_getenv(env, "SYSTEMD_UNIT_PATH"),
				    .user = user ? strdup(user) : NULL,
				    .home = strdup(home) };
	r = path->home && (!user || path->user) ? 0 : -ENOMEM;
	if (r == 0)
		r = path_add(path, config ? fs_path("%s/systemd/user", config)
					  : fs_path("%s/.config/systemd/user", home));
	if (r == 0 && run)
		r = path_add(path, fs_path("%s/systemd/user", run));
	if (r == 0)
		r = path_add(path, data ? fs_path("%s/systemd/user", data)
					: fs_path("%s/.local/share/systemd/user", home));
	if (r == 0 && !unit_getenv(env, "SYSTEMD_UNIT_PATH"))
		r = path_add_all(path, usual);
	if (r < 0)
		unit_path_deinit(path);
	return r;
}

void unit_path_deinit(struct unit_path *path)
{
	free(path->user);
	free(path->home);
	path->dirs = strv_free(path->dirs);
	*path = (struct unit_path){ 0 };
}

/* ---- one unit ------------------------------------------------------------------------ */

bool unit_is_name(const char *name)
{
	size_t len = strlen(name);

	return len > 8 && len <= UNIT_NAME_BYTES && name[0] != '-' && name[0] != '.' &&
	       strcmp(name + len - 8, ".service") == 0 &&
	       strspn(name,
		      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.@-") ==
		       len;
}

bool unit_is_kanband(const char *name)
{
	static const char ours[] = "kanband";
	size_t n = sizeof(ours) - 1;

	return unit_is_name(name) && strncmp(name, ours, n) == 0 &&
	       (strcmp(name + n, ".service") == 0 ||
		((name[n] == '@' || name[n] == '-') && name[n + 1] != '.'));
}

void unit_deinit(struct unit *unit)
{
	for (size_t i = 0; i < unit->n_lines; i++) {
		free(unit->lines[i].key);
		free(unit->lines[i].value);
	}
	free(unit->lines);
	free(unit->name);
	free(unit->user);
	free(unit->home);
	free(unit->file);
	free(unit->own);
	unit->env = strv_free(unit->env);
	unit->exec = strv_free(unit->exec);
	free(unit->account);
	*unit = (struct unit){ 0 };
}

void unit_list_deinit(struct unit_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		unit_deinit(&list->units[i]);
	free(list->units);
	*list = (struct unit_list){ 0 };
}

bool unit_has(const struct unit_list *list, size_t first, const char *name)
{
	for (size_t i = first; i < list->count; i++)
		if (strcmp(list->units[i].name, name) == 0)
			return true;
	return false;
}

int unit_take(struct unit_list *list, struct unit *unit)
{
	struct unit *more = reallocarray(list->units, list->count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	list->units = more;
	more[list->count++] = *unit;
	*unit = (struct unit){ 0 };
	return 0;
}

const char *unit_value(const struct unit *unit, const char *key)
{
	for (size_t i = unit->n_lines; i-- > 0;)
		if (strcmp(unit->lines[i].key, key) == 0)
			return unit->lines[i].value;
	return NULL;
}

const char *unit_env(const struct unit *unit, const char *name)
{
	size_t n = strlen(name);

	for (char **v = unit->env; v && *v; v++)
		if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
			return *v + n + 1;
	return NULL;
}

/* Drop-ins by file name; in @list of at most UNIT_MOST. */
struct dropins {
	struct {
		char *name, *path;
	} files[UNIT_MOST];
	size_t count;
};

static void dropins_deinit(struct dropins *d)
{
	for (size_t i = 0; i < d->count; i++) {
		free(d->files[i].name);
		free(d->files[i].path);
	}
}

/* Insert in order, unless a stronger folder has one of that name. */
static int dropins_add(struct dropins *d, const char *folder, const char *name)
{
	char *copy, *path;
	size_t i = d->count;

	for (size_t k = 0; k < d->count; k++)
		if (strcmp(d->files[k].name, name) == 0)
			return 0;
	if (d->count == UNIT_MOST)
		return 0;
	copy = strdup(name);
	path = fs_path("%s/%s", folder, name);
	if (!copy || !path) {
		free(copy);
		free(path);
		return -ENOMEM;
	}
	for (; i > 0 && strcmp(d->files[i - 1].name, name) > 0; i--)
		d->files[i] = d->files[i - 1];
	d->files[i].name = copy;
	d->files[i].path = path;
	d->count++;
	return 0;
}

static int dropins_folder(struct dropins *d, char *owned)
{
	CLEANUP(freep) char *folder = owned;
	DIR *dir = folder ? opendir(folder) : NULL;
	struct dirent *entry;
	int r = folder ? 0 : -ENOMEM;

	while (dir && r == 0 && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (n > 5 && entry->d_name[0] != '.' &&
		    strcmp(entry->d_name + n - 5, ".conf") == 0)
			r = dropins_add(d, folder, entry->d_name);
	}
	if (dir)
		(void)closedir(dir); /* it was only read */
	return r;
}

/* The folders of drop-ins of @name, the most specific first. */
static int dropins_find(const struct unit_path *path, const char *name, struct dropins *d)
{
	char stem[UNIT_NAME_BYTES + 16];
	char *end;
	int r = 0;

	(void)snprintf(stem, sizeof(stem), "%s", name);
	for (;;) {
		for (char **dir = path->dirs; r == 0 && *dir; dir++)
			r = dropins_folder(d, fs_path("%s/%s.d", *dir, stem));
		end = strrchr(stem, '.');
		if (r < 0 || !end || end == stem)
			break;
		/* a-b-c.service → a-b-.service → a-.service */
		do
			end--;
		while (end > stem && (*end != '-' || end[1] == '.'));
		if (end == stem)
			break;
		(void)strcpy(end + 1, ".service"); /* never longer than it was */
	}
	for (char **dir = path->dirs; r == 0 && *dir; dir++)
		r = dropins_folder(d, fs_path("%s/service.d", *dir));
	return r;
}

/* The unit file, that of a template for an instance. *@out: NULL if there is none */
static int unit_file(const struct unit_path *path, const char *name, char **out)
{
	char generic[UNIT_NAME_BYTES + 16] = "";
	const char *at = strchr(name, '@');
	struct stat st;

	if (at)
		(void)snprintf(generic, sizeof(generic), "%.*s@.service", (int)(at - name),
			       name);
	*out = NULL;
	for (int pass = 0; pass < (at ? 2 : 1); pass++)
		for (char **dir = path->dirs; *dir; dir++) {
			CLEANUP(freep)
			char *file = fs_path("%s/%s", *dir, pass ? generic : name);

			if (!file)
				return -ENOMEM;
			if (stat(file, &st) < 0)
				continue;
			if (S_ISREG(st.st_mode))
				*out = STEAL(file);
			return 0; /* what is no file masks: a link to /dev/null */
		}
	return 0;
}

/* Does `<dir>/<anything>.wants/<name>` exist */
static int unit_wanted(const struct unit_path *path, const char *name, bool *wanted)
{
	*wanted = false;
	for (char **d = path->dirs; *d && !*wanted; d++) {
		DIR *dir = opendir(*d);
		struct dirent *entry;
		struct stat st;

		while (dir && !*wanted && (entry = readdir(dir))) {
			const char *dot = strrchr(entry->d_name, '.');
			CLEANUP(freep) char *file = NULL;

			if (!dot ||
			    (strcmp(dot, ".wants") != 0 && strcmp(dot, ".requires") != 0))
				continue;
			file = fs_path("%s/%s/%s", *d, entry->d_name, name);
			if (!file) {
				(void)closedir(dir);
				return -ENOMEM;
			}
			*wanted = lstat(file, &st) == 0;
		}
		if (dir)
			(void)closedir(dir);
	}
	return 0;
}

/* @room: bytes that may still be read for this unit */
static int unit_read(struct unit *unit, const char *file, size_t *room)
{
	CLEANUP(freep) char *text = NULL;
	size_t len;
	int r = fs_read_file(file, *room < UNIT_FILE_MAX ? *room : UNIT_FILE_MAX, &text, &len);

	if (r == 0)
		*room -= len;
	if (r < 0)
		return r == -ENOMEM ? r
				    : 0; /* /dev/null masks, what is unreadable says nothing */
	return unit_parse(unit, text, len);
}

int unit_init(const struct unit_path *path, const char *name, struct unit *out)
{
	CLEANUP(unit_deinit) struct unit unit = { .scope = path->scope };

	if (!unit_is_name(name))
		return -EINVAL;
	unit.name = strdup(name);
	unit.user = path->user ? strdup(path->user) : NULL;
	unit.home = path->home ? strdup(path->home) : NULL;
	unit.own = path->dirs ? fs_path("%s/%s.d", path->dirs[0], name) : NULL;
	if (!unit.name || !unit.own || (path->user && !unit.user) || (path->home && !unit.home))
		return -ENOMEM;
	*out = unit;
	unit = (struct unit){ 0 };
	return 0;
}

int unit_load(const struct unit_path *path, const char *name, struct unit *out)
{
	CLEANUP(unit_deinit) struct unit unit = { .scope = path->scope };
	CLEANUP(dropins_deinit) struct dropins d = { .count = 0 };
	size_t room = UNIT_ALL_MAX;
	int r = unit_init(path, name, &unit);

	if (r == 0)
		r = unit_file(path, name, &unit.file);
	if (r == 0 && !unit.file)
		return -ENOENT;
	if (r == 0)
		r = dropins_find(path, name, &d);
	if (r == 0)
		r = unit_wanted(path, name, &unit.enabled);
	if (r == 0)
		r = unit_read(&unit, unit.file, &room);
	for (size_t i = 0; r == 0 && i < d.count; i++)
		r = unit_read(&unit, d.files[i].path, &room);
	if (r == 0)
		r = unit_settle(&unit, unit_value(&unit, "Service.ExecStart"),
				unit_value(&unit, "Service.User"));
	if (r < 0)
		return r;
	*out = unit;
	unit = (struct unit){ 0 };
	return 0;
}

int unit_find(const struct unit_path *path, const char *prefix, struct unit_list *list)
{
	size_t first = list->count, n = strlen(prefix);
	int r = 0;

	for (char **d = path->dirs; r == 0 && *d; d++) {
		DIR *dir = opendir(*d);
		struct dirent *entry;

		while (dir && r == 0 && (entry = readdir(dir))) {
			CLEANUP(unit_deinit) struct unit unit = { 0 };

			if (strncmp(entry->d_name, prefix, n) != 0 ||
			    !unit_is_name(entry->d_name) || strstr(entry->d_name, "@."))
				continue;
			if (unit_has(list, first, entry->d_name) ||
			    list->count - first >= UNIT_MOST)
				continue;
			r = unit_load(path, entry->d_name, &unit);
			if (r == 0)
				r = unit_take(list, &unit);
			else if (r != -ENOMEM)
				r = 0; /* a dangling link */
		}
		if (dir)
			(void)closedir(dir);
	}
	return r;
}
