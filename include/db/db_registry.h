/*
 * Which database files this process has open through SQLite.
 *
 * Closing any descriptor of a file drops all POSIX locks that the process has on it
 * (https://sqlite.org/howtocorrupt.html, 2.2), also those that SQLite took through another
 * descriptor. So whoever opens a database file or a -shm by other means closes it here: as long
 * as SQLite has the file open, the descriptor waits, as SQLite's own do. It does not matter
 * under which path the file was reached, nor for which board or root.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/error.h"

struct stat;

/** db_registry_enter() - a database file is about to be opened by SQLite; the registry is
 * locked until db_registry_leave(), so that nobody closes a descriptor of it in between */
void db_registry_enter(void);
void db_registry_leave(void);

/** db_registry_add() - SQLite has the file; inside enter/leave. Return: 0 or -ENOMEM. */
MUST_CHECK int db_registry_add(dev_t dev, ino_t ino);

/** db_registry_drop() - one of SQLite's connections has closed it; what waited is closed */
void db_registry_drop(dev_t dev, ino_t ino);

/** db_registry_has() - is a connection of this process open to the file that @path leads to */
bool db_registry_has(const char *path);

/**
 * db_registry_closep() - close a descriptor of a database file or a -shm, for CLEANUP(), now or
 * when SQLite is done with the file
 * What else the descriptor holds (a lock of its own, a lease) is given back by the caller
 * before.
 */
void db_registry_closep(int *fd);

/**
 * db_registry_claim() - one owner a file: who works on it, of all that this process works on
 * @owner: whose earlier claim of another file ends with this
 * @name: what to call it, for others who come to the same file by another path
 * @other: out, at least @size bytes: the name of who has it already
 * Return: 0; 1 another has it; -errno.
 */
MUST_CHECK int db_registry_claim(const void *owner, const char *name, dev_t dev, ino_t ino,
				 char *other, size_t size);

/** db_registry_disclaim() - @owner is done with its file; nothing if it has none */
void db_registry_disclaim(const void *owner);
