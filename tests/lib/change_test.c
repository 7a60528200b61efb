#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/change.h"
#include "lib/timestamp.h"
#include "tests/lib/entry.h"

#define NOW     INT64_C(1800000000000000) /* 20270115080000Z */
#define SECOND  TIMESTAMP_SECOND
#define GUARD   1000
#define BASE    "19700101000000.000000Z 0 up 100"
#define AT_NOW  "20270115080000.000000Z"
#define MIN_5   "20270115075500.000000Z" /* ago */
#define MIN_4   "20270115075600.000000Z"
#define SEC_90  "20270115075830.000000Z"
#define YEAR_99 "20990101000000.000000Z"

static struct cell *cell;

/* A host with a wish for up 70, and these values. */
static const struct host *
host_of(const char *csn, const char *a, const char *b, const char *c)
{
	cell = cell_new();
	entry_add(cell, ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" }));
	entry_add(cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox1" },
			    { CELL_CSN, csn }, { CELL_WEIGHT, "70" },
			    { CELL_TRANSITION, a }, { CELL_TRANSITION, b },
			    { CELL_TRANSITION, c }));
	assert_int_equal(cell_finish(cell), 0);
	return cell_host(cell, HOST_SERVER, slice_from("mbox1"));
}

static struct change
drain(const struct host *host)
{
	struct change change;

	change_make(&change, host, GUARD, NOW, HOST_DRAIN, 100, 60);
	cell_free(&cell);
	return change;
}

static void
test_ordinary(void **state)
{
	struct change change =
	    drain(host_of(NULL, BASE, SEC_90 " 0 up 100", NULL));

	(void)state;
	assert_int_equal(change.step, CHANGE_WRITE);
	assert_int_equal(change.value.time_us, NOW);
	assert_int_equal(change.value.state, HOST_DRAIN);
	assert_int_equal(change.value.weight, 100);
	assert_int_equal(change.value.ramp, 60);
	assert_int_equal(change.passed, 0); /* 90 s are too few */
	assert_int_equal(change.ahead, 0);
}

/* TIME is above every one that is there. */
static void
test_time(void **state)
{
	(void)state;
	assert_int_equal(
	    drain(host_of(NULL, BASE, AT_NOW " 0 up 1", NULL)).value.time_us,
	    NOW + 1);
	assert_int_equal(
	    drain(host_of(NULL, BASE, "20270115080000.700000Z 0 up 1", NULL))
		.value.time_us,
	    NOW + 700001);
	assert_int_equal(
	    drain(host_of(NULL, BASE, "20270115075959.999999Z 0 up 1", NULL))
		.value.time_us,
	    NOW);
}

/* A mistaken time must not hold up what is true now. */
static void
test_ahead(void **state)
{
	struct change change =
	    drain(host_of(NULL, BASE, MIN_4 " 0 up 100", YEAR_99 " 0 down 1"));

	(void)state;
	assert_int_equal(change.step, CHANGE_WRITE);
	assert_int_equal(change.value.time_us, NOW);
	assert_int_equal(change.ahead, 1);
	assert_int_equal(change.passed, 1);
	/* Such a value alone is no base: the host was absent. */
	change = drain(host_of(NULL, YEAR_99 " 0 up 100", NULL, NULL));
	assert_int_equal(change.step, CHANGE_WRITE);
	assert_int_equal(change.ahead, 1);
}

static void
test_passed(void **state)
{
	static const struct {
		const char *a, *b, *c;
		size_t passed;
	} rows[] = {
		{ BASE, MIN_5 " 0 down 1", MIN_4 " 0 up 100", 2 },
		{ BASE, MIN_5 " 0 down 1", SEC_90 " 0 up 100", 1 },
		/* reached all 1 s less than CHANGE_KEEP ago, and just so long
		 */
		{ BASE, MIN_5 " 181 down 1", NULL, 0 },
		{ BASE, MIN_5 " 180 down 1", NULL, 1 },
		/* cut after 60 s of its ramp: did not reach all, and never will
		 */
		{ BASE, MIN_5 " 61 drain 1", SEC_90 " 0 up 100", 1 },
		{ BASE, MIN_5 " 120 drain 1", MIN_4 " 200 up 100", 0 },
		{ MIN_4 " 0 up 100", NULL, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(
		    drain(host_of(NULL, rows[i].a, rows[i].b, rows[i].c))
			.passed,
		    rows[i].passed);
}

/* A wish alone is written down first, and the change comes a guard later. */
static void
test_base(void **state)
{
	struct change change = drain(host_of(NULL, NULL, NULL, NULL));
	struct buf text = buf_bounded(100);

	(void)state;
	assert_int_equal(change.step, CHANGE_BASE);
	assert_int_equal(change.again_us, NOW + SECOND);
	assert_int_equal(transition_format(&text, &change.value), 0);
	assert_string_equal(
	    buf_string(&text), "19700101000000.000000Z 0 up 70");
	buf_free(&text);

	change = drain(host_of(
	    "20270115075959.500000Z#000000#001#000000", BASE, NULL, NULL));
	assert_int_equal(change.step, CHANGE_WAIT);
	assert_int_equal(change.again_us, NOW + SECOND / 2);
	change = drain(host_of(
	    "20270115075959.000000Z#000000#001#000000", BASE, NULL, NULL));
	assert_int_equal(change.step, CHANGE_WRITE);
	assert_int_equal(change.value.time_us, NOW);
	/* Where nothing tells when, it was long ago. */
	assert_int_equal(
	    drain(host_of(NULL, BASE, NULL, NULL)).step, CHANGE_WRITE);
	assert_int_equal(
	    drain(host_of("yesterday", BASE, NULL, NULL)).step, CHANGE_WRITE);
	/* With more than the base its age is no question. */
	assert_int_equal(
	    drain(host_of("20270115075959.500000Z#000000#001#000000", BASE,
		      SEC_90 " 0 up 1", NULL))
		.step,
	    CHANGE_WRITE);
}

static void
test_settled(void **state)
{
	static const struct {
		const char *a, *b;
		bool settled;
	} rows[] = {
		{ BASE, MIN_5 " 0 down 100", true },
		{ BASE, MIN_5 " 180 down 100", true },
		{ BASE, MIN_5 " 181 down 100", false },
		{ BASE, SEC_90 " 0 down 100", false },
		{ BASE, MIN_5 " 0 failed 100", false },
		{ BASE, MIN_5 " 0 drain 100", false },
		{ MIN_5 " 0 down 1", MIN_4 " 0 up 100", false },
		{ BASE, YEAR_99 " 0 down 100", false },
		{ NULL, NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct host *host =
		    host_of(NULL, rows[i].a, rows[i].b, NULL);

		assert_int_equal(change_is_settled(host, NOW), rows[i].settled);
		cell_free(&cell);
	}
}

static void
test_move_time(void **state)
{
	struct account account = { .moved = false };

	(void)state;
	assert_int_equal(change_move_time(&account, NOW), NOW);
	account.moved = true;
	account.moved_us = NOW - 1;
	assert_int_equal(change_move_time(&account, NOW), NOW);
	account.moved_us = NOW + SECOND;
	assert_int_equal(change_move_time(&account, NOW), NOW + SECOND + 1);
	account.moved_us = NOW + CHANGE_AHEAD + 1;
	assert_int_equal(change_move_time(&account, NOW), NOW);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ordinary),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_ahead),
		cmocka_unit_test(test_passed),
		cmocka_unit_test(test_base),
		cmocka_unit_test(test_settled),
		cmocka_unit_test(test_move_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
