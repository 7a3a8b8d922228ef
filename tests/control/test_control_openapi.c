/*
 * conf/openapi.yaml against the running daemon: what is documented is served and answers with
 * what is documented, and what is served is documented.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "control/route.h"
#include "kit/rig.h"
#include "kit/web.h"

static yaml_document_t doc;

static void doc_load(void)
{
	const char *where = getenv("KANBAND_OPENAPI");
	FILE *in = fopen(where ? where : "conf/openapi.yaml", "re");
	yaml_parser_t parser;

	ck_assert_msg(in != NULL, "no conf/openapi.yaml here: run from the top of the tree");
	ck_assert(yaml_parser_initialize(&parser));
	yaml_parser_set_input_file(&parser, in);
	ck_assert_msg(yaml_parser_load(&parser, &doc), "line %zu: %s",
		      parser.problem_mark.line + 1, parser.problem);
	yaml_parser_delete(&parser);
	(void)fclose(in);
}

static const char *text_of(const yaml_node_t *n)
{
	return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

/* The value of @key in a mapping, references followed; NULL if there is none. */
static yaml_node_t *at(yaml_node_t *n, const char *key);

static yaml_node_t *follow(yaml_node_t *n)
{
	yaml_node_t *ref = NULL;

	if (n && n->type == YAML_MAPPING_NODE)
		for (yaml_node_pair_t *p = n->data.mapping.pairs.start;
		     p < n->data.mapping.pairs.top; p++)
			if (!strcmp(text_of(yaml_document_get_node(&doc, p->key)), "$ref"))
				ref = yaml_document_get_node(&doc, p->value);
	if (!ref)
		return n;
	{
		char *path = rig_printf("%s", text_of(ref)), *name;
		yaml_node_t *to = yaml_document_get_root_node(&doc);

		ck_assert_msg(!strncmp(path, "#/", 2), "%s", path);
		path += 2;
		while ((name = strsep(&path, "/"))) {
			to = at(to, name);
			ck_assert_msg(to != NULL, "%s leads nowhere", text_of(ref));
		}
		return to;
	}
}

static yaml_node_t *at(yaml_node_t *n, const char *key)
{
	n = follow(n);
	if (!n || n->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top;
	     p++)
		if (!strcmp(text_of(yaml_document_get_node(&doc, p->key)), key))
			return follow(yaml_document_get_node(&doc, p->value));
	return NULL;
}

/* The @i-th of a list, or NULL. */
static yaml_node_t *item(yaml_node_t *n, size_t i)
{
	if (!n || n->type != YAML_SEQUENCE_NODE ||
	    n->data.sequence.items.start + i >= n->data.sequence.items.top)
		return NULL;
	return follow(yaml_document_get_node(&doc, n->data.sequence.items.start[i]));
}

static bool listed(yaml_node_t *list, const char *word)
{
	for (size_t i = 0; item(list, i); i++)
		if (!strcmp(text_of(item(list, i)), word))
			return true;
	return false;
}

/* ---- does a value match a schema ----------------------------------------------------- */

static bool match(json_t *v, yaml_node_t *schema, char *where, char **why);

static bool no(char **why, char *text)
{
	*why = text;
	return false;
}

static bool is_type(json_t *v, const char *type)
{
	return !strcmp(type, "object")    ? json_is_object(v)
	       : !strcmp(type, "array")   ? json_is_array(v)
	       : !strcmp(type, "string")  ? json_is_string(v)
	       : !strcmp(type, "integer") ? json_is_integer(v)
	       : !strcmp(type, "number")  ? json_is_number(v)
	       : !strcmp(type, "boolean") ? json_is_boolean(v)
	       : !strcmp(type, "null")    ? json_is_null(v)
					  : false;
}

static bool match_object(json_t *v, yaml_node_t *schema, char *where, char **why)
{
	yaml_node_t *must = at(schema, "required"), *props = at(schema, "properties");
	yaml_node_t *others = at(schema, "additionalProperties");
	const char *key;
	json_t *member;

	for (size_t i = 0; item(must, i); i++) {
		const char *name = text_of(item(must, i));

		ck_assert_msg(at(props, name) != NULL, "%s: %s is required and not described",
			      where, name);
		if (!json_object_get(v, name))
			return no(why, rig_printf("%s has no %s", where, name));
	}
	json_object_foreach(v, key, member)
	{
		yaml_node_t *s = at(props, key) ? at(props, key) : others;

		if (s && s == others && text_of(s) && !strcmp(text_of(s), "true"))
			continue; /* anything */
		if (!s)
			return no(why, rig_printf("%s.%s is not documented", where, key));
		if (!match(member, s, rig_printf("%s.%s", where, key), why))
			return false;
	}
	return true;
}

