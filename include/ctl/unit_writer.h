/*
 * Root's part of what is done for another account: kanbanctl has become the owner of the root,
 * and a process that stayed root writes the drop-ins of the host's units, which that account
 * may not. It knows no text but ours, and only units that run as that account.
 */
#pragma once

#include <stdbool.h>

#include "util/error.h"

struct ctl;

/**
 * unit_writer_start() - before root's rights are given up: fork
 * The child goes on with @fd, -1 where nobody stayed root; the parent serves it until it ends.
 * @exit: out in the parent: the exit code of the child
 * Return: 0 in the child; 1 in the parent, when the child has ended; an exit code of more than
 * 1 after telling why.
 */
MUST_CHECK int unit_writer_start(const struct ctl *ctl, int *fd, int *exit);

/**
 * unit_writer_request() - have `<folder of the host's units>/<unit>.d/kanband.conf` written, or
 * removed
 * @kanband: unit of kanband to want, "" for none, NULL for the usual
 * Return: 0; -EPERM it does not run as this account, or is no gateway; other -errno.
 */
MUST_CHECK int unit_writer_request(int fd, const char *unit, const char *kanband, bool remove);
