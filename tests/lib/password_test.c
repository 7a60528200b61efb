#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/password.h"

static void
test_rows(void **state)
{
	static const struct {
		struct slice password;
		bool is_good;
	} rows[] = {
		{ { "x", 1 }, true },
		{ { " ", 1 }, true },
		{ { "\t\x7f\x01", 3 }, true },
		{ { "Gr\xc3\xbc\xc3\x9f", 6 }, true },
		{ { "\xf0\x9f\x94\x91", 4 }, true },
		{ { "12345678", 8 }, true },
		{ { "", 0 }, false },
		{ { NULL, 0 }, false },
		{ { "123456789", 9 }, false },
		{ { "\0", 1 }, false },
		{ { "a\0b", 3 }, false },
		{ { "ab\0", 3 }, false },
		{ { "\xff", 1 }, false },
		{ { "Gr\xc3", 3 }, false },
		{ { "\xc0\x80", 2 }, false },
		{ { "\xed\xa0\x80", 3 }, false },
		{ { "\xf4\x90\x80\x80", 4 }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!password_fault(rows[i].password, 8) != rows[i].is_good)
			fail_msg("row %zu", i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
