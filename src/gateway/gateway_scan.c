/*
 * Looking at gateways. Which process runs one is asked of the kernel (the lock it holds), which
 * unit that process is in of its cgroup; units of gateways that do not run are found by their
 * name, `hermes-gateway….service`, and told apart by the profile that they start. A name in a
 * cgroup or a unit file is anybody's text: only what a service can be called is taken.
 *
 * The lock is looked at as the notifier looks: /proc/locks first, which disturbs nobody; only
 * where that shows nothing a shared lock is tried, for a holder in a container.
 */
#include "gateway/gateway_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway.h"
#include "gateway/unit_parse.h"
#include "notify/gateway.h"
#include "process/proc.h"
#include "root/lease.h"
#include "util/fs.h"
#include "util/quote.h"

#define GATEWAY_PROFILES_MAX 4096
#define GATEWAY_DOTENV_MAX   ((size_t)1 << 20)

/* ---- one profile --------------------------------------------------------------------- */

static void gateway_deinit(struct gateway *g)
{
	free(g->profile);
	free(g->home);
	free(g->pid_unit);
	free(g->why);
	gateway_yaml_deinit(&g->yaml);
	unit_list_deinit(&g->units);
	*g = (struct gateway){ 0 };
}

static int dotenv_one(void *arg, const char *name, const char *value)
{
	if (strcmp(name, GATEWAY_VARIABLE) == 0)
		*(enum gateway_word *)arg = gateway_word_of(value);
	return 0;
}

/* What `.env` says. Its other lines are secrets: they are read over, never kept. */
static int gateway_dotenv(struct gateway *g)
{
	CLEANUP(freep) char *path = fs_path("%s/.env", g->home);
	char *text = NULL;
	size_t len = 0;
	int r = path ? fs_read_file(path, GATEWAY_DOTENV_MAX, &text, &len) : -ENOMEM;

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	r = unit_env_file(text, dotenv_one, &g->dotenv);
	explicit_bzero(text, len);
	free(text);
	return r;
}

static void gateway_lock(struct gateway *g)
{
	CLEANUP(freep) char *path = fs_path("%s/gateway.lock", g->home);
	CLEANUP(fs_closep) int fd = -1;
	struct stat st;

	if (!path)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		g->known = fd >= 0 || errno != ENOENT;
		return;
	}
	g->known = true;
	g->running = lease_holder_find(st.st_dev, st.st_ino, &g->pid) == 1 ||
		     (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
}

/* What the process was started with. */
static void gateway_process(struct gateway *g)
{
	struct proc_environ env = { 0 };
	const char *value;

	g->pid_says = GATEWAY_BROKEN;
	if (g->pid <= 0)
		return;
	if (proc_environ_read(&env, g->pid) == 0) {
		value = proc_environ_get(&env, GATEWAY_VARIABLE);
		g->pid_says = value ? gateway_word_of(value) : GATEWAY_UNSET;
	}
	proc_environ_deinit(&env);
}

/* Was the file written after the process began: it may run by what stood there before */
static bool gateway_newer(const char *path, pid_t pid)
{
	struct proc_stat ps;
	struct stat st;

	if (pid <= 0 || stat(path, &st) < 0 || proc_stat(pid, &ps) < 0)
		return false;
	return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 >
	       proc_start_wall_ms(ps.start) + 1000;
}

static bool gateway_yaml_on(const struct gateway *g)
{
	return g->yaml.word != GATEWAY_OFF;
}

static char *gateway_why_on(const struct gateway *g)
{
	const char *also = g->dotenv == GATEWAY_ON ? GATEWAY_VARIABLE
				   " in its .env turns the unit's off, and "
						   : "";

	if (g->yaml.word == GATEWAY_BROKEN)
		return fs_path("%sits config.yaml cannot be read (%s)", also, g->yaml.why);
	if (g->yaml.word == GATEWAY_ON)
		return fs_path("%sits config.yaml says kanban.dispatch_in_gateway: true%s",
			       also,
			       g->yaml.quoted ? " (a text in quotes counts as true)" : "");
	return fs_path("%snothing says kanban.dispatch_in_gateway: false, and true is the "
		       "default",
		       also);
}

/* Put together what was found. */
static int gateway_decide(struct gateway *g)
{
	bool env_off = g->dotenv == GATEWAY_OFF ||
		       (g->dotenv == GATEWAY_UNSET && g->units_say == GATEWAY_OFF);

	g->starts = !env_off && gateway_yaml_on(g);
	g->runs = g->running && g->pid_says != GATEWAY_BROKEN && g->dotenv != GATEWAY_OFF &&
		  !(g->dotenv == GATEWAY_UNSET && g->pid_says == GATEWAY_OFF) &&
		  (gateway_yaml_on(g) || gateway_newer(g->yaml.path, g->pid));
	if (g->running && g->pid_says == GATEWAY_BROKEN)
		g->runs = g->starts;
	if (g->starts)
		g->why = gateway_why_on(g);
	else if (g->runs)
		g->why = strdup("it was started before that was forbidden, and has to be "
				"started again");
	else if (g->dotenv == GATEWAY_OFF)
		g->why = strdup(GATEWAY_VARIABLE " is off in its .env");
	else if (env_off)
		g->why = fs_path(GATEWAY_VARIABLE " is off in %s",
				 g->units.count ? g->units.units[0].name : "its unit");
	else
		g->why = strdup("its config.yaml says kanban.dispatch_in_gateway: false");
	return g->why ? 0 : -ENOMEM;
}

/* ---- all of them --------------------------------------------------------------------- */

