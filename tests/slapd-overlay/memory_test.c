#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "slapd-overlay/memory.h"

#define KEEP 60000

static void
make(unsigned char digest[KEYS_DIGEST_SIZE], unsigned number)
{
	memset(digest, 0, KEYS_DIGEST_SIZE);
	memcpy(digest, &number, sizeof(number));
	digest[KEYS_DIGEST_SIZE - 1] = 1;
}

static void
test_knows_for_a_while(void **state)
{
	struct memory *memory = memory_new(64, KEEP);
	unsigned char one[KEYS_DIGEST_SIZE], other[KEYS_DIGEST_SIZE];

	(void)state;
	make(one, 1);
	make(other, 1);
	other[20] = 1;
	assert_false(memory_knows(memory, one, 1000));
	memory_learn(memory, one, 1000);
	assert_true(memory_knows(memory, one, 1000));
	assert_false(memory_knows(memory, other, 1000));
	assert_true(memory_knows(memory, one, 1000 + KEEP - 1));
	assert_false(memory_knows(memory, one, 1000 + KEEP));
	memory_learn(memory, one, 1000 + KEEP);
	assert_true(memory_knows(memory, one, 1000 + KEEP));
	memory_free(&memory);
	assert_null(memory);
}

static void
test_the_oldest_gives_way(void **state)
{
	struct memory *memory = memory_new(1, KEEP);
	unsigned char digest[KEYS_DIGEST_SIZE];

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		make(digest, i * 4);
		memory_learn(memory, digest, 1000 + i);
	}
	for (unsigned i = 0; i < 5; i++) {
		make(digest, i * 4);
		assert_int_equal(memory_knows(memory, digest, 2000), i > 0);
	}
	memory_free(&memory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_knows_for_a_while),
		cmocka_unit_test(test_the_oldest_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
