/* The one main() of all test programs, and what each of them has for it. */
#pragma once

#include <check.h>
#include <stdbool.h>

/** test_suite() - the cases of this program; each defines it. Return: main() takes it over */
Suite *test_suite(void);

/**
 * suite_role() - for programs that their own cases start as something else: asked first
 * @status: out; what to exit with, if true
 * Return: is it started as that.
 */
bool suite_role(int argc, char **argv, int *status) __attribute__((weak));

/** suite_missing() - for programs that must show all of a list; asked when no case failed.
 * Return: how many are not shown, each of which it has told */
int suite_missing(void) __attribute__((weak));

/** suite_each() - a suite in which each test is a group of its own, named as it is */
Suite *suite_each(const char *name, double timeout_s, SFun setup, SFun teardown,
		  const TTest *const *tests, size_t n);
#define SUITE_EACH(name, timeout_s, setup, teardown, tests)                                    \
	suite_each(name, timeout_s, setup, teardown, tests, sizeof(tests) / sizeof((tests)[0]))
