#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "lib/endpoint.h"

static const struct {
	const char *text;
	int family; /* 0: none */
	const char *address;
	uint16_t port;
} rows[] = {
	{ "192.0.2.1", AF_INET, "192.0.2.1", 53 },
	{ "192.0.2.1:5300", AF_INET, "192.0.2.1", 5300 },
	{ "2001:db8::1", AF_INET6, "2001:db8::1", 53 },
	{ "[2001:db8::1]", AF_INET6, "2001:db8::1", 53 },
	{ "[2001:db8::1]:65535", AF_INET6, "2001:db8::1", 65535 },
	{ "", 0, NULL, 0 },
	{ "192.0.2.1:", 0, NULL, 0 },
	{ "192.0.2.1:0", 0, NULL, 0 },
	{ "192.0.2.1:65536", 0, NULL, 0 },
	{ "192.0.2.1:-1", 0, NULL, 0 },
	{ "host.test", 0, NULL, 0 },
	{ "[2001:db8::1", 0, NULL, 0 },
	{ "[2001:db8::1]5300", 0, NULL, 0 },
	{ "[2001:db8::1]:", 0, NULL, 0 },
	{ "[192.0.2.1", 0, NULL, 0 },
	{ "192.0.2.1.192.0.2.1.192.0.2.1.192.0.2.1.192.0.2.1.192.0.2.1.1", 0,
	    NULL, 0 },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct endpoint endpoint;
		const void *storage = &endpoint.address;
		const struct sockaddr_in *v4 = storage;
		const struct sockaddr_in6 *v6 = storage;
		char text[INET6_ADDRSTRLEN];
		int result =
		    endpoint_parse(&endpoint, slice_from(rows[i].text), 53);

		assert_int_equal(result, rows[i].family ? 0 : -1);
		if (result < 0)
			continue;
		assert_int_equal(endpoint.address.ss_family, rows[i].family);
		assert_non_null(inet_ntop(rows[i].family,
		    rows[i].family == AF_INET ? (const void *)&v4->sin_addr
					      : (const void *)&v6->sin6_addr,
		    text, sizeof(text)));
		assert_string_equal(text, rows[i].address);
		assert_int_equal(
		    ntohs(rows[i].family == AF_INET ? v4->sin_port
						    : v6->sin6_port),
		    rows[i].port);
	}
}

/* A NUL is an error, not an end. */
static void
test_nul(void **state)
{
	struct endpoint endpoint;

	(void)state;
	assert_int_equal(
	    endpoint_parse(&endpoint, slice_of("192.0.2.1\0x", 11), 53), -1);
	assert_int_equal(
	    endpoint_parse(&endpoint, slice_of("192.0.2.1\0:53", 13), 53), -1);
}

static void
test_format(void **state)
{
	static const char *const texts[] = { "192.0.2.1:5300",
		"[2001:db8::1]:65535" };
	struct endpoint endpoint, other;
	struct buf out = buf_bounded(100);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		buf_clear(&out);
		assert_int_equal(
		    endpoint_parse(&endpoint, slice_from(texts[i]), 1), 0);
		assert_int_equal(endpoint_format(&out, &endpoint), 0);
		assert_string_equal(buf_string(&out), texts[i]);
	}
	buf_free(&out);
	endpoint = (struct endpoint){ 0 };
	assert_int_equal(endpoint_format(&out, &endpoint), -1);
	(void)endpoint_parse(&other, slice_from(texts[0]), 1);
	assert_false(endpoint_equal(&endpoint, &other));
}

static void
test_equal(void **state)
{
	static const char *const texts[] = { "192.0.2.1:53", "192.0.2.1:54",
		"192.0.2.2:53", "[2001:db8::1]:53", "[2001:db8::1]:54",
		"[2001:db8::2]:53" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(texts); j++) {
			struct endpoint a, b;

			(void)endpoint_parse(&a, slice_from(texts[i]), 1);
			(void)endpoint_parse(&b, slice_from(texts[j]), 1);
			assert_int_equal(endpoint_equal(&a, &b), i == j);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
