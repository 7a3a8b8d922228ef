/*
 * Workers cannot be started on this host.
 *
 *   WELL --a launch fails--> HELD --back-off, folder, operator--> TRYING --it started--> WELL
 *                             ^------------- it failed --------------'
 *
 * HELD: no visit claims. TRYING: one visit at a time may claim one task; the boards that have
 * ready work are asked in turn until one starts something. A worker that ends at once with 126
 * or 127 did not begin: after such a fault a worker counts as started when it lived for a
 * second or ended otherwise.
 *
 * The folders in which hermes would be are watched meanwhile, so that its return is noticed at
 * once; what no folder tells of is tried with a back-off of 1 s doubling to 60 s. It is told
 * once when it begins and once when it is over.
 */
#include "root/hostfault.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process/spawn.h"
#include "root/dispatch.h"
#include "root/places.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

#define HOST_BACKOFF_MIN_MS 1000
#define HOST_BACKOFF_MAX_MS 60000
#define HOST_BEGUN_MS       1000 /* a worker that lives so long has begun */
#define HOST_SETTLE_MS      20   /* after a change in a folder: whoever writes is done */
#define HOST_FOLDERS_MAX    24

enum hostfault_state { HOST_HELD, HOST_TRYING, HOST_STARTED };

/* A folder, and the name in it that matters. */
struct hostfault_folder {
	uv_fs_event_t event;
	char name[NAME_MAX + 1];
};

struct hostfault {
	struct root *root; /* NULL once it is closing */
	enum hostfault_state state;
	char why[ERROR_TEXT_MAX];
	int64_t since;           /* Unix seconds */
	int64_t next_at;         /* of the next try */
	uint64_t backoff_ms;     /* until the try after this one */
	bool unbegun;            /* a worker was started and ended at once */
	bool by_folder;          /* this try is not the back-off's */
	bool guessed;            /* some other file of a folder has caused one since that */
	bool overtaken;          /* a folder changed while one was under way … */
	bool repeated;           /* … and that has caused one since the back-off's */
	bool owed;               /* one that a folder caused found nothing to start */
	size_t asked;            /* boards that were asked to try */
	struct dispatch *trying; /* its visit may claim one, or has, or NULL */
	int64_t run;             /* HOST_STARTED: the worker that has to live */
	uv_timer_t timer;        /* back-off, settling, or the second of HOST_STARTED */
	struct hostfault_folder folders[HOST_FOLDERS_MAX];
	size_t n_folders;
	unsigned handles; /* not closed yet */
};

static void hostfault_try(struct hostfault *h);

/* ---- folders ------------------------------------------------------------------------- */

static void hostfault_timer(uv_timer_t *timer);

static void hostfault_settle(struct hostfault *h)
{
	/* has a callback */
	IGNORE(uv_timer_start(&h->timer, hostfault_timer, HOST_SETTLE_MS, 0));
}

/*
 * What stands beside the program may be what it lacked, as the interpreter of its virtual
 * environment; it may also be a board, or a log, that every try writes to. So another name
 * causes one try for each of the back-off's. And what changes while a try is under way may have
 * come too late for it, or be its own doing: that is good for one more, too.
 */
static void hostfault_event(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct hostfault_folder *f = container_of(event, struct hostfault_folder, event);
	struct hostfault *h = event->data;
	bool own = name && strcmp(name, f->name) == 0;

	(void)events;
	if (status < 0 || !h->root || (!own && h->guessed))
		return;
	h->guessed = h->guessed || !own;
	if (h->state != HOST_HELD) {
		h->overtaken = true;
	} else if (!h->by_folder) {
		h->by_folder = true;
		hostfault_settle(h);
	}
}

static void hostfault_watch(struct hostfault *h, const char *folder, const char *name)
{
	struct hostfault_folder *f = &h->folders[h->n_folders];

	if (h->n_folders == HOST_FOLDERS_MAX ||
	    uv_fs_event_init(h->root->env->loop, &f->event) < 0)
		return;
	f->event.data = h;
	(void)snprintf(f->name, sizeof(f->name), "%.*s", (int)strcspn(name, "/"), name);
	h->n_folders++;
	h->handles++;
	/* one that cannot be watched is left to the back-off */
	IGNORE(uv_fs_event_start(&f->event, hostfault_event, folder, 0));
}

