#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/zones/fixture.h"
#include "zones/rrsets.h"

#define A(n) "a.test. 30 IN A 192.0.2." #n "\n"
#define B(n) "b.test. 30 IN A 192.0.2." #n "\n"

static void
test_order(void **state)
{
	struct rrsets set = fixture_set("b.test. 30 IN A 192.0.2.1\n"
					"a.test. 30 IN AAAA 2001:db8::1\n"
					"a.test. 30 IN A 192.0.2.10\n"
					"A.Test. 30 IN A 192.0.2.2\n"
					"a.test. 60 IN A 192.0.2.2\n"
					"test. 30 IN MX 10 MAIL.test.\n");

	(void)state;
	FIXTURE_ASSERT_SET(&set,
	    "test. 30 IN MX 10 mail.test.\n" A(2)
		A(10) "a.test. 30 IN AAAA 2001:db8::1\n" B(1));
	assert_int_equal(rrsets_end(&set, 1), 3);
	rrsets_free(&set);
}

static void
test_bad_text(void **state)
{
	struct rrsets set = { 0 };
	const char *why = NULL;

	(void)state;
	assert_int_equal(
	    rrsets_add_text(&set, "a.test. 30 IN A 300.0.0.1", &why), -1);
	assert_non_null(why);
	assert_int_equal(set.count, 0);
	rrsets_free(&set);
}

static const struct {
	const char *current, *desired;
	size_t max, changes;
	const char *step;
} steps[] = {
	{ "", "", 1, 0, "" },
	{ A(1), A(1), 1, 0, A(1) },
	{ "", A(1) A(2), 2, 2, A(1) A(2) },
	{ A(1) A(2), A(2), 1, 1, A(2) },
	/* What does not fit whole waits, what fits goes on. */
	{ "", A(1) A(2) B(1), 2, 3, A(1) A(2) },
	{ A(1), A(1) A(2) A(3) B(1), 1, 3, A(1) A(2) },
	{ A(1), A(2) B(1), 1, 3, A(1) A(2) },
	/* New ones first, old ones afterwards; never empty. */
	{ A(1) A(2), A(3) A(4), 2, 4, A(1) A(2) A(3) A(4) },
	{ A(1) A(2) A(3) A(4), A(3) A(4), 1, 2, A(2) A(3) A(4) },
	{ A(1), "", 1, 1, "" },
	/* A TTL is the RRset's. */
	{ A(1) A(2), "a.test. 60 IN A 192.0.2.1\na.test. 60 IN A 192.0.2.2\n",
	    1, 4, "a.test. 60 IN A 192.0.2.1\na.test. 60 IN A 192.0.2.2\n" },
};

static void
test_steps(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct rrsets current = fixture_set(steps[i].current);
		struct rrsets desired = fixture_set(steps[i].desired);
		struct rrsets step = { 0 };

		assert_int_equal(
		    rrsets_changes(&current, &desired), steps[i].changes);
		assert_int_equal(
		    rrsets_step(&step, &current, &desired, steps[i].max), 0);
		FIXTURE_ASSERT_SET(&step, steps[i].step);
		rrsets_free(&current);
		rrsets_free(&desired);
		rrsets_free(&step);
	}
}

/* However small the steps, they lead to the end and no set is empty. */
static void
test_steps_arrive(void **state)
{
	struct rrsets current = fixture_set(A(1) A(2) A(3) B(1) B(2));
	struct rrsets desired = fixture_set(A(4) A(5) B(2) B(7) B(8) B(9));
	int rounds = 0;

	(void)state;
	while (!rrsets_equal(&current, &desired)) {
		struct rrsets step = { 0 };

		assert_true(rounds++ < 20);
		assert_int_equal(rrsets_step(&step, &current, &desired, 1), 0);
		assert_true(rrsets_changes(&current, &step) == 1);
		assert_true(rrsets_end(&step, 0) < step.count);
		rrsets_free(&current);
		current = step;
	}
	assert_int_equal(rounds, 9);
	rrsets_free(&current);
	rrsets_free(&desired);
}

static void
test_diff(void **state)
{
	struct rrsets a = fixture_set(A(1) A(2) B(1));
	struct rrsets b = fixture_set(A(2) A(3) "b.test. 60 IN A 192.0.2.1\n");
	struct buf out = buf_bounded(4096);

	(void)state;
	assert_int_equal(rrsets_print_diff(&out, &a, &b), 0);
	assert_string_equal(buf_string(&out),
	    "- a.test.\t30\tIN\tA\t192.0.2.1\n"
	    "+ a.test.\t30\tIN\tA\t192.0.2.3\n"
	    "- b.test.\t30\tIN\tA\t192.0.2.1\n"
	    "+ b.test.\t60\tIN\tA\t192.0.2.1\n");
	buf_clear(&out);
	assert_int_equal(rrsets_print_diff(&out, &a, &a), 0);
	assert_int_equal(out.size, 0);
	buf_free(&out);
	rrsets_free(&a);
	rrsets_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_steps_arrive),
		cmocka_unit_test(test_diff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
