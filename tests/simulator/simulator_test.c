/*
 * One account is never with two servers at one moment: shown over random
 * histories, and that each rule of the promise (lib/placement.h) is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/simulator/history.h"

#define HISTORIES        10000
#define HISTORIES_BROKEN 300
#define ACTS_MAX         24

static struct world world;

static struct outcome
play(uint64_t histories, enum breach breach)
{
	struct outcome outcome;

	outcome_start(&outcome);
	for (uint64_t seed = 1; seed <= histories; seed++) {
		world_make(&world, seed, breach, ACTS_MAX);
		history_play(&outcome, &world, seed, false);
	}
	outcome_print(&outcome);
	return outcome;
}

static void
test_no_overlap(void **state)
{
	struct outcome outcome = play(HISTORIES, BREACH_NONE);

	(void)state;
	assert_int_equal(outcome.overlaps, 0);
	assert_int_equal(outcome.unforeseen, 0);
	/* The histories are worth something: much moves, and the guard is
	 * used to its last microsecond. */
	assert_true(outcome.moves > HISTORIES);
	assert_int_equal(outcome.margin_us, 1);
}

static void
test_seed_reproduces(void **state)
{
	struct outcome first = play(20, BREACH_LAG);
	struct outcome second = play(20, BREACH_LAG);

	(void)state;
	assert_memory_equal(&first, &second, sizeof(first));
}

/* A history that breaks a rule overlaps: the simulator can see it. */
static void
test_breach(void **state)
{
	enum breach breach = *(const enum breach *)*state;
	struct outcome outcome = play(HISTORIES_BROKEN, breach);

	assert_true(outcome.overlaps > 0);
}

int
main(void)
{
	static enum breach breaches[] = { BREACH_LAG, BREACH_SKEW,
		BREACH_CLOSING, BREACH_KEEP_ON_WAIT, BREACH_STALE_START,
		BREACH_NO_BASE, BREACH_PRUNE, BREACH_REMOVE,
		BREACH_UNSAID_MOVE };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_overlap),
		cmocka_unit_test(test_seed_reproduces),
		{ "breach: lag", test_breach, NULL, NULL, &breaches[0] },
		{ "breach: skew", test_breach, NULL, NULL, &breaches[1] },
		{ "breach: closing", test_breach, NULL, NULL, &breaches[2] },
		{ "breach: keep-on-wait", test_breach, NULL, NULL,
		    &breaches[3] },
		{ "breach: stale-start", test_breach, NULL, NULL,
		    &breaches[4] },
		{ "breach: no-base", test_breach, NULL, NULL, &breaches[5] },
		{ "breach: prune", test_breach, NULL, NULL, &breaches[6] },
		{ "breach: remove", test_breach, NULL, NULL, &breaches[7] },
		{ "breach: unsaid-move", test_breach, NULL, NULL,
		    &breaches[8] },
	};

	_Static_assert(
	    ARRAY_SIZE(breaches) == BREACH_COUNT - 1, "a test for each breach");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
