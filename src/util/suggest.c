/*
 * Finds the word that was meant by one with a slip: the distance with swaps, within a limit
 * that grows with the length.
 */
#include "util/suggest.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#define SUGGEST_MAX 64 /* bytes that are compared; longer words are nobody's slip */

static unsigned suggest_min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment (Damerau, Levenshtein), with the three rows that it looks at. */
unsigned suggest_slips(const char *a, const char *b)
{
	unsigned rows[3][SUGGEST_MAX + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > SUGGEST_MAX || m > SUGGEST_MAX)
		return UINT_MAX;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *now = rows[i % 3], *last = rows[(i - 1) % 3],
			 *before = rows[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned change = last[j - 1] + (a[i - 1] != b[j - 1]);

			now[j] = suggest_min(suggest_min(last[j], now[j - 1]) + 1, change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = suggest_min(now[j], before[j - 2] + 1);
		}
	}
	return rows[n % 3][m];
}

const char *suggest(const char *word, const char *const *names, size_t n)
{
	size_t len = strlen(word);
	const unsigned limit = len < 5 ? 2 : 3; /* fewer slips than that */
	unsigned least = 2 * limit;
	const char *found = NULL;
	bool twice = false;

	for (size_t i = 0; i < n; i++) {
		size_t have = strlen(names[i]);
		unsigned slips = limit, rank;

		if ((have > len ? have - len : len - have) < limit)
			slips = suggest_slips(word, names[i]);
		/* a word that begins it comes first, the shorter of two before all */
		rank = slips < limit ? slips + limit : 2 * limit;
		if (len > 2 && strncmp(names[i], word, len) == 0)
			rank = slips < limit ? slips : limit;
		if (rank < least) {
			least = rank;
			found = names[i];
			twice = false;
		} else if (rank == least && found) {
			twice = true;
		}
	}
	return twice ? NULL : found;
}
