/* "Did you mean": the word of a list that is nearest to one with a slip in it. */
#pragma once

#include <stddef.h>

/** suggest_slips() - how many letters are too much, too few, wrong, or two in the wrong order;
 * UINT_MAX for what is no word */
unsigned suggest_slips(const char *a, const char *b);

/**
 * suggest() - the likeliest of @names for @word
 * Two slips are forgiven in words of five letters and more, one in shorter ones. A word that
 * begins a longer one is taken for it, the shorter one first.
 * Return: borrowed; NULL when none is near, or two are equally near.
 */
const char *suggest(const char *word, const char *const *names, size_t n);