/* The folder of @path, or the nearest above it that is there. */
static void hostfault_watch_file(struct hostfault *h, const char *path)
{
	char folder[PATH_MAX];
	char *slash;

	if (snprintf(folder, sizeof(folder), "%s", path) >= (int)sizeof(folder))
		return;
	while ((slash = strrchr(folder, '/')) != NULL) {
		const char *name = path + (slash - folder) + 1;

		slash[slash == folder] = '\0';
		if (!fs_is_dir(folder) && slash != folder)
			continue;
		hostfault_watch(h, folder, name);
		return;
	}
}

/* A program may be a link to one elsewhere, and both folders matter. */
static void hostfault_watch_program(struct hostfault *h, const char *path)
{
	char target[PATH_MAX], full[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	hostfault_watch_file(h, path);
	if (n <= 0)
		return;
	target[n] = '\0';
	if (target[0] == '/')
		hostfault_watch_file(h, target);
	else if (snprintf(full, sizeof(full), "%.*s/%s", (int)(strrchr(path, '/') - path), path,
			  target) < (int)sizeof(full))
		hostfault_watch_file(h, full);
}

static void hostfault_watch_all(struct hostfault *h)
{
	const char *hermes = h->root->set.hermes, *path = getenv("PATH");
	char full[PATH_MAX];

	if (!hermes || !*hermes)
		return;
	if (hermes[0] == '/') {
		hostfault_watch_program(h, hermes);
		return;
	}
	for (const char *p = path ? path : ""; *p && !strchr(hermes, '/');) {
		size_t n = strcspn(p, ":");

		if (p[0] == '/' && snprintf(full, sizeof(full), "%.*s/%s", (int)n, p, hermes) <
					   (int)sizeof(full))
			hostfault_watch_program(h, full);
		p += n;
		p += *p == ':';
	}
}

/* ---- life ---------------------------------------------------------------------------- */

static void hostfault_closed(uv_handle_t *handle)
{
	struct hostfault *h = handle->data;

	if (--h->handles == 0)
		free(h);
}

void hostfault_close(struct root *root)
{
	struct hostfault *h = root->hostfault;

	if (!h)
		return;
	root->hostfault = NULL;
	h->root = NULL;
	for (size_t i = 0; i < h->n_folders; i++)
		uv_close((uv_handle_t *)&h->folders[i].event, hostfault_closed);
	uv_close((uv_handle_t *)&h->timer, hostfault_closed);
}

static struct hostfault *hostfault_new(struct root *root)
{
	struct hostfault *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->root = root;
	h->timer.data = h;
	if (uv_timer_init(root->env->loop, &h->timer) < 0) {
		free(h);
		return NULL;
	}
	h->handles = 1;
	h->since = clock_wall_s();
	h->backoff_ms = HOST_BACKOFF_MIN_MS;
	root->hostfault = h;
	hostfault_watch_all(h);
	return h;
}

/* ---- trying -------------------------------------------------------------------------- */

static void hostfault_hold(struct hostfault *h)
{
	h->state = HOST_HELD;
	h->trying = NULL;
	h->by_folder = h->overtaken && !h->repeated;
	h->repeated = h->repeated || h->overtaken;
	h->overtaken = false;
	h->next_at = clock_wall_s() + (int64_t)(h->backoff_ms + 999) / 1000;
	if (h->by_folder) {
		hostfault_settle(h);
		return;
	}
	IGNORE(uv_timer_start(&h->timer, hostfault_timer, h->backoff_ms, 0));
}

static void hostfault_over(struct hostfault *h)
{
	struct root *root = h->root;
	struct log_about about = { .root = root->path,
				   .epoch = root->epoch,
				   .id = LOG_ID_SPAWN_FAILED };

	log_about(LOG_NOTICE, &about, "workers can be started again after %lld s",
		  (long long)(clock_wall_s() - h->since));
	hostfault_close(root);
	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->dispatched)
			places_ask(root->boards[i], WANT_TICK);
	root->env->changed(root->env->arg);
}

static void hostfault_timer(uv_timer_t *timer)
{
	struct hostfault *h = timer->data;

	if (h->state == HOST_STARTED)
		hostfault_over(h);
	else if (h->state == HOST_HELD)
		hostfault_try(h);
}

/* The next board with ready work is asked; with none left there is nothing to try with. That
 * may be because the task of the try before is not back on its board yet: see
 * hostfault_looked(). */
