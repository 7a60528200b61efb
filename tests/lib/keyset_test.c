#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/keyset.h"
#include "lib/timestamp.h"

#define DAY (INT64_C(86400) * TIMESTAMP_SECOND)

static struct keyset
parse(const char *text)
{
	struct keyset set;
	const char *why;

	assert_int_equal(keyset_parse(slice_from(text), &set, &why), 0);
	return set;
}

static void
test_good(void **state)
{
	struct keyset set = parse(
	    "20260102030405.5Z 7 AAEC AwQ= scram-sha-256=4096:c2E=:c3Q=:c2U=");
	struct buf octets = buf_bounded(10);

	(void)state;
	assert_int_equal(set.time_us, INT64_C(1767323045500000));
	assert_int_equal(set.kvno, 7);
	assert_int_equal(set.key_count, 2);
	assert_true(slice_is(set.scram, "4096:c2E=:c3Q=:c2U="));
	assert_int_equal(keyset_key(&set, 0, &octets), 0);
	assert_int_equal(keyset_key(&set, 1, &octets), 0);
	assert_int_equal(octets.size, 5);
	assert_memory_equal(octets.data, "\0\1\2\3\4", 5);
	buf_free(&octets);
}

static void
test_round_trip(void **state)
{
	static const char *const texts[] = {
		"20260102030405.000000Z 1 AAEC",
		"19700101000000.000000Z 2147483647 AAEC AwQ= BQ==",
		"99991231235959.999999Z 3 AAEC scram-sha-256=1:YQ==:YQ==:YQ==",
	};
	struct buf buf = buf_bounded(100);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct keyset set = parse(texts[i]);

		buf_clear(&buf);
		assert_int_equal(keyset_format(&buf, &set), 0);
		assert_string_equal(buf_string(&buf), texts[i]);
	}
	buf_free(&buf);
	buf = buf_bounded(30);
	struct keyset set = parse(texts[1]);

	assert_int_equal(keyset_format(&buf, &set), -1);
	buf_free(&buf);
}

static void
test_bad(void **state)
{
	static const char *const texts[] = {
		"", " ", "20260102030405Z", "20260102030405Z 1",
		"20260102030405Z 1 ", "20260102030405Z 1 AAEC ",
		" 20260102030405Z 1 AAEC", "20260102030405Z  1 AAEC",
		"20260102030405Z 1  AAEC", "20260102030405Z 1 AAEC  AAEC",
		"20260102030405 1 AAEC", "now 1 AAEC", "20260102030405Z 0 AAEC",
		"20260102030405Z -1 AAEC", "20260102030405Z 2147483648 AAEC",
		"20260102030405Z 1 AAE", "20260102030405Z 1 AA=C",
		"20260102030405Z 1 A===", "20260102030405Z 1 AA\tC",
		"20260102030405Z 1 scram-sha-256=1:YQ==:YQ==:YQ==",
		"20260102030405Z 1 AAEC scram-sha-256=1:YQ== AAEC",
		"20260102030405Z 1 A A A A A A A A",
		"20260102030405Z 1 A/// A/// A/// A/// A/// A/// A/// A/// A/// A/// A/// A/// A/// A/// A/// A/// A///"
	};
	struct keyset set;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		why = NULL;
		if (keyset_parse(slice_from(texts[i]), &set, &why) == 0)
			fail_msg("\"%s\" was taken", texts[i]);
		assert_non_null(why);
	}
}

/* A value with one key of so many octets of base64. */
static int
parse_size(size_t size)
{
	struct buf text = buf_bounded(20000);
	struct keyset set;
	const char *why;
	int result;

	buf_add_string(&text, "20260102030405Z 1 ");
	for (size_t i = 0; i < size; i++)
		buf_add_char(&text, 'A');
	result = keyset_parse(buf_slice(&text), &set, &why);
	buf_free(&text);
	return result;
}

static void
test_bounds(void **state)
{
	(void)state;
	assert_int_equal(parse_size((size_t)KEYSET_KEY_MAX / 3 * 4), 0);
	assert_int_equal(parse_size((size_t)KEYSET_KEY_MAX / 3 * 4 + 4), -1);
	assert_int_equal(parse_size(16384), -1);
}

