/*
 * What the daemon and --once share: the loop, the jobs, the caps, the configuration in force
 * and the launcher made of it.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <uv.h>

#include "daemon/config.h"
#include "launch/launch.h"
#include "root/root.h"
#include "tick/caps.h"
#include "util/job.h"

/* A configuration and what was made of it; kept until no job can use it any more. */
struct bundle {
	struct bundle *next; /* retired ones */
	struct config *config;
	struct launcher *launchers; /* one per root, in the config's order */
	size_t n_launchers;
};

struct engine {
	uv_loop_t loop;
	struct jobs jobs;
	struct caps caps;
	struct bundle *bundle;  /* in force */
	struct bundle *retired; /* replaced by a reload; freed by engine_deinit() */
	struct root_env env;
	char host[256];
	char claim_lock[300];       /* "host:pid" */
	char unit[256];             /* systemd unit, "" if none */
	char self[PATH_MAX];        /* this program */
	char *groups;               /* of group_base(), or NULL; owned */
	char hermes_home[PATH_MAX]; /* config_hermes_home(), "" if none */
	enum unit_manager manager;  /* where workers are units; found once, at the start */
	char *const *environ;       /* our environment at the start */
	struct rlimit nofile;       /* RLIMIT_NOFILE at the start, for workers */
	bool loop_open;
};

/**
 * engine_init() - a loop and everything on it, but no roots yet
 * @config: taken over, also on error
 * Return: 0 or -errno.
 */
MUST_CHECK int engine_init(struct engine *engine, struct config *config, char *const *env,
			   struct error *e);

/** engine_replace() - a reload: @config is taken over, also on error. Return: 0 or -errno. */
MUST_CHECK int engine_replace(struct engine *engine, struct config *config);

/** engine_deinit() - after every root is gone and the loop has nothing left */
void engine_deinit(struct engine *engine);
