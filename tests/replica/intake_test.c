/* What passes, in which state of our knowledge: a table of refreshes. */
#include "replica/intake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/account.h"
#include "tests/replica/scratch.h"

/* CSNs of two servers, by the minute. */
#define CSN(sid, minute)                                                       \
	"202601020304" minute ".000000Z#000000#00" sid "#000000"

struct house {
	char *path;
	struct log log;
	struct store *store;
	struct status status;
	struct intake *intake;
};

static void
house_open(struct house *house)
{
	enum store_found found;
	const char *why = "";

	house->path = scratch_new();

	house->log = log_open(LOG_TARGET_STDERR, LOG_LEVEL_ERROR, "test");
	assert_int_equal(store_open(&house->store, house->path,
			     (size_t)16 << 20, &found, &why),
	    0);
	assert_int_equal(
	    status_init(&house->status, house->store, &house->log, 0, &why), 0);
	house->intake = intake_new(house->store, &house->status, 20);
	assert_non_null(house->intake);
}

static void
house_close(struct house *house)
{
	intake_free(&house->intake);
	store_free(&house->store);
	scratch_free(house->path);
}

static struct csn_vector
vector_of(const char *list)
{
	struct buf cookie = buf_bounded(CSN_COOKIE_SIZE);
	struct csn_vector vector;

	csn_vector_clear(&vector);
	(void)buf_printf(&cookie, "csn=%s", list);
	assert_int_equal(csn_cookie_parse(buf_slice(&cookie), &vector), 0);
	buf_free(&cookie);
	return vector;
}

/* An account `uid` with that CSN; its id is made of the name's first octet. */
static int
send_account(
    struct house *house, const char *uid, const char *mail, const char *csn)
{
	struct entry_value values[] = {
		{ slice_from("uid"), slice_from(uid) },
		{ slice_from("mail"), slice_from(mail) },
		{ slice_from("entryCSN"), slice_from(csn) },
	};
	uint8_t id[LAYOUT_ID_SIZE];
	struct buf dn = buf_bounded(256);
	struct entry entry = {
		.id = scratch_id(id, (uint8_t)uid[0]),
		.values = values,
		.value_count = csn[0] ? 3 : 2,
	};
	const char *why = NULL;
	int result;

	(void)buf_printf(&dn, "uid=%s,ou=people,o=x", uid);
	entry.dn = buf_slice(&dn);
	result = intake_entry(house->intake, &entry, &why);
	assert_true(result == 0 || why != NULL);
	buf_free(&dn);
	return result;
}

static void
begin(struct house *house, bool whole, const char *vector)
{
	struct csn_vector provider = vector_of(vector);
	struct intake_refresh refresh = { .whole = whole, .vector = &provider };

	intake_begin(house->intake, &refresh);
}

static enum intake_outcome
end(struct house *house, const char *cookie, bool present)
{
	struct csn_vector vector = vector_of(cookie);
	const char *why = "";

	return intake_end(house->intake, &vector, present, &why);
}

/* The address of the account of that octet, "" when it is not there. */
static void
assert_mail(struct house *house, char octet, const char *mail)
{
	uint8_t id[LAYOUT_ID_SIZE];
	struct account account = { .address = slice_from("") };
	struct slice record;
	const char *why = "";

	assert_int_equal(store_begin(house->store, &why), 0);
	assert_int_equal(store_get(house->store, STORE_ACCOUNTS,
			     scratch_id(id, (uint8_t)octet), &record, &why),
	    0);
	if (record.size > 0)
		assert_int_equal(account_read(&account, record, &why), 0);
	assert_true(slice_is(account.address, mail));
	store_abort(house->store);
}

/* a to e, changed at 01 to 05 by server 1; the cookie stands at 05. */
static void
fill(struct house *house)
{
	begin(house, true, CSN("1", "05"));
	assert_int_equal(send_account(house, "a", "a@1", CSN("1", "01")), 0);
	assert_int_equal(send_account(house, "b", "b@1", CSN("1", "02")), 0);
	assert_int_equal(send_account(house, "c", "c@1", CSN("1", "03")), 0);
	assert_int_equal(send_account(house, "d", "d@1", CSN("1", "04")), 0);
	assert_int_equal(send_account(house, "e", "e@1", CSN("1", "05")), 0);
	assert_int_equal(end(house, CSN("1", "05"), true), INTAKE_IN_STEP);
	assert_false(intake_cookie(house->intake)->reload);
}

