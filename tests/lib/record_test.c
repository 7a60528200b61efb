#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/record.h"

/* The layout is that of databases on disk. */
static void
test_layout(void **state)
{
	struct buf buf = buf_bounded(100);

	(void)state;
	assert_int_equal(record_add(&buf, 7, slice_from("ab")), 0);
	assert_int_equal(record_add(&buf, 255, slice_from("")), 0);
	assert_int_equal(record_add_uint(&buf, 1, UINT64_C(0x0102030405)), 0);
	assert_int_equal(buf.size, 5 + 2 + 5 + 5 + 8);
	assert_memory_equal(buf.data,
	    "\7\2\0\0\0ab"
	    "\xff\0\0\0\0"
	    "\1\10\0\0\0\5\4\3\2\1\0\0\0",
	    25);
	buf_free(&buf);
}

static void
test_round_trip(void **state)
{
	struct buf buf = buf_bounded(100000);
	static char large[70000];
	struct record_field field;
	struct slice rest;
	uint64_t number;

	(void)state;
	memset(large, 'x', sizeof(large));
	record_add(&buf, 1, slice_of("a\0b", 3));
	record_add(&buf, 1, slice_of(large, sizeof(large)));
	record_add_uint(&buf, 2, UINT64_MAX);
	rest = buf_slice(&buf);
	assert_true(record_next(&rest, &field));
	assert_int_equal(field.tag, 1);
	assert_true(slice_equal(field.value, slice_of("a\0b", 3)));
	assert_true(record_next(&rest, &field));
	assert_int_equal(field.value.size, sizeof(large));
	assert_true(record_next(&rest, &field));
	assert_int_equal(record_uint(field.value, &number), 0);
	assert_int_equal(number, UINT64_MAX);
	assert_false(record_next(&rest, &field));
	assert_int_equal(rest.size, 0);
	assert_int_equal(record_value(buf_slice(&buf), 1).size, 3);
	assert_int_equal(record_value(buf_slice(&buf), 2).size, 8);
	assert_int_equal(record_value(buf_slice(&buf), 3).size, 0);
	buf_free(&buf);
}

/* Cut off anywhere but between fields, it ends with something left. */
static void
test_cut_off(void **state)
{
	struct buf buf = buf_bounded(100);

	(void)state;
	record_add(&buf, 1, slice_from("abc"));
	record_add(&buf, 2, slice_from("d"));
	for (size_t size = 0; size <= buf.size; size++) {
		struct slice rest = slice_first(buf_slice(&buf), size);
		struct record_field field;

		while (record_next(&rest, &field))
			;
		assert_int_equal(
		    rest.size == 0, size == 0 || size == 8 || size == buf.size);
	}
	buf_free(&buf);
}

static void
test_size_beyond_the_end(void **state)
{
	struct slice rest = slice_of("\1\xff\xff\xff\xff"
				     "abc",
	    8);
	struct record_field field;

	(void)state;
	assert_false(record_next(&rest, &field));
	assert_int_equal(rest.size, 8);
}

static void
test_numbers_have_eight_octets(void **state)
{
	uint64_t number;

	(void)state;
	assert_int_equal(record_uint(slice_from(""), &number), -1);
	assert_int_equal(record_uint(slice_from("1234567"), &number), -1);
	assert_int_equal(record_uint(slice_from("123456789"), &number), -1);
}

static void
test_full_buffer(void **state)
{
	struct buf buf = buf_bounded(6);

	(void)state;
	assert_int_equal(record_add(&buf, 1, slice_from("ab")), -1);
	assert_true(buf.failed);
	buf_free(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_size_beyond_the_end),
		cmocka_unit_test(test_numbers_have_eight_octets),
		cmocka_unit_test(test_full_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
