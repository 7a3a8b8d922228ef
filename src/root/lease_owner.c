/*
 * The owner file `<root>/kanban/.dispatcher.owner.json`: who owns the lease, which generation
 * this is, and which claim locks earlier owners used. It is written only by the owner, after
 * the flock and before anybody is told, by an atomic replace; readers need no lock.
 * It stays when the owner ends, since the next one counts on from it: whether the owner lives
 * is told by the lock, not by this file.
 *
 * Dispatch needs the lock, not the file on the disk, so a takeover waits for no sync: a busy
 * disk would hold it for seconds. It is made durable when the boards are adopted
 * (lease_claimants_settled()); after a power cut before that the epoch may be one that was
 * used.
 *
 * Everything in it is input: it may be missing, cut, edited or hostile. What does not read is
 * treated as missing, and the epoch then counts on from the copy in the lock file.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "root.h"
#include "util/clock.h"
#include "util/fs.h"

#define LEASE_OWNER_MAX_BYTES ((size_t)64 * 1024)
#define LEASE_OWNER_MAX_DEPTH 64
#define LEASE_CLAIMANT_MAX    300 /* host, colon, pid */

/* Copy what may come from anywhere: cut, on one line, and valid UTF-8, or JSON refuses it. */
static void lease_copy(char *to, size_t size, const char *from)
{
	json_t *probe;

	(void)snprintf(to, size, "%s", from ? from : "");
	probe = json_string(to);
	for (char *c = to; *c; c++) {
		bool ascii = *c >= 0x20 && *c < 0x7F;

		if (!ascii && !(probe && (unsigned char)*c >= 0x80))
			*c = '?';
	}
	json_decref(probe);
}

void lease_self_init(struct lease_owner *self, const struct lease_identity *who)
{
	CLEANUP(freep) char *boot = NULL;

	*self = (struct lease_owner){ .pid = getpid() };
	lease_copy(self->host, sizeof(self->host), who->host);
	lease_copy(self->unit, sizeof(self->unit), who->unit);
	lease_copy(self->socket, sizeof(self->socket), who->socket);
	lease_copy(self->version, sizeof(self->version), KANBAND_VERSION);
	/* without /proc the boot is unknown and "" */
	if (fs_read_file("/proc/sys/kernel/random/boot_id", 128, &boot, NULL) == 0) {
		boot[strcspn(boot, "\n")] = '\0';
		lease_copy(self->boot_id, sizeof(self->boot_id), boot);
	}
}

/*
 * The parser recurses once per bracket, and the waiter's stack is small: refuse what nests
 * deeper than anything that we write, before it is parsed.
 */
static bool lease_owner_is_flat(const char *data, size_t len)
{
	unsigned brackets = 0;

	for (size_t i = 0; i < len; i++)
		if (data[i] == '[' || data[i] == '{')
			brackets++;
	return brackets <= LEASE_OWNER_MAX_DEPTH;
}

static int lease_owner_int(const json_t *object, const char *key, int64_t min, int64_t max,
			   int64_t *value)
{
	const json_t *v = json_object_get(object, key);

	if (!json_is_integer(v))
		return -EBADMSG;
	*value = json_integer_value(v);
	return *value >= min && *value <= max ? 0 : -EBADMSG;
}

/* A string, or "" for one that is absent or null. */
static int lease_owner_text(const json_t *object, const char *key, char *value, size_t size)
{
	const json_t *v = json_object_get(object, key);

	value[0] = '\0';
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v) || json_string_length(v) >= size)
		return -EBADMSG;
	lease_copy(value, size, json_string_value(v));
	return 0;
}

static bool lease_is_claimant(const char *text)
{
	size_t len = strlen(text);
	const char *colon = strrchr(text, ':');

	if (len > LEASE_CLAIMANT_MAX || !colon || colon == text || !colon[1])
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] <= 0x20 || text[i] >= 0x7F)
			return false;
	return colon[1 + strspn(colon + 1, "0123456789")] == '\0';
}

