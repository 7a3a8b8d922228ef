#include "tick/caps.h"

void caps_init(struct caps *caps, int64_t max)
{
	*caps = (struct caps){ .max = max };
	(void)pthread_mutex_init(&caps->lock,
				 NULL); /* never fails for a plain mutex on Linux */
}

void caps_deinit(struct caps *caps)
{
	(void)pthread_mutex_destroy(&caps->lock);
}

void caps_set_max(struct caps *caps, int64_t max)
{
	(void)pthread_mutex_lock(&caps->lock);
	caps->max = max;
	(void)pthread_mutex_unlock(&caps->lock);
}

void caps_count(struct caps *caps, int64_t *mine, int64_t running)
{
	(void)pthread_mutex_lock(&caps->lock);
	caps->running += running - *mine;
	*mine = running;
	(void)pthread_mutex_unlock(&caps->lock);
}

int64_t caps_left(struct caps *caps)
{
	int64_t left = INT64_MAX;

	(void)pthread_mutex_lock(&caps->lock);
	if (caps->max >= 0)
		left = caps->running < caps->max ? caps->max - caps->running : 0;
	(void)pthread_mutex_unlock(&caps->lock);
	return left;
}

bool caps_take(struct caps *caps, int64_t *mine)
{
	bool ok;

	(void)pthread_mutex_lock(&caps->lock);
	ok = caps->max < 0 || caps->running < caps->max;
	if (ok) {
		caps->running++;
		(*mine)++;
	}
	(void)pthread_mutex_unlock(&caps->lock);
	return ok;
}
