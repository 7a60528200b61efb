#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/auth_gss.h"

#define OID "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"

static struct slice
text(const char *octets, size_t size)
{
	return slice_of(octets, size);
}

#define TOKEN(octets) gss_token_request(text(octets, sizeof(octets) - 1))

static void
test_requests(void **state)
{
	static char large[300];
	static const char head[] = "\x60\x82\x01\x28" OID "\x01\x00";

	(void)state;
	assert_true(slice_is(TOKEN("\x60\x10" OID "\x01\x00"
				   "abc"),
	    "abc"));
	assert_true(slice_is(TOKEN("\x60\x81\x10" OID "\x01\x00"
				   "abc"),
	    "abc"));
	memcpy(large, head, sizeof(head) - 1);
	assert_int_equal(gss_token_request(text(large, sizeof(large))).size,
	    sizeof(large) - (sizeof(head) - 1));
}

/* Malformed, cut short, or somebody else's. */
static void
test_what_is_none(void **state)
{
	static const char whole[] = "\x60\x81\x10" OID "\x01\x00"
				    "abc";

	(void)state;
	for (size_t size = 0; size < sizeof(whole) - 1; size++)
		assert_int_equal(gss_token_request(text(whole, size)).size, 0);
	assert_int_equal(TOKEN("\x61\x10" OID "\x01\x00"
			       "abc")
			     .size,
	    0);
	assert_int_equal(TOKEN("\x60\x10" OID "\x02\x00"
			       "abc")
			     .size,
	    0);
	assert_int_equal(TOKEN("\x60\x10\x06\x06\x2b\x06\x01\x05\x05\x02"
			       "abcdefgh")
			     .size,
	    0);
	assert_int_equal(TOKEN("\x60\x84\x00\x00\x00\x10" OID "\x01\x00"
			       "abc")
			     .size,
	    0);
	assert_int_equal(TOKEN("\x60\xff" OID "\x01\x00"
			       "abc")
			     .size,
	    0);
	assert_int_equal(TOKEN("\x60\x80" OID "\x01\x00"
			       "abc")
			     .size,
	    0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