/* Add at the end, unless it is there or the list is full. */
static int lease_claimants_add(struct lease_claimants *claimants, const char *text)
{
	char *copy;

	for (size_t i = 0; i < claimants->count; i++)
		if (strcmp(claimants->lock[i], text) == 0)
			return 0;
	if (claimants->count == LEASE_CLAIMANTS_MAX)
		return 0;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	claimants->lock[claimants->count++] = copy;
	return 0;
}

static int lease_owner_claimants(const json_t *object, struct lease_claimants *claimants)
{
	const json_t *list = json_object_get(object, "claimants");
	const json_t *v;
	size_t i;
	int r = 0;

	json_array_foreach(list, i, v) if (r == 0 && json_is_string(v) &&
					   lease_is_claimant(json_string_value(v))) r =
		lease_claimants_add(claimants, json_string_value(v));
	return r;
}

static int lease_owner_fields(const json_t *o, struct lease_owner *owner)
{
	if (lease_owner_int(o, "epoch", 1, LEASE_EPOCH_MAX, &owner->epoch) < 0 ||
	    lease_owner_int(o, "pid", 1, INT_MAX, &owner->pid) < 0 ||
	    lease_owner_int(o, "since", 0, INT64_MAX, &owner->since) < 0 ||
	    lease_owner_text(o, "host", owner->host, sizeof(owner->host)) < 0 ||
	    lease_owner_text(o, "boot_id", owner->boot_id, sizeof(owner->boot_id)) < 0 ||
	    lease_owner_text(o, "unit", owner->unit, sizeof(owner->unit)) < 0 ||
	    lease_owner_text(o, "version", owner->version, sizeof(owner->version)) < 0 ||
	    lease_owner_text(o, "socket", owner->socket, sizeof(owner->socket)) < 0)
		return -EBADMSG;
	return 0;
}

int lease_owner_load(const char *path, struct lease_owner *owner,
		     struct lease_claimants *claimants, struct lease_past *past)
{
	CLEANUP(freep) char *data = NULL;
	json_t *object;
	size_t len;
	int r;

	*owner = (struct lease_owner){ 0 };
	r = fs_read_file(path, LEASE_OWNER_MAX_BYTES, &data, &len);
	if (r == -EFBIG || r == -EISDIR || r == -EINVAL)
		return -EBADMSG;
	if (r < 0)
		return r;
	if (!lease_owner_is_flat(data, len))
		return -EBADMSG;
	object = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);
	if (!object)
		return -EBADMSG;
	r = lease_owner_fields(object, owner);
	if (r == 0 && claimants)
		r = lease_owner_claimants(object, claimants);
	if (r == 0 && past)
		lease_history_load(object, past);
	json_decref(object);
	if (r < 0)
		*owner = (struct lease_owner){ 0 };
	return r;
}

static json_t *lease_owner_json(const struct lease_owner *owner,
				const struct lease_claimants *claimants)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < claimants->count; i++)
		if (json_array_append_new(list, json_string(claimants->lock[i])) < 0) {
			json_decref(list);
			list = NULL;
		}
	if (!list)
		return NULL;
	/* clang-format off */
	return json_pack("{s:I, s:I, s:s, s:s, s:s?, s:s, s:s?, s:I, s:o}",
			 "epoch", (json_int_t)owner->epoch,
			 "pid", (json_int_t)owner->pid,
			 "host", owner->host,
			 "boot_id", owner->boot_id,
			 "unit", owner->unit[0] ? owner->unit : NULL,
			 "version", owner->version,
			 "socket", owner->socket[0] ? owner->socket : NULL,
			 "since", (json_int_t)owner->since,
			 "claimants", list);
	/* clang-format on */
}

