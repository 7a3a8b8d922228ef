/*
 * Sending by child process: who is asked to send (a profile's hermes), with what surroundings,
 * and what its end means. How a child runs beside the loop is process/child.c.
 *
 * Failure modes: a child that cannot be started, or not be watched, is reported as worth trying
 * again. kill() ends the child's whole process group with SIGKILL.
 *
 * Shutdown: the owner kills what is under way and waits for the reports.
 */
#include "notify/sender.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "notify/gateway.h"
#include "process/child.h"
#include "util/fs.h"

#define SENDER_LIMIT_MS 60000 /* for the job that reports what is hopeless */
#define SENDER_NAME_MAX 1024  /* bytes of a chat or thread id */

struct sender {
	uv_loop_t *loop;
	struct jobs *jobs;
	char *root;
	char *hermes;
	const struct environment *environment; /* borrowed */
};

/* One message under way. */
struct sending {
	struct job job;      /* of one that is hopeless */
	struct child *child; /* NULL: hopeless, or reported */
	notify_ended_fn done;
	void *done_arg;
	struct error error; /* why it is hopeless */
	char killed[128];   /* why, "" if not */
	struct notify_ending ending;
};

static void sending_report(struct sending *m)
{
	error_tidy(m->ending.reason, sizeof(m->ending.reason));
	m->done(m->done_arg, &m->ending);
	free(m);
}

static void sending_reason(struct sending *m, const struct child_end *end)
{
	char *to = m->ending.reason;
	const size_t size = sizeof(m->ending.reason);

	if (m->killed[0])
		(void)snprintf(to, size, "%s", m->killed);
	else if (end->result == -ENOENT)
		(void)snprintf(to, size, "%.200s; set [worker] hermes", end->error.text);
	else if (end->result < 0)
		(void)snprintf(to, size, "%.250s", end->error.text);
	else if (WIFEXITED(end->status))
		(void)snprintf(to, size, "hermes send: exit status %d%s%s",
			       WEXITSTATUS(end->status), end->words[0] ? ": " : "", end->words);
	else
		(void)snprintf(to, size, "hermes send: killed by signal %d",
			       WTERMSIG(end->status));
}

static void sending_ended(void *arg, const struct child_end *end)
{
	struct sending *m = arg;
	bool exited = end->result == 0 && WIFEXITED(end->status);

	m->ending.fate = NOTIFY_RETRY;
	if (exited && WEXITSTATUS(end->status) == 0)
		m->ending.fate = NOTIFY_DELIVERED;
	else if (exited && WEXITSTATUS(end->status) == 2 && !m->killed[0])
		m->ending.fate = NOTIFY_HOPELESS;
	if (m->ending.fate != NOTIFY_DELIVERED)
		sending_reason(m, end);
	sending_report(m);
}

/* ---- hopeless ones: reported like the others, from the loop -------------------------- */

static void sending_nothing(struct job *job)
{
	(void)job; /* only the way back to the loop is wanted */
}

static void sending_hopeless(struct job *job)
{
	struct sending *m = container_of(job, struct sending, job);

	m->ending.fate = NOTIFY_HOPELESS;
	(void)snprintf(m->ending.reason, sizeof(m->ending.reason), "%.255s", m->error.text);
	sending_report(m);
}

/* ---- the seam ------------------------------------------------------------------------ */

/* Text of at most @max bytes without control characters, of @letters only where given. */
static bool sender_plain(const char *s, const char *letters, size_t max)
{
	size_t n = strlen(s);

	if (n == 0 || n > max)
		return false;
	if (letters)
		return strspn(s, letters) == n;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7F)
			return false;
	return true;
}