static void
test_fill(void **state)
{
	struct house house = { 0 };

	(void)state;
	house_open(&house);
	assert_true(intake_cookie(house.intake)->reload);
	assert_false(house.status.complete);
	fill(&house);
	assert_true(house.status.complete);
	assert_mail(&house, 'a', "a@1");
	house_close(&house);
}

static void
test_resume(void **state)
{
	struct house house = { 0 };
	uint8_t id[LAYOUT_ID_SIZE];
	const char *why = "";

	(void)state;
	house_open(&house);
	fill(&house);
	/* A refresh of deletions prunes nothing else. */
	begin(&house, false, CSN("1", "07"));
	assert_int_equal(send_account(&house, "a", "a@2", CSN("1", "06")), 0);
	assert_int_equal(
	    intake_delete(house.intake, scratch_id(id, 'b'), &why), 0);
	assert_int_equal(end(&house, CSN("1", "07"), false), INTAKE_IN_STEP);
	assert_mail(&house, 'a', "a@2");
	assert_mail(&house, 'b', "");
	assert_mail(&house, 'c', "c@1");
	/* One of those present prunes what was not named. */
	begin(&house, false, CSN("1", "08"));
	assert_int_equal(
	    intake_present(house.intake, scratch_id(id, 'a'), &why), 0);
	assert_int_equal(
	    intake_present(house.intake, scratch_id(id, 'c'), &why), 0);
	assert_int_equal(end(&house, CSN("1", "08"), true), INTAKE_IN_STEP);
	assert_mail(&house, 'c', "c@1");
	assert_mail(&house, 'd', "");
	house_close(&house);
}

/* The cookie of a refresh that did not come to its end counts for nothing. */
static void
test_broken_off(void **state)
{
	struct house house = { 0 };
	const char *why = "";

	(void)state;
	house_open(&house);
	begin(&house, true, CSN("1", "05"));
	assert_int_equal(send_account(&house, "a", "a@1", CSN("1", "01")), 0);
	intake_abandon(house.intake);
	assert_true(intake_cookie(house.intake)->reload);
	assert_false(house.status.complete);
	fill(&house);
	/* Nor does a CSN that came along with a change that was undone. */
	{
		struct csn_vector vector = vector_of(CSN("1", "09"));

		assert_int_equal(
		    send_account(&house, "a", "a@2", CSN("1", "09")), 0);
		intake_advance(house.intake, &vector);
		intake_abandon(house.intake);
		assert_mail(&house, 'a', "a@1");
		assert_false(
		    csn_vector_covers(&intake_cookie(house.intake)->vector,
			slice_from(CSN("1", "09"))));
		assert_int_equal(
		    send_account(&house, "a", "a@2", CSN("1", "09")), 0);
		intake_advance(house.intake, &vector);
		assert_int_equal(intake_turn(house.intake, &why), 0);
		assert_true(
		    csn_vector_covers(&intake_cookie(house.intake)->vector,
			slice_from(CSN("1", "09"))));
	}
	house_close(&house);
}

static void
test_never_backwards(void **state)
{
	struct house house = { 0 };

	(void)state;
	house_open(&house);
	fill(&house);
	/* A provider at 03: it has b as it was, not c to e, and z that we saw
	 * deleted. */
	begin(&house, true, CSN("1", "03"));
	assert_int_equal(send_account(&house, "a", "a@1", CSN("1", "01")), 0);
	assert_int_equal(send_account(&house, "e", "e@0", CSN("1", "03")), 0);
	assert_int_equal(send_account(&house, "z", "z@1", CSN("1", "02")), 0);
	assert_int_equal(end(&house, CSN("1", "03"), true), INTAKE_PROVISIONAL);
	assert_mail(&house, 'e', "e@1");
	assert_mail(&house, 'd', "d@1");
	assert_mail(&house, 'z', "");
	/* b at 02 is covered by 03 and not shown: it is gone. */
	assert_mail(&house, 'b', "");
	assert_true(intake_cookie(house.intake)->reload);
	assert_true(csn_vector_covers(
	    &intake_cookie(house.intake)->vector, slice_from(CSN("1", "05"))));
	/* What it does afterwards is followed. */
	assert_int_equal(send_account(&house, "a", "a@2", CSN("1", "06")), 0);
	house_close(&house);
}

