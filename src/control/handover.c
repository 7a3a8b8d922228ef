/*
 * POST /v1/handover: the standby is to own the root now. Refused where nobody waits for it.
 * What happens then is the daemon's (daemon/handing.c); the answer names the new owner. A
 * request that is given up does not call it back.
 */
#include <errno.h>
#include <string.h>

#include "control.h"
#include "root/leader.h"
#include "util/json.h"
#include "util/log.h"
#include "wire/wire_leader.h"

#define HANDOVER_WAIT_MS 120000

struct handover {
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	char *root;
	int64_t epoch;
};

static void handover_free(struct handover *h)
{
	struct control *c = h->control;

	free(h->root);
	free(h);
	c->operations--;
	server_try_free(c);
}

static void handover_answer(struct handover *h, int r, const struct leader *now)
{
	struct request *req = h->req;
	json_t *json;

	req->gone = NULL;
	req->expired = NULL;
	if (r == -ECANCELED) {
		reply_problem(req, 503, "stopping", "ask the owner", NULL,
			      "the daemon is stopping, which gives the root away, too");
	} else if (r < 0) {
		reply_problem(req, 503, "busy", "kanbanctl leader says who owns it", NULL,
			      "nobody took over %s in time: this daemon competes for it again",
			      h->root);
	} else {
		json = json_pack("{s:o, s:I}", "root", json_utf8(h->root), "epoch",
				 (json_int_t)h->epoch);
		reply_json(req, 200, json_join(json, wire_leader(now)));
	}
}

static void handover_done(void *arg, int r, const struct leader *now)
{
	struct handover *h = arg;
	const struct log_about about = { .root = h->root, .epoch = h->epoch };

	if (r == 0)
		log_about(LOG_NOTICE, &about, "handed over %s to pid %lld", h->root,
			  (long long)now->pid);
	if (h->req)
		handover_answer(h, r, now);
	handover_free(h);
}

static void handover_gone(struct request *req)
{
	((struct handover *)req->work)->req = NULL;
}

static void handover_expired(struct request *req)
{
	reply_problem(req, 503, "busy", "kanbanctl leader says who owns it", NULL,
		      "the root is being handed over, and something takes its time");
	handover_gone(req);
}

/* Which root is meant; NULL: answered. */
static const struct root *handover_root(struct request *req)
{
	const struct control_env *env = &req->control->env;
	const struct root *root;

	if (!params_root(req, &root))
		return NULL;
	if (!root && *env->n_roots > 1) {
		reply_problem(req, 409, "ambiguous",
			      "add ?root= and the path of the one that is meant", NULL,
			      "this daemon serves several roots");
		return NULL;
	}
	if (!root && *env->n_roots == 1)
		root = env->roots[0];
	if (!root) {
		reply_problem(req, 503, "stopping", NULL, NULL, "the daemon is stopping");
		return NULL;
	}
	if (root->role == ROOT_OWNER && !root->stopping)
		return root;
	params_not_owner(req, root);
	return NULL;
}

/* Is there somebody to take it; else answered. /proc is no disk: it is read here. */
static bool handover_awaited(struct request *req, const struct root *root)
{
	int r = lease_awaited(root->path, NULL);

	if (r == 1)
		return true;
	if (r < 0)
		reply_problem(req, 500, "internal", NULL, NULL,
			      "cannot see who waits for the lease of %s: %s", root->path,
			      strerror(-r));
	else
		reply_problem(req, 409, "refused",
			      "start a second kanband on this root, which then waits; or stop "
			      "this one: workers run on",
			      NULL, "no standby waits for %s", root->path);
	return false;
}

void handover_post(struct request *req)
{
	struct control *c = req->control;
	const struct root *root = handover_root(req);
	struct handover *h;
	int r;

	if (!root || !handover_awaited(req, root))
		return;
	h = calloc(1, sizeof(*h));
	if (h)
		h->root = strdup(root->path);
	if (!h || !h->root) {
		free(h);
		reply_response(req, 500, NULL);
		return;
	}
	h->control = c;
	h->req = req;
	h->epoch = root->epoch;
	c->operations++;
	req->work = h;
	req->gone = handover_gone;
	req->expired = handover_expired;
	server_deadline(req, HANDOVER_WAIT_MS);
	r = c->env.hand_over(c->env.arg, root, handover_done, h);
	if (r == 0)
		return;
	req->gone = NULL;
	req->expired = NULL;
	if (r == -EBUSY)
		reply_problem(req, 503, "busy", "try again", NULL,
			      "a root is being handed over already");
	else
		reply_response(req, 500, NULL);
	handover_free(h);
}
