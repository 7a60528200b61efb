#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "lib/slice.h"
#include "proxy/network.h"

static union address
address_of(const char *text)
{
	union address address = { 0 };

	if (inet_pton(AF_INET, text, &address.in.sin_addr) == 1) {
		address.any.sa_family = AF_INET;
	} else {
		address.any.sa_family = AF_INET6;
		assert_int_equal(
		    inet_pton(AF_INET6, text, &address.in6.sin6_addr), 1);
	}
	return address;
}

static const struct {
	const char *network, *address;
	bool contains;
} rows[] = {
	{ "192.0.2.0/24", "192.0.2.0", true },
	{ "192.0.2.0/24", "192.0.2.255", true },
	{ "192.0.2.0/24", "192.0.3.0", false },
	{ "192.0.2.0/24", "::ffff:192.0.2.7", true },
	{ "192.0.2.0/24", "::192.0.2.7", false },
	{ "192.0.2.4/30", "192.0.2.7", true },
	{ "192.0.2.4/30", "192.0.2.8", false },
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "192.0.2.1/32", "192.0.2.1", true },
	{ "0.0.0.0/0", "203.0.113.9", true },
	{ "0.0.0.0/0", "2001:db8::1", false },
	{ "0.0.0.0/1", "127.255.255.255", true },
	{ "0.0.0.0/1", "128.0.0.0", false },
	{ "2001:db8::/32", "2001:db8:ffff::1", true },
	{ "2001:db8::/32", "2001:db9::", false },
	{ "2001:db8:0:80::/57", "2001:db8:0:ff::1", true },
	{ "2001:db8:0:80::/57", "2001:db8:0:7f::1", false },
	{ "::1", "::1", true },
	{ "::1", "::2", false },
	{ "::/0", "2001:db8::1", true },
	{ "::/0", "192.0.2.1", false },
	{ "::ffff:192.0.2.0/120", "192.0.2.1", true },
};

static void
test_contains(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		union address address = address_of(rows[i].address);
		struct network network;
		const char *why;

		print_message("%s %s\n", rows[i].network, rows[i].address);
		assert_int_equal(
		    network_parse(rows[i].network, &network, &why), 0);
		assert_int_equal(
		    network_contains(&network, &address), rows[i].contains);
	}
}

static void
test_faults(void **state)
{
	static const char *const faults[] = { "", "/", "/8", "192.0.2.0/",
		"192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/8x",
		"192.0.2.0/ 24", " 192.0.2.0/24", "192.0.2/24", "192.0.2.1/24",
		"host/24", "2001:db8::/129", "2001:db8::1/64",
		"2001:db8::/32/32", "[::1]", "::1%lo",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/3" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct network network;
		const char *why = NULL;

		print_message("%s\n", faults[i]);
		assert_int_equal(network_parse(faults[i], &network, &why), -1);
		assert_non_null(why);
	}
}

static void
test_prefix(void **state)
{
	static const struct {
		const char *address;
		unsigned bits_ipv4, bits_ipv6;
		const char *prefix;
	} prefixes[] = {
		{ "192.0.2.77", 32, 64, "::ffff:192.0.2.77" },
		{ "192.0.2.77", 24, 64, "::ffff:192.0.2.0" },
		{ "::ffff:192.0.2.77", 24, 0, "::ffff:192.0.2.0" },
		{ "2001:db8:1:2:3:4:5:6", 8, 64, "2001:db8:1:2::" },
		{ "2001:db8:1:2:3:4:5:6", 8, 128, "2001:db8:1:2:3:4:5:6" },
		{ "2001:db8:1:2:3:4:5:6", 8, 0, "::" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		union address address = address_of(prefixes[i].address);
		uint8_t prefix[NETWORK_ADDRESS_SIZE];
		char text[INET6_ADDRSTRLEN];

		network_prefix(&address, prefixes[i].bits_ipv4,
		    prefixes[i].bits_ipv6, prefix);
		inet_ntop(AF_INET6, prefix, text, sizeof(text));
		assert_string_equal(text, prefixes[i].prefix);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contains),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
