#include "replica/sync_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define CSN "20260102030405.000006Z#000000#001#000000"
/* With its length before it, 52. */
#define COOKIE "\x04\x34rid=000,csn=" CSN
#define ID     "0123456789abcdef"
#define ID2    "fedcba9876543210"

#define OCTETS(literal)                                                        \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

static struct berval
berval_of(struct slice octets, char room[256])
{
	assert_in_range(octets.size, 0, 256);
	memcpy(room, octets.data, octets.size);
	return (struct berval){ octets.size, room };
}

static void
assert_cookie(bool has_cookie, const struct csn_vector *cookie, bool wanted)
{
	assert_int_equal(has_cookie, wanted);
	assert_int_equal(cookie->count, wanted ? 1 : 0);
	if (wanted)
		assert_true(slice_is(csn_vector_get(cookie, 0), CSN));
}

static void
test_request(void **state)
{
	struct berval *value = NULL;
	struct csn_vector cookie;

	(void)state;
	assert_int_equal(sync_value_request(&value, NULL), 0);
	assert_int_equal(value->bv_len, 5);
	assert_memory_equal(value->bv_val, "\x30\x03\x0a\x01\x03", 5);
	ber_bvfree(value);

	csn_vector_clear(&cookie);
	assert_int_equal(csn_vector_add(&cookie, slice_from(CSN)), 0);
	assert_int_equal(sync_value_request(&value, &cookie), 0);
	assert_in_range(value->bv_len, 40, 80);
	assert_memory_equal(value->bv_val + 2, "\x0a\x01\x03\x04", 4);
	assert_memory_equal(value->bv_val + value->bv_len - 40, CSN, 40);
	ber_bvfree(value);
}

static const struct state_row {
	struct slice octets;
	int change;
	bool has_cookie;
} states[] = {
	{ OCTETS("\x30\x15\x0a\x01\x00\x04\x10" ID), LDAP_SYNC_PRESENT, false },
	{ OCTETS("\x30\x15\x0a\x01\x01\x04\x10" ID), LDAP_SYNC_ADD, false },
	{ OCTETS("\x30\x4b\x0a\x01\x02\x04\x10" ID COOKIE), LDAP_SYNC_MODIFY,
	    true },
	{ OCTETS("\x30\x4b\x0a\x01\x03\x04\x10" ID COOKIE), LDAP_SYNC_DELETE,
	    true },
};

static void
test_state(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		char room[256];
		struct berval value = berval_of(states[i].octets, room);
		struct sync_state read;

		assert_int_equal(sync_value_state(&read, &value), 0);
		assert_int_equal(read.change, states[i].change);
		assert_true(slice_is(read.id, ID));
		assert_cookie(
		    read.has_cookie, &read.cookie, states[i].has_cookie);
		sync_value_state_free(&read);
	}
}

static const struct info_row {
	struct slice octets;
	struct sync_info info;
	size_t id_count;
} infos[] = {
	{ OCTETS("\x80\x34rid=000,csn=" CSN),
	    { .kind = SYNC_NEW_COOKIE, .has_cookie = true }, 0 },
	/* refreshDone is TRUE unless it says otherwise. */
	{ OCTETS("\xa1\x00"), { .kind = SYNC_PHASE_END, .done = true }, 0 },
	{ OCTETS("\xa2\x00"),
	    { .kind = SYNC_PHASE_END, .done = true, .present = true }, 0 },
	{ OCTETS("\xa2\x39" COOKIE "\x01\x01\x00"),
	    { .kind = SYNC_PHASE_END, .has_cookie = true, .present = true },
	    0 },
	{ OCTETS("\xa1\x39" COOKIE "\x01\x01\xff"),
	    { .kind = SYNC_PHASE_END, .has_cookie = true, .done = true }, 0 },
	{ OCTETS("\xa3\x14\x31\x12\x04\x10" ID), { .kind = SYNC_ID_SET }, 1 },
	{ OCTETS("\xa3\x5f" COOKIE "\x01\x01\xff\x31\x24\x04\x10" ID
		 "\x04\x10" ID2),
	    { .kind = SYNC_ID_SET, .has_cookie = true, .deletes = true }, 2 },
};

static void
test_info(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(infos); i++) {
		const struct info_row *row = &infos[i];
		char room[256];
		struct berval value = berval_of(row->octets, room);
		struct sync_info read;
		size_t count = 0;

		assert_int_equal(sync_value_info(&read, &value), 0);
		assert_int_equal(read.kind, row->info.kind);
		assert_int_equal(read.present, row->info.present);
		assert_int_equal(read.done, row->info.done);
		assert_int_equal(read.deletes, row->info.deletes);
		assert_cookie(
		    read.has_cookie, &read.cookie, row->info.has_cookie);
		while (read.ids && read.ids[count].bv_val)
			count++;
		assert_int_equal(count, row->id_count);
		sync_value_info_free(&read);
	}
}

static int
read_any(struct slice octets, bool is_state)
{
	char room[256];
	struct berval value = berval_of(octets, room);
	struct sync_state state;
	struct sync_info info;
	int result;

	if (is_state) {
		result = sync_value_state(&state, &value);
		sync_value_state_free(&state);
	} else {
		result = sync_value_info(&info, &value);
		sync_value_info_free(&info);
	}
	return result;
}

/* Whatever is cut off, what is left is not taken for a message. */
static void
test_cut_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		for (size_t size = 0; size < states[i].octets.size; size++)
			assert_int_equal(
			    read_any(slice_first(states[i].octets, size), true),
			    -1);
	for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
		for (size_t size = 0; size < infos[i].octets.size; size++)
			assert_int_equal(
			    read_any(slice_first(infos[i].octets, size), false),
			    -1);
}

static void
test_malformed(void **state)
{
	static const struct {
		struct slice octets;
		bool is_state;
	} rows[] = {
		/* entryUUID has 16 octets. */
		{ OCTETS("\x30\x07\x0a\x01\x01\x04\x02zz"), true },
		{ OCTETS("\x30\x09\x0a\x01\x01\x0a\x04wxyz"), true },
		/* A CSN that is none. */
		{ OCTETS("\x80\x07"
			 "csn=wat"),
		    false },
		{ OCTETS("\xa1\x09\x04\x07"
			 "csn=wat"),
		    false },
		/* No such choice. */
		{ OCTETS("\xa4\x00"), false },
		{ OCTETS("\x30\x00"), false },
		/* What should be a set of ids is none. */
		{ OCTETS("\xa3\x00"), false },
		{ OCTETS("\xa3\x03\x01\x01\xff"), false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (read_any(rows[i].octets, rows[i].is_state) != -1)
			fail_msg("row %zu was taken", i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
