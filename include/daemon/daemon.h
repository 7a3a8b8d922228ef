/* The daemon: every root of this process on one loop, until it is told to stop. */
#pragma once

#include "daemon/config.h"

/**
 * daemon_run() - run until SIGTERM or SIGINT
 * @config: taken over
 * @cli:    borrowed; a reload reads the configuration again with it
 * Return: exit status: 0 after an orderly stop; 71 could not start; 78 never (the config is
 * read by the caller).
 */
int daemon_run(struct config *config, const struct config_cli *cli, char *const *env);
