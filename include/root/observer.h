/*
 * Who looks on: what happens to boards and workers is told to everybody in the root's
 * environment who wants to know. On the loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dispatch;
struct news_row;
struct root_env;
struct worker;

/* One who looks on. What he is not interested in is NULL. */
struct observer {
	struct observer *next; /* of observer.c */
	/* its state or the reason changed; @state: the state did */
	void (*board)(void *arg, const struct dispatch *d, bool state);
	void (*worker)(void *arg, const struct worker *w, bool ended);
	/* a row of task_events; @rows_since (Unix seconds, 0: never) from when on it is wanted
	 */
	void (*row)(void *arg, const struct dispatch *d, const struct news_row *row);
	int64_t (*rows_since)(void *arg);
	void (*snapshot)(void *arg, const struct dispatch *d, const char *path);
	/* a child of ours is not watched any more, and may run on: it is to be reaped */
	void (*left)(void *arg, pid_t pid);
	void *arg;
};

/** observer_join() - @told is lent until observer_leave() */
void observer_join(struct root_env *env, struct observer *told);

/** observer_leave() - also of one that never joined */
void observer_leave(struct root_env *env, struct observer *told);

void observer_board(const struct dispatch *d, bool state);
void observer_worker(const struct worker *w, bool ended);
void observer_left(const struct worker *w);
void observer_row(const struct dispatch *d, const struct news_row *row);
void observer_snapshot(const struct dispatch *d, const char *path);

/** observer_rows_since() - from when on somebody wants rows, Unix seconds; 0: nobody does */
int64_t observer_rows_since(const struct root_env *env);
