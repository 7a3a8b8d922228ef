/*
 * What JSON says, as the text of cells: numbers, times and objects each in one form for all
 * tables.
 */
#include "ctl/cells.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int cells_add(struct table *table, const json_t *value, enum table_colour colour)
{
	char number[32];

	if (json_is_string(value))
		return table_cell(table, json_string_value(value), json_string_length(value),
				  colour);
	if (json_is_real(value))
		(void)snprintf(number, sizeof(number), "%g", json_real_value(value));
	else if (json_is_integer(value))
		(void)snprintf(number, sizeof(number), "%lld",
			       (long long)json_integer_value(value));
	else
		return table_cell(table, NULL, 0, colour);
	return table_cell(table, number, strlen(number), colour);
}

int cells_add_time(struct table *table, const json_t *value)
{
	char text[32];

	if (!json_is_integer(value))
		return cells_add(table, value, TABLE_DIM);
	screen_time(json_integer_value(value), text);
	return table_cell(table, text, strlen(text), TABLE_DIM);
}

int cells_add_json(struct table *table, const json_t *value)
{
	CLEANUP(freep) char *text = NULL;

	if (!json_is_object(value) && !json_is_array(value))
		return cells_add(table, value, TABLE_PLAIN);
	text = json_dumps(value, 0);
	return text ? table_cell(table, text, strlen(text), TABLE_PLAIN) : -ENOMEM;
}
