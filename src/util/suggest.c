/*
 * Finds the word that was meant by one with a slip: the distance with swaps, within a limit
 * that grows with the length.
 */
#include "util/suggest.h"

#include <stdbool.h>
#include <string.h>

#define SUGGEST_MAX 24 /* letters that are compared; longer words are nobody's slip */

static unsigned suggest_min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Slips between the two: optimal string alignment (Damerau, Levenshtein). */
static unsigned suggest_distance(const char *a, const char *b)
{
	unsigned rows[SUGGEST_MAX + 1][SUGGEST_MAX + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > SUGGEST_MAX || m > SUGGEST_MAX)
		return SUGGEST_MAX;
	for (size_t i = 0; i <= n; i++)
		rows[i][0] = (unsigned)i;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++)
		for (size_t j = 1; j <= m; j++) {
			unsigned cost = a[i - 1] != b[j - 1];
			unsigned best = suggest_min(rows[i - 1][j], rows[i][j - 1]) + 1;

			best = suggest_min(best, rows[i - 1][j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = suggest_min(best, rows[i - 2][j - 2] + 1);
			rows[i][j] = best;
		}
	return rows[n][m];
}

const char *suggest(const char *word, const char *const *names, size_t n)
{
	size_t len = strlen(word);
	unsigned least = len < 5 ? 2 : 3; /* fewer slips than that */
	const char *found = NULL;
	bool twice = false;

	for (size_t i = 0; i < n; i++) {
		unsigned slips = len > 2 && strncmp(names[i], word, len) == 0
					 ? 0
					 : suggest_distance(word, names[i]);

		if (slips < least) {
			least = slips;
			found = names[i];
			twice = false;
		} else if (slips == least && found) {
			twice = true;
		}
	}
	return twice ? NULL : found;
}
