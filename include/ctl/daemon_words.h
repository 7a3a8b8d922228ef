/* The daemon's own sentence, without what the lines around it say already. */
#pragma once

/**
 * daemon_words() - what is out of the ordinary: "draining, nothing is started until …"; "" when
 * the daemon owns the root and all is well
 * @sentence: of GET /v1/status
 * Return: malloc'd; NULL when out of memory.
 */
char *daemon_words(const char *sentence, const char *root);
