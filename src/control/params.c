/* What a request says. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

const char *params_query(const struct request *req, const char *name)
{
	return req->control->mhd.MHD_lookup_connection_value(req->conn, MHD_GET_ARGUMENT_KIND,
							     name);
}

bool params_yes(struct request *req, const char *name, bool *yes)
{
	const char *text = params_query(req, name);

	if (text && strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
		reply_problem(req, 400, "bad-request", NULL, NULL, "%s is neither yes nor no",
			      name);
		return false;
	}
	if (text)
		*yes = strcmp(text, "yes") == 0;
	return true;
}

static bool params_wrong(struct request *req, const char *name, const char *what)
{
	reply_problem(req, 400, "bad-request", NULL, NULL, "%s is not %s", name, what);
	return false;
}

bool params_bool(struct request *req, const char *name, bool *value)
{
	const json_t *v = json_object_get(req->args, name);

	if (v && !json_is_boolean(v))
		return params_wrong(req, name, "true or false");
	if (v)
		*value = json_is_true(v);
	return true;
}

bool params_text(struct request *req, const char *name, const char **value)
{
	const json_t *v = json_object_get(req->args, name);

	if (v && !json_is_string(v) && !json_is_null(v))
		return params_wrong(req, name, "a text");
	if (json_is_string(v))
		*value = json_string_value(v);
	return true;
}

bool params_int(struct request *req, const char *name, int64_t max, int64_t *value)
{
	const json_t *v = json_object_get(req->args, name);

	if (!v || json_is_null(v))
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
		return params_wrong(req, name, "a whole number in its range");
	*value = json_integer_value(v);
	return true;
}

bool params_number(struct request *req, const char *name, int64_t max, int64_t *value)
{
	const char *text = params_query(req, name);

	if (!text)
		return true;
	if (!*text || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text) ||
	    strtoll(text, NULL, 10) > max)
		return params_wrong(req, name, "a whole number in its range");
	*value = strtoll(text, NULL, 10);
	return true;
}

/* The root of that path, or NULL and answered. */
static const struct root *params_path(struct request *req, const char *path)
{
	const struct control_env *env = &req->control->env;

	for (size_t i = 0; i < *env->n_roots; i++)
		if (strcmp(env->roots[i]->path, path) == 0)
			return env->roots[i];
	reply_problem(req, 404, "no-root", "GET /v1/leader lists the roots of this process",
		      NULL, "this daemon does not serve a root %s", path);
	return NULL;
}

bool params_root(struct request *req, const struct root **root)
{
	const char *path = params_query(req, "root");

	*root = NULL;
	if (!path)
		return true;
	*root = params_path(req, path);
	return *root != NULL;
}

void params_not_owner(struct request *req, const struct root *root)
{
	const char *who = root->holder[0] ? root->holder : "nobody yet";
	json_t *owner = json_string(who);

	if (root->role == ROOT_STARTING)
		reply_problem(req, 503, "busy", "ask again in a moment",
			      json_pack("{s:o}", "owner", owner ? owner : json_string("?")),
			      "it is not known yet who owns %s", root->path);
	else
		reply_problem(req, 409, "not-owner",
			      root->role == ROOT_STANDBY
				      ? "ask the owner, see GET /v1/leader for its socket"
				      : "see the log of the daemon",
			      json_pack("{s:o}", "owner", owner ? owner : json_string("?")),
			      "%s is not owned by this daemon: %s%s", root->path,
			      root->role == ROOT_STANDBY ? "the lease is held by " : "", who);
}

static struct dispatch *params_find(const struct root *root, const char *slug)
{
	for (size_t i = 0; i < root->n_boards; i++)
		if (strcmp(root->boards[i]->board.place.slug, slug) == 0)
			return root->boards[i];
	return NULL;
}

static bool params_ambiguous(struct request *req, struct dispatch *a, struct dispatch *b)
{
	reply_problem(req, 409, "ambiguous", "add ?root= and the path of the one that is meant",
		      json_pack("{s:[s, s]}", "roots", a->root->path, b->root->path),
		      "%s and %s both have a board %s", a->root->path, b->root->path,
		      req->slug);
	return false;
}

/* There is none: why? */
static bool params_nowhere(struct request *req, const struct root *only)
{
	const struct control_env *env = &req->control->env;

	for (size_t i = 0; i < *env->n_roots; i++) {
		const struct root *root = env->roots[i];

		if (only && root != only)
			continue;
		if (root->role != ROOT_OWNER) {
			params_not_owner(req, root);
			return false;
		}
		if (!root->scanned) {
			reply_problem(req, 503, "busy", "ask again in a moment", NULL,
				      "the boards of %s are not listed yet", root->path);
			return false;
		}
	}
	reply_problem(req, 404, "no-board", "GET /v1/boards lists the boards", NULL,
		      "there is no board %s", req->slug);
	return false;
}

bool params_board(struct request *req, struct dispatch **d)
{
	const struct control_env *env = &req->control->env;
	const struct root *only;

	*d = NULL;
	if (!params_root(req, &only))
		return false;
	for (size_t i = 0; i < *env->n_roots; i++) {
		const struct root *root = env->roots[i];
		struct dispatch *found;

		if ((only && root != only) || root->role != ROOT_OWNER)
			continue;
		found = params_find(root, req->slug);
		if (found && *d)
			return params_ambiguous(req, *d, found);
		if (found)
			*d = found;
	}
	return *d ? true : params_nowhere(req, only);
}
