#include "util/json.h"

#include <string.h>

#include "util/text.h"

json_t *json_free(json_t *json)
{
	json_decref(json);
	return NULL;
}

json_t *json_or_null(const char *text)
{
	CLEANUP(freep) char *repaired = NULL;
	json_t *value;
	size_t len;

	if (!text || !*text)
		return json_null();
	value = json_string(text);
	if (value)
		return value;
	repaired = text_repair(text, strlen(text), &len);
	return repaired ? json_stringn(repaired, len) : NULL;
}

const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

int64_t json_number(const json_t *object, const char *key, int64_t none)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? json_integer_value(value) : none;
}

bool json_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}