static int gateway_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void gateway_names_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* The names of the profiles but `default`, sorted. */
static int gateway_names(const char *root, char ***names, size_t *count)
{
	CLEANUP(freep) char *path = fs_path("%s/profiles", root);
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (!path)
		return -ENOMEM;
	dir = opendir(path);
	while (dir && r == 0 && *count < GATEWAY_PROFILES_MAX && (entry = readdir(dir))) {
		CLEANUP(freep) char *home = fs_path("%s/%s", path, entry->d_name);
		char **more;

		if (!home)
			r = -ENOMEM;
		if (r < 0 || !fs_is_slug(entry->d_name) ||
		    strcmp(entry->d_name, "default") == 0 || !fs_is_dir(home))
			continue;
		more = reallocarray(*names, *count + 1, sizeof(*more));
		if (!more) {
			r = -ENOMEM;
			continue;
		}
		*names = more;
		more[*count] = strdup(entry->d_name);
		if (more[*count])
			(*count)++;
		else
			r = -ENOMEM;
	}
	if (dir)
		(void)closedir(dir); /* it was only read */
	if (r == 0 && *count > 1)
		qsort(*names, *count, sizeof(**names), gateway_compare);
	return r;
}

static int gateway_one(struct gateway *g, const char *root, const char *profile,
		       struct gateway_units *units)
{
	int r;

	*g = (struct gateway){ .profile = strdup(profile) };
	g->home = strcmp(profile, "default") == 0 ? strdup(root)
						  : fs_path("%s/profiles/%s", root, profile);
	if (!g->profile || !g->home)
		return -ENOMEM;
	gateway_lock(g);
	if (g->running)
		gateway_process(g);
	r = gateway_dotenv(g);
	if (r == 0)
		r = gateway_yaml_read(g->home, &g->yaml);
	if (r == 0)
		r = gateway_units_of(units, g);
	return r == 0 ? gateway_decide(g) : r;
}

int gateway_scan(char *const *env, const char *root, struct gateway_list *out)
{
	CLEANUP(gateway_list_deinit) struct gateway_list list = { 0 };
	CLEANUP(gateway_units_deinit) struct gateway_units units = { 0 };
	char **names = NULL;
	size_t n = 0;
	struct stat st;
	int r;

	if (stat(root, &st) < 0)
		return -errno;
	r = gateway_names(root, &names, &n);
	list.uid = st.st_uid;
	list.gates = r == 0 ? calloc(n + 1, sizeof(*list.gates)) : NULL;
	if (r == 0)
		r = list.gates ? gateway_units_find(&units, env, root, st.st_uid) : -ENOMEM;
	if (r == 0 && units.owner) {
		list.owner = strdup(units.owner);
		r = list.owner ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i <= n; i++)
		r = gateway_one(&list.gates[list.count++], root,
				i == 0 ? "default" : names[i - 1], &units);
	gateway_names_free(names, n);
	if (r < 0)
		return r;
	*out = list;
	list = (struct gateway_list){ 0 };
	return 0;
}

void gateway_list_deinit(struct gateway_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		gateway_deinit(&list->gates[i]);
	free(list->gates);
	free(list->owner);
	*list = (struct gateway_list){ 0 };
}

/* ---- remedies ------------------------------------------------------------------------ */

/* systemctl … restart of what runs it; "" when that is not known. malloc'd */
static char *gateway_restart(const struct gateway *g, bool reload)
{
	const char *user = g->pid_user ? "--user " : "";

	if (!g->running)
		return reload && g->units.count
			       ? fs_path(" && systemctl %sdaemon-reload",
					 g->units.units[0].scope == UNIT_USER ? "--user " : "")
			       : strdup("");
	if (!g->pid_unit)
		return g->pid > 0
			       ? fs_path(" && kill -TERM %d # then start it again", (int)g->pid)
			       : strdup(" # then start it again");
	return reload ? fs_path(" && systemctl %sdaemon-reload && systemctl %srestart %s", user,
				user, g->pid_unit)
		      : fs_path(" && systemctl %srestart %s", user, g->pid_unit);
}

/* The part before the first && where there is none. */
static const char *gateway_alone(const char *chain)
{
	return strncmp(chain, " && ", 4) == 0 ? chain + 4 : chain;
}

char *gateway_fix(const struct gateway *g, const struct gateway_list *list, const char *root)
{
	bool by_unit = g->starts && g->units.count > 0 && g->dotenv != GATEWAY_ON;
	CLEANUP(freep) char *then = gateway_restart(g, by_unit);
	CLEANUP(freep) char *first = NULL;
	CLEANUP(freep) char *dotenv = NULL;

	if (!then)
		return NULL;
	if (!g->starts) /* only what runs is old */
		return strdup(gateway_alone(then));
	if (by_unit && geteuid() == 0 && list->uid != 0 && list->owner &&
	    g->units.units[0].scope == UNIT_USER)
		first = quote_command("sudo -u %q kanbanctl --root %q gateways --fix --yes",
				      list->owner, root);
	else if (by_unit)
		first = quote_command("kanbanctl --root %q gateways --fix --yes", root);
	else
		first = gateway_yaml_fix(&g->yaml);
	if (first && !by_unit && g->dotenv == GATEWAY_ON && g->units_say == GATEWAY_OFF) {
		/* the unit says no already: what stands over it is enough to take away */
		dotenv = fs_path("%s/.env", g->home);
		free(first);
		first = dotenv ? quote_command("sed -i --follow-symlinks %q %q",
					       "/^[[:space:]]*\\(export \\)*" GATEWAY_VARIABLE
					       "=/d",
					       dotenv)
			       : NULL;
	}
	return first ? fs_path("%s%s", first, then) : NULL;
}
