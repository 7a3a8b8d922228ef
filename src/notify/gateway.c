/*
 * Looking at gateway.lock: the file is opened if it is there, a shared lock is tried without
 * waiting, and the descriptor closed at once. Shared, so that two that look do not take each
 * other for a gateway. The file is never made: a gateway that never ran has none.
 *
 * A gateway that starts in the microseconds of a look would find its lock taken, so looks are
 * rare: only for profiles that have news waiting, and once a second at most.
 */
#include "notify/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "notify/gateway_config.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/text.h"

struct gateway {
	struct gateway *next;
	char name[GATEWAY_NAME_SIZE];
	bool running;        /* at the last look */
	bool mute;           /* … and it was told to deliver nothing */
	bool never;          /* … there was no lock file */
	bool leaving;        /* the last answer was GATEWAY_LEAVING */
	uint64_t looked_ms;  /* of the last look */
	uint64_t free_since; /* first look of the row of looks that found it free; 0: held */
};

struct gateways {
	pthread_mutex_t lock; /* of the list */
	struct gateway *list;
	char *root;
	_Atomic enum notify_mode mode;
	uint64_t (*mono_ms)(void *arg);
	void *arg;
};

static uint64_t gateways_clock(void *arg)
{
	(void)arg;
	return clock_mono_ms();
}

int gateways_new(struct gateways **out, const char *root, enum notify_mode mode,
		 uint64_t (*mono_ms)(void *arg), void *arg)
{
	struct gateways *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->root = strdup(root);
	if (!g->root || pthread_mutex_init(&g->lock, NULL) != 0) {
		free(g->root);
		free(g);
		return -ENOMEM;
	}
	g->mono_ms = mono_ms ? mono_ms : gateways_clock;
	g->arg = arg;
	atomic_store(&g->mode, mode);
	*out = g;
	return 0;
}

struct gateways *gateways_free(struct gateways *g)
{
	if (!g)
		return NULL;
	while (g->list) {
		struct gateway *next = g->list->next;

		free(g->list);
		g->list = next;
	}
	(void)pthread_mutex_destroy(&g->lock);
	free(g->root);
	free(g);
	return NULL;
}

void gateways_set_mode(struct gateways *g, enum notify_mode mode)
{
	atomic_store(&g->mode, mode);
}

enum notify_mode gateways_mode(const struct gateways *g)
{
	return atomic_load(&g->mode);
}

bool gateway_name(const char *profile, char out[static GATEWAY_NAME_SIZE])
{
	const char *s = profile ? profile : "";
	size_t len = strlen(s), n;

	text_strip(&s, &len);
	n = len < GATEWAY_NAME_SIZE - 1 ? len : GATEWAY_NAME_SIZE - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] - 'A' + 'a' : s[i]);
	out[n] = '\0';
	return n == len && (n == 0 || fs_is_slug(out));
}

/*
 * Does somebody hold the lock? What cannot be looked at counts as held by nobody.
 * @never: there is no such file, so no gateway of that profile ever ran
 */
static bool gateway_look(const char *home, bool *never)
{
	CLEANUP(freep) char *path = fs_path("%s/gateway.lock", home);
	CLEANUP(fs_closep) int fd = -1;
	struct stat st;

	if (!path)
		return true; /* no memory: not ours this time */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	*never = fd < 0 && (errno == ENOENT || errno == ENOTDIR);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	return flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static struct gateway *gateways_find(struct gateways *g, const char *name)
{
	struct gateway *k = g->list;

	while (k && strcmp(k->name, name) != 0)
		k = k->next;
	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	(void)snprintf(k->name, sizeof(k->name), "%s", name);
	k->next = g->list;
	g->list = k;
	return k;
}

/* Look at its lock again, and at what it was told. */
static void gateway_probe(const struct gateways *g, struct gateway *k, uint64_t now)
{
	CLEANUP(freep)
	char *home = strcmp(k->name, "default") == 0
			     ? strdup(g->root)
			     : fs_path("%s/profiles/%s", g->root, k->name);
	bool never = false;

	k->running = !home || gateway_look(home, &never); /* no memory: not ours this time */
	k->mute = k->running && home && gateway_config_mute(home);
	k->never = never;
	/* it may have run between two looks that lie far apart */
	if (k->running || now - k->looked_ms > 2 * GATEWAY_GRACE_MS)
		k->free_since = 0;
	k->looked_ms = now ? now : 1;
	if (!k->running && !k->free_since)
		k->free_since = k->looked_ms;
}

enum gateway_state gateways_state(struct gateways *g, const char *profile)
{
	char name[GATEWAY_NAME_SIZE];
	uint64_t now = g->mono_ms(g->arg);
	enum gateway_state state;
	struct gateway *k;

	if (!gateway_name(profile, name) || !name[0])
		return GATEWAY_NONE;
	(void)pthread_mutex_lock(&g->lock);
	k = gateways_find(g, name);
	if (k && (!k->looked_ms || now - k->looked_ms >= GATEWAY_PROBE_MS))
		gateway_probe(g, k, now);
	if (k && k->mute)
		state = GATEWAY_MUTE;
	else if (!k || k->running)
		state = GATEWAY_RUNNING; /* no memory: not ours this time */
	else
		state = k->never || now - k->free_since >= GATEWAY_GRACE_MS ? GATEWAY_GONE
									    : GATEWAY_LEAVING;
	if (k)
		k->leaving = state == GATEWAY_LEAVING;
	(void)pthread_mutex_unlock(&g->lock);
	return state;
}

bool gateways_owns(struct gateways *g, const char *profile)
{
	enum notify_mode mode = gateways_mode(g);
	enum gateway_state state;

	if (mode != NOTIFY_AUTO)
		return mode == NOTIFY_ALL;
	state = gateways_state(g, profile);
	return state == GATEWAY_NONE || state == GATEWAY_GONE || state == GATEWAY_MUTE;
}

uint64_t gateways_due(struct gateways *g)
{
	uint64_t due = 0;

	(void)pthread_mutex_lock(&g->lock);
	for (const struct gateway *k = g->list; k; k = k->next) {
		uint64_t at = k->free_since + GATEWAY_GRACE_MS;

		if (k->leaving && (!due || at < due))
			due = at;
	}
	(void)pthread_mutex_unlock(&g->lock);
	return due;
}
