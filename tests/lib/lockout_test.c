#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/lockout.h"
#include "lib/timestamp.h"

#define NOW    INT64_C(1800000000000000)
#define SECOND TIMESTAMP_SECOND
/* A head and 63 accounts. */
#define SMALL    ((size_t)64 * 2 * sizeof(uint64_t))
#define GUESSERS 200

static const struct lockout_policy policy = { 5, 60 * SECOND };

static struct lockout
table_of(size_t size)
{
	const char *why = NULL;
	struct lockout table;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(lockout_attach(&table, memory, size, &why), 0);
	return table;
}

static void
drop(struct lockout *table, size_t size)
{
	(void)munmap(table->slots, size);
}

/* One wrong guess; -1 refused, 1 when it was the one that locks. */
static int
guess(struct lockout *table, uint64_t key, int64_t now_us, int64_t forgiven_us)
{
	struct lockout_attempt attempt;

	if (!lockout_reserve(
		table, key, &policy, now_us, forgiven_us, &attempt))
		return -1;
	return lockout_fail(table, &policy, &attempt);
}

static void
test_limit(void **state)
{
	struct lockout table = table_of(LOCKOUT_SIZE);
	uint64_t key = lockout_key(slice_from("0123456789abcdef"));
	uint64_t other = lockout_key(slice_from("0123456789abcdeg"));

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(guess(&table, key, NOW + i, 0), 0);
	assert_int_equal(lockout_failures(&table, key, &policy, NOW), 4);
	assert_int_equal(guess(&table, key, NOW + 4, 0), 1);
	assert_int_equal(guess(&table, key, NOW + 5, 0), -1);
	assert_int_equal(guess(&table, other, NOW + 5, 0), 0);
	assert_int_equal(lockout_failures(&table, other, &policy, NOW), 1);
	/* to the end of the window, and from then on anew */
	assert_int_equal(guess(&table, key, NOW + 59 * SECOND, 0), -1);
	assert_int_equal(guess(&table, key, NOW + 60 * SECOND, 0), 0);
	assert_int_equal(
	    lockout_failures(&table, key, &policy, NOW + 60 * SECOND), 1);
	assert_int_equal(
	    lockout_failures(&table, key, &policy, NOW + 120 * SECOND), 0);
	drop(&table, LOCKOUT_SIZE);
}

/* A right password gives back its own attempt and nobody else's. */
static void
test_success(void **state)
{
	struct lockout table = table_of(LOCKOUT_SIZE);
	struct lockout_attempt attempts[5], refused;

	(void)state;
	assert_int_equal(guess(&table, 7, NOW, 0), 0);
	for (int i = 0; i < 4; i++)
		assert_true(
		    lockout_reserve(&table, 7, &policy, NOW, 0, &attempts[i]));
	assert_false(lockout_reserve(&table, 7, &policy, NOW, 0, &refused));
	lockout_release(&table, &refused);
	assert_false(lockout_reserve(&table, 7, &policy, NOW, 0, &refused));
	lockout_release(&table, &attempts[0]);
	lockout_release(&table, &attempts[0]); /* once is enough */
	assert_true(lockout_reserve(&table, 7, &policy, NOW, 0, &attempts[0]));
	assert_false(lockout_reserve(&table, 7, &policy, NOW, 0, &refused));
	for (int i = 0; i < 3; i++) {
		assert_false(lockout_fail(&table, &policy, &attempts[i]));
		assert_false(lockout_fail(&table, &policy, &attempts[i]));
	}
	assert_int_equal(lockout_failures(&table, 7, &policy, NOW), 4);
	assert_true(lockout_fail(&table, &policy, &attempts[3]));
	drop(&table, LOCKOUT_SIZE);
}

static void
test_forgiven(void **state)
{
	struct lockout table = table_of(LOCKOUT_SIZE);
	struct lockout_attempt old;

	(void)state;
	assert_true(lockout_reserve(&table, 9, &policy, NOW, 0, &old));
	for (int i = 0; i < 4; i++)
		assert_int_equal(guess(&table, 9, NOW, 0), 0);
	assert_int_equal(guess(&table, 9, NOW + SECOND, 0), -1);
	/* Unlocked: it counts from there on, and that once. */
	for (int i = 0; i < 5; i++)
		assert_int_equal(
		    guess(&table, 9, NOW + 2 * SECOND, NOW + 2 * SECOND),
		    i == 4);
	assert_int_equal(
	    guess(&table, 9, NOW + 2 * SECOND, NOW + 2 * SECOND), -1);
	/* What began before no longer counts. */
	assert_false(lockout_fail(&table, &policy, &old));
	assert_int_equal(
	    lockout_failures(&table, 9, &policy, NOW + 2 * SECOND), 5);
	drop(&table, LOCKOUT_SIZE);
}

