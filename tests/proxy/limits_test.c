#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/limits.h"

static struct limits *limits;

static int
set_up(void **state)
{
	(void)state;
	limits = mmap(NULL, sizeof(*limits), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(limits, MAP_FAILED);
	limits_init(limits, 0x5eed);
	for (unsigned i = 0; i < 3; i++)
		limits_clear(limits, i);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	return munmap(limits, sizeof(*limits));
}

static uint64_t
key_of(unsigned kind, const char *whom)
{
	return limits_key(limits, kind, slice_from(whom));
}

static void
test_sum_over_relays(void **state)
{
	uint64_t a = key_of(0, "a"), b = key_of(0, "b");

	(void)state;
	assert_int_equal(limits_take(limits, 0, a, 3), LIMITS_TAKEN);
	assert_int_equal(limits_take(limits, 1, a, 3), LIMITS_TAKEN);
	assert_int_equal(limits_take(limits, 1, a, 3), LIMITS_TAKEN);
	assert_int_equal(limits_take(limits, 2, a, 3), LIMITS_REFUSED);
	assert_int_equal(limits_take(limits, 0, a, 3), LIMITS_REFUSED);
	assert_int_equal(limits_take(limits, 2, b, 1), LIMITS_TAKEN);
	assert_int_equal(limits_count(limits, a), 3);
	limits_release(limits, 1, a);
	assert_int_equal(limits_take(limits, 2, a, 3), LIMITS_TAKEN);
	assert_int_equal(limits_take(limits, 2, a, 3), LIMITS_REFUSED);
	/* What was never taken gives nothing back. */
	limits_release(limits, 0, b);
	assert_int_equal(limits_count(limits, b), 1);
	limits_release(limits, 2, b);
	limits_release(limits, 2, b);
	assert_int_equal(limits_count(limits, b), 0);
}

static void
test_kinds(void **state)
{
	(void)state;
	assert_int_not_equal(key_of(0, "a"), key_of(1, "a"));
	assert_int_equal(
	    limits_take(limits, 0, key_of(0, "a"), 1), LIMITS_TAKEN);
	assert_int_equal(
	    limits_take(limits, 0, key_of(1, "a"), 1), LIMITS_TAKEN);
	assert_int_equal(
	    limits_take(limits, 0, key_of(1, "a"), 1), LIMITS_REFUSED);
}

/* A relay that died: the parent gives its counts back. */
static void
test_clear(void **state)
{
	uint64_t a = key_of(0, "a");

	(void)state;
	assert_int_equal(limits_take(limits, 0, a, 2), LIMITS_TAKEN);
	assert_int_equal(limits_take(limits, 1, a, 2), LIMITS_TAKEN);
	assert_int_equal(limits_take(limits, 0, a, 2), LIMITS_REFUSED);
	limits_clear(limits, 1);
	assert_int_equal(limits_count(limits, a), 1);
	assert_int_equal(limits_take(limits, 0, a, 2), LIMITS_TAKEN);
}

/* As many as a relay may have, each counted by itself, and all given back. */
static void
test_many(void **state)
{
	unsigned uncounted = 0;
	char whom[16];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		(void)snprintf(whom, sizeof(whom), "%d", i);
		uncounted += limits_take(limits, 0, key_of(0, whom), 1) ==
			     LIMITS_UNCOUNTED;
	}
	assert_true(uncounted < 10);
	for (int i = 0; i < 20000; i++) {
		(void)snprintf(whom, sizeof(whom), "%d", i);
		limits_release(limits, 0, key_of(0, whom));
		assert_int_equal(limits_count(limits, key_of(0, whom)), 0);
	}
	for (size_t i = 0; i < LIMITS_BUCKETS; i++)
		for (size_t k = 0; k < LIMITS_WAYS; k++)
			assert_int_equal(limits->tables[0].entries[i][k], 0);
}

/* A full bucket is no error, and lets in. */
static void
test_full_bucket(void **state)
{
	uint64_t key = key_of(0, "x") & ~(uint64_t)0xffffffffff000000;

	(void)state;
	for (uint64_t i = 1; i <= LIMITS_WAYS; i++)
		assert_int_equal(
		    limits_take(limits, 0, key | i << 24, 1), LIMITS_TAKEN);
	assert_int_equal(
	    limits_take(limits, 0, key | 99 << 24, 1), LIMITS_UNCOUNTED);
	limits_release(limits, 0, key | 99 << 24);
	assert_int_equal(
	    limits_take(limits, 0, key | 1 << 24, 1), LIMITS_REFUSED);
	limits_release(limits, 0, key | 1 << 24);
	assert_int_equal(
	    limits_take(limits, 0, key | 99 << 24, 1), LIMITS_TAKEN);
}

static void
compete(unsigned relay, uint64_t key, _Atomic uint32_t *inside)
{
	for (int i = 0; i < 200000; i++) {
		if (limits_take(limits, relay, key, 1) != LIMITS_TAKEN)
			continue;
		if (atomic_fetch_add(inside, 1) != 0)
			_exit(1);
		atomic_fetch_sub(inside, 1);
		limits_release(limits, relay, key);
	}
	_exit(0);
}

/* Two processes that want the one place never have it both. */
static void
test_never_passed(void **state)
{
	_Atomic uint32_t *inside = mmap(NULL, sizeof(*inside),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t key = key_of(0, "a");
	int status;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		if (fork() == 0)
			compete(i, key, inside);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	assert_int_equal(limits_count(limits, key), 0);
	/* Without its qualifier, as it came from mmap. */
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	munmap((void *)(uintptr_t)inside, sizeof(*inside));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_sum_over_relays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kinds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clear, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_full_bucket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_never_passed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
