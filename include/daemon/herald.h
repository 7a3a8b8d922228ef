/* From what happens in the daemon to the events that hooks are told of (hook/hook.h). */
#pragma once

#include "hook/hook.h"
#include "hook/offsite.h"
#include "root/observer.h"
#include "util/log.h"

struct config;
struct root_env;

struct herald {
	struct offsite *offsite;
	struct hooks *hooks; /* NULL: none, as before herald_open() */
	struct root_env *env;
	struct observer told;
	struct log_hook log;
	void (*closed)(void *arg);
	void *closed_arg;
};

/**
 * herald_open() - tell the hooks of @config from now on
 * @env, @vars: borrowed until herald_close()
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int herald_open(struct herald *h, struct root_env *env, char *const *vars,
			   const struct config *config);

/** herald_reload() - of another @config. Return: 0, or -ENOMEM and all is as before. */
MUST_CHECK int herald_reload(struct herald *h, const struct config *config);

/** herald_close() - end what runs, then call @done */
void herald_close(struct herald *h, void (*done)(void *arg), void *arg);