static void
test_no_limit(void **state)
{
	static const struct lockout_policy none = { 0, 60 * SECOND };
	struct lockout table = table_of(LOCKOUT_SIZE);
	struct lockout_attempt attempt;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		assert_true(
		    lockout_reserve(&table, 1, &none, NOW, 0, &attempt));
		assert_false(lockout_fail(&table, &none, &attempt));
	}
	drop(&table, LOCKOUT_SIZE);
}

/* A clock put back by a year must not lock an account for a year. */
static void
test_clock_back(void **state)
{
	struct lockout table = table_of(LOCKOUT_SIZE);
	int64_t year = (int64_t)365 * 86400 * SECOND;

	(void)state;
	for (int i = 0; i < 5; i++)
		(void)guess(&table, 3, NOW, 0);
	assert_int_equal(guess(&table, 3, NOW - SECOND, 0), -1);
	assert_int_equal(guess(&table, 3, NOW - year, 0), 0);
	drop(&table, LOCKOUT_SIZE);
}

/* More accounts than places: the most attacked one keeps its count. */
static void
test_full(void **state)
{
	struct lockout table = table_of(SMALL);

	(void)state;
	for (int i = 0; i < 5; i++)
		(void)guess(&table, 1, NOW, 0);
	for (uint64_t key = 2; key < 1000; key++)
		assert_int_equal(guess(&table, key, NOW, 0), 0);
	assert_int_equal(guess(&table, 1, NOW, 0), -1);
	drop(&table, SMALL);
}

static void
test_attach(void **state)
{
	_Alignas(uint64_t) char memory[SMALL] = { 0 };
	struct lockout first, second;
	const char *why = NULL;

	(void)state;
	assert_int_equal(lockout_attach(&first, memory, 100, &why), -1);
	assert_non_null(why);
	assert_int_equal(
	    lockout_attach(&first, memory + 1, sizeof(memory) - 8, &why), -1);
	assert_int_equal(
	    lockout_attach(&first, memory, sizeof(memory), &why), 0);
	assert_int_equal(guess(&first, 5, NOW, 0), 0);
	assert_int_equal(
	    lockout_attach(&second, memory, sizeof(memory), &why), 0);
	assert_int_equal(lockout_failures(&second, 5, &policy, NOW), 1);
	memory[0] ^= 1;
	why = NULL;
	assert_int_equal(
	    lockout_attach(&second, memory, sizeof(memory), &why), -1);
	assert_non_null(why);
}

/* Two hundred guess at once, at their own maps of it: five get through. */
static void
test_parallel(void **state)
{
	struct lockout table = table_of(LOCKOUT_SIZE);
	int verified = 0, locked = 0, status;

	(void)state;
	for (int i = 0; i < GUESSERS; i++) {
		pid_t pid = fork();

		assert_int_not_equal(pid, -1);
		if (pid == 0) {
			int count = 0, locks = 0;

			for (int k = 0; k < 50; k++) {
				int result = guess(&table, 11, NOW, 0);

				count += result >= 0;
				locks += result == 1;
			}
			_exit(count << 1 | locks);
		}
	}
	for (int i = 0; i < GUESSERS; i++) {
		assert_int_not_equal(wait(&status), -1);
		assert_true(WIFEXITED(status));
		verified += WEXITSTATUS(status) >> 1;
		locked += WEXITSTATUS(status) & 1;
	}
	assert_int_equal(verified, 5);
	assert_int_equal(locked, 1);
	drop(&table, LOCKOUT_SIZE);
}

static void
test_key(void **state)
{
	(void)state;
	assert_int_not_equal(lockout_key(slice_from("")), 0);
	assert_int_not_equal(
	    lockout_key(slice_from("a")), lockout_key(slice_from("b")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_success),
		cmocka_unit_test(test_forgiven),
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_clock_back),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_parallel),
		cmocka_unit_test(test_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
