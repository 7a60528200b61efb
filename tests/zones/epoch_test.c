#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/zones/fixture.h"
#include "zones/epoch.h"

/* CSNs of server N at second S. */
#define CSN(n, s) "202601020304" #s ".000000Z#000000#00" #n "#000000"

static const struct {
	const char *mine;
	int64_t mine_us;
	const char *theirs;
	int64_t theirs_us;
	enum epoch_order order;
} rows[] = {
	{ CSN(1, 05), 1, CSN(1, 04), 9, EPOCH_NEWER },
	{ CSN(1, 04), 9, CSN(1, 05), 1, EPOCH_OLDER },
	{ CSN(1, 04), 2, CSN(1, 04), 1, EPOCH_NEWER },
	{ CSN(1, 04), 1, CSN(1, 04), 1, EPOCH_OLDER },
	{ CSN(1, 04), 1, CSN(1, 04), 2, EPOCH_OLDER },
	{ CSN(1, 04), 1, CSN(1, 04), 1 + EPOCH_AHEAD_MAX_US, EPOCH_OLDER },
	{ CSN(1, 04), 1, CSN(1, 04), 2 + EPOCH_AHEAD_MAX_US, EPOCH_AHEAD },
	/* Wrong clocks do not help older data. */
	{ CSN(1, 04), 1, CSN(1, 05), 2 + EPOCH_AHEAD_MAX_US, EPOCH_OLDER },
	/* One more server has written. */
	{ CSN(1, 04) " " CSN(2, 01), 1, CSN(1, 04), 9, EPOCH_NEWER },
	{ CSN(1, 04), 9, CSN(1, 04) " " CSN(2, 01), 1, EPOCH_OLDER },
	/* Each knows something that the other does not. */
	{ CSN(1, 06) " " CSN(2, 01), 1, CSN(1, 04) " " CSN(2, 05), 9,
	    EPOCH_NEWER },
	{ CSN(1, 04) " " CSN(2, 05), 9, CSN(1, 06) " " CSN(2, 01), 1,
	    EPOCH_OLDER },
	/* Without a directory time alone counts. */
	{ "", 2, "", 1, EPOCH_NEWER },
	{ "", 9, CSN(1, 04), 1, EPOCH_OLDER },
	{ CSN(1, 04), 1, "", 9, EPOCH_NEWER },
};

static void
test_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct epoch mine, theirs;

		epoch_set(&mine, slice_from(rows[i].mine), rows[i].mine_us);
		epoch_set(
		    &theirs, slice_from(rows[i].theirs), rows[i].theirs_us);
		if (epoch_order(&mine, &theirs) != rows[i].order)
			fail_msg("row %zu", i);
	}
}

static void
test_record(void **state)
{
	ldns_rdf *owner = ldns_dname_new_frm_str("e.cell.test");
	struct epoch epoch, again;
	ldns_rr *rr;
	char *text;

	(void)state;
	epoch_set(&epoch, slice_from(CSN(1, 04) " nonsense " CSN(2, 05)),
	    INT64_C(1767323045000006));
	rr = epoch_record(&epoch, owner, "host.test");
	assert_non_null(rr);
	text = ldns_rr2str(rr);
	assert_string_equal(text,
	    "e.cell.test.\t0\tIN\tTXT\t\"v=1\" "
	    "\"time=20260102030405.000006Z\" \"by=host.test\" "
	    "\"csn=" CSN(1, 04) "\" \"csn=" CSN(2, 05) "\"\n");
	assert_int_equal(epoch_parse(&again, rr), 0);
	assert_true(csn_vector_equal(&epoch.csns, &again.csns));
	assert_int_equal(again.time_us, epoch.time_us);
	assert_string_equal(again.by, "host.test");
	LDNS_FREE(text);
	ldns_rr_free(rr);
	ldns_rdf_deep_free(owner);
}

static const char *const bad[] = {
	"e.test. 0 IN TXT \"v=spf1\"",
	"e.test. 0 IN TXT \"v=1\"",
	"e.test. 0 IN TXT \"v=2\" \"time=20260102030405Z\"",
	"e.test. 0 IN TXT \"v=1\" \"time=yesterday\"",
	"e.test. 0 IN TXT \"v=1\" \"time=20260102030405Z\" \"csn=1\"",
	"e.test. 0 IN TXT \"\"",
};

static void
test_bad_records(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rrsets set = fixture_set(bad[i]);
		struct epoch epoch;

		assert_int_equal(epoch_parse(&epoch, fixture_first(&set)), -1);
		rrsets_free(&set);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_bad_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
