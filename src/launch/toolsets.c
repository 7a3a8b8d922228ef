/*
 * Which tools a worker begins with: `--toolsets`. A profile whose config.yaml has a list at
 * `platform_toolsets.cli` gets that list, as Hermes' own dispatcher passes it: sorted, with
 * `kanban`, with the MCP servers that are not switched off (unless the list names some of them,
 * or `no_mcp`), with `context_engine` where there is one, less `agent.disabled_toolsets`.
 *
 * Any other profile gets nothing, and the worker works the same out for itself when it starts.
 * So does one whose list says what only Hermes can tell: a composite such as `hermes-cli`, a
 * folder with plugins that bring tools of their own, a name that could be something else on a
 * command line. A wrong list would take tools away from a worker.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "launch.h"
#include "util/fs.h"
#include "util/yamlwalk.h"

#define TOOLSETS_MAX      256 /* names */
#define TOOLSETS_NAME_MAX 100

static bool toolsets_word(const char *text, const char *const *words)
{
	while (*words && strcasecmp(text, *words) != 0)
		words++;
	return *words != NULL;
}

/* ---- the document -------------------------------------------------------------------- */

/* NULL: it is no text, or more than a C string holds. */
static const char *toolsets_text(const yaml_node_t *node)
{
	const char *text;

	if (!node || node->type != YAML_SCALAR_NODE)
		return NULL;
	text = (const char *)node->data.scalar.value;
	return strlen(text) == node->data.scalar.length ? text : NULL;
}

/* The value of @key in the mapping @node, the last one; NULL: none, or @node is no mapping. */
static yaml_node_t *toolsets_get(yaml_document_t *doc, yaml_node_t *node, const char *key)
{
	yaml_node_t *found = NULL;

	if (!node || node->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const char *name = toolsets_text(yaml_document_get_node(doc, pair->key));

		if (name && strcmp(name, key) == 0)
			found = yaml_document_get_node(doc, pair->value);
	}
	return found;
}

/* ---- names --------------------------------------------------------------------------- */

struct toolsets {
	const char *names[TOOLSETS_MAX]; /* of the document */
	size_t n;
	bool unclear; /* only Hermes can tell */
};

static bool toolsets_has(const struct toolsets *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->names[i], name) == 0)
			return true;
	return false;
}

static void toolsets_add(struct toolsets *t, const char *name)
{
	if (toolsets_has(t, name))
		return;
	if (t->n == TOOLSETS_MAX)
		t->unclear = true;
	else
		t->names[t->n++] = name;
}

static void toolsets_drop(struct toolsets *t, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->names[i], name) != 0)
			t->names[kept++] = t->names[i];
	t->n = kept;
}

/* A name, or what would be something else: a number, a null, an option, two names, all there
 * are, several under one name, or one that Hermes leaves out on a command line. */
static const char *toolsets_name(yaml_node_t *node)
{
	static const char *const special[] = { "null", "true",    "false",
					       "yes",  "no",      "on",
					       "off",  "discord", "discord_admin",
					       "all",  NULL };
	const char *text = toolsets_text(node);
	size_t n = 0;

	if (!text || !(isalpha((unsigned char)text[0]) || text[0] == '_') ||
	    strncmp(text, "hermes-", 7) == 0 || toolsets_word(text, special))
		return NULL;
	while (isalnum((unsigned char)text[n]) || (text[n] && strchr("_.-", text[n])))
		n++;
	return text[n] || n > TOOLSETS_NAME_MAX ? NULL : text;
}

/* ---- the rules ----------------------------------------------------------------------- */

static void toolsets_list(yaml_document_t *doc, yaml_node_t *list, struct toolsets *t)
{
	for (yaml_node_item_t *item = list->data.sequence.items.start;
	     item < list->data.sequence.items.top; item++) {
		const char *name = toolsets_name(yaml_document_get_node(doc, *item));

		if (!name) {
			t->unclear = true;
			return;
		}
		toolsets_add(t, name);
	}
}

/* Servers are named like toolsets. Those of the list are a choice; without one all are meant.
 */
