/*
 * The table of kinds as data, and the platforms that no command line reaches.
 */
#include "notice/kind.h"

#include <string.h>
#include <strings.h>

static const struct notice_kind notice_kinds[] = {
#define NOTICE_ROW(name_, flags_, glyph_, many_, words_, tail_, ...)                           \
	{ .name = name_,                                                                       \
	  .flags = flags_,                                                                     \
	  .glyph = glyph_,                                                                     \
	  .many = many_,                                                                       \
	  .words = words_,                                                                     \
	  .tail = tail_,                                                                       \
	  .parts = { __VA_ARGS__ } },
	NOTICE_KINDS(NOTICE_ROW)
#undef NOTICE_ROW
};

size_t notice_kind_count(void)
{
	return sizeof(notice_kinds) / sizeof(notice_kinds[0]);
}

const struct notice_kind *notice_kind_at(size_t i)
{
	return &notice_kinds[i];
}

const struct notice_kind *notice_kind(const char *name)
{
	for (size_t i = 0; name && i < notice_kind_count(); i++)
		if (strcmp(name, notice_kinds[i].name) == 0)
			return &notice_kinds[i];
	return NULL;
}

const char *notice_kind_sent(const char *name)
{
	const struct notice_kind *k = notice_kind(name);

	return k && !(k->flags & NOTICE_QUIET) ? k->name : NULL;
}

/* What subscribes a task to its own session, and has a poller of its own. */
static const char *const notice_elsewhere[] = {
	"tui",
	"cli",
	"desktop",
	"acp",
	"api_server",
	"api",
	"web",
	"dashboard",
	"webhook",
	"msgraph_webhook",
	"wecom_callback",
	"local",
	"cron",
	"kanban",
};

bool notice_kind_is_ours(const char *platform)
{
	size_t len;

	platform += strspn(platform, " \t");
	len = strcspn(platform, " \t");
	for (size_t i = 0; i < sizeof(notice_elsewhere) / sizeof(notice_elsewhere[0]); i++)
		if (strlen(notice_elsewhere[i]) == len &&
		    strncasecmp(platform, notice_elsewhere[i], len) == 0)
			return false;
	return true;
}
