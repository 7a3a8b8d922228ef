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

#include "../ctl/ctl.h"
#include "gateway.h"
#include "gateway/unit_parse.h"
#include "notify/gateway.h"
#include "process/proc.h"
#include "root/lease.h"
#include "util/fs.h"
#include "util/quote.h"

#define GATE_PROFILES_MAX 4096
#define GATE_DOTENV_MAX   ((size_t)1 << 20)

/* ---- one profile ---------------------------------------------------------------------------
 */

static void gate_deinit(struct gate *g)
{
	free(g->profile);
	free(g->home);
	free(g->pid_unit);
	free(g->why);
	gate_yaml_deinit(&g->yaml);
	unit_list_deinit(&g->units);
	*g = (struct gate){ 0 };
}

static int dotenv_one(void *arg, const char *name, const char *value)
{
	if (strcmp(name, GATE_VARIABLE) == 0)
		*(enum gate_word *)arg = gate_word_of(value);
	return 0;
}

/* What `.env` says. Its other lines are secrets: they are read over, never kept. */
static int gate_dotenv(struct gate *g)
{
	CLEANUP(freep) char *path = fs_path("%s/.env", g->home);
	char *text = NULL;
	size_t len = 0;
	int r = path ? fs_read_file(path, GATE_DOTENV_MAX, &text, &len) : -ENOMEM;

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	r = unit_env_file(text, dotenv_one, &g->dotenv);
	explicit_bzero(text, len);
	free(text);
	return r;
}

static void gate_lock(struct gate *g)
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
static void gate_process(struct gate *g)
{
	struct proc_environ env = { 0 };
	const char *value;

	g->pid_says = GATE_BROKEN;
	if (g->pid <= 0)
		return;
	if (proc_environ_read(&env, g->pid) == 0) {
		value = proc_environ_get(&env, GATE_VARIABLE);
		g->pid_says = value ? gate_word_of(value) : GATE_UNSET;
	}
	proc_environ_deinit(&env);
}

/* Was the file written after the process began: it may run by what stood there before */
static bool gate_newer(const char *path, pid_t pid)
{
	struct proc_stat ps;
	struct stat st;

	if (pid <= 0 || stat(path, &st) < 0 || proc_stat(pid, &ps) < 0)
		return false;
	return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 >
	       proc_start_wall_ms(ps.start) + 1000;
}

static bool gate_yaml_on(const struct gate *g)
{
	return g->yaml.word != GATE_OFF;
}

static char *gate_why_on(const struct gate *g)
{
	const char *also = g->dotenv == GATE_ON ? GATE_VARIABLE
				   " in its .env turns the unit's off, and "
						: "";

	if (g->yaml.word == GATE_BROKEN)
		return fs_path("%sits config.yaml cannot be read (%s)", also, g->yaml.why);
	if (g->yaml.word == GATE_ON)
		return fs_path("%sits config.yaml says kanban.dispatch_in_gateway: true%s",
			       also,
			       g->yaml.quoted ? " (a text in quotes counts as true)" : "");
	return fs_path("%snothing says kanban.dispatch_in_gateway: false, and true is the "
		       "default",
		       also);
}

/* Put together what was found. */
static int gate_decide(struct gate *g)
{
	bool env_off =
		g->dotenv == GATE_OFF || (g->dotenv == GATE_UNSET && g->units_say == GATE_OFF);

	g->starts = !env_off && gate_yaml_on(g);
	g->runs = g->running && g->pid_says != GATE_BROKEN && g->dotenv != GATE_OFF &&
		  !(g->dotenv == GATE_UNSET && g->pid_says == GATE_OFF) &&
		  (gate_yaml_on(g) || gate_newer(g->yaml.path, g->pid));
	if (g->running && g->pid_says == GATE_BROKEN)
		g->runs = g->starts;
	if (g->starts)
		g->why = gate_why_on(g);
	else if (g->runs)
		g->why = strdup("it was started before that was forbidden, and has to be "
				"started again");
	else if (g->dotenv == GATE_OFF)
		g->why = strdup(GATE_VARIABLE " is off in its .env");
	else if (env_off)
		g->why = fs_path(GATE_VARIABLE " is off in %s",
				 g->units.count ? g->units.units[0].name : "its unit");
	else
		g->why = strdup("its config.yaml says kanban.dispatch_in_gateway: false");
	return g->why ? 0 : -ENOMEM;
}

/* ---- all of them ---------------------------------------------------------------------------
 */

