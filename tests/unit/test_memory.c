/* The memory guard, from the texts of the two files. */
#include <string.h>

#include "kit/board.h"
#include "util/memory.h"

#define INFO(total, available, swap, swap_free)                                                \
	"MemTotal: " total " kB\nMemFree: 1 kB\nMemAvailable: " available                      \
	" kB\nSwapTotal: " swap " kB\nSwapFree: " swap_free " kB\n"
#define PSI(some, full)                                                                        \
	"some avg10=" some " avg60=0.00 avg300=0.00 total=1\nfull avg10=" full                 \
	" avg60=0.00 avg300=0.00 total=1\n"

START_TEST(levels)
{
	static const struct {
		const char *info, *psi;
		enum memory_level level;
	} cases[] = {
		{ INFO("1000000", "500000", "0", "0"), PSI("0.00", "0.00"), MEMORY_PLENTY },
		/* 10 % of 1,000,000 */
		{ INFO("1000000", "100000", "0", "0"), PSI("0.00", "0.00"), MEMORY_PLENTY },
		{ INFO("1000000", "99999", "0", "0"), PSI("0.00", "0.00"), MEMORY_ELEVATED },
		/* 64 MiB is more than 5 % of it */
		{ INFO("1000000", "65536", "0", "0"), PSI("0.00", "0.00"), MEMORY_ELEVATED },
		{ INFO("1000000", "65535", "0", "0"), PSI("0.00", "0.00"), MEMORY_CRITICAL },
		/* 5 % of 16,000,000 is more than 64 MiB */
		{ INFO("16000000", "800000", "0", "0"), PSI("0.00", "0.00"), MEMORY_ELEVATED },
		{ INFO("16000000", "799999", "0", "0"), PSI("0.00", "0.00"), MEMORY_CRITICAL },
		{ INFO("1000000", "500000", "0", "0"), PSI("9.99", "9.99"), MEMORY_PLENTY },
		{ INFO("1000000", "500000", "0", "0"), PSI("10.00", "0.00"), MEMORY_ELEVATED },
		{ INFO("1000000", "500000", "0", "0"), PSI("10.00", "10.00"), MEMORY_CRITICAL },
		/* swap counts only when there is pressure */
		{ INFO("1000000", "500000", "1000", "499"), PSI("0.99", "0.00"),
		  MEMORY_PLENTY },
		{ INFO("1000000", "500000", "1000", "499"), PSI("1.00", "0.00"),
		  MEMORY_ELEVATED },
		{ INFO("1000000", "500000", "1000", "500"), PSI("1.00", "0.00"),
		  MEMORY_PLENTY },
		/* what cannot be read does not count */

		{ "", "", MEMORY_PLENTY },
		{ "MemTotal: x kB\nMemAvailable: -1 kB\n", "some avg10=nan\nfull\n",
		  MEMORY_PLENTY },
		{ "", PSI("50.00", "20.00"), MEMORY_CRITICAL },
		{ INFO("1000000", "1", "0", "0"), "", MEMORY_CRITICAL },
		{ "MemAvailable: 5 kB\n", "", MEMORY_PLENTY },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error why = ERROR_NULL;
		enum memory_level level = memory_level_from(cases[i].info, cases[i].psi, &why);

		ck_assert_msg(level == cases[i].level, "case %zu: %d (%s)", i, level, why.text);
		ck_assert_msg((why.text[0] != '\0') == (level != MEMORY_PLENTY), "case %zu", i);
	}
}
END_TEST

START_TEST(this_machine)
{
	struct error why = ERROR_NULL;

	ck_assert_int_le(memory_level(&why), MEMORY_CRITICAL);
	ck_assert_int_ge(memory_default_in_progress(), 2);
	ck_assert_int_le(memory_default_in_progress(), 8);
}
END_TEST

KIT_SUITE("memory", levels, this_machine)