/* Past what was seen, the provider is believed: it lost d and e's change. */
static void
test_lost_for_good(void **state)
{
	struct house house = { 0 };

	(void)state;
	house_open(&house);
	fill(&house);
	begin(&house, true, CSN("1", "09"));
	assert_int_equal(send_account(&house, "a", "a@2", CSN("1", "09")), 0);
	assert_int_equal(send_account(&house, "e", "e@0", CSN("1", "03")), 0);
	assert_int_equal(send_account(&house, "z", "z@1", CSN("1", "02")), 0);
	assert_int_equal(end(&house, CSN("1", "09"), true), INTAKE_IN_STEP);
	assert_mail(&house, 'e', "e@0");
	assert_mail(&house, 'd', "");
	assert_mail(&house, 'z', "z@1");
	house_close(&house);
}

/* An entry of a server that the provider has not heard of is not pruned. */
static void
test_other_server(void **state)
{
	struct house house = { 0 };
	struct csn_vector vector = vector_of(CSN("2", "06"));
	const char *why = "";

	(void)state;
	house_open(&house);
	fill(&house);
	assert_int_equal(send_account(&house, "n", "n@1", CSN("2", "06")), 0);
	intake_advance(house.intake, &vector);
	assert_int_equal(intake_turn(house.intake, &why), 0);
	begin(&house, true, CSN("1", "07"));
	assert_int_equal(send_account(&house, "a", "a@2", CSN("1", "07")), 0);
	assert_int_equal(end(&house, CSN("1", "07"), true), INTAKE_PROVISIONAL);
	assert_mail(&house, 'a', "a@2");
	assert_mail(&house, 'n', "n@1");
	house_close(&house);
}

static void
test_prune_max(void **state)
{
	struct house house = { 0 };
	char uid[2] = { 0 };

	(void)state;
	house_open(&house);
	begin(&house, true, CSN("1", "05"));
	for (uid[0] = 'A'; uid[0] <= 'Z'; uid[0]++)
		assert_int_equal(
		    send_account(&house, uid, "x@1", CSN("1", "01")), 0);
	assert_int_equal(end(&house, CSN("1", "05"), true), INTAKE_IN_STEP);
	/* 6 of 26 are too many. */
	begin(&house, true, CSN("1", "06"));
	for (uid[0] = 'A'; uid[0] <= 'T'; uid[0]++)
		assert_int_equal(
		    send_account(&house, uid, "x@2", CSN("1", "06")), 0);
	assert_int_equal(end(&house, CSN("1", "06"), true), INTAKE_STOPPED);
	assert_mail(&house, 'A', "x@2");
	assert_mail(&house, 'Z', "x@1");
	assert_true(intake_cookie(house.intake)->reload);
	/* 5 are not. */
	begin(&house, true, CSN("1", "07"));
	for (uid[0] = 'A'; uid[0] <= 'U'; uid[0]++)
		assert_int_equal(
		    send_account(&house, uid, "x@2", CSN("1", "06")), 0);
	assert_int_equal(end(&house, CSN("1", "07"), true), INTAKE_IN_STEP);
	assert_mail(&house, 'Z', "");
	assert_false(intake_cookie(house.intake)->reload);
	/* All of them never go. */
	begin(&house, true, CSN("1", "08"));
	assert_int_equal(end(&house, CSN("1", "08"), true), INTAKE_STOPPED);
	assert_mail(&house, 'A', "x@2");
	house_close(&house);
}

static void
test_hidden_csn(void **state)
{
	struct house house = { 0 };

	(void)state;
	house_open(&house);
	begin(&house, true, CSN("1", "05"));
	assert_int_equal(send_account(&house, "a", "a@1", ""), -1);
	assert_int_equal(intake_fault(house.intake), INTAKE_FAULT_SOURCE);
	intake_abandon(house.intake);
	assert_mail(&house, 'a', "");
	house_close(&house);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_broken_off),
		cmocka_unit_test(test_never_backwards),
		cmocka_unit_test(test_lost_for_good),
		cmocka_unit_test(test_other_server),
		cmocka_unit_test(test_prune_max),
		cmocka_unit_test(test_hidden_csn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