/* Can a command line name that? The reason why not is kept for the report. */
static void sending_check(struct sending *m, const struct notify_message *msg)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-.";
	char name[GATEWAY_NAME_SIZE];

	if (!gateway_name(msg->profile, name) || !name[0])
		(void)error_set(&m->error, -EINVAL, "\"%.80s\" is no name of a profile",
				msg->profile);
	else if (!sender_plain(msg->platform, letters, 64) || msg->platform[0] == '-')
		(void)error_set(&m->error, -EINVAL, "\"%.80s\" is no name of a platform",
				msg->platform);
	else if (!sender_plain(msg->chat, NULL, SENDER_NAME_MAX))
		(void)error_set(&m->error, -EINVAL, "\"%.80s\" is no chat", msg->chat);
	else if (msg->thread[0] && !sender_plain(msg->thread, NULL, SENDER_NAME_MAX))
		(void)error_set(&m->error, -EINVAL, "\"%.80s\" is no thread", msg->thread);
}

/* The surroundings of one child: its profile's, and this root's where the daemon was told its
 * root that way: it may serve several. Return: 0 or -errno. */
static int sending_start(struct sending *m, const struct sender *s,
			 const struct notify_message *msg)
{
	const char *given = environ_get(s->environment, "HERMES_KANBAN_HOME");
	CLEANUP(freep)
	char *home = strcmp(msg->profile, "default") == 0
			     ? strdup(s->root)
			     : fs_path("%s/profiles/%s", s->root, msg->profile);
	CLEANUP(freep)
	char *target = fs_path("%s:%s%s%s", msg->platform, msg->chat, msg->thread[0] ? ":" : "",
			       msg->thread);
	const char *const argv[] = { s->hermes, "-p",     msg->profile, "send", "--to",
				     target,    "--file", "-",          NULL };
	const struct environ_var vars[] = {
		{ "HERMES_HOME", home },
		{ "HERMES_KANBAN_HOME", given ? s->root : NULL },
	};
	const struct child_how how = { .argv = argv,
				       .environment = s->environment,
				       .profile = msg->profile,
				       .vars = vars,
				       .n_vars = 2,
				       .input = msg->text };

	if (!home || !target)
		return -ENOMEM;
	return child_start(&m->child, s->loop, s->jobs, &how, sending_ended, m);
}

static int sender_start(void *arg, const struct notify_message *msg, notify_ended_fn done,
			void *done_arg, void **handle)
{
	struct sender *s = arg;
	struct sending *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	*m = (struct sending){ .done = done, .done_arg = done_arg };
	sending_check(m, msg);
	r = m->error.code ? job_submit(s->jobs, &m->job, "send", sending_nothing,
				       sending_hopeless, SENDER_LIMIT_MS)
			  : sending_start(m, s, msg);
	if (r < 0) {
		free(m);
		return r;
	}
	*handle = m;
	return 0;
}

static void sender_kill(void *arg, void *handle, const char *reason)
{
	struct sending *m = handle;

	(void)arg;
	if (!m->child || m->killed[0])
		return;
	(void)snprintf(m->killed, sizeof(m->killed), "%s", reason);
	child_kill(m->child);
}

struct notify_sender sender_seam(struct sender *s)
{
	return (struct notify_sender){ .start = sender_start, .kill = sender_kill, .arg = s };
}

int sender_new(struct sender **out, uv_loop_t *loop, struct jobs *jobs, const char *root,
	       const char *hermes, const struct environment *environment)
{
	CLEANUP(sender_freep) struct sender *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->jobs = jobs;
	s->environment = environment;
	s->root = strdup(root);
	s->hermes = strdup(hermes);
	if (!s->root || !s->hermes)
		return -ENOMEM;
	*out = STEAL(s);
	return 0;
}

int sender_set_hermes(struct sender *s, const char *hermes)
{
	char *copy = strdup(hermes);

	if (!copy)
		return -ENOMEM;
	free(s->hermes);
	s->hermes = copy;
	return 0;
}

struct sender *sender_free(struct sender *s)
{
	if (!s)
		return NULL;
	free(s->hermes);
	free(s->root);
	free(s);
	return NULL;
}
