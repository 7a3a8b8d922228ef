/* UTF-8 that comes from outside: checked, counted, repaired. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define TEXT_INVALID UINT32_MAX

/**
 * text_decode() - one character
 * @len: bytes at @s, at least 1
 * @cp:  out; the code point, or TEXT_INVALID (over-long forms and surrogates are invalid)
 * Return: bytes used, at least 1.
 */
size_t text_decode(const char *s, size_t len, uint32_t *cp);

/** text_is_utf8() - is all of it valid; NUL is a character like any other */
bool text_is_utf8(const char *s, size_t len);

/** text_chars() - number of characters; an invalid byte counts as one */
size_t text_chars(const char *s, size_t len);

/** text_cut() - number of bytes of the first @chars characters, at most @len */
size_t text_cut(const char *s, size_t len, size_t chars);

/**
 * text_repair() - a copy in which every invalid byte is U+FFFD
 * @out_len: out
 * Return: malloc'd and NUL-terminated; NULL when out of memory.
 */
MUST_CHECK char *text_repair(const char *s, size_t len, size_t *out_len);

/** text_is_blank() - nothing but ASCII white space; NULL is that too */
bool text_is_blank(const char *s);

/** text_strip() - @s without ASCII white space at both ends: moves @s and @len */
void text_strip(const char **s, size_t *len);

/** text_clause() - bytes before the first "; " of a sentence, which says most; all without one
 */
size_t text_clause(const char *s);
