#include "chat.h"

#include <string.h>

#include "rig.h"

void chat_hermes(const char *mood)
{
	rig_write("mood", mood);
	rig_write("hermes",
		  rig_printf(
			  "#!/bin/sh\n"
			  "[ \"$3\" = send ] || exec '%s/tests/rig-worker' \"$@\"\n"
			  "read mood < \"$RIG_DIR/mood\"\n"
			  "text=; while IFS= read -r l || [ -n \"$l\" ]; do text=\"$text$l|\"; "
			  "done\n"
			  "case $mood in\n"
			  "fail) echo 'no route' >&2; exit 1;;\n"
			  "refuse) echo 'no such platform' >&2; exit 2;;\n"
			  "hang) exec sleep 1000;;\n"
			  "take) ;;\n"
			  "wild) case $(($$ %% 97)) in\n"
			  "	5) echo $$ >> \"$RIG_DIR/hung\"; exec sleep 1000;;\n"
			  "	11 | 61) echo 'no such chat' >&2; exit 2;;\n"
			  "	23 | 47 | 71) exit 1;;\n"
			  "	esac;;\n"
			  "*) [ $(($$ %% mood)) = 0 ] && exit 1;;\n"
			  "esac\n"
			  "printf '%%s\\n' \"$2 $5 $text\" >> \"$RIG_DIR/arrived\"\n",
			  rig.bin));
	rig_shell("chmod 755 hermes");
	rig_env("HERMES_BIN", rig_path("hermes"));
}

char *chat_arrived(void)
{
	char *text = rig_read("arrived");

	return text ? text : rig_printf("%s", "");
}

unsigned chat_count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

void chat_subscribe(const char *slug, const char *task, const char *chat, const char *profile)
{
	rig_sql(slug,
		"INSERT INTO kanban_notify_subs (task_id, platform, chat_id, notifier_profile,"
		" created_at) VALUES (%Q, 'telegram', %Q, %Q, 1)",
		task, chat, profile);
}
