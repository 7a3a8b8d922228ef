/* A kanban root that nobody named: the one that the daemon of this host serves. */
#pragma once

#include "util/error.h"

struct ctl;

/**
 * host_root() - the one root that the host's daemons serve, or that kanban.conf names
 * It is said on standard error of a terminal which one that is.
 * @root: out; malloc'd, or NULL when nothing here serves any
 * Return: 0; an exit code after telling: several (then they are listed), or one that this
 * account may not ask.
 */
MUST_CHECK int host_root(const struct ctl *ctl, char **root);

/** host_root_of_socket() - the one root that the daemon at --socket serves; @own: is taken if
 * it is among several, may be NULL. Return: as host_root(), and never NULL with 0. */
MUST_CHECK int host_root_of_socket(const struct ctl *ctl, const char *own, char **root);
