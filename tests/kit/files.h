/* Small files for tests: what goes wrong fails the test. */
#pragma once

/** files_write() - replace @path by @text */
void files_write(const char *path, const char *text);

/** files_read() - the whole file; the caller frees it */
char *files_read(const char *path);

/** files_remove() - a folder with all that is in it */
void files_remove(const char *folder);
