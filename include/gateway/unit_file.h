/*
 * systemd units as their files say them: the unit file, its drop-ins, the environment that
 * comes of them. No manager is asked, so it works in a container, on a stopped machine and for
 * units of somebody else. Everything read is hostile: it is parsed, never run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

enum unit_scope {
	UNIT_SYSTEM, /* of the system's manager */
	UNIT_USER,   /* of a person's own manager */
};

/* Folders that one manager loads units from, the strongest first. */
struct unit_path {
	enum unit_scope scope;
	char *user;  /* UNIT_USER: the account, or NULL when unknown */
	char *home;  /* UNIT_USER: its home folder */
	char **dirs; /* NULL-terminated; dirs[0] is where an operator's own files go */
	bool asks;   /* they are the usual ones of a manager that answers us, if there is one */
};

/* One "KEY=value" of a section, in the order that counts. */
struct unit_line {
	char *key; /* "Service.Environment" */
	char *value;
};

struct unit {
	char *name; /* "hermes-gateway-x.service" */
	enum unit_scope scope;
	char *user, *home; /* as in unit_path */
	char *file;        /* the unit file, NULL if only drop-ins were found */
	char *own;         /* folder for an operator's drop-ins: `<dirs[0]>/<name>.d` */
	bool enabled;      /* something wants or requires it */
	struct unit_line *lines;
	size_t n_lines;
	char **env;    /* "NAME=value", NULL-terminated: what the unit sets */
	char **exec;   /* words of its command, NULL-terminated; NULL: none */
	char *account; /* that it runs as, NULL: its manager's */
};

struct unit_list {
	struct unit *units;
	size_t count;
};

/**
 * unit_path_system(), unit_path_user() - where units are looked for
 * $SYSTEMD_UNIT_PATH, as for systemd(1), replaces the system's folders and leaves of a person's
 * only those in the home folder.
 * @env: environment, as in environ(7)
 * @user: or NULL; @home: of that account
 * @own: it is the environment of that account: $XDG_CONFIG_HOME and its like count
 * Return: 0 or -ENOMEM, then @path is empty.
 */
MUST_CHECK int unit_path_system(struct unit_path *path, char *const *env);
MUST_CHECK int unit_path_user(struct unit_path *path, char *const *env, const char *user,
			      const char *home, bool own);
void unit_path_deinit(struct unit_path *path);

/** unit_getenv() - the value of @name in @env if it is an absolute path, else NULL; borrowed */
const char *unit_getenv(char *const *env, const char *name);

/**
 * unit_load() - read @name with all its drop-ins
 * Return: 0; -ENOENT no such unit, or a masked one; -EINVAL no name that a service can have;
 * -ENOMEM. A file that cannot be read is as if it were not there.
 */
MUST_CHECK int unit_load(const struct unit_path *path, const char *name, struct unit *unit);

/** unit_find() - append every service whose name begins with @prefix; 0 or -ENOMEM */
MUST_CHECK int unit_find(const struct unit_path *path, const char *prefix,
			 struct unit_list *list);

/** unit_init() - @name of @path, nothing of it read yet; 0, -EINVAL or -ENOMEM */
MUST_CHECK int unit_init(const struct unit_path *path, const char *name, struct unit *unit);

/** unit_has() - is one of that name in the list, from index @first on */
bool unit_has(const struct unit_list *list, size_t first, const char *name);

/** unit_take() - append @unit, which is then empty; 0 or -ENOMEM */
MUST_CHECK int unit_take(struct unit_list *list, struct unit *unit);

void unit_deinit(struct unit *unit);
void unit_list_deinit(struct unit_list *list);

/** unit_value() - the last value of "Service.WatchdogSec" or its like, or NULL; borrowed */
const char *unit_value(const struct unit *unit, const char *key);

/** unit_env() - what the unit sets the variable to, or NULL; borrowed */
const char *unit_env(const struct unit *unit, const char *name);

/** unit_is_name() - is @name one that a service can have: nothing in it needs quoting */
bool unit_is_name(const char *name);

/** unit_is_kanband() - is @name one of our own: kanband.service, kanband-NAME.service or
 * kanband@NAME.service. Others are not taken from an owner file, which anybody may have
 * written. */
bool unit_is_kanband(const char *name);
