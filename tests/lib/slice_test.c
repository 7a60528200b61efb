#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/slice.h"

#define S(text) slice_of(text, sizeof(text) - 1)

static void
test_from_string(void **state)
{
	(void)state;
	assert_int_equal(slice_from("abc").size, 3);
	assert_int_equal(slice_from("").size, 0);
	assert_int_equal(slice_from(NULL).size, 0);
}

static void
test_equal(void **state)
{
	(void)state;
	assert_true(slice_equal(S("a\0b"), S("a\0b")));
	assert_false(slice_equal(S("a\0b"), S("a\0c")));
	assert_false(slice_equal(S("a"), S("ab")));
	assert_true(slice_equal(slice_from(NULL), S("")));
	assert_true(slice_is(S("up"), "up"));
	assert_false(slice_is(S("up\0"), "up"));
}

static void
test_equal_without_case(void **state)
{
	(void)state;
	assert_true(slice_is_nocase(S("STARTtls"), "startTLS"));
	assert_false(slice_is_nocase(S("@"), "`"));
	assert_false(slice_is_nocase(S("["), "{"));
	/* Beyond ASCII there is no case: it depends on a character set. */
	assert_false(slice_equal_nocase(S("\xc3\x84"), S("\xc3\xa4")));
	assert_true(slice_starts_nocase(S("TLS=none"), "tls="));
	assert_false(slice_starts_nocase(S("tl"), "tls="));
	assert_true(slice_starts_nocase(S(""), ""));
}

static void
test_compare(void **state)
{
	(void)state;
	assert_true(slice_compare(S("a"), S("b")) < 0);
	assert_true(slice_compare(S("a"), S("aa")) < 0);
	assert_true(slice_compare(S("b"), S("aa")) > 0);
	assert_true(slice_compare(S("\xff"), S("a")) > 0);
	assert_int_equal(slice_compare(S(""), slice_from(NULL)), 0);
	assert_true(slice_compare(slice_from(NULL), S("a")) < 0);
}

static void
test_find(void **state)
{
	(void)state;
	assert_int_equal(slice_find(S("a@b@c"), '@'), 1);
	assert_int_equal(slice_find_last(S("a@b@c"), '@'), 3);
	assert_int_equal(slice_find(S("abc"), '@'), SIZE_MAX);
	assert_int_equal(slice_find_last(S("abc"), '@'), SIZE_MAX);
	assert_int_equal(slice_find(slice_from(NULL), 'a'), SIZE_MAX);
	assert_int_equal(slice_find(S("a\0b"), 'b'), 2);
}

static void
test_parts_clip(void **state)
{
	(void)state;
	assert_true(slice_is(slice_from_offset(S("abc"), 1), "bc"));
	assert_int_equal(slice_from_offset(S("abc"), 3).size, 0);
	assert_int_equal(slice_from_offset(S("abc"), SIZE_MAX).size, 0);
	assert_true(slice_is(slice_first(S("abc"), 2), "ab"));
	assert_true(slice_is(slice_first(S("abc"), SIZE_MAX), "abc"));
	assert_int_equal(slice_first(slice_from(NULL), 5).size, 0);
}

static void
test_trim(void **state)
{
	(void)state;
	assert_true(slice_is(slice_trim(S(" \t a b\t ")), "a b"));
	assert_int_equal(slice_trim(S("   ")).size, 0);
	assert_int_equal(slice_trim(slice_from(NULL)).size, 0);
}

static void
test_words(void **state)
{
	struct slice rest = S("  a bc   d "), word;

	(void)state;
	assert_true(slice_next_word(&rest, ' ', &word));
	assert_true(slice_is(word, "a"));
	assert_true(slice_next_word(&rest, ' ', &word));
	assert_true(slice_is(word, "bc"));
	assert_true(slice_next_word(&rest, ' ', &word));
	assert_true(slice_is(word, "d"));
	assert_false(slice_next_word(&rest, ' ', &word));
	assert_false(slice_next_word(&rest, ' ', &word));
}

static void
test_numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int result;
		uint64_t number;
	} rows[] = {
		{ "0", 0, 0, 0 },
		{ "007", 9, 0, 7 },
		{ "9", 9, 0, 9 },
		{ "10", 9, -1, 0 },
		{ "65535", 65535, 0, 65535 },
		{ "65536", 65535, -1, 0 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -1, 0 },
		{ "99999999999999999999999", UINT64_MAX, -1, 0 },
		{ "1", 0, -1, 0 },
		{ "5", 4, -1, 0 },
		{ "", 9, -1, 0 },
		{ "-1", 9, -1, 0 },
		{ "+1", 9, -1, 0 },
		{ " 1", 9, -1, 0 },
		{ "1 ", 9, -1, 0 },
		{ "0x1", 99, -1, 0 },
		{ "\xd9\xa1", 9, -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t number = 0;

		assert_int_equal(slice_to_uint(slice_from(rows[i].text),
				     rows[i].max, &number),
		    rows[i].result);
		assert_int_equal(number, rows[i].number);
	}
}

static void
test_printable(void **state)
{
	(void)state;
	assert_true(slice_is_printable(S(" ~")));
	assert_true(slice_is_printable(S("")));
	assert_false(slice_is_printable(S("a\x7f")));
	assert_false(slice_is_printable(S("a\0")));
	assert_false(slice_is_printable(S("\x1f")));
	assert_false(slice_is_printable(S("\xc3\xa4")));
}

static void
test_secrets(void **state)
{
	(void)state;
	assert_true(slice_equal_secret(S("a\0b"), S("a\0b")));
	assert_false(slice_equal_secret(S("a\0b"), S("a\0c")));
	assert_false(slice_equal_secret(S("\x80"), S("\0")));
	assert_false(slice_equal_secret(S("a"), S("ab")));
	assert_true(slice_equal_secret(S(""), slice_from(NULL)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_string),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_equal_without_case),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_parts_clip),
		cmocka_unit_test(test_trim),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
