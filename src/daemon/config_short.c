/* What a file says, short enough for a message about it. */
#include "daemon.h"

#include <stdio.h>
#include <string.h>

const char *config_short(const char *text, char buf[static 72])
{
	size_t n = strlen(text);

	if (n <= 60)
		return text;
	for (n = 57; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80; n--)
		;
	(void)snprintf(buf, 72, "%.*s...", (int)n, text);
	return buf;
}