static void toolsets_servers(yaml_document_t *doc, yaml_node_t *servers, struct toolsets *t)
{
	static const char *const off[] = { "false", "0", "no", "off", NULL };
	bool chosen = toolsets_has(t, "no_mcp");
	struct toolsets on = { 0 };

	toolsets_drop(t, "no_mcp");
	if (!servers || servers->type != YAML_MAPPING_NODE) {
		t->unclear |= servers && !toolsets_text(servers);
		return;
	}
	for (yaml_node_pair_t *pair = servers->data.mapping.pairs.start;
	     pair < servers->data.mapping.pairs.top; pair++) {
		yaml_node_t *server = yaml_document_get_node(doc, pair->value);
		const char *name = toolsets_name(yaml_document_get_node(doc, pair->key));
		const char *enabled = toolsets_text(toolsets_get(doc, server, "enabled"));

		if (!server || server->type != YAML_MAPPING_NODE ||
		    (enabled && toolsets_word(enabled, off)))
			continue;
		if (!name) {
			t->unclear = true;
			return;
		}
		chosen |= toolsets_has(t, name);
		toolsets_add(&on, name);
	}
	t->unclear |= on.unclear;
	for (size_t i = 0; !chosen && i < on.n; i++)
		toolsets_add(t, on.names[i]);
}

static void toolsets_disabled(yaml_document_t *doc, yaml_node_t *list, struct toolsets *t)
{
	if (!list || list->type != YAML_SEQUENCE_NODE)
		return;
	for (yaml_node_item_t *item = list->data.sequence.items.start;
	     item < list->data.sequence.items.top; item++) {
		const char *name = toolsets_text(yaml_document_get_node(doc, *item));

		if (name)
			toolsets_drop(t, name);
	}
}

static void toolsets_document(yaml_document_t *doc, struct toolsets *t)
{
	yaml_node_t *root = yaml_document_get_root_node(doc);
	yaml_node_t *platforms = toolsets_get(doc, root, "platform_toolsets");
	yaml_node_t *list = toolsets_get(doc, platforms, "cli");
	yaml_node_t *agent = toolsets_get(doc, root, "agent");
	const char *engine =
		toolsets_text(toolsets_get(doc, toolsets_get(doc, root, "context"), "engine"));

	if (!list || list->type != YAML_SEQUENCE_NODE ||
	    list->data.sequence.items.start == list->data.sequence.items.top)
		return;
	/* merged mappings are Hermes' to follow */
	t->unclear = toolsets_get(doc, root, "<<") || toolsets_get(doc, platforms, "<<") ||
		     toolsets_get(doc, agent, "<<");
	toolsets_list(doc, list, t);
	toolsets_add(t, "kanban");
	if (engine && *engine && strcasecmp(engine, "compressor") != 0)
		toolsets_add(t, "context_engine");
	toolsets_servers(doc, toolsets_get(doc, root, "mcp_servers"), t);
	toolsets_disabled(doc, toolsets_get(doc, agent, "disabled_toolsets"), t);
}

/* ---- the word ------------------------------------------------------------------------ */

static int toolsets_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Joined by commas; NULL: none, or out of memory. */
static char *toolsets_join(struct toolsets *t)
{
	size_t size = 1;
	char *text, *end;

	if (t->unclear || t->n == 0)
		return NULL;
	qsort(t->names, t->n, sizeof(t->names[0]), toolsets_order);
	for (size_t i = 0; i < t->n; i++)
		size += strlen(t->names[i]) + 1;
	text = end = calloc(1, size);
	for (size_t i = 0; text && i < t->n; i++) {
		if (i > 0)
			*end++ = ',';
		end = stpcpy(end, t->names[i]);
	}
	return text;
}

/* Does anybody's plugin bring tools that no list need name? */
static bool toolsets_plugins(const char *home)
{
	CLEANUP(freep) char *path = fs_path("%s/plugins", home);
	const struct dirent *entry = NULL;
	DIR *dir = path ? opendir(path) : NULL;

	if (!dir)
		return false;
	do
		entry = readdir(dir);
	while (entry && entry->d_name[0] == '.');
	(void)closedir(dir);
	return entry != NULL;
}

char *toolsets_of(const char *home)
{
	CLEANUP(freep) char *path = fs_path("%s/config.yaml", home);
	static const char key[] = "platform_toolsets";
	struct toolsets t = { 0 };
	struct yamlwalk walk;
	yaml_document_t doc;
	char *text = NULL;

	if (!path || yamlwalk_open(&walk, path) < 0)
		return NULL;
	if (memmem(walk.data, walk.len, key, strlen(key)) && !toolsets_plugins(home) &&
	    yamlwalk_document(&walk, &doc)) {
		toolsets_document(&doc, &t);
		text = toolsets_join(&t);
		yaml_document_delete(&doc);
	}
	yamlwalk_close(&walk);
	return text;
}
