/* How did a worker end: asked of its launcher, by a job. */
#pragma once

#include "launch/ending.h"

struct launcher;
struct question;
struct worker;

/* @last: the last line of its log */
typedef void (*question_fn)(struct worker *w, struct ending ending, const char *last);

/**
 * question_new() - ask
 * @launcher: NULL: it tells nothing, only the last line is wanted
 * @ending:   what the kernel says
 * @fn:       on the loop, once, also when a minute was not enough; w->question is NULL by then
 * Return: owned by itself; NULL: out of memory, and nobody is asked.
 */
struct question *question_new(struct worker *w, const struct launcher *launcher,
			      struct ending ending, question_fn fn);

/** question_forget() - its worker goes: @fn is not called */
void question_forget(struct question *q);
