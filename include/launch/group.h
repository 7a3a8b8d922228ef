/* Control groups of our own making, one for each worker that is our child. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * group_base() - the folder below which groups may be made: what a service manager delegated to
 * this process
 * Return: malloc'd; NULL for none.
 */
char *group_base(void);

/** group_path() - the control group (v2; without it the service manager's) of a process, as
 * /proc tells it; malloc'd, or NULL */
char *group_path(pid_t pid);

/** group_mount() - where the second version is mounted; malloc'd, or NULL */
char *group_mount(void);

/** group_has() - is that process in the group of the run of that proc_run_number() */
bool group_has(uint64_t number, pid_t pid);

/**
 * group_kill() - SIGKILL all that are in the group of that run at once
 * @pid: one of them; another is left alone
 * Return: false when there is no such group, or an older kernel (before 5.14).
 */
bool group_kill(uint64_t number, pid_t pid);
