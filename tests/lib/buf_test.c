#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/buf.h"

static void
test_empty(void **state)
{
	struct buf buf = buf_bounded(10);

	(void)state;
	assert_string_equal(buf_string(&buf), "");
	assert_int_equal(buf_slice(&buf).size, 0);
	buf_clear(&buf);
	buf_consume(&buf, 0);
	buf_wipe(&buf);
	buf_free(&buf);
}

static void
test_adds(void **state)
{
	struct buf buf = buf_bounded(100);

	(void)state;
	assert_int_equal(buf_add_string(&buf, "ab"), 0);
	assert_int_equal(buf_add_char(&buf, 'c'), 0);
	assert_int_equal(buf_add(&buf, "\0d", 2), 0);
	assert_int_equal(buf_add_slice(&buf, slice_from("e")), 0);
	assert_int_equal(buf_add_slice(&buf, slice_from(NULL)), 0);
	assert_int_equal(buf_printf(&buf, "%d-%s", 7, "x"), 0);
	assert_true(slice_equal(buf_slice(&buf), slice_of("abc\0de7-x", 9)));
	assert_int_equal(buf.data[buf.size], 0);
	buf_free(&buf);
	assert_int_equal(buf.size_max, 100);
}

static void
test_numbers(void **state)
{
	struct buf buf = buf_bounded(100);

	(void)state;
	buf_add_number(&buf, 0);
	buf_add_number(&buf, -1);
	buf_add_number(&buf, 90210);
	buf_add_number(&buf, INT64_MAX);
	assert_int_equal(buf_add_number(&buf, INT64_MIN), 0);
	assert_string_equal(buf_string(&buf),
	    "0-1902109223372036854775807-9223372036854775808");
	buf_free(&buf);
}

/* Printed into the room that there is, into more, and into none. */
static void
test_print(void **state)
{
	struct buf buf = buf_bounded(70);

	(void)state;
	assert_int_equal(buf_printf(&buf, "%060d", 1), 0);
	assert_int_equal(buf_printf(&buf, "%s", "abc"), 0);
	assert_int_equal(buf.size, 63);
	assert_int_equal(buf_printf(&buf, "%s", "defg"), 0);
	assert_string_equal(buf_string(&buf) + 59, "1abcdefg");
	assert_int_equal(buf_printf(&buf, "%s", "hijk"), -1);
	assert_int_equal(buf_printf(&buf, "%s", "h"), -1);
	assert_string_equal(buf_string(&buf) + 59, "1abcdefg");
	buf_free(&buf);
}

/* The bound is exact, and a failure sticks with what was there before. */
static void
test_bound(void **state)
{
	struct buf buf = buf_bounded(3);

	(void)state;
	assert_int_equal(buf_add_string(&buf, "abc"), 0);
	assert_int_equal(buf_add_char(&buf, 'd'), -1);
	assert_true(buf.failed);
	assert_int_equal(buf_add(&buf, "", 0), -1);
	assert_string_equal(buf_string(&buf), "abc");
	buf_clear(&buf);
	assert_false(buf.failed);
	assert_int_equal(buf_printf(&buf, "%s", "abcd"), -1);
	assert_string_equal(buf_string(&buf), "");
	buf_clear(&buf);
	assert_int_equal(buf_printf(&buf, "%s", "abc"), 0);
	assert_null(buf_reserve(&buf, 1));
	buf_free(&buf);
}

static void
test_bound_of_nothing(void **state)
{
	struct buf buf = buf_bounded(0);

	(void)state;
	assert_int_equal(buf_add(&buf, "", 0), 0);
	assert_string_equal(buf_string(&buf), "");
	assert_int_equal(buf_add_char(&buf, 'a'), -1);
	buf_free(&buf);
}

/* A bound as large as can be said must not wrap around. */
static void
test_bound_of_everything(void **state)
{
	struct buf buf = buf_bounded(SIZE_MAX);

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_add_string(&buf, "0123456789"), 0);
	assert_int_equal(buf.size, 10000);
	assert_int_equal(buf_add(&buf, "", SIZE_MAX), -1);
	assert_int_equal(buf.size, 10000);
	buf_free(&buf);
}

static void
test_grows_to_every_size(void **state)
{
	(void)state;
	for (size_t size_max = 0; size_max < 300; size_max++) {
		struct buf buf = buf_bounded(size_max);

		for (size_t i = 0; i < size_max; i++)
			assert_int_equal(
			    buf_add_char(&buf, (char)('a' + i % 26)), 0);
		assert_int_equal(buf_add_char(&buf, '!'), -1);
		for (size_t i = 0; i < size_max; i++)
			assert_int_equal(buf.data[i], 'a' + i % 26);
		buf_free(&buf);
	}
}

static void
test_quotes(void **state)
{
	static const char octets[] = "a\"b\\c\n\0\x7f\xff ~";
	struct buf buf = buf_bounded(100);

	(void)state;
	assert_int_equal(
	    buf_add_quoted(&buf, slice_of(octets, sizeof(octets) - 1)), 0);
	assert_string_equal(
	    buf_string(&buf), "\"a\\\"b\\\\c\\x0a\\x00\\x7f\\xff ~\"");
	buf_free(&buf);
	buf = buf_bounded(5);
	assert_int_equal(buf_add_quoted(&buf, slice_from("\n\n")), -1);
	buf_free(&buf);
}

/* As read(2) would: octets, no string. */
static void
fill(char *room, size_t size, char first)
{
	for (size_t i = 0; i < size; i++)
		room[i] = (char)(first + (char)i);
}

static void
test_reserve_and_consume(void **state)
{
	struct buf buf = buf_bounded(10);
	char *room = buf_reserve(&buf, 10);

	(void)state;
	assert_non_null(room);
	fill(room, 10, '0');
	buf_grow(&buf, 10);
	assert_string_equal(buf_string(&buf), "0123456789");
	buf_consume(&buf, 4);
	assert_string_equal(buf_string(&buf), "456789");
	assert_non_null(buf_reserve(&buf, 4));
	buf_consume(&buf, 6);
	assert_string_equal(buf_string(&buf), "");
	buf_free(&buf);
}

static void
test_wipes_what_was_reserved(void **state)
{
	struct buf buf = buf_bounded(200);
	char *room = buf_reserve(&buf, 20);

	(void)state;
	assert_non_null(room);
	fill(room, 20, 'a');
	buf_grow(&buf, 6);
	buf_clear(&buf);
	/* Overwritten by growth and by buf_wipe alike; sanitizers see misuse.
	 */
	for (int i = 0; i < 200; i++)
		assert_int_equal(buf_add_char(&buf, 'x'), 0);
	buf_wipe(&buf);
	assert_null(buf.data);
	assert_int_equal(buf.size, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_adds),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_of_nothing),
		cmocka_unit_test(test_bound_of_everything),
		cmocka_unit_test(test_grows_to_every_size),
		cmocka_unit_test(test_quotes),
		cmocka_unit_test(test_reserve_and_consume),
		cmocka_unit_test(test_wipes_what_was_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