static bool match_any(json_t *v, yaml_node_t *list, char *where, char **why)
{
	for (size_t i = 0; item(list, i); i++)
		if (match(v, item(list, i), where, why))
			return true;
	return false;
}

static bool match(json_t *v, yaml_node_t *schema, char *where, char **why)
{
	yaml_node_t *type, *words;
	bool ok = false;

	schema = follow(schema);
	if (at(schema, "oneOf"))
		return match_any(v, at(schema, "oneOf"), where, why);
	type = at(schema, "type");
	words = at(schema, "enum");
	ck_assert_msg(type != NULL, "%s: the schema has no type", where);
	if (text_of(type))
		ok = is_type(v, text_of(type));
	for (size_t i = 0; item(type, i); i++)
		ok = ok || is_type(v, text_of(item(type, i)));
	if (!ok)
		return no(why,
			  rig_printf("%s is of another type: %s", where, rig_json_text(v)));
	if (words && json_is_string(v) && !listed(words, json_string_value(v)))
		return no(why, rig_printf("%s: '%s' is not documented", where,
					  json_string_value(v)));
	if (json_is_object(v))
		return match_object(v, schema, where, why);
	for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++)
		if (!match(json_array_get(v, i), at(schema, "items"),
			   rig_printf("%s[%zu]", where, i), why))
			return false;
	return true;
}

static void must_match(json_t *v, yaml_node_t *schema, const char *what)
{
	char *why = NULL;

	ck_assert_msg(schema != NULL, "%s: no schema", what);
	ck_assert_msg(match(v, schema, rig_printf("%s:", what), &why), "%s", why);
}

/* ---- the world ----------------------------------------------------------------------- */

static void check_answer(struct web_answer *a, yaml_node_t *op, const char *what, bool well)
{
	yaml_node_t *answers = at(op, "responses"), *answer, *content;
	char *type = strcasestr(a->head, "Content-Type: ");

	ck_assert_msg(!well || a->status == 200, "%s: %s", what, a->body);
	answer = at(answers, rig_printf("%d", a->status));
	answer = answer ? answer : at(answers, "default");
	ck_assert_msg(answer != NULL && type != NULL, "%s: %d is not documented", what,
		      a->status);
	type = rig_printf("%.*s", (int)strcspn(type + 14, ";\r\n"), type + 14);
	content = at(at(answer, "content"), type);
	ck_assert_msg(content != NULL, "%s: %s is not documented for %d", what, type,
		      a->status);
	if (a->json)
		must_match(a->json, at(content, "schema"), what);
}

static char *snapshot; /* of the default board, its path */

static const char *body_of(const char *method, const char *path)
{
	if (!strcmp(path, "/v1/boards/{slug}/tasks") && !strcmp(method, "POST"))
		return "{\"title\":\"one more\",\"at\":4102444800,\"every\":\"daily\"}";
	if (!strcmp(path, "/v1/boards/{slug}/change"))
		return "{\"change\":\"edit\",\"task\":\"t_2\",\"title\":\"another\"}";
	if (!strcmp(path, "/v1/boards/{slug}/restore")) /* one that is named */
		return rig_printf("{\"from\":\"%s\"}", snapshot);
	if (!strcmp(path, "/v1/boards/{slug}/start"))
		return "{\"task\":\"t_3\",\"despite\":\"blocker_auth\"}";
	return !strcmp(path, "/v1/drain") ? "{\"wait\":false}" : NULL;
}

static void world(struct rig_daemon **d)
{
	doc_load();
	rig_board("default", RIG_WAL);
	rig_board("empty", 0);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	rig_add("default", .id = "t_2", .assignee = "nemo");
	rig_add("default", .id = "t_3", .last_failure_error = "quota exceeded");
	*d = web_start();
	(void)rig_ran("t_1");
	RIG_UNTIL(json_array_size(
			  web_member(web_json(web_get("/v1/workers"), 200), "workers")) == 1,
		  5000);
	/* so that there is something to restore from */
	snapshot = rig_printf(
		"%s", web_text(web_json(web_post("/v1/boards/default/snapshot", NULL), 200),
			       "snapshot"));
}

/* ---- tests --------------------------------------------------------------------------- */

