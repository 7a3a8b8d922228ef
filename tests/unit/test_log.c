/* Lines of the log, on standard error and in the journal. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "kit/files.h"
#include "kit/suite.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/fs.h"
#include "util/job.h"
#include "util/log.h"

/* log */
static int log_fd, log_stderr;

static void log_setup(void)
{
	log_fd = memfd_create("log", MFD_CLOEXEC);
	log_stderr = dup(STDERR_FILENO);
	ck_assert_int_ge(log_fd, 0);
	ck_assert_int_eq(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
	(void)unsetenv("JOURNAL_STREAM");
	log_open(LOG_INFO);
}

static void log_teardown(void)
{
	ck_assert_int_eq(dup2(log_stderr, STDERR_FILENO), STDERR_FILENO);
	(void)close(log_stderr);
	(void)close(log_fd);
}

/* What was logged since the last call. */
static const char *logged(void)
{
	static char text[4096];
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	ck_assert_int_eq(ftruncate(log_fd, 0), 0);
	ck_assert_int_eq(lseek(log_fd, 0, SEEK_SET), 0);
	return text;
}

START_TEST(log_lines)
{
	struct log_about about = { .root = "/r", .board = "b", .task = "t_1", .errnum = 5 };
	char text[2000];

	log_notice("hello %d", 1);
	ck_assert_str_eq(logged(), "kanband: notice: hello 1\n");
	log_about(LOG_ERR, &about, "bad");
	ck_assert_str_eq(logged(), "kanband: error: [b t_1] bad\n");
	about.task = NULL;
	log_about(LOG_CRIT, &about, "bad");
	ck_assert_str_eq(logged(), "kanband: critical: [b] bad\n");
	about.task = "t\n<3>forged";
	log_about(LOG_WARNING, &about, "title %s", "a\nb\x1b[2J");
	ck_assert_str_eq(logged(), "kanband: warning: [b t?<3>forged] title a?b?[2J\n");
	log_debug("silent");
	ck_assert_str_eq(logged(), "");
	log_set_level(LOG_DEBUG);
	log_debug("loud");
	ck_assert_str_eq(logged(), "kanband: debug: loud\n");
	log_set_level(LOG_ERR);
	log_warning("silent");
	ck_assert_str_eq(logged(), "");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_error("%s", text);
	ck_assert_uint_eq(strlen(logged()),
			  strlen("kanband: error: ") + ERROR_TEXT_MAX - 1 + 1);
}
END_TEST

START_TEST(log_levels)
{
	ck_assert_int_eq(log_level_from_text("error"), LOG_ERR);
	ck_assert_int_eq(log_level_from_text("err"), LOG_ERR);
	ck_assert_int_eq(log_level_from_text("warning"), LOG_WARNING);
	ck_assert_int_eq(log_level_from_text("notice"), LOG_NOTICE);
	ck_assert_int_eq(log_level_from_text("info"), LOG_INFO);
	ck_assert_int_eq(log_level_from_text("debug"), LOG_DEBUG);
	ck_assert_int_eq(log_level_from_text("Info"), -1);
	ck_assert_int_eq(log_level_from_text(""), -1);
}
END_TEST

START_TEST(log_finds_the_journal)
{
	struct stat st;
	char stream[64];

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	/* inherited from a service whose stderr somebody redirected since */
	(void)snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino + 1);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_open(LOG_DEBUG);
	log_debug("unit test of kanband");
	ck_assert_str_eq(logged(), "kanband: debug: unit test of kanband\n");
	ck_assert_int_eq(setenv("JOURNAL_STREAM", "nonsense", 1), 0);
	log_open(LOG_DEBUG);
	log_debug("unit test of kanband");
	ck_assert_str_eq(logged(), "kanband: debug: unit test of kanband\n");
	(void)snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_open(LOG_DEBUG);
	{
		struct log_about all = { "/r", "b", "t", 1, 2, LOG_ID_CONFIG, 3 };

		log_about(LOG_DEBUG, &all, "unit test of kanband");
	}
	ck_assert_str_eq(logged(), ""); /* it went to the journal, or nowhere */
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("log");
	TCase *log = tcase_create("log");
	tcase_add_checked_fixture(log, log_setup, log_teardown);
	tcase_add_test(log, log_lines);
	tcase_add_test(log, log_levels);
	tcase_add_test(log, log_finds_the_journal);
	suite_add_tcase(s, log);
	return s;
}