static void
test_order(void **state)
{
	struct keyset rows[] = {
		parse("20260102030405Z 9 AAEC"),
		parse("20260102030405.000001Z 3 AAEC"),
		parse("20260102030405.000001Z 3 AAED"),
		parse("20260102030405.000002Z 2 AAEC"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
			int order = keyset_compare(&rows[i], &rows[k]);

			assert_int_equal(order < 0, i < k);
			assert_int_equal(order > 0, i > k);
		}
	assert_ptr_equal(keyset_newest(rows, 4), &rows[3]);
	assert_null(keyset_newest(rows, 0));
	assert_ptr_equal(keyset_of_kvno(rows, 4, 3), &rows[2]);
	assert_ptr_equal(keyset_of_kvno(rows, 4, 9), &rows[0]);
	assert_null(keyset_of_kvno(rows, 4, 1));
	qsort(rows, 4, sizeof(rows[0]), keyset_compare_any);
	assert_int_equal(rows[3].kvno, 2);
}

static void
test_change(void **state)
{
	struct keyset sets[] = {
		parse("20260101000000Z 5 AAEC"),
		parse("20260102000000Z 6 AAEC"),
		parse("20260103000000Z 6 AAEC"),
	};

	static const struct {
		size_t count;
		uint32_t kvno_before;
		int64_t after_us; /* the newest set */
		int64_t keep_us;
		size_t superseded;
		uint32_t kvno;
		int64_t time_us; /* after the newest set */
	} rows[] = {
		{ 0, 0, 5, DAY, 0, 1, 5 },
		{ 0, 4, 5, DAY, 0, 5, 5 },
		{ 3, 4, 5, 10 * DAY, 0, 7, 5 },
		{ 3, 9, 5, 10 * DAY, 0, 10, 5 },
		{ 3, 0, 0, 10 * DAY, 0, 7, 1 },
		{ 3, 0, -DAY, 10 * DAY, 0, 7, 1 },
		/* The second one superseded the first a day before. */
		{ 3, 0, 0, DAY, 1, 7, 1 },
		{ 3, 0, 0, DAY + 1, 0, 7, 1 },
		{ 3, 0, DAY, DAY, 2, 7, DAY },
		{ 3, 0, 99 * DAY, DAY, 2, 7, 99 * DAY },
		{ 3, 0, 99 * DAY, 0, 2, 7, 99 * DAY },
	};
	struct keyset_change change;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t newest_us = sets[2].time_us;

		assert_int_equal(
		    keyset_change_make(&change, sets, rows[i].count,
			rows[i].kvno_before, newest_us + rows[i].after_us,
			rows[i].keep_us, &why),
		    0);
		assert_int_equal(change.superseded, rows[i].superseded);
		assert_int_equal(change.kvno, rows[i].kvno);
		assert_int_equal(change.time_us - newest_us, rows[i].time_us);
	}
}

static void
test_change_that_cannot_grow(void **state)
{
	struct keyset last_version = parse("20260101000000Z 2147483647 AAEC");
	struct keyset last_moment = parse("99991231235959.999999Z 1 AAEC");
	struct keyset_change change;
	const char *why = NULL;

	(void)state;
	assert_int_equal(
	    keyset_change_make(&change, &last_version, 1, 0, 0, 0, &why), -1);
	assert_non_null(why);
	why = NULL;
	assert_int_equal(
	    keyset_change_make(&change, &last_moment, 1, 0, 0, 0, &why), -1);
	assert_non_null(why);
	assert_int_equal(
	    keyset_change_make(&change, NULL, 0, KEYSET_KVNO_MAX, 0, 0, &why),
	    -1);
}

static void
test_change_leaves_a_bounded_number(void **state)
{
	struct keyset sets[KEYSET_VALUES_MAX + 5];
	struct keyset_change change;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		sets[i] = parse("20260101000000Z 1 AAEC");
		sets[i].time_us += (int64_t)i;
	}
	assert_int_equal(keyset_change_make(&change, sets, ARRAY_SIZE(sets), 0,
			     sets[ARRAY_SIZE(sets) - 1].time_us + 1, DAY, &why),
	    0);
	assert_int_equal(
	    ARRAY_SIZE(sets) - change.superseded + 1, KEYSET_VALUES_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_change_that_cannot_grow),
		cmocka_unit_test(test_change_leaves_a_bounded_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
