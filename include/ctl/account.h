/* Whose root it is: the superuser does not work on the files of another account, it becomes it.
 */
#pragma once

#include "util/error.h"

struct ctl;

/**
 * account_take() - with effective uid 0: become the account that may change what @path names
 * The path is walked link by link. Its folders, links and the file itself may belong to root
 * and to one other account: that one becomes ours, with its groups, for good, and the
 * environment names its home. A path in which things of two others stand is refused.
 * @path: absolute; what of it is not there yet is not looked at
 * Return: 0, also for an ordinary account and where all is root's; an exit code after telling.
 */
MUST_CHECK int account_take(struct ctl *ctl, const char *path);
