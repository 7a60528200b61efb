#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replica/realm.h"
#include "tests/lib/entry.h"

#define NOW INT64_C(1800000000000000) /* 20270115080000Z */

static struct cell *
make_cell(void)
{
	struct cell *cell = cell_new();

	entry_add(cell,
	    ENTRY({ CELL_KIND, "host" }, { CELL_NAME, "kdc1" },
		{ CELL_SITE, "north" },
		{ CELL_SERVICE, "kerberos://192.0.2.1" },
		{ CELL_SERVICE, "kpasswd://192.0.2.1:4640" },
		{ CELL_SERVICE, "ldap://192.0.2.1" },
		{ CELL_TRANSITION, "20270115075959.000000Z 0 failed 100" },
		{ CELL_TRANSITION, "20270115080001.000000Z 0 up 100" }));
	entry_add(cell, ENTRY({ CELL_KIND, "host" }, { CELL_NAME, "kdc2" },
			    { CELL_SITE, "two words" }, { CELL_STATE, "drain" },
			    { CELL_SERVICE, "kerberos://[2001:db8::2]:750" }));
	entry_add(cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox1" },
			    { CELL_STATE, "up" }, { CELL_POOL, "main" },
			    { CELL_SERVICE, "kerberos://Mbox1.x.test" }));
	assert_int_equal(cell_finish(cell), 0);
	return cell;
}

static void
take_name(void *context, const char *name)
{
	(void)buf_printf(context, "%s ", name);
}

static void
assert_text(const struct cell *cell, const struct addresses *addresses,
    int64_t now_us, const char *expected, int64_t expected_next_us)
{
	struct buf text = buf_bounded(REALM_FILE_MAX);
	int64_t next_us;

	assert_int_equal(realm_format(&text, slice_from("X.TEST"), cell,
			     addresses, now_us, &next_us),
	    0);
	assert_string_equal(buf_string(&text), expected);
	assert_int_equal(next_us, expected_next_us);
	buf_free(&text);
}

static void
test_format(void **state)
{
	static const char *const list[] = { "192.0.2.3", "2001:db8::3" };
	struct addresses addresses = { .names = NULL };
	struct cell *cell = make_cell();
	struct buf names = buf_bounded(1000);

	(void)state;
	realm_names(cell, take_name, &names);
	assert_string_equal(buf_string(&names), "Mbox1.x.test ");
	buf_free(&names);
	assert_text(cell, &addresses, NOW,
	    "kdc X.TEST 192.0.2.1 88 kdc1 north down\n"
	    "kpasswd X.TEST 192.0.2.1 4640 kdc1 north down\n"
	    "kdc X.TEST 2001:db8::2 750 kdc2 - down\n",
	    NOW + 1000000);
	(void)addresses_set(
	    addresses_want(&addresses, slice_from("mbox1.x.test")), list, 2);
	assert_text(cell, &addresses, NOW + 1000000,
	    "kdc X.TEST 192.0.2.3 88 mbox1 - up\n"
	    "kdc X.TEST 2001:db8::3 88 mbox1 - up\n"
	    "kdc X.TEST 192.0.2.1 88 kdc1 north up\n"
	    "kpasswd X.TEST 192.0.2.1 4640 kdc1 north up\n"
	    "kdc X.TEST 2001:db8::2 750 kdc2 - down\n",
	    INT64_MAX);
	addresses_free(&addresses);
	cell_free(&cell);
}

/* What does not fit is no half of a file. */
static void
test_bound(void **state)
{
	struct addresses addresses = { .names = NULL };
	struct cell *cell = make_cell();
	struct buf text = buf_bounded(50);
	int64_t next_us;

	(void)state;
	assert_int_equal(realm_format(&text, slice_from("X.TEST"), cell,
			     &addresses, NOW, &next_us),
	    -1);
	buf_free(&text);
	cell_free(&cell);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