START_TEST(openapi_documented_is_served)
{
	yaml_node_t *paths;
	struct rig_daemon *d;
	unsigned n = 0;

	world(&d);
	paths = at(yaml_document_get_root_node(&doc), "paths");
	for (yaml_node_pair_t *p = paths->data.mapping.pairs.start;
	     p < paths->data.mapping.pairs.top; p++) {
		const char *path = text_of(yaml_document_get_node(&doc, p->key));
		yaml_node_t *methods = yaml_document_get_node(&doc, p->value);
		const char *hole = strchr(path, '{');
		char *url = hole ? rig_printf("%.*s%s%s", (int)(hole - path), path,
					      hole[1] == 'i' ? "t_1" : "default",
					      strchr(hole, '}') + 1)
				 : rig_printf("%s", path);

		if (!strcmp(path, "/v1/events"))
			url = rig_printf("%s?follow=no", path);
		for (yaml_node_pair_t *m = methods->data.mapping.pairs.start;
		     m < methods->data.mapping.pairs.top; m++) {
			const char *method = text_of(yaml_document_get_node(&doc, m->key));
			yaml_node_t *op = yaml_document_get_node(&doc, m->value);

			method = !strcmp(method, "get") ? "GET" : "POST";
			check_answer(web_ask(web_socket(), method, url, body_of(method, path)),
				     op, rig_printf("%s %s", method, path),
				     /* nobody waits for the root here */
				     strcmp(path, "/v1/handover") != 0);
			/* and a problem is one that is documented */
			check_answer(web_ask(web_socket(), method,
					     rig_printf("%s%cx=1", url,
							strchr(url, '?') ? '&' : '?'),
					     NULL),
				     op, path, false);
			n++;
		}
	}
	ck_assert_uint_ge(n, 22);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
	yaml_document_delete(&doc);
}
END_TEST

/* What else the schemas say of boards: one in trouble, one set aside, one that is not there. */
START_TEST(openapi_boards_in_any_state)
{
	yaml_node_t *paths, *all;
	struct rig_daemon *d;

	rig_write("kanband.conf", "[board aside]\npaused = yes\n");
	rig_board("bad", 0);
	rig_board("aside", 0);
	rig_shell("printf 'not a database at all' >root/kanban/boards/bad/kanban.db");
	world(&d);
	RIG_UNTIL(!strcmp(web_text(web_json(web_get("/v1/boards/bad"), 200), "state"),
			  "quarantined"),
		  10000);
	paths = at(yaml_document_get_root_node(&doc), "paths");
	all = at(at(paths, "/v1/boards"), "get");
	check_answer(web_get("/v1/boards"), all, "boards", true);
	check_answer(web_get("/v1/boards/bad"), at(at(paths, "/v1/boards/{slug}"), "get"),
		     "bad", true);
	check_answer(web_get("/v1/boards/aside"), at(at(paths, "/v1/boards/{slug}"), "get"),
		     "aside", true);
	check_answer(web_post("/v1/boards/bad/check", NULL),
		     at(at(paths, "/v1/boards/{slug}/check"), "post"), "check", true);
	check_answer(web_post("/v1/boards/bad/pause", NULL),
		     at(at(paths, "/v1/boards/{slug}/pause"), "post"), "pause", true);
	check_answer(web_get("/v1/status"), at(at(paths, "/v1/status"), "get"), "status", true);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
	yaml_document_delete(&doc);
}
END_TEST

/* A subscription whose delivery fails for good. */
START_TEST(openapi_parked_notifications)
{
	yaml_node_t *paths;
	struct rig_daemon *d;
	json_t *n;

	rig_write("hermes",
		  rig_printf("#!/bin/sh\n[ \"$3\" = send ] || exec '%s/tests/rig-worker' "
			     "\"$@\"\nread x; echo no such platform >&2; exit 2\n",
			     rig.bin));
	rig_shell("chmod 755 hermes");
	rig_env("HERMES_BIN", rig_path("hermes"));
	rig_do("t_9", "done\n");
	rig_board("noisy", 0);
	rig_add("noisy", .id = "t_9");
	rig_sql("noisy",
		"INSERT INTO kanban_notify_subs (task_id, platform, chat_id, created_at) "
		"VALUES ('t_9', 'telegram', '42', 1)");
	world(&d);
	RIG_UNTIL(web_int(web_json(web_get("/v1/notify"), 200), "roots.0.numbers.parked") == 1,
		  15000);
	paths = at(yaml_document_get_root_node(&doc), "paths");
	check_answer(web_get("/v1/notify"), at(at(paths, "/v1/notify"), "get"), "notify", true);
	n = web_json(web_get("/v1/notify"), 200);
	ck_assert_str_eq(web_text(n, "roots.0.troubles.0.task"), "t_9");
	ck_assert_str_eq(web_text(n, "roots.0.troubles.0.chat"), "42");
	ck_assert(web_true(n, "roots.0.troubles.0.parked"));
	ck_assert_ptr_nonnull(
		strstr(web_text(n, "roots.0.troubles.0.reason"), "no such platform"));
	n = web_json(web_post("/v1/notify/retry", "{\"board\":\"noisy\"}"), 200);
	ck_assert_int_eq(web_int(n, "retried"), 1);
	n = web_json(web_post("/v1/notify/retry", "{\"board\":\"other\"}"), 200);
	ck_assert_int_eq(web_int(n, "retried"), 0);
	(void)web_problem(web_post("/v1/notify/retry", "{\"root\":\"/x\"}"), 404, "no-root");
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
	yaml_document_delete(&doc);
}
END_TEST

