/* The end of a test program's main(). */
#pragma once

#include <check.h>

/** suite_main() - run what is in @suite, which it takes over. Return: the exit status. */
int suite_main(Suite *suite);
