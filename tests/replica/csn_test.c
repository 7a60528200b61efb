#include "replica/csn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* clang-format off */
#define EARLY  "20260102030405.000001Z#000000#001#000000"
#define LATE   "20260102030405.000002Z#000000#001#000000"
#define OTHER  "20260102030405.000001Z#000000#002#000000"
#define THIRD  "20260102030405.000009Z#000000#00a#000000"

/* clang-format on */

static struct csn_vector
vector_of(const char *cookie)
{
	struct csn_vector vector;

	csn_vector_clear(&vector);
	assert_int_equal(csn_cookie_parse(slice_from(cookie), &vector), 0);
	return vector;
}

static void
assert_vector(const struct csn_vector *vector, const char *expected)
{
	struct buf out = buf_bounded(CSN_COOKIE_SIZE);

	assert_int_equal(csn_vector_format(&out, vector, ' '), 0);
	assert_string_equal(buf_string(&out), expected);
	buf_free(&out);
}

static void
test_valid(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{ EARLY, true },
		{ THIRD, true },
		{ "", false },
		{ "20260102030405Z#000000#001#000000", false },
		{ "20260102030405.000001Z#000000#001#00000", false },
		{ "20260102030405.000001Z#000000#001#0000000", false },
		{ "20260102030405.000001Z#000000#00A#000000", false },
		{ "20261302030405.000001Z#000000#001#000000", false },
		{ "20260102030405.000001Z 000000#001#000000", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(
		    csn_is_valid(slice_from(rows[i].text)), rows[i].valid);
	assert_int_equal(
	    csn_time_us(slice_from(EARLY)), INT64_C(1767323045000001));
}

static void
test_vector_keeps_the_newest_of_each_server(void **state)
{
	struct csn_vector vector;

	(void)state;
	csn_vector_clear(&vector);
	assert_int_equal(csn_vector_add(&vector, slice_from(THIRD)), 0);
	assert_int_equal(csn_vector_add(&vector, slice_from(LATE)), 0);
	assert_int_equal(csn_vector_add(&vector, slice_from(OTHER)), 0);
	assert_int_equal(csn_vector_add(&vector, slice_from(EARLY)), 0);
	assert_int_equal(csn_vector_add(&vector, slice_from("no")), -1);
	assert_vector(&vector, LATE " " OTHER " " THIRD);
}

static void
test_vector_is_bounded(void **state)
{
	struct csn_vector vector;
	struct buf csn = buf_bounded(CSN_SIZE);

	(void)state;
	csn_vector_clear(&vector);
	for (unsigned i = 0; i <= CSN_VECTOR_MAX; i++) {
		buf_clear(&csn);
		assert_int_equal(
		    buf_printf(
			&csn, "20260102030405.000001Z#000000#%03x#000000", i),
		    0);
		assert_int_equal(csn_vector_add(&vector, buf_slice(&csn)),
		    i < CSN_VECTOR_MAX ? 0 : -1);
	}
	assert_int_equal(vector.count, CSN_VECTOR_MAX);
	buf_free(&csn);
}

static void
test_covers(void **state)
{
	struct csn_vector early = vector_of("csn=" EARLY ";" OTHER);
	struct csn_vector late = vector_of("csn=" LATE ";" OTHER);
	struct csn_vector less = vector_of("csn=" LATE);
	struct csn_vector none = vector_of("");

	(void)state;
	assert_true(csn_vector_covers(&late, slice_from(EARLY)));
	assert_true(csn_vector_covers(&early, slice_from(EARLY)));
	assert_false(csn_vector_covers(&early, slice_from(LATE)));
	assert_false(csn_vector_covers(&late, slice_from(THIRD)));
	assert_false(csn_vector_covers(&late, slice_from("")));
	assert_true(csn_vector_covers_all(&late, &early));
	assert_false(csn_vector_covers_all(&early, &late));
	assert_false(csn_vector_covers_all(&less, &early));
	assert_true(csn_vector_covers_all(&early, &none));
	assert_false(csn_vector_covers_all(&none, &early));
	assert_true(csn_vector_equal(&late, &late));
	assert_false(csn_vector_equal(&late, &early));
	assert_false(csn_vector_equal(&late, &less));
}

static void
test_cookie(void **state)
{
	static const struct {
		const char *cookie;
		const char *vector; /* NULL: malformed */
	} rows[] = {
		{ "rid=000,csn=" EARLY ";" OTHER, EARLY " " OTHER },
		{ "rid=000,sid=001,csn=" EARLY, EARLY },
		{ "csn=" OTHER ";" EARLY ",rid=001", EARLY " " OTHER },
		{ "rid=000", "" },
		{ "", "" },
		{ "rid=000,csn=", "" },
		{ "rid=000,csn=nonsense", NULL },
		{ "rid=000,csn=" EARLY ";x", NULL },
	};
	struct csn_vector vector = vector_of("csn=" EARLY ";" OTHER);
	struct buf out = buf_bounded(CSN_COOKIE_SIZE);

	(void)state;
	assert_int_equal(csn_cookie_format(&out, &vector), 0);
	assert_string_equal(buf_string(&out), "rid=000,csn=" EARLY ";" OTHER);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		csn_vector_clear(&vector);
		assert_int_equal(
		    csn_cookie_parse(slice_from(rows[i].cookie), &vector),
		    rows[i].vector ? 0 : -1);
		if (rows[i].vector)
			assert_vector(&vector, rows[i].vector);
	}
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_vector_keeps_the_newest_of_each_server),
		cmocka_unit_test(test_vector_is_bounded),
		cmocka_unit_test(test_covers),
		cmocka_unit_test(test_cookie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
