#include "suite.h"

#include <stdlib.h>

Suite *suite_each(const char *name, double timeout_s, SFun setup, SFun teardown,
		  const TTest *const *tests, size_t n)
{
	Suite *s = suite_create(name);

	for (size_t i = 0; i < n; i++) {
		TCase *tc = tcase_create(tests[i]->name);

		tcase_set_timeout(tc, timeout_s);
		tcase_add_checked_fixture(tc, setup, teardown);
		tcase_add_test(tc, tests[i]);
		suite_add_tcase(s, tc);
	}
	return s;
}

int main(int argc, char **argv)
{
	SRunner *runner;
	int failed, status;

	if (suite_role && suite_role(argc, argv, &status))
		return status;
	runner = srunner_create(test_suite());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	if (!failed && suite_missing && !getenv("CK_RUN_CASE"))
		failed = suite_missing();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
