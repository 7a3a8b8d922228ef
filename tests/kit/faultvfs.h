/*
 * A file system of SQLite that goes wrong when it is told to. It stands over the default one
 * and is the default itself once it is installed, so that every connection of the process goes
 * through it. Without a fault armed it only counts.
 *
 * A fault hits the n-th of the calls that it can hit, and with @persists all later ones, too.
 * Syncs are counted and may fail, but nothing is synced: no power is cut here.
 */
#pragma once

#include <stdbool.h>

enum fault_kind {
	FAULT_NONE,
	FAULT_IOERR, /* any call that can fail: SQLITE_IOERR_…, SQLITE_CANTOPEN */
	FAULT_FULL,  /* a write: SQLITE_FULL, nothing written */
	FAULT_SHORT, /* a read: the second half is missing (SQLITE_IOERR_SHORT_READ) */
	FAULT_TORN,  /* a write: half of it is done, then SQLITE_IOERR_WRITE */
	FAULT_DIE,   /* before a call that changes something, half-way through a write: _exit */
	FAULT_KINDS
};

#define FAULT_EXIT 86 /* exit status of a process that FAULT_DIE ended */

extern const char *const fault_names[FAULT_KINDS];

/** faultvfs_install() - make it the default of this process; again: nothing */
void faultvfs_install(void);

/** faultvfs_arm() - count from 0 again; call number @nth goes wrong */
void faultvfs_arm(enum fault_kind kind, unsigned nth, bool persists);

/** faultvfs_disarm() - no faults from now on. Return: how many calls @kind could have hit */
unsigned faultvfs_disarm(void);

/** faultvfs_fired() - how many calls went wrong since it was armed */
unsigned faultvfs_fired(void);

/** faultvfs_files() - files that are open through it */
unsigned faultvfs_files(void);
