/* From texts of any kind to JSON, and from JSON to texts that do no harm. */
#include "util/json.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/printable.h"
#include "util/text.h"

json_t *json_free(json_t *json)
{
	json_decref(json);
	return NULL;
}

json_t *json_utf8_n(const char *text, size_t len)
{
	CLEANUP(freep) char *good = NULL;

	if (text_is_utf8(text, len))
		return json_stringn_nocheck(text, len);
	good = text_repair(text, len, &len);
	return good ? json_stringn_nocheck(good, len) : NULL;
}

json_t *json_utf8(const char *text)
{
	return text ? json_utf8_n(text, strlen(text)) : json_null();
}

json_t *json_or_null(const char *text)
{
	return json_utf8(text && *text ? text : NULL);
}

json_t *json_time(int64_t at)
{
	return at > 0 ? json_integer(at) : json_null();
}

json_t *json_push(json_t *list, json_t *one)
{
	if (!list)
		return json_free(one);
	return json_array_append_new(list, one) < 0 ? json_free(list) : list;
}

json_t *json_join(json_t *to, json_t *more)
{
	bool bad = !to || !more || json_object_update(to, more) < 0;

	json_decref(more);
	return bad ? json_free(to) : to;
}

/* At most 12 bytes and a NUL. */
static size_t json_escape(char *out, uint32_t cp)
{
	if (cp < 0x10000)
		return (size_t)snprintf(out, 13, "\\u%04x", (unsigned)cp);
	cp -= 0x10000;
	return (size_t)snprintf(out, 13, "\\u%04x\\u%04x", 0xD800U + (unsigned)(cp >> 10),
				0xDC00U + (unsigned)(cp & 0x3FF));
}

/* What ASCII's controls always are in JSON, and what json_dumps() leaves as it is */
static bool json_acts(uint32_t cp)
{
	return cp >= 0x7F && cp != TEXT_INVALID && printable_hidden(cp);
}

char *json_plain(const json_t *json, size_t flags)
{
	CLEANUP(freep) char *text = json ? json_dumps(json, flags) : NULL;
	size_t len = text ? strlen(text) : 0, acting = 0, used = 0;
	uint32_t cp;
	char *out;

	for (size_t i = 0; i < len;) {
		i += text_decode(text + i, len - i, &cp);
		acting += json_acts(cp);
	}
	if (!text || acting == 0)
		return STEAL(text);
	out = malloc(len + acting * 12 + 1);
	for (size_t i = 0; out && i < len;) {
		size_t n = text_decode(text + i, len - i, &cp);

		/* such a character stands in a string and nowhere else: an escape is right */
		if (json_acts(cp)) {
			used += json_escape(out + used, cp);
		} else {
			memcpy(out + used, text + i, n);
			used += n;
		}
		i += n;
	}
	if (out)
		out[used] = '\0';
	return out;
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
