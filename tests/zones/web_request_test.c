#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "zones/web_request.h"

#define GET "GET /a HTTP/1.1\r\n"

static const struct {
	const char *input;
	enum web_request_result result;
	const char *path, *query, *host;
} rows[] = {
	{ GET "\r\n", WEB_REQUEST_DONE, "/a", "", "" },
	{ GET "Host: x.test\r\n\r\n", WEB_REQUEST_DONE, "/a", "", "x.test" },
	{ GET "hOST:x.test.:8080\r\n\r\n", WEB_REQUEST_DONE, "/a", "",
	    "x.test" },
	{ GET "Host: [::1]\r\nA: b\r\n\r\n", WEB_REQUEST_DONE, "/a", "",
	    "[::1]" },
	{ "GET /a?b=c&emailaddress=d@e HTTP/1.0\n\n", WEB_REQUEST_DONE, "/a",
	    "b=c&emailaddress=d@e", "" },
	{ GET "\r\nleft alone", WEB_REQUEST_DONE, "/a", "", "" },
	/* Not all of it is there. */
	{ "", WEB_REQUEST_MORE, NULL, NULL, NULL },
	{ "GET", WEB_REQUEST_MORE, NULL, NULL, NULL },
	{ GET, WEB_REQUEST_MORE, NULL, NULL, NULL },
	{ GET "Host: x\r\n", WEB_REQUEST_MORE, NULL, NULL, NULL },
	/* Not HTTP/1 as it should be. */
	{ "\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "GET /a\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "GET /a SMTP\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "GET /a HTTP/2\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "GET a HTTP/1.1\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "GET http://x/a HTTP/1.1\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "GET /a b HTTP/1.1\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "GET /\x01 HTTP/1.1\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "GET /\xc3\xa4 HTTP/1.1\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ "\x16\x03\x01\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ GET "no field\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ GET ": none\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ GET "Host : x\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ GET " Host: x\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
	{ GET "Host: x\r\nHost: y\r\n", WEB_REQUEST_BAD, NULL, NULL, NULL },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct web_request request;
		enum web_request_result result =
		    web_request_parse(&request, slice_from(rows[i].input));

		if (result != rows[i].result)
			fail_msg("row %zu: %d", i, (int)result);
		if (result != WEB_REQUEST_DONE)
			continue;
		assert_true(slice_is(request.method, "GET"));
		assert_true(slice_is(request.path, rows[i].path));
		assert_true(slice_is(request.query, rows[i].query));
		assert_true(slice_is(request.host, rows[i].host));
	}
}

static void
test_fields(void **state)
{
	struct web_request request = { .query =
					   slice_from("a=1&&ab=2&a=3&c&d=") };

	(void)state;
	assert_true(slice_is(web_request_field(&request, "a"), "1"));
	assert_true(slice_is(web_request_field(&request, "ab"), "2"));
	assert_int_equal(web_request_field(&request, "c").size, 0);
	assert_int_equal(web_request_field(&request, "d").size, 0);
	assert_int_equal(web_request_field(&request, "b").size, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