static bool in_query(yaml_node_t *op, const char *name)
{
	for (size_t i = 0; item(at(op, "parameters"), i); i++) {
		yaml_node_t *p = item(at(op, "parameters"), i);

		if (!strcmp(text_of(at(p, "in")), "query") &&
		    !strcmp(text_of(at(p, "name")), name))
			return true;
	}
	return false;
}

START_TEST(openapi_served_is_documented)
{
	yaml_node_t *paths;
	size_t i;

	doc_load();
	paths = at(yaml_document_get_root_node(&doc), "paths");
	for (i = 0; route_at(i); i++) {
		const struct route *r = route_at(i);
		yaml_node_t *op =
			at(at(paths, r->path), !strcmp(r->method, "GET") ? "get" : "post");
		yaml_node_t *body = at(
			at(at(at(op, "requestBody"), "content"), "application/json"), "schema");
		yaml_node_t *props = at(body, "properties");
		size_t n = 0;

		ck_assert_msg(op != NULL, "%s %s is not documented", r->method, r->path);
		for (const char *const *q = r->query; *q; q++)
			ck_assert_msg(in_query(op, *q), "%s?%s is not documented", r->path, *q);
		for (size_t k = 0; item(at(op, "parameters"), k); k++) {
			yaml_node_t *p = item(at(op, "parameters"), k);

			if (!strcmp(text_of(at(p, "in")), "query"))
				n++;
		}
		for (const char *const *q = r->query; *q; q++)
			n--;
		ck_assert_msg(n == 0, "%s: parameters are documented that are not taken",
			      r->path);
		for (const char *const *m = r->members; m && *m; m++, n++)
			ck_assert_msg(at(props, *m) != NULL,
				      "%s takes %s, which is not documented", r->path, *m);
		ck_assert_msg(!props || (size_t)(props->data.mapping.pairs.top -
						 props->data.mapping.pairs.start) == n,
			      "%s: members are documented that are not taken", r->path);
	}
	ck_assert_uint_eq(i, 36);
	yaml_document_delete(&doc);
}
END_TEST

/* The check itself finds what is wrong. */
START_TEST(openapi_check_finds)
{
	yaml_node_t *table, *held;
	char *why = NULL;

	doc_load();
	table = at(at(at(yaml_document_get_root_node(&doc), "components"), "schemas"), "Table");
	held = at(at(at(yaml_document_get_root_node(&doc), "components"), "schemas"), "Held");
	ck_assert(match(rig_json("{\"table\":\"t\",\"saved\":1,\"filled\":0,\"lost\":null}"),
			table, rig_printf("t"), &why));
	ck_assert(!match(rig_json("{\"table\":\"t\",\"saved\":1,\"filled\":0}"), table,
			 rig_printf("t"), &why));
	ck_assert_str_eq(why, "t has no lost");
	ck_assert(!match(
		rig_json("{\"table\":\"t\",\"saved\":1,\"filled\":0,\"lost\":0,\"x\":1}"),
		table, rig_printf("t"), &why));
	ck_assert_str_eq(why, "t.x is not documented");
	ck_assert(!match(rig_json("{\"table\":\"t\",\"saved\":\"1\",\"filled\":0,\"lost\":0}"),
			 table, rig_printf("t"), &why));
	ck_assert(!match(rig_json("{\"by\":\"me\",\"since\":1,\"until\":\"x\"}"), held,
			 rig_printf("h"), &why));
	ck_assert_str_eq(why, "h.by: 'me' is not documented");
	yaml_document_delete(&doc);
}
END_TEST

Suite *test_suite(void)
{
	TCase *c = rig_tcase("openapi", 60);

	tcase_add_test(c, openapi_documented_is_served);
	tcase_add_test(c, openapi_boards_in_any_state);
	tcase_add_test(c, openapi_parked_notifications);
	tcase_add_test(c, openapi_served_is_documented);
	tcase_add_test(c, openapi_check_finds);
	return rig_suite("control_openapi", c, NULL);
}
