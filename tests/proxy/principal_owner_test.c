#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/principal_owner.h"

/* uid NULL: it is nobody's. */
static const struct {
	const char *principal, *uid;
} rows[] = {
	{ "bob@EXAMPLE.ORG", "bob" },
	{ "Bob@EXAMPLE.ORG", "Bob" },
	{ "a\\/b@EXAMPLE.ORG", "a/b" },
	{ "bob\\@example.org@EXAMPLE.ORG", "bob@example.org" },
	{ "a\\\\b@EXAMPLE.ORG", "a\\b" },
	{ "a\\tb@EXAMPLE.ORG", "a\tb" },

	{ "bob@example.org", NULL },
	{ "bob@EXAMPLE.ORG.", NULL },
	{ "bob@OTHER@EXAMPLE.ORG", NULL },
	{ "bob", NULL },
	{ "bob@", NULL },
	{ "@EXAMPLE.ORG", NULL },
	{ "", NULL },
	{ "bob/admin@EXAMPLE.ORG", NULL },
	{ "/@EXAMPLE.ORG", NULL },
	{ "a\\0b@EXAMPLE.ORG", NULL },
	{ "bob\\", NULL },
	{ "bob\\@EXAMPLE.ORG", NULL },
};

static void
test_uids(void **state)
{
	struct buf uid = buf_bounded(64);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int result = principal_owner_uid(
		    slice_from(rows[i].principal), "EXAMPLE.ORG", &uid);

		if (result != (rows[i].uid ? 0 : -1) ||
		    (rows[i].uid && !slice_is(buf_slice(&uid), rows[i].uid)))
			fail_msg("%s", rows[i].principal);
	}
	buf_free(&uid);
}

static void
test_what_is_too_long(void **state)
{
	struct buf uid = buf_bounded(2);

	(void)state;
	assert_int_equal(principal_owner_uid(slice_from("bob@EXAMPLE.ORG"),
			     "EXAMPLE.ORG", &uid),
	    -1);
	buf_free(&uid);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uids),
		cmocka_unit_test(test_what_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
