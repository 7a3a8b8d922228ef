/* A change that an operator asks for: edit_request() on the files, the worker that has to go,
 * and what came of it. */
#pragma once

#include <jansson.h>

#include "util/error.h"

struct ctl;

/**
 * task_request() - make the change and tell it
 * @task: or NULL: the worker's own
 * @args: given away; NULL is out of memory
 * @done: what is said behind the task's id, "is archived"; NULL: "is STATUS"
 * Return: exit code.
 */
int task_request(struct ctl *ctl, const char *verb, const char *task, json_t *args,
		 const char *done);

/** task_request_reason() - all of a verb whose one option is --reason: what @argv names is
 * asked for by the name of the verb, and @done is said of it.  Return: exit code. */
int task_request_reason(struct ctl *ctl, int argc, char **argv, const char *done);
