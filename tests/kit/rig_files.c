/* Files and folders of a case, and the fingerprint that shows that nothing was written. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit.h"
#include "rig.h"

char *rig_path(const char *path)
{
	return path[0] == '/' ? rig_printf("%s", path) : rig_printf("%s/%s", rig.dir, path);
}

void rig_mkdir(const char *path)
{
	char *full = rig_path(path);

	for (char *p = full + 1;; p++) {
		const char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		ck_assert_msg(mkdir(full, 0755) == 0 || errno == EEXIST, "%s: %s", full,
			      strerror(errno));
		*p = c;
		if (c == '\0')
			return;
	}
}

void rig_write(const char *path, const char *text)
{
	char *full = rig_path(path);
	char *slash = strrchr(full, '/');
	FILE *file;

	*slash = '\0';
	rig_mkdir(full);
	*slash = '/';
	file = fopen(full, "we");
	ck_assert_msg(file != NULL, "%s: %s", full, strerror(errno));
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

char *rig_read(const char *path)
{
	FILE *file = fopen(rig_path(path), "re");
	size_t room = 65536, len = 0;
	char *text;

	if (!file)
		return NULL;
	text = malloc(room);
	ck_assert_ptr_nonnull(text);
	for (size_t n; (n = fread(text + len, 1, room - len - 1, file)) > 0;) {
		len += n;
		if (room - len - 1 == 0) {
			char *bigger = realloc(text, room *= 2);

			ck_assert_ptr_nonnull(bigger);
			text = bigger;
		}
	}
	text[len] = '\0';
	(void)fclose(file);
	return rig_keep(text);
}

bool rig_exists(const char *path)
{
	struct stat st;

	return lstat(rig_path(path), &st) == 0;
}

void rig_shell(const char *fmt, ...)
{
	char *command = NULL;
	va_list ap;
	int status = 0, n;
	pid_t pid;

	va_start(ap, fmt);
	n = vasprintf(&command, fmt, ap);
	va_end(ap);
	ck_assert_int_ge(n, 0);
	pid = fork();
	if (pid == 0) {
		if (chdir(rig.dir) == 0)
			(void)execle("/bin/sh", "sh", "-ec", command, (char *)NULL, rig.env);
		_exit(127);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "wait status %d: %s", status, command);
	free(command);
}

void rig_copy_tree(const char *from, const char *to)
{
	rig_shell("cp -r -- '%s' '%s' && chmod -R u+rwX -- '%s'", rig_path(from), rig_path(to),
		  rig_path(to));
}

void rig_profile(const char *name)
{
	rig_mkdir(rig_printf("root/profiles/%s", name));
}

void rig_config_lines(const char *const *lines)
{
	char *text = rig_printf("kanban:\n");
	bool capped = false;

	for (; *lines; lines++) {
		capped = capped || !strncmp(*lines, "max_in_progress:", 16);
		text = rig_printf("%s  %s\n", text, *lines);
	}
	rig_write("root/config.yaml",
		  rig_printf("%s%s", text, capped ? "" : "  max_in_progress: 1000\n"));
}

/* ---- locks and mounts ------------------------------------------------------------------ */

int rig_flock(const char *path)
{
	const int fd = open(rig_path(path), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	/* a visit has the lock of its board for an instant */
	RIG_UNTIL(flock(fd, LOCK_EX | LOCK_NB) == 0, 5000);
	return fd;
}

void rig_unlock(int fd)
{
	(void)close(fd);
}

bool rig_private_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* ---- fingerprint ----------------------------------------------------------------------- */

/* FNV-1a; good enough to see a change, and nothing here is hostile. */
static uint64_t rig_hash(const char *path)
{
	uint64_t hash = 14695981039346656037u;
	FILE *file = fopen(path, "re");
	unsigned char buffer[65536];

	for (size_t n; file && (n = fread(buffer, 1, sizeof(buffer), file)) > 0;)
		for (size_t i = 0; i < n; i++)
			hash = (hash ^ buffer[i]) * 1099511628211u;
	if (file)
		(void)fclose(file);
	return hash;
}

static void rig_walk(FILE *out, const char *path, size_t skip)
{
	struct dirent **names = NULL;
	struct stat st;
	int n;

	if (lstat(path, &st))
		return;
	(void)fprintf(out, "%s %o %lld %lld.%09ld %llx\n", path + skip, st.st_mode,
		      S_ISDIR(st.st_mode) ? 0 : (long long)st.st_size,
		      (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
		      S_ISREG(st.st_mode) ? (unsigned long long)rig_hash(path) : 0);
	if (!S_ISDIR(st.st_mode))
		return;
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (strcmp(names[i]->d_name, ".") && strcmp(names[i]->d_name, ".."))
			rig_walk(out, rig_printf("%s/%s", path, names[i]->d_name), skip);
		free(names[i]);
	}
	free(names);
}

char *rig_fingerprint(const char *path)
{
	char *text = NULL, *full = rig_path(path);
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(out);
	rig_walk(out, full, strlen(full));
	ck_assert_int_eq(fclose(out), 0);
	return rig_keep(text);
}