static void hostfault_ask(struct hostfault *h)
{
	struct root *root = h->root;

	while (h->asked < root->n_boards) {
		struct dispatch *d = root->boards[h->asked++];

		if (!d->dispatched || d->closing || d->last.ready <= 0)
			continue;
		h->trying = d;
		wakeup_want(d, WANT_TICK);
		return;
	}
	h->owed = h->by_folder;
	hostfault_hold(h);
}

static bool hostfault_program_there(const struct root *root)
{
	CLEANUP(freep) char *file = NULL;
	const char *path = getenv("PATH");

	return !root->set.hermes ||
	       spawn_find(root->set.hermes, path ? path : "/usr/bin:/bin", &file) == 0;
}

static void hostfault_try(struct hostfault *h)
{
	bool later = !h->by_folder;

	h->guessed = h->guessed && !later;
	h->repeated = h->repeated && !later;
	h->owed = false;
	/* what two looks at the file system can tell needs no task to be claimed for */
	if (!hostfault_program_there(h->root)) {
		if (later && h->backoff_ms < HOST_BACKOFF_MAX_MS)
			h->backoff_ms *= 2;
		if (h->backoff_ms > HOST_BACKOFF_MAX_MS)
			h->backoff_ms = HOST_BACKOFF_MAX_MS;
		hostfault_hold(h);
		return;
	}
	h->state = HOST_TRYING;
	h->next_at = 0;
	h->asked = 0;
	hostfault_ask(h);
}

void hostfault_probe(struct root *root)
{
	struct hostfault *h = root->hostfault;

	for (size_t i = 0; i < root->n_boards; i++)
		if (root->boards[i]->outage.why && !root->boards[i]->outage.trying) {
			root->boards[i]->outage.next_at = 0;
			wakeup_want(root->boards[i], WANT_TICK);
		}
	if (!h || h->state != HOST_HELD)
		return;
	h->by_folder = true;
	hostfault_try(h);
}

/* ---- news ---------------------------------------------------------------------------- */

void hostfault_failed(struct dispatch *d, const char *why)
{
	struct root *root = d->root;
	struct log_about about = { .root = root->path,
				   .board = d->board.place.slug,
				   .epoch = root->epoch,
				   .id = LOG_ID_SPAWN_FAILED };
	struct hostfault *h = root->hostfault;
	bool fresh = !h;

	if (root->env->once || root->stopping)
		return;
	if (!h)
		h = hostfault_new(root);
	if (!h)
		return; /* no memory: the next failure tries to hold again */
	if (fresh || strcmp(h->why, why) != 0)
		(void)snprintf(h->why, sizeof(h->why), "%s", why);
	if (fresh) {
		log_about(LOG_ERR, &about,
			  "no worker can be started: %s; nothing is claimed until it works "
			  "again, no task is charged for it",
			  why);
		hostfault_hold(h);
		root->env->changed(root->env->arg);
		return;
	}
	if (h->state == HOST_HELD)
		return; /* of what was under way when it began */
	if (!h->by_folder && h->backoff_ms < HOST_BACKOFF_MAX_MS)
		h->backoff_ms = h->backoff_ms * 2 < HOST_BACKOFF_MAX_MS ? h->backoff_ms * 2
									: HOST_BACKOFF_MAX_MS;
	hostfault_hold(h);
}

/* ---- one board ----------------------------------------------------------------------- */

void hostfault_outage(struct dispatch *d, const char *why)
{
	struct dispatch_outage *o = &d->outage;
	struct log_about about = { .root = d->root->path,
				   .board = d->board.place.slug,
				   .epoch = d->root->epoch,
				   .id = LOG_ID_SPAWN_FAILED };
	bool fresh = !o->why;
	char *copy;

	if (d->root->env->once || d->root->stopping || (!fresh && !o->trying))
		return;
	copy = strdup(why);
	if (!copy)
		return; /* the next failure tries to hold again */
	free(o->why);
	o->why = copy;
	o->trying = false;
	o->backoff_s = fresh ? HOST_BACKOFF_MIN_MS / 1000 : o->backoff_s * 2;
	if (o->backoff_s > HOST_BACKOFF_MAX_MS / 1000)
		o->backoff_s = HOST_BACKOFF_MAX_MS / 1000;
	o->next_at = clock_wall_s() + o->backoff_s;
	if (!fresh)
		return;
	o->since = clock_wall_s();
	log_about(LOG_ERR, &about,
		  "no worker can be started: %s; nothing is claimed on this board until it "
		  "works again, no task is charged for it",
		  why);
	d->root->env->changed(d->root->env->arg);
}

