/*
 * What takes long is one call into a library, a lock or a network: a thread of its own counts
 * the seconds meanwhile. Without a terminal, and where a thread cannot be had, nothing is
 * shown, and nothing else is different.
 */
#include "ctl/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "ctl/screen.h"
#include "util/clock.h"

static void *progress_run(void *arg)
{
	struct progress *p = arg;
	uint64_t began = clock_mono_ms();
	struct timespec at;

	(void)pthread_mutex_lock(&p->lock);
	while (!p->ended) {
		(void)clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_sec++;
		if (pthread_cond_timedwait(&p->over, &p->lock, &at) == 0 || p->ended)
			continue;
		/* nobody to tell when standard error fails */
		(void)fprintf(stderr, "\r\033[K%s … %u s", p->what,
			      (unsigned)((clock_mono_ms() - began) / 1000));
		if (p->percent >= 0)
			(void)fprintf(stderr, ", %d %%", p->percent);
		p->shown = true;
	}
	if (p->shown)
		(void)fputs("\r\033[K", stderr);
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

void progress_begin(struct progress *p, const char *what)
{
	struct screen screen;
	pthread_condattr_t attr;

	*p = (struct progress){ .what = what, .percent = -1 };
	screen_open(&screen, stderr);
	if (!screen.width || pthread_condattr_init(&attr) != 0)
		return;
	if (pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
	    pthread_mutex_init(&p->lock, NULL) == 0) {
		if (pthread_cond_init(&p->over, &attr) == 0)
			p->runs = pthread_create(&p->thread, NULL, progress_run, p) == 0;
	}
	(void)pthread_condattr_destroy(&attr);
}

void progress_end(struct progress *p)
{
	if (!p->runs)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->ended = true;
	(void)pthread_cond_signal(&p->over);
	(void)pthread_mutex_unlock(&p->lock);
	(void)pthread_join(p->thread, NULL);
	(void)pthread_cond_destroy(&p->over);
	(void)pthread_mutex_destroy(&p->lock);
	p->runs = false;
}

void progress_share(void *arg, int64_t done, int64_t total)
{
	struct progress *p = arg;

	if (total > 0 && done >= 0)
		p->percent = (int)((double)(done < total ? done : total) * 100 / (double)total);
}
