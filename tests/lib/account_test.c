#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/account.h"
#include "tests/lib/entry.h"

#define MOMENT INT64_C(1767323045000000)
#define TIME   "20260102030405Z"

/* The account of some fields; `record` keeps what it borrows. */
static struct account
read(struct buf *record, const struct entry_field *fields)
{
	struct account account;
	const char *why;

	entry_record(record, fields);
	assert_int_equal(account_read(&account, buf_slice(record), &why), 0);
	return account;
}

static void
test_whole(void **state)
{
	struct buf record;
	struct account account = read(&record,
	    ENTRY({ ACCOUNT_ID, "0123456789abcdef" },
		{ ACCOUNT_DN, "uid=anna,dc=example,dc=org" },
		{ ACCOUNT_CSN, "20260102030405.000000Z#000000#001#000000" },
		{ ACCOUNT_UID, "Anna" }, { ACCOUNT_UID, "ann" },
		{ ACCOUNT_ADDRESS, "anna@example.org" },
		{ ACCOUNT_ADDRESS, "a@example.org" },
		{ ACCOUNT_PRINCIPAL, "anna@EXAMPLE.ORG" },
		{ ACCOUNT_POOL, "mail" }, { ACCOUNT_GROUP, "staff" },
		{ ACCOUNT_PIN, "mbox1" }, { ACCOUNT_MOVED, TIME " mbox2 old" },
		{ ACCOUNT_STATUS, "nologin  Office is closed " },
		{ ACCOUNT_ROUTING, "anna@elsewhere.example" },
		{ ACCOUNT_FROM, "info@example.org" }, { 200, "of later" }));

	(void)state;
	assert_true(slice_is(account.id, "0123456789abcdef"));
	assert_true(slice_is(account.dn, "uid=anna,dc=example,dc=org"));
	assert_int_equal(account.csn.size, 40);
	assert_true(slice_is(account.uid, "Anna"));
	assert_true(slice_is(account.address, "anna@example.org"));
	assert_true(slice_is(account.pool, "mail"));
	assert_true(slice_is(account.group, "staff"));
	assert_true(slice_is(account.pin, "mbox1"));
	assert_true(slice_is(account.routing, "anna@elsewhere.example"));
	assert_int_equal(account.status, ACCOUNT_NOLOGIN);
	assert_true(slice_is(account.status_reason, "Office is closed"));
	assert_true(account.moved);
	assert_int_equal(account.moved_us, MOMENT);
	assert_true(slice_is(account.moved_pin, "mbox2"));
	assert_true(slice_is(account.moved_pool, "old"));
	assert_null(account_check(&account));
	buf_free(&record);
}

static void
test_plain(void **state)
{
	struct buf record;
	struct account account = read(&record, ENTRY({ ACCOUNT_UID, "anna" }));

	(void)state;
	assert_int_equal(account.status, ACCOUNT_ACTIVE);
	assert_false(account.moved);
	assert_int_equal(account.id.size, 0);
	assert_int_equal(account.pin.size, 0);
	assert_null(account_check(&account));
	buf_free(&record);
}

static void
test_bad_records(void **state)
{
	struct account account;
	struct buf record;
	const char *why = NULL;

	(void)state;
	assert_int_equal(account_read(&account, slice_from(""), &why), -1);
	assert_non_null(why);
	entry_record(&record, ENTRY({ ACCOUNT_DN, "cn=x" }));
	assert_int_equal(account_read(&account, buf_slice(&record), &why), -1);
	buf_free(&record);
	entry_record(&record, ENTRY({ ACCOUNT_UID, "anna" }));
	for (size_t size = 1; size < record.size; size++) {
		why = NULL;
		assert_int_equal(
		    account_read(
			&account, slice_first(buf_slice(&record), size), &why),
		    -1);
		assert_non_null(why);
	}
	buf_free(&record);
}

