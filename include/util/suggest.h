/* "Did you mean": the word of a list that is nearest to one with a slip in it. */
#pragma once

#include <stddef.h>

/**
 * suggest() - the likeliest of @names for @word
 * A slip is a letter too much, too few, wrong, or two in the wrong order; two are forgiven in
 * words of five letters and more, one in shorter ones. A word that begins a longer one is taken
 * for it.
 * Return: borrowed; NULL when none is near, or two are equally near.
 */
const char *suggest(const char *word, const char *const *names, size_t n);
