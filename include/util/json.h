/*
 * Making JSON, and asking what it has. A text from outside (a path, a row, a reason) may hold
 * any bytes: here, and nowhere else, it becomes a JSON string.
 *
 * NULL is "out of memory" everywhere: a value that could not be made makes what is packed
 * around it fail, so that a maker checks once, at its end.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

/** json_free() - drop a reference, NULL is fine; returns NULL */
json_t *json_free(json_t *json);
DEFINE_FREEP(json_t, json_free)

/** json_utf8() - @text as a string, U+FFFD for each byte that is no UTF-8; null for NULL */
json_t *json_utf8(const char *text);

/** json_utf8_n() - the same of @len bytes, NUL among them */
json_t *json_utf8_n(const char *text, size_t len);

/** json_or_null() - json_utf8(), and null also for "" */
json_t *json_or_null(const char *text);

/** json_time() - Unix seconds; null for 0 and less: never */
json_t *json_time(int64_t at);

/** json_push() - @one behind the others in @list; both are given away. Return: @list, or NULL
 */
json_t *json_push(json_t *list, json_t *one);

/** json_join() - the members of @more into @to; both are given away. Return: @to, or NULL */
json_t *json_join(json_t *to, json_t *more);

/**
 * json_plain() - @json as text that acts on no terminal that it is shown on
 * The same value as json_dumps() says; but DEL, C1 controls and the characters that turn the
 * direction of writing or break lines are \u escapes, as ASCII's controls always are.
 * Return: malloc'd; NULL when out of memory, and for @json NULL.
 */
MUST_CHECK char *json_plain(const json_t *json, size_t flags);

/** json_text(), json_number(), json_flag() - a member, or "", @none, false */
const char *json_text(const json_t *object, const char *key);
int64_t json_number(const json_t *object, const char *key, int64_t none);
bool json_flag(const json_t *object, const char *key);
