/*
 * /livez and /readyz: yes (200) or no (503), with the reason in a line of text. They are asked
 * every few seconds by whatever restarts things or sends work elsewhere, so memory answers.
 *
 * Alive is what the watchdog is told too: the loop turns (it answers), and no job is past its
 * deadline. Ready is what READY=1 says: every root is owned and its boards are known, or
 * another process owns it and this one waits. A board in trouble makes the daemon neither: that
 * is what /v1/status and the alerts are for.
 */
#include <string.h>

#include "control.h"
#include "root/root.h"
#include "util/job.h"

static void probe_reply(struct request *req, const struct error *no)
{
	char *text = NULL;
	int n = no->code ? asprintf(&text, "%s\n", no->text) : asprintf(&text, "ok\n");

	if (n < 0)
		text = NULL;
	reply_text(req, no->code ? 503 : 200, "text/plain; charset=utf-8", text,
		   n < 0 ? 0 : (size_t)n);
}

void probe_live(struct request *req)
{
	const struct job *job = jobs_overdue(req->control->env.root_env->jobs);
	struct error no = ERROR_NULL;

	if (job)
		(void)error_set(&no, 1, "a job (%s) is past its deadline", job->name);
	probe_reply(req, &no);
}

static void probe_root(const struct root *root, struct error *no)
{
	switch (root->role) {
	case ROOT_STARTING:
		(void)error_set(no, 1, "%s: it is not known yet who owns it", root->path);
		break;
	case ROOT_FAILED:
		(void)error_set(no, 1, "%s: %s", root->path, root->holder);
		break;
	case ROOT_OWNER:
		if (!root->scanned)
			(void)error_set(no, 1, "%s: its boards are not listed yet", root->path);
		break;
	case ROOT_STANDBY:
		break;
	}
}

void probe_ready(struct request *req)
{
	const struct control_env *env = &req->control->env;
	struct error no = ERROR_NULL;

	if (*env->stopping || req->control->stopping)
		(void)error_set(&no, 1, "the daemon is stopping");
	for (size_t i = 0; !no.code && i < *env->n_roots; i++)
		probe_root(env->roots[i], &no);
	probe_reply(req, &no);
}
