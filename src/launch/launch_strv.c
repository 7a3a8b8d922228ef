/* Vectors of strings that grow word by word: command lines and environments. */
#include <stdlib.h>
#include <string.h>

#include "launch.h"

void launch_strv_add(struct strv *list, const char *text)
{
	char *copy;

	if (list->failed)
		return;
	if (list->count + 2 > list->room) {
		size_t room = list->room ? list->room * 2 : 32;
		char **more = reallocarray(list->items, room, sizeof(*more));

		if (!more) {
			list->failed = true;
			return;
		}
		list->items = more;
		list->room = room;
	}
	copy = strdup(text ? text : "");
	if (!copy) {
		list->failed = true;
		return;
	}
	list->items[list->count++] = copy;
	list->items[list->count] = NULL;
}