static int gate_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void gate_names_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* The names of the profiles but `default`, sorted. */
static int gate_names(const char *root, char ***names, size_t *count)
{
	CLEANUP(freep) char *path = fs_path("%s/profiles", root);
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (!path)
		return -ENOMEM;
	dir = opendir(path);
	while (dir && r == 0 && *count < GATE_PROFILES_MAX && (entry = readdir(dir))) {
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
		qsort(*names, *count, sizeof(**names), gate_compare);
	return r;
}

static int gate_one(struct gate *g, const char *root, const char *profile,
		    struct gate_units *units)
{
	int r;

	*g = (struct gate){ .profile = strdup(profile) };
	g->home = strcmp(profile, "default") == 0 ? strdup(root)
						  : fs_path("%s/profiles/%s", root, profile);
	if (!g->profile || !g->home)
		return -ENOMEM;
	gate_lock(g);
	if (g->running)
		gate_process(g);
	r = gate_dotenv(g);
	if (r == 0)
		r = gate_yaml_read(g->home, &g->yaml);
	if (r == 0)
		r = gate_units_of(units, g);
	return r == 0 ? gate_decide(g) : r;
}

int gate_scan(const struct ctl *ctl, const char *root, struct gate_list *out)
{
	CLEANUP(gate_list_deinit) struct gate_list list = { 0 };
	CLEANUP(gate_units_deinit) struct gate_units units = { 0 };
	char **names = NULL;
	size_t n = 0;
	struct stat st;
	int r;

	if (stat(root, &st) < 0)
		return -errno;
	r = gate_names(root, &names, &n);
	list.uid = st.st_uid;
	list.gates = r == 0 ? calloc(n + 1, sizeof(*list.gates)) : NULL;
	if (r == 0)
		r = list.gates ? gate_units_find(&units, ctl, root, st.st_uid) : -ENOMEM;
	if (r == 0 && units.owner) {
		list.owner = strdup(units.owner);
		r = list.owner ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i <= n; i++)
		r = gate_one(&list.gates[list.count++], root, i == 0 ? "default" : names[i - 1],
			     &units);
	gate_names_free(names, n);
	if (r < 0)
		return r;
	*out = list;
	list = (struct gate_list){ 0 };
	return 0;
}

void gate_list_deinit(struct gate_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		gate_deinit(&list->gates[i]);
	free(list->gates);
	free(list->owner);
	*list = (struct gate_list){ 0 };
}

/* ---- remedies ------------------------------------------------------------------------------
 */

char *gate_dropin_text(const char *unit)
{
	return fs_path("# Points a Hermes gateway at kanband, the one dispatcher of its kanban "
		       "root: the gateway\n"
		       "# delivers through its own adapters and dispatches nothing itself. It "
		       "belongs into\n"
		       "# hermes-gateway.service.d/ and that of each profile's unit, "
		       "hermes-gateway-NAME.service.d/;\n"
		       "# `kanbanctl gateways --fix` shows which there are, and puts it there "
		       "with --yes.\n"
		       "[Unit]\n"
		       "Wants=%s\n"
		       "After=%s\n"
		       "\n"
		       "[Service]\n"
		       "Environment=" GATE_VARIABLE "=0\n",
		       unit ? unit : "kanband.service", unit ? unit : "kanband.service");
}

/* systemctl … restart of what runs it; "" when that is not known. malloc'd */
static char *gate_restart(const struct gate *g, bool reload)
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
static const char *gate_alone(const char *chain)
{
	return strncmp(chain, " && ", 4) == 0 ? chain + 4 : chain;
}

char *gate_fix(const struct gate *g, const struct gate_list *list, const char *root)
{
	bool by_unit = g->starts && g->units.count > 0 && g->dotenv != GATE_ON;
	CLEANUP(freep) char *then = gate_restart(g, by_unit);
	CLEANUP(freep) char *first = NULL;
	CLEANUP(freep) char *dotenv = NULL;

	if (!then)
		return NULL;
	if (!g->starts) /* only what runs is old */
		return strdup(gate_alone(then));
	if (by_unit && geteuid() == 0 && list->uid != 0 && list->owner &&
	    g->units.units[0].scope == UNIT_USER)
		first = quote_command("sudo -u %q kanbanctl --root %q gateways --fix --yes",
				      list->owner, root);
	else if (by_unit)
		first = quote_command("kanbanctl --root %q gateways --fix --yes", root);
	else
		first = gate_yaml_fix(&g->yaml);
	if (first && !by_unit && g->dotenv == GATE_ON && g->units_say == GATE_OFF) {
		/* the unit says no already: what stands over it is enough to take away */
		dotenv = fs_path("%s/.env", g->home);
		free(first);
		first = dotenv ? quote_command("sed -i --follow-symlinks %q %q",
					       "/^[[:space:]]*\\(export \\)*" GATE_VARIABLE
					       "=/d",
					       dotenv)
			       : NULL;
	}
	return first ? fs_path("%s%s", first, then) : NULL;
}
