#include "suite.h"

#include <stdlib.h>

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
