/* Who has the lease of a root. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "root/lease.h"
#include "util/error.h"

struct ctl;

struct lead {
	bool held;
	pid_t pid;     /* 0 unknown */
	bool kanband;  /* the holder is the one that wrote the owner file */
	bool has_file; /* there is an owner file */
	struct lease_owner owner;
};

/** lead_look() - Return: 0, or an exit code after telling why. */
MUST_CHECK int lead_look(const struct ctl *ctl, const char *root, struct lead *lead);

/** lead_json() - {"held", "pid", "kanband", "owner"}; NULL when out of memory */
json_t *lead_json(const struct lead *lead);

/** lead_put() - one sentence to ctl->out, without its end */
void lead_put(const struct ctl *ctl, const struct lead *lead);

/** lead_from_json() - what a daemon says, in the same form */
void lead_from_json(struct lead *lead, const json_t *json);