int lease_owner_save(const char *path, const struct lease_owner *owner,
		     const struct lease_claimants *claimants, const struct lease_past *past,
		     bool durable)
{
	CLEANUP(freep) char *line = NULL;
	CLEANUP(freep) char *text = NULL;
	json_t *object = lease_owner_json(owner, claimants);

	if (!object)
		return -ENOMEM;
	if (lease_history_put(object, past) < 0) {
		json_decref(object);
		return -ENOMEM;
	}
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (!text)
		return -ENOMEM;
	line = fs_path("%s\n", text);
	if (!line)
		return -ENOMEM;
	return durable ? fs_write_atomic(path, line, strlen(line), 0644)
		       : fs_write_soon(path, line, strlen(line), 0644);
}

int lease_read_owner(const char *root, struct lease_owner *owner)
{
	struct lease_paths paths;
	int r = lease_paths_init(&paths, root);

	if (r == 0)
		r = lease_owner_load(paths.owner, owner, NULL, NULL);
	lease_paths_deinit(&paths);
	return r;
}

/* Owners that were killed while writing left their temporary file; only the owner writes one,
 * and that is us now. */
static void lease_owner_sweep(const struct lease_paths *paths)
{
	static const char prefix[] = "..dispatcher.owner.json.";
	DIR *dir = opendir(paths->folder);
	const struct dirent *d;

	if (!dir)
		return; /* litter is no reason to fail */
	while ((d = readdir(dir)) != NULL) {
		size_t len = strlen(d->d_name);

		if (strncmp(d->d_name, prefix, sizeof(prefix) - 1) == 0 && len > 4 &&
		    strcmp(d->d_name + len - 4, ".tmp") == 0)
			(void)unlinkat(dirfd(dir), d->d_name, 0);
	}
	(void)closedir(dir);
}

/* Who may have been cut off before us: the last owner, if its claims would carry our host's
 * name, then all whom it had not settled yet. */
static int lease_take_claimants(const struct lease *lease, const struct lease_owner *last,
				const struct lease_claimants *older,
				struct lease_claimants *claimants)
{
	char text[LEASE_CLAIMANT_MAX];
	int r = 0;

	/* after a step-down the last owner may be this very process, which knows its claims */
	if (last->epoch > 0 && strcmp(last->host, lease->self.host) == 0 &&
	    !(last->epoch == lease->last_epoch && last->pid == lease->self.pid)) {
		(void)snprintf(text, sizeof(text), "%s:%" PRId64, last->host, last->pid);
		if (lease_is_claimant(text))
			r = lease_claimants_add(claimants, text);
	}
	for (size_t i = 0; r == 0 && i < older->count; i++)
		r = lease_claimants_add(claimants, older->lock[i]);
	return r;
}

static int lease_take_locked(struct lease *lease, struct lease_hold *hold, struct error *e)
{
	CLEANUP(freep) struct lease_past *past = calloc(1, sizeof(*past));
	struct lease_claimants older = { .count = 0 };
	struct lease_owner last;
	int64_t noted;
	int r;

	r = lease_owner_load(lease->paths.owner, &last, &older, past);
	if (r < 0 && r != -ENOENT && r != -EBADMSG) {
		lease_claimants_clear(&older);
		return error_errno(e, r, "cannot take the lease of %s: cannot read %s",
				   lease->paths.root, lease->paths.owner);
	}
	noted = lease_lock_epoch(hold->fd);
	hold->owner = lease->self;
	hold->owner.epoch = (last.epoch > noted ? last.epoch : noted) + 1;
	hold->owner.since = clock_wall_s();
	r = lease_take_claimants(lease, &last, &older, &hold->claimants);
	lease_claimants_clear(&older);
	if (r < 0)
		return error_errno(e, r, "cannot take the lease of %s", lease->paths.root);
	if (past && last.epoch > 0) /* without memory the past is forgotten, nothing worse */
		lease_history_push(past, &last, &lease->self);
	lease_owner_sweep(&lease->paths);
	r = lease_owner_save(lease->paths.owner, &hold->owner, &hold->claimants, past, false);
	if (r < 0)
		return error_errno(e, r, "cannot take the lease of %s: cannot write %s",
				   lease->paths.root, lease->paths.owner);
	lease_lock_note(hold->fd, hold->owner.epoch);
	return 0;
}

