/*
 * The note of a job: a file NAME.job beside the one that the job reads, written by its
 * attendant and locked by it as long as it lives: "ID\nDESCRIPTION\n".
 *
 * A note that nobody holds is of an attendant that was killed. Its job would go on with nobody
 * to see its end, and its task would be given to another: so it is cancelled, by a sweep of the
 * root, and at the latest by the attendant of the task's next run, before it submits anything.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/spawn.h"
#include "slurm.h"
#include "util/clock.h"
#include "util/fs.h"

#define SLURM_NOTE_MAX 1024
#define SLURM_NOTE_END ".job"
#define SLURM_END_MS   8000 /* for a job to end that was left alone */

static char *note_path(const char *file)
{
	return fs_path("%s" SLURM_NOTE_END, file);
}

int slurm_note_write(int fd, const char *id, const char *about)
{
	char text[SLURM_NOTE_MAX];
	int n = snprintf(text, sizeof(text), "%s\n%s\n", id, about);

	if (ftruncate(fd, 0) < 0)
		return -errno;
	return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -EIO;
}

int slurm_note_open(const char *file, const char *about)
{
	CLEANUP(freep) char *path = note_path(file);
	CLEANUP(fs_closep)
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644) : -1;
	int r;

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return path ? -errno : -ENOMEM;
	/* before there is a job: an attendant that is killed then leaves its name */
	r = slurm_note_write(fd, "", about);
	return r < 0 ? r : spawn_fd_steal(&fd);
}

void slurm_note_end(const char *file)
{
	CLEANUP(freep) char *path = note_path(file);

	if (path)
		(void)unlink(path);
}

bool slurm_note_id(const char *file, char id[SLURM_ID_SIZE])
{
	CLEANUP(freep) char *path = note_path(file);
	CLEANUP(freep) char *text = NULL;
	size_t n;

	if (!path || fs_read_file(path, SLURM_NOTE_MAX, &text, NULL) < 0)
		return false;
	n = strspn(text, "0123456789");
	(void)snprintf(id, SLURM_ID_SIZE, "%.*s", n < SLURM_ID_SIZE ? (int)n : 0, text);
	return id[0] != '\0';
}

int slurm_abandon(const struct slurm *slurm, struct slurm_job *job)
{
	uint64_t end = clock_mono_ms() + SLURM_END_MS;
	int r = slurm_cancel(slurm, job->id, true);

	while (r == 0 && !job->over) {
		if (clock_mono_ms() >= end)
			return -ETIMEDOUT;
		(void)poll(NULL, 0, 100);
		r = slurm_look(slurm, job);
	}
	/* its run is over because the attendant is, for which the task can do nothing */
	job->ending = (struct ending){ .why = ENDING_BY_HOST };
	return r < 0 ? r : 0;
}

/* The description in a note that nobody holds. Return: malloc'd, or NULL. */
static char *note_of_nobody(const char *path)
{
	CLEANUP(fs_closep) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char text[SLURM_NOTE_MAX];
	ssize_t n;
	char *about;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return NULL;
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	about = strchr(text, '\n');
	return about ? strndup(about + 1, strcspn(about + 1, "\n")) : NULL;
}

/* Return: 0 there is no such job any more; -errno it may go on. */
static int note_sweep(const struct slurm *slurm, const char *folder, const char *name,
		      const char *host)
{
	CLEANUP(freep) char *file = fs_path("%s/%s", folder, name);
	CLEANUP(freep) char *path = file ? note_path(file) : NULL;
	CLEANUP(freep) char *about = path ? note_of_nobody(path) : NULL;
	struct slurm_job job = { .over = false };
	const char *from = about ? strstr(about, " from ") : NULL;
	int r;

	/* on another host its attendant may live: not every shared folder shows its lock */
	if (!from || (host && strcmp(from + 6, host) != 0))
		return 0;
	r = slurm_find(slurm, name, about, &job);
	if (r == 0 && !job.over)
		r = slurm_abandon(slurm, &job);
	if (r < 0)
		return r;
	(void)unlink(file);
	(void)unlink(path);
	return 0;
}

int slurm_note_sweep(const struct slurm *slurm, const char *folder, const char *prefix,
		     const char *except, const char *host)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int worst = 0;

	while (dir && (entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name), n = prefix ? strlen(prefix) : 0;
		char name[NAME_MAX + 1];
		int r;

		if (len <= sizeof(SLURM_NOTE_END) - 1 ||
		    strcmp(entry->d_name + len - (sizeof(SLURM_NOTE_END) - 1),
			   SLURM_NOTE_END) != 0)
			continue;
		(void)snprintf(name, sizeof(name), "%.*s",
			       (int)(len - (sizeof(SLURM_NOTE_END) - 1)), entry->d_name);
		if ((prefix && (strncmp(name, prefix, n) != 0 ||
				name[n + strspn(name + n, "0123456789")] != '\0')) ||
		    (except && strcmp(name, except) == 0))
			continue;
		r = note_sweep(slurm, folder, name, host);
		worst = r < 0 ? r : worst;
	}
	if (dir)
		(void)closedir(dir);
	return worst;
}
