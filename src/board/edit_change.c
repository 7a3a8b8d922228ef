/* What an operator asks for: the arguments, checked, and the parts that every change has. */
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "db/db.h"

#define EDIT_NUMBER_MAX INT32_MAX

bool edit_change_has(const struct edit_change *a, const char *key)
{
	return json_object_get(a->args, key) != NULL;
}

/* A text, NULL for none or null. Its kind was checked. */
const char *edit_change_text(const struct edit_change *a, const char *key)
{
	return json_string_value(json_object_get(a->args, key));
}

/* A number as text for SQL, which knows NULL; NULL if it is not given. */
const char *edit_change_number(const struct edit_change *a, const char *key, char out[24])
{
	const json_t *value = json_object_get(a->args, key);

	if (!json_is_integer(value))
		return NULL;
	(void)snprintf(out, 24, "%lld", (long long)json_integer_value(value));
	return out;
}

static int edit_change_value(const char *key, const json_t *value, struct error *e)
{
	static const char *const numbers[] = { "priority", "max_runtime", "max_retries", "at",
					       NULL };
	bool number = false, priority = strcmp(key, "priority") == 0;
	int64_t n = json_integer_value(value), max = EDIT_NUMBER_MAX;

	for (const char *const *k = numbers; *k; k++)
		number |= strcmp(*k, key) == 0;
	if (json_is_null(value))
		return 0;
	if (number && strcmp(key, "at") == 0)
		max = INT64_C(253402300799); /* the end of the year 9999 */
	if (number && (!json_is_integer(value) || n > max || n < (priority ? -max : 0)))
		return error_set(e, EDIT_INVALID, "%s takes a whole number from %lld to %lld",
				 key, priority ? -(long long)max : 0LL, (long long)max);
	if (number)
		return 0;
	if (!json_is_string(value) ||
	    memchr(json_string_value(value), '\0', json_string_length(value)))
		return error_set(e, EDIT_INVALID, "%s takes a text", key);
	return edit_check_text(key, json_string_value(value),
			       strcmp(key, "body") == 0 ? EDIT_TEXT_MAX : EDIT_SHORT_MAX, e);
}

/* Every argument is known and of its kind. */
int edit_change_check(const char *verb, const char *const *keys, const json_t *args,
		      struct error *e)
{
	const char *key;
	json_t *value;

	if (args && !json_is_object(args))
		return error_set(e, EDIT_INVALID, "the arguments are no JSON object");
	json_object_foreach((json_t *)(uintptr_t)args, key, value)
	{
		const char *const *k = keys;
		int r;

		while (*k && strcmp(*k, key) != 0)
			k++;
		if (!*k)
			return error_set(e, EDIT_INVALID, "%s takes no %s", verb, key);
		r = edit_change_value(key, value, e);
		if (r != 0)
			return r;
	}
	return 0;
}

int edit_change_swapped(const struct edit_change *a)
{
	return edit_swapped(a->db, a->id, a->e);
}

bool edit_change_is(const struct edit_change *a, const char *status)
{
	return strcmp(a->row.status, status) == 0;
}

int edit_change_event(const struct edit_change *a, const char *kind, int64_t run,
		      json_t *payload)
{
	a->done->run = run;
	return edit_event(a->db, a->id, run, kind, payload, true, a->now, &a->done->event,
			  a->e);
}

void edit_change_status(const struct edit_change *a, const char *status)
{
	(void)snprintf(a->done->status, sizeof(a->done->status), "%s", status);
}
