/* What the config tests share: a folder of their own, files in it, a load in one line. */
#pragma once

#include <stddef.h>

#include "../../src/daemon/daemon.h"
#include "daemon/config.h"
#include "util/fs.h"

extern char *dir;               /* absolute and resolved; the working folder of the case */
extern const char *env_home[3]; /* HOME=dir, HERMES_KANBAN_HOME=dir/root */
extern struct config *config;   /* of the last load */
extern struct error why;        /* of the last load */

void fixture_setup(void);

void fixture_teardown(void);

/* Write bytes to `dir`/@name, making the folders above it. */
void put_bytes(const char *name, const void *data, size_t len);

void put(const char *name, const char *text);

/* config_load() with --config dir/k.conf, if it is there. */
int load_with(struct config_cli cli, const char *const *env);

int load(void);

void load_ok(void);

/* @fmt with each % replaced by dir; the tests' sentences have no other use for it. */
const char *here(const char *fmt);

struct settings settings_of(const char *slug);

const struct config_value *value_of(const char *name, const char *slug);

size_t warning_count(void);
