/* What is served: every path with its method. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct request;

/* One path with one method. */
struct route {
	const char *method;
	const char *path;                 /* "{slug}" stands for a board */
	void (*run)(struct request *req); /* with everything there; answers now or later */
	const char *const *query;         /* what may stand behind "?", NULL-terminated */
	const char *const *members;       /* of the body; NULL: no body is taken */
	bool probe; /* has no text of a task, and is served to scrapes too */
};

/** route_at() - the @i-th of all, NULL behind the last */
const struct route *route_at(size_t i);
