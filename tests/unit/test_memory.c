/* The memory guard, from the texts of the two files. */
#include <stdio.h>
#include <string.h>

#include "kit/board.h"
#include "util/fs.h"
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

static void put(const char *folder, const char *name, const char *text)
{
	CLEANUP(freep) char *path = fs_path("%s/%s", folder, name);
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(limited_groups)
{
	static const struct {
		const char *outer, *inner; /* of memory.max; 100 MB and 40 MB are used */
		const char *stat;
		enum memory_level level;
	} cases[] = {
		{ "max", "max", "", MEMORY_PLENTY },
		{ "1000000000", "max", "", MEMORY_PLENTY },
		{ "110000000", "max", "", MEMORY_ELEVATED },
		{ "104000000", "max", "", MEMORY_CRITICAL },
		{ "104000000", "max", "anon 1\ninactive_file 20000000\nactive_file 8000000\n",
		  MEMORY_PLENTY },
		{ "max", "41000000", "", MEMORY_CRITICAL },
		{ "110000000", "41000000", "", MEMORY_CRITICAL },
		{ "max", "30000000", "", MEMORY_CRITICAL },
		{ "nonsense", "", "", MEMORY_PLENTY },
	};
	CLEANUP(freep) char *mount = fs_path("%s/groups", kit.dir);
	CLEANUP(freep) char *outer = fs_path("%s/a.slice", mount);
	CLEANUP(freep) char *inner = fs_path("%s/b.service", outer);

	ck_assert_int_eq(fs_mkdir_p(inner, 0755), 0);
	put(outer, "memory.current", "100000000\n");
	put(inner, "memory.current", "40000000\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error why = ERROR_NULL;
		enum memory_level level;

		put(outer, "memory.max", cases[i].outer);
		put(inner, "memory.max", cases[i].inner);
		put(outer, "memory.stat", cases[i].stat);
		level = memory_level_of_group(mount, "/a.slice/b.service", &why);
		ck_assert_msg(level == cases[i].level, "case %zu: %d (%s)", i, level, why.text);
		ck_assert_msg((why.text[0] != '\0') == (level != MEMORY_PLENTY), "case %zu", i);
		ck_assert_int_eq(memory_level_of_group(mount, "/", &why), MEMORY_PLENTY);
		ck_assert_int_eq(memory_level_of_group(mount, "/none", &why), MEMORY_PLENTY);
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

KIT_SUITE("memory", levels, limited_groups, this_machine)
