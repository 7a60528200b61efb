#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/transition.h"

static void
test_good(void **state)
{
	struct transition transition;
	const char *why;
	struct slice text = slice_from("20260102030405.5Z 60 drain 100");

	(void)state;
	assert_int_equal(transition_parse(text, &transition, &why), 0);
	assert_int_equal(transition.time_us, INT64_C(1767323045500000));
	assert_int_equal(transition.ramp, 60);
	assert_int_equal(transition.state, HOST_DRAIN);
	assert_int_equal(transition.weight, 100);
	assert_true(slice_equal(transition.text, text));
}

static void
test_round_trip(void **state)
{
	static const char *const texts[] = {
		"20260102030405.000000Z 0 up 0",
		"20260102030405.999999Z 86400 drain 10000",
		"19700101000000.000000Z 1 down 1",
		"99991231235959.999999Z 60 failed 100",
	};
	struct buf buf = buf_bounded(100);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct transition transition;
		const char *why;

		assert_int_equal(
		    transition_parse(slice_from(texts[i]), &transition, &why),
		    0);
		buf_clear(&buf);
		assert_int_equal(transition_format(&buf, &transition), 0);
		assert_string_equal(buf_string(&buf), texts[i]);
	}
	buf_free(&buf);
}

static void
test_bad(void **state)
{
	static const char *const texts[] = { "", " ", "20260102030405Z",
		"20260102030405Z 60", "20260102030405Z 60 up",
		"20260102030405Z 60 up ", "20260102030405Z 60 up 100 ",
		"20260102030405Z 60 up 100 x", " 20260102030405Z 60 up 100",
		"20260102030405Z  60 up 100", "20260102030405Z\t60 up 100",
		"now 60 up 100", "20260102030405 60 up 100",
		"20260102030405Z -1 up 100", "20260102030405Z 86401 up 100",
		"20260102030405Z 1.5 up 100", "20260102030405Z 60 UP! 100",
		"20260102030405Z 60 gone 100", "20260102030405Z 60  100",
		"20260102030405Z 60 up -1", "20260102030405Z 60 up 10001",
		"20260102030405Z 60 up 99999999999999999999",
		"20260102030405Z 60 up 1e2", "20260102030405Z 60 up +1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct transition transition;
		const char *why = NULL;

		if (transition_parse(slice_from(texts[i]), &transition, &why) ==
		    0)
			fail_msg("\"%s\" was taken", texts[i]);
		assert_non_null(why);
	}
}

static struct transition
parse(const char *text)
{
	struct transition transition;
	const char *why;

	assert_int_equal(
	    transition_parse(slice_from(text), &transition, &why), 0);
	return transition;
}

static void
test_order(void **state)
{
	struct transition rows[] = {
		parse("20260102030405Z 60 up 100"),
		parse("20260102030405.000001Z 0 down 100"),
		parse("20260102030405.000002Z 0 failed 100"),
		parse("20260102030405.000002Z 0 up 100"),
		parse("20260102030405.000002Z 60 drain 100"),
		parse("20260102030406Z 0 drain 1"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
			int order = transition_compare(&rows[i], &rows[k]);

			assert_int_equal(order < 0, i < k);
			assert_int_equal(order > 0, i > k);
		}
}

static void
test_states(void **state)
{
	enum host_state parsed;

	(void)state;
	for (unsigned i = HOST_UP; i <= HOST_FAILED; i++) {
		const char *text = host_state_text((enum host_state)i);

		assert_int_equal(
		    host_state_parse(slice_from(text), &parsed), 0);
		assert_int_equal(parsed, i);
	}
	assert_int_equal(host_state_parse(slice_from("Up"), &parsed), 0);
	assert_int_equal(host_state_parse(slice_from(""), &parsed), -1);
	assert_int_equal(host_state_parse(slice_from("upp"), &parsed), -1);
}

static void
test_format_needs_room(void **state)
{
	struct transition transition = parse("20260102030405Z 60 up 100");
	struct buf buf = buf_bounded(30);

	(void)state;
	assert_int_equal(transition_format(&buf, &transition), -1);
	buf_free(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_format_needs_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