int lease_take(struct lease *lease, struct lease_hold *hold, struct error *e)
{
	int r = lease_lock_is(&lease->paths, hold->dev, hold->ino, e);

	if (r == 0) {
		(void)pthread_mutex_lock(&lease->owner_mutex);
		r = lease_take_locked(lease, hold, e);
		(void)pthread_mutex_unlock(&lease->owner_mutex);
	}
	/* the file may have gone while we wrote: then another may hold its successor */
	if (r == 0)
		r = lease_lock_is(&lease->paths, hold->dev, hold->ino, e);
	if (r != 0)
		lease_hold_clear(hold);
	return r;
}

int lease_claimants_settled(struct lease *lease, int64_t epoch, struct error *e)
{
	CLEANUP(freep) struct lease_past *past = calloc(1, sizeof(*past));
	struct lease_claimants none = { .count = 0 };
	struct lease_owner owner, file;
	int r;

	(void)pthread_mutex_lock(&lease->owner_mutex);
	/* with owner_mutex no newer acquisition of this process writes meanwhile; another
	 * process owns only if the path names another file than ours. Should that happen
	 * between the check and the rename, the epoch still cannot go back: the other one's
	 * is noted in its lock file. */
	r = lease_check_copy(lease, &owner, e);
	if (r == 0 && owner.epoch != epoch)
		r = error_set(e, LEASE_LOST, "epoch %" PRId64 " of the lease of %s is over",
			      epoch, lease->paths.root);
	if (r == 0) {
		/* a file that somebody damaged meanwhile is written anew, without a past */
		if (past && lease_owner_load(lease->paths.owner, &file, NULL, past) < 0)
			past->n = 0;
		r = lease_owner_save(lease->paths.owner, &owner, &none, past, true);
		if (r < 0)
			(void)error_errno(e, r, "cannot write %s", lease->paths.owner);
		else
			atomic_store(&lease->settled, true);
	}
	(void)pthread_mutex_unlock(&lease->owner_mutex);
	return r;
}

int lease_leave(struct lease *lease, const char *why)
{
	CLEANUP(freep) struct lease_past *past = calloc(1, sizeof(*past));
	struct lease_claimants claimants = { .count = 0 };
	struct lease_owner owner, file;
	struct error e = ERROR_NULL;
	int r = past ? 0 : -ENOMEM;

	(void)pthread_mutex_lock(&lease->owner_mutex);
	if (r == 0)
		r = lease_check_copy(lease, &owner, &e);
	if (r == 0)
		r = lease_owner_load(lease->paths.owner, &file, &claimants, past);
	if (r == 0 && file.epoch != owner.epoch)
		r = LEASE_LOST;
	if (r == 0) {
		past->ended_at = clock_wall_s();
		(void)snprintf(past->ended_why, sizeof(past->ended_why), "%s", why);
		r = lease_owner_save(lease->paths.owner, &owner, &claimants, past, false);
	}
	(void)pthread_mutex_unlock(&lease->owner_mutex);
	lease_claimants_clear(&claimants);
	return r;
}

int lease_read_history(const char *root, struct lease_term **terms, size_t *n)
{
	CLEANUP(freep) struct lease_past *past = calloc(1, sizeof(*past));
	struct lease_term *list = calloc(LEASE_HISTORY_MAX + 1, sizeof(*list));
	struct lease_paths paths;
	struct lease_owner owner;
	int r = lease_paths_init(&paths, root);

	if (r == 0 && (!past || !list))
		r = -ENOMEM;
	if (r == 0)
		r = lease_owner_load(paths.owner, &owner, NULL, past);
	lease_paths_deinit(&paths);
	if (r < 0) {
		free(list);
		return r;
	}
	list[0] = lease_history_term(&owner);
	list[0].until = past->ended_at;
	(void)snprintf(list[0].why, sizeof(list[0].why), "%s", past->ended_why);
	(void)memcpy(list + 1, past->terms, past->n * sizeof(*list));
	*terms = list;
	*n = past->n + 1;
	return 0;
}
