#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "lib/timestamp.h"

static const struct {
	const char *text;
	int64_t moment_us;
} good[] = {
	{ "19700101000000Z", 0 },
	{ "19700101000000.000001Z", 1 },
	{ "19700101000001.5Z", 1500000 },
	{ "19700101000000,25Z", 250000 },
	{ "19700101000000.1234567891234Z", 123456 },
	{ "20000229235959.999999Z", INT64_C(951868799999999) },
	{ "20260102030405.123456Z", INT64_C(1767323045123456) },
	{ "20380119031408Z", INT64_C(2147483648000000) },
	{ "21000228000000Z", INT64_C(4107456000000000) },
	{ "99991231235959.999999Z", INT64_C(253402300799999999) },
};

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		int64_t moment_us = -1;

		assert_int_equal(
		    timestamp_parse(slice_from(good[i].text), &moment_us), 0);
		assert_int_equal(moment_us, good[i].moment_us);
	}
}

static void
test_bad(void **state)
{
	static const char *const texts[] = { "", "Z", "2026", "20260102030405",
		"20260102030405z", "2026010203040Z", "202601020304055Z",
		"20260102030405.Z", "20260102030405,Z", "20260102030405.",
		"20260102030405.5", "20260102030405.5.5Z", "20260102030405.-5Z",
		"20260102030405.12 Z", "20260102030405+0000",
		"20260102030405.5+0100", "20260102030405Z ", " 20260102030405Z",
		"202601020304Z", "2026010203Z", "19691231235959Z",
		"00000101000000Z", "20261301000000Z", "20260001000000Z",
		"20260100000000Z", "20260132000000Z", "20260230000000Z",
		"20270229000000Z", "21000229000000Z", "20260102240000Z",
		"20260102236000Z", "20260102235960Z", "-0260102030405Z",
		"2026-01-02T03:04:05Z", "2026010203040\xd9\xa5Z" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int64_t moment_us;

		if (timestamp_parse(slice_from(texts[i]), &moment_us) == 0)
			fail_msg("\"%s\" was taken", texts[i]);
	}
	assert_int_equal(
	    timestamp_parse(slice_of("2026010203040\0Z", 15), &(int64_t){ 0 }),
	    -1);
}

static void
test_format(void **state)
{
	struct buf buf = buf_bounded(100);

	(void)state;
	assert_int_equal(timestamp_format(&buf, 0), 0);
	assert_string_equal(buf_string(&buf), "19700101000000.000000Z");
	buf_clear(&buf);
	assert_int_equal(timestamp_format(&buf, INT64_C(1767323045000042)), 0);
	assert_string_equal(buf_string(&buf), "20260102030405.000042Z");
	buf_clear(&buf);
	assert_int_equal(timestamp_format(&buf, -1), -1);
	assert_int_equal(
	    timestamp_format(&buf, INT64_C(253402300800000000)), -1);
	assert_int_equal(timestamp_format(&buf, INT64_MAX), -1);
	assert_int_equal(buf.size, 0);
	buf_free(&buf);
	buf = buf_bounded(21);
	assert_int_equal(timestamp_format(&buf, 0), -1);
	buf_free(&buf);
}

/* Every day of the range, beside the C library's calendar. */
static void
test_every_day(void **state)
{
	struct buf buf = buf_bounded(100);

	(void)state;
	for (int64_t day = 0; day < 2932897; day++) {
		int64_t moment_us =
		    (day * 86400 + day % 86400) * TIMESTAMP_SECOND +
		    day % TIMESTAMP_SECOND;
		int64_t back_us = -1;

		buf_clear(&buf);
		if (timestamp_format(&buf, moment_us) < 0 ||
		    timestamp_parse(buf_slice(&buf), &back_us) < 0 ||
		    back_us != moment_us)
			fail_msg("%s", buf_string(&buf));
	}
	buf_free(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_every_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
