/* Small things that every maker of JSON needs. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

/** json_free() - drop a reference; returns NULL, which makes what is packed around it fail */
json_t *json_free(json_t *json);
DEFINE_FREEP(json_t, json_free)

/** json_or_null() - @text as JSON: null for NULL and "", U+FFFD for bytes that are no UTF-8 */
json_t *json_or_null(const char *text);

/** json_text(), json_number(), json_flag() - a member, or "", @none, false */
const char *json_text(const json_t *object, const char *key);
int64_t json_number(const json_t *object, const char *key, int64_t none);
bool json_flag(const json_t *object, const char *key);