/* Who cannot be understood is kept out. */
static void
test_status(void **state)
{
	static const struct {
		const char *text;
		enum account_status status;
		bool sound;
		const char *reason;
	} rows[] = {
		{ "active", ACCOUNT_ACTIVE, true, "" },
		{ "ACTIVE", ACCOUNT_ACTIVE, true, "" },
		{ "nologin", ACCOUNT_NOLOGIN, true, "" },
		{ "nologin Move at noon", ACCOUNT_NOLOGIN, true,
		    "Move at noon" },
		{ "disabled", ACCOUNT_DISABLED, true, "" },
		{ "disabled left us", ACCOUNT_DISABLED, true, "left us" },
		{ "aktiv", ACCOUNT_DISABLED, false, "" },
		{ "active,", ACCOUNT_DISABLED, false, "" },
		{ "nologin\tx", ACCOUNT_DISABLED, false, "" },
		{ "", ACCOUNT_DISABLED, false, "" },
		{ "  ", ACCOUNT_DISABLED, false, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf record;
		struct account account =
		    read(&record, ENTRY({ ACCOUNT_UID, "anna" },
				      { ACCOUNT_STATUS, rows[i].text }));

		assert_int_equal(account.status, rows[i].status);
		assert_int_equal(
		    account_check(&account) == NULL, rows[i].sound);
		assert_true(slice_is(account.status_reason, rows[i].reason));
		buf_free(&record);
	}
}

static void
test_moved(void **state)
{
	static const struct {
		const char *text;
		bool moved;
		const char *pin, *pool;
	} rows[] = {
		{ TIME " - -", true, "", "" },
		{ TIME " mbox1 -", true, "mbox1", "" },
		{ TIME " - mail", true, "", "mail" },
		{ TIME "  mbox1   mail ", true, "mbox1", "mail" },
		{ TIME, false, "", "" },
		{ TIME " -", false, "", "" },
		{ TIME " - - -", false, "", "" },
		{ "yesterday - -", false, "", "" },
		{ "20260102030405 - -", false, "", "" },
		{ "", false, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf record;
		struct account account =
		    read(&record, ENTRY({ ACCOUNT_UID, "anna" },
				      { ACCOUNT_MOVED, rows[i].text }));

		assert_int_equal(account.moved, rows[i].moved);
		assert_int_equal(
		    account_check(&account) == NULL, rows[i].moved);
		assert_true(slice_is(account.moved_pin, rows[i].pin));
		assert_true(slice_is(account.moved_pool, rows[i].pool));
		buf_free(&record);
	}
}

/* Should there be several, the newest counts, in whatever order. */
static void
test_moved_several(void **state)
{
	static const char *const texts[] = { "20260102030405Z a b",
		"20260102030406Z c d", "garbage", "20260102030404Z e f" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct buf record;
		struct account account = read(&record,
		    ENTRY({ ACCOUNT_UID, "anna" }, { ACCOUNT_MOVED, texts[i] },
			{ ACCOUNT_MOVED, texts[(i + 1) % 4] },
			{ ACCOUNT_MOVED, texts[(i + 2) % 4] },
			{ ACCOUNT_MOVED, texts[(i + 3) % 4] }));

		assert_true(slice_is(account.moved_pin, "c"));
		assert_non_null(account_check(&account));
		buf_free(&record);
	}
}

static void
test_key(void **state)
{
	static const struct {
		const char *group, *id, *uid, *address, *key;
	} rows[] = {
		{ "staff", "0123456789abcdef", "Anna", "a@b", "staff" },
		{ NULL, "0123456789abcdef", "Anna", "a@b", "0123456789abcdef" },
		{ NULL, NULL, " Anna  M", "a@b", "anna m" },
		{ NULL, NULL, NULL, "A@Example.ORG", "a@example.org" },
		/* What has no normal form is hashed as it is. */
		{ NULL, NULL, "J\xf6rg", "a@b", "J\xf6rg" },
		{ NULL, NULL, NULL, "J\xf6rg@b", "J\xf6rg@b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf record, store = buf_bounded(NAME_SIZE_MAX);
		struct account account =
		    read(&record, ENTRY({ ACCOUNT_ADDRESS, rows[i].address },
				      { ACCOUNT_UID, rows[i].uid },
				      { ACCOUNT_ID, rows[i].id },
				      { ACCOUNT_GROUP, rows[i].group }));

		assert_true(
		    slice_is(account_key(&account, &store), rows[i].key));
		buf_free(&store);
		buf_free(&record);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_bad_records),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_moved_several),
		cmocka_unit_test(test_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
