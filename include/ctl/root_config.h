/* The configuration as it is for one root. */
#pragma once

#include "util/error.h"

struct config;
struct ctl;

/**
 * root_config_load() - kanband.conf, the environment and config.yaml of @root, also where
 * kanband would not serve that root: one that --root names
 * @file: kanband.conf, or NULL for the default one
 * Return: as config_load().
 */
MUST_CHECK int root_config_load(struct config **config, const struct ctl *ctl, const char *file,
				const char *root, struct error *e);
