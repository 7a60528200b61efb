#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/failures.h"

static int
set_up(void **state)
{
	struct failures *failures = mmap(NULL, sizeof(*failures),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (failures == MAP_FAILED)
		return -1;
	failures_seed(failures);
	*state = failures;
	return 0;
}

static int
tear_down(void **state)
{
	return munmap(*state, sizeof(struct failures));
}

/* The same octets mean another thing as an address than as an account. */
static void
test_addresses_and_accounts(void **state)
{
	const struct failures *failures = *state;
	uint8_t a[NETWORK_ADDRESS_SIZE] = { [15] = 1 };
	uint8_t b[NETWORK_ADDRESS_SIZE] = { [15] = 2 };

	assert_int_not_equal(failures_address_key(failures, a),
	    failures_address_key(failures, b));
	assert_int_not_equal(failures_address_key(failures, a),
	    failures_account_key(failures, slice_of(a, sizeof(a))));
}

static void
test_counts_within_a_window(void **state)
{
	struct failures *failures = *state;
	uint64_t bob = failures_account_key(failures, slice_from("bob"));
	uint64_t ann = failures_account_key(failures, slice_from("ann"));
	int64_t since;

	assert_int_not_equal(bob, ann);
	assert_int_equal(failures_count(failures, bob, 1000, 60), 0);
	assert_int_equal(failures_add(failures, bob, 1000, 60, &since), 1);
	assert_int_equal(failures_add(failures, bob, 1059, 60, &since), 2);
	assert_int_equal(failures_count(failures, bob, 1059, 60), 2);
	assert_int_equal(failures_count(failures, ann, 1059, 60), 0);
	/* The window is over; a failure begins another one. */
	assert_int_equal(failures_count(failures, bob, 1060, 60), 0);
	assert_int_equal(failures_add(failures, bob, 1060, 60, &since), 1);
	assert_int_equal(failures_count(failures, bob, 1119, 60), 1);
}

static void
test_what_was_right_is_taken_back(void **state)
{
	struct failures *failures = *state;
	uint64_t bob = failures_account_key(failures, slice_from("bob"));
	int64_t first, second, third;

	failures_take_back(failures, bob, 1000);
	assert_int_equal(failures_add(failures, bob, 1000, 60, &first), 1);
	assert_int_equal(failures_add(failures, bob, 1001, 60, &second), 2);
	assert_int_equal(first, 1000);
	assert_int_equal(second, 1000);
	failures_take_back(failures, bob, second);
	assert_int_equal(failures_count(failures, bob, 1002, 60), 1);
	/* What belongs to a window that is over changes no other. */
	assert_int_equal(failures_add(failures, bob, 1060, 60, &third), 1);
	failures_take_back(failures, bob, first);
	assert_int_equal(failures_count(failures, bob, 1060, 60), 1);
	failures_take_back(failures, bob, third);
	failures_take_back(failures, bob, third);
	assert_int_equal(failures_count(failures, bob, 1060, 60), 0);
}

/* More keys than places: all still work, and the youngest are there. */
static void
test_a_flood_of_keys(void **state)
{
	struct failures *failures = *state;
	int64_t since;
	char name[32];

	for (unsigned i = 0; i < 4 * FAILURES_SETS * FAILURES_WAYS; i++) {
		uint64_t key;

		(void)snprintf(name, sizeof(name), "user%u", i);
		key = failures_account_key(failures, slice_from(name));
		assert_int_equal(
		    failures_add(failures, key, 1000 + i / 1000, 60000, &since),
		    1);
		assert_int_equal(
		    failures_count(failures, key, 1000 + i / 1000, 60000), 1);
	}
}

#define PROCESSES 4
#define ROUNDS    20000

/* Nothing is lost between processes. */
static void
test_processes_count_together(void **state)
{
	struct failures *failures = *state;
	uint64_t key = failures_account_key(failures, slice_from("bob"));
	int64_t since;

	failures_add(failures, key, 1000, 60, &since);
	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid > 0)
			continue;
		for (int k = 0; k < ROUNDS; k++)
			failures_add(failures, key, 1001, 60, &since);
		_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++)
		assert_true(wait(NULL) > 0);
	assert_int_equal(
	    failures_count(failures, key, 1001, 60), PROCESSES * ROUNDS + 1);
}

/* count, delay, its maximum, how long it took -> answered after */
static const struct {
	unsigned count;
	int64_t delay_ms, delay_max_ms, passed_ms, answer_ms;
} delays[] = {
	{ 1, 1000, 15000, 0, 1000 },
	{ 1, 1000, 15000, 999, 1000 },
	{ 1, 1000, 15000, 1000, 2000 },
	{ 1, 1000, 15000, 2500, 3000 },
	{ 2, 1000, 15000, 0, 2000 },
	{ 3, 1000, 15000, 3999, 4000 },
	{ 4, 1000, 15000, 0, 8000 },
	{ 5, 1000, 15000, 0, 15000 },
	{ 1000000, 1000, 15000, 0, 15000 },
	{ 1, 0, 15000, 700, 0 },
	{ 9, 0, 15000, 0, 0 },
	{ 3, 1000, 500, 0, 500 },
};

static void
test_delays(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(delays); i++)
		assert_int_equal(
		    failures_delay_ms(delays[i].count, delays[i].delay_ms,
			delays[i].delay_max_ms, delays[i].passed_ms),
		    delays[i].answer_ms);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_addresses_and_accounts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_counts_within_a_window, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_what_was_right_is_taken_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_a_flood_of_keys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_processes_count_together, set_up, tear_down),
		cmocka_unit_test(test_delays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
