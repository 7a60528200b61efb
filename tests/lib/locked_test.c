#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/locked.h"
#include "lib/timestamp.h"

static struct locked
parse(const char *text)
{
	struct locked locked;
	const char *why;

	assert_int_equal(locked_parse(slice_from(text), &locked, &why), 0);
	return locked;
}

static void
test_round_trip(void **state)
{
	static const char *const texts[] = {
		"20260102030405.000000Z locked 20260102031905.000000Z",
		"20260102030405.000000Z locked -",
		"20260102030405.000000Z unlocked -",
	};
	struct buf buf = buf_bounded(LOCKED_SIZE_MAX);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct locked locked = parse(texts[i]);

		buf_clear(&buf);
		assert_int_equal(locked_format(&buf, &locked), 0);
		assert_string_equal(buf_string(&buf), texts[i]);
	}
	buf_free(&buf);
}

static void
test_bad(void **state)
{
	static const char *const texts[] = { "", " ", "20260102030405Z",
		"20260102030405Z locked", "20260102030405Z locked ",
		"20260102030405Z locked now", "now locked -",
		"20260102030405Z open -", "20260102030405Z  locked -",
		"20260102030405Z locked  -", "20260102030405Z locked - -",
		"20260102030405Z unlocked 20260102030405Z" };
	struct locked locked;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		why = NULL;
		if (locked_parse(slice_from(texts[i]), &locked, &why) == 0)
			fail_msg("\"%s\" was taken", texts[i]);
		assert_non_null(why);
	}
}

static void
test_newest_holds(void **state)
{
	struct locked rows[] = {
		parse("20260102030407Z locked 20260102030500Z"),
		parse("20260102030405Z locked -"),
		parse("20260102030406Z unlocked -"),
	};
	int64_t end_us = rows[0].until_us;

	(void)state;
	assert_null(locked_newest(rows, 0));
	assert_ptr_equal(locked_newest(rows, 3), &rows[0]);
	assert_false(locked_holds(NULL, 0));
	assert_true(locked_holds(&rows[0], end_us - 1));
	assert_false(locked_holds(&rows[0], end_us));
	assert_true(locked_holds(&rows[1], end_us));
	assert_false(locked_holds(&rows[2], 0));
}

static void
test_next_time(void **state)
{
	struct locked newest = parse("20260102030405Z unlocked -");
	int64_t time_us = newest.time_us;

	(void)state;
	assert_int_equal(locked_next_time(NULL, 7), 7);
	assert_int_equal(locked_next_time(&newest, time_us - 9), time_us + 1);
	assert_int_equal(locked_next_time(&newest, time_us), time_us + 1);
	assert_int_equal(locked_next_time(&newest, time_us + 9), time_us + 9);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_newest_holds),
		cmocka_unit_test(test_next_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
