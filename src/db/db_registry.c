/*
 * Process-wide, because POSIX locks are: one of the few things that are.
 *
 * Failure mode: no memory to note a descriptor that has to wait. It is never closed then, which
 * costs a descriptor and no lock.
 */
#include "db/db_registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct registry_file {
	dev_t dev;
	ino_t ino;
	size_t count; /* connections of SQLite */
	int *waiting; /* descriptors to be closed after the last of them; owned */
	size_t n_waiting;
};

struct registry_claim {
	const void *owner;
	char *name; /* owned */
	dev_t dev;
	ino_t ino;
};

static struct {
	pthread_mutex_t lock;
	struct registry_file *files; /* owned */
	size_t n, cap;
	struct registry_claim *claims; /* owned */
	size_t n_claims;
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct registry_file *registry_find(dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < registry.n; i++)
		if (registry.files[i].ino == ino && registry.files[i].dev == dev)
			return &registry.files[i];
	return NULL;
}

void db_registry_enter(void)
{
	(void)pthread_mutex_lock(&registry.lock); /* fails only when it is used wrongly */
}

void db_registry_leave(void)
{
	(void)pthread_mutex_unlock(&registry.lock);
}

int db_registry_add(dev_t dev, ino_t ino)
{
	struct registry_file *f = registry_find(dev, ino);

	if (!f && registry.n == registry.cap) {
		size_t cap = registry.cap ? registry.cap * 2 : 16;
		struct registry_file *more =
			reallocarray(registry.files, cap, sizeof(*registry.files));

		if (!more)
			return -ENOMEM;
		registry.files = more;
		registry.cap = cap;
	}
	if (!f) {
		f = &registry.files[registry.n++];
		*f = (struct registry_file){ .dev = dev, .ino = ino };
	}
	f->count++;
	return 0;
}

void db_registry_drop(dev_t dev, ino_t ino)
{
	struct registry_file *f, last = { 0 };

	db_registry_enter();
	f = registry_find(dev, ino);
	if (f && --f->count == 0) {
		last = *f;
		*f = registry.files[--registry.n];
	}
	if (registry.n == 0) {
		free(STEAL(registry.files));
		registry.cap = 0;
	}
	for (size_t i = 0; i < last.n_waiting; i++)
		(void)close(last.waiting[i]); /* only ever read, or synced before */
	db_registry_leave();
	free(last.waiting);
}

bool db_registry_has(const char *path)
{
	struct stat st;
	bool has;

	if (stat(path, &st) < 0)
		return false;
	db_registry_enter();
	has = registry_find(st.st_dev, st.st_ino) != NULL;
	db_registry_leave();
	return has;
}

void db_registry_closep(int *fd)
{
	struct registry_file *f = NULL;
	struct stat st;

	if (*fd < 0)
		return;
	db_registry_enter();
	if (fstat(*fd, &st) == 0)
		f = registry_find(st.st_dev, st.st_ino);
	if (f) {
		int *more = reallocarray(f->waiting, f->n_waiting + 1, sizeof(*more));

		if (more) {
			f->waiting = more;
			more[f->n_waiting++] = *fd;
		}
	} else {
		(void)close(*fd); /* only ever read, or synced before */
	}
	db_registry_leave();
	*fd = -1;
}

/* ---- owners -------------------------------------------------------------------------- */

static struct registry_claim *registry_claim_of(const void *owner)
{
	for (size_t i = 0; i < registry.n_claims; i++)
		if (registry.claims[i].owner == owner)
			return &registry.claims[i];
	return NULL;
}

static const struct registry_claim *registry_claim_on(dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < registry.n_claims; i++)
		if (registry.claims[i].ino == ino && registry.claims[i].dev == dev)
			return &registry.claims[i];
	return NULL;
}

static int registry_claim_add(const void *owner, const char *name, dev_t dev, ino_t ino)
{
	struct registry_claim *c = registry_claim_of(owner), *more;
	char *copy;

	if (c) {
		c->dev = dev;
		c->ino = ino;
		return 0;
	}
	copy = strdup(name);
	more = copy ? reallocarray(registry.claims, registry.n_claims + 1, sizeof(*more))
		    : NULL;
	if (!more) {
		free(copy);
		return -ENOMEM;
	}
	registry.claims = more;
	more[registry.n_claims++] = (struct registry_claim){ owner, copy, dev, ino };
	return 0;
}

int db_registry_claim(const void *owner, const char *name, dev_t dev, ino_t ino, char *other,
		      size_t size)
{
	const struct registry_claim *c;
	int r;

	db_registry_enter();
	c = registry_claim_on(dev, ino);
	r = c && c->owner != owner ? 1 : 0;
	if (r == 1)
		(void)snprintf(other, size, "%s", c->name);
	else if (!c)
		r = registry_claim_add(owner, name, dev, ino);
	db_registry_leave();
	return r;
}

void db_registry_disclaim(const void *owner)
{
	struct registry_claim *c;

	db_registry_enter();
	c = registry_claim_of(owner);
	if (c) {
		free(c->name);
		*c = registry.claims[--registry.n_claims];
	}
	if (registry.n_claims == 0)
		free(STEAL(registry.claims));
	db_registry_leave();
}