int hostfault_outage_claims(struct dispatch *d, size_t starting)
{
	struct dispatch_outage *o = &d->outage;

	if (!o->why)
		return -1;
	if (clock_wall_s() < o->next_at || starting > 0)
		return 0;
	o->trying = true;
	return 1;
}

void hostfault_outage_forget(struct dispatch *d)
{
	free(d->outage.why);
	d->outage = (struct dispatch_outage){ 0 };
}

static void hostfault_outage_over(struct dispatch *d)
{
	struct log_about about = { .root = d->root->path,
				   .board = d->board.place.slug,
				   .epoch = d->root->epoch,
				   .id = LOG_ID_SPAWN_FAILED };

	if (!d->outage.why)
		return;
	log_about(LOG_NOTICE, &about, "workers can be started again on this board after %lld s",
		  (long long)(clock_wall_s() - d->outage.since));
	hostfault_outage_forget(d);
	wakeup_want(d, WANT_TICK);
	d->root->env->changed(d->root->env->arg);
}

void hostfault_started(struct dispatch *d, int64_t run)
{
	struct hostfault *h = d->root->hostfault;

	hostfault_outage_over(d);
	if (!h || h->state != HOST_TRYING || h->trying != d)
		return;
	if (!h->unbegun) {
		hostfault_over(h);
		return;
	}
	h->state = HOST_STARTED;
	h->run = run;
	IGNORE(uv_timer_start(&h->timer, hostfault_timer, HOST_BEGUN_MS, 0));
}

void hostfault_ended(struct dispatch *d, int64_t run)
{
	struct hostfault *h = d->root->hostfault;

	if (h && h->state == HOST_STARTED && h->trying == d && h->run == run)
		hostfault_over(h);
}

void hostfault_unbegun(struct dispatch *d, const char *why)
{
	hostfault_failed(d, why);
	if (d->root->hostfault)
		d->root->hostfault->unbegun = true;
}

int hostfault_claims(struct dispatch *d)
{
	const struct hostfault *h = d->root->hostfault;

	if (!h)
		return -1;
	return h->state == HOST_TRYING && h->trying == d ? 1 : 0;
}

void hostfault_visited(struct dispatch *d, size_t starting)
{
	struct hostfault *h = d->root->hostfault;

	/* what it claimed at the visit before may still be on its way */
	if (h && h->state == HOST_TRYING && h->trying == d && starting == 0)
		hostfault_ask(h);
}

void hostfault_looked(struct dispatch *d)
{
	struct hostfault *h = d->root->hostfault;

	if (!h || h->state != HOST_HELD || !h->owed || d->last.ready <= 0)
		return;
	h->by_folder = true;
	hostfault_try(h);
}

void hostfault_forget(struct dispatch *d)
{
	struct hostfault *h = d->root->hostfault;

	if (h && h->trying == d)
		hostfault_hold(h);
}

/* Where no board with ready work can start any, none can be started. */
static const struct dispatch_outage *hostfault_outages(const struct root *root)
{
	const struct dispatch_outage *first = NULL;

	for (size_t i = 0; i < root->n_boards; i++) {
		const struct dispatch *d = root->boards[i];

		if (d->dispatched && !d->outage.why && d->last.ready > 0)
			return NULL;
		if (!first && d->outage.why)
			first = &d->outage;
	}
	return first;
}

const char *hostfault_why(const struct root *root, int64_t *since, int64_t *next)
{
	const struct hostfault *h = root->hostfault;
	const struct dispatch_outage *o = h ? NULL : hostfault_outages(root);

	if (!h && !o)
		return NULL;
	if (since)
		*since = h ? h->since : o->since;
	if (next)
		*next = h ? h->next_at : o->next_at;
	return h ? h->why : o->why;
}

const char *hostfault_why_board(const struct dispatch *d, int64_t *next)
{
	if (d->root->hostfault || !d->outage.why)
		return d->root->hostfault ? hostfault_why(d->root, NULL, next) : NULL;
	*next = d->outage.next_at;
	return d->outage.why;
}
