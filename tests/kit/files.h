/* Small files for tests: what goes wrong fails the test. */
#pragma once

#include <stdbool.h>

/** files_write() - replace @path by @text */
void files_write(const char *path, const char *text);

/** files_read() - the whole file; the caller frees it */
char *files_read(const char *path);

/** files_remove() - a folder with all that is in it */
void files_remove(const char *folder);

/** files_same_set() - do two databases, -wal and -journal included, have the same bytes; one
 * that is not there is as good as an empty one */
bool files_same_set(const char *a, const char *b);

/** files_descriptors() - how many entries /proc/self/fd has */
int files_descriptors(void);
