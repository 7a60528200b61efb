#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "proxy/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define OF_TCP4   "\xc0\0\2\1\xc6\x33\x64\7\x30\x39\0\x8f"
#define OF_TCP6                                                                \
	"\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"                                \
	"\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x30\x39\3\xe1"

struct row {
	const char *what;
	const char *octets;
	size_t size;
	enum proxy_header_result result;
	const char *client; /* "ADDRESS PORT ADDRESS PORT"; "": not proxied; of
			       BAD: why */
	size_t behind;      /* octets behind the header */
};

#define IS(text) text, sizeof(text) - 1

static const struct row rows[] = {
	/* version 1 */
	{ "IPv4", IS("PROXY TCP4 192.0.2.1 198.51.100.7 12345 143\r\n"),
	    PROXY_HEADER_DONE, "192.0.2.1 12345 198.51.100.7 143", 0 },
	{ "with a command behind",
	    IS("PROXY TCP4 192.0.2.1 198.51.100.7 0 65535\r\na LOGIN\r\n"),
	    PROXY_HEADER_DONE, "192.0.2.1 0 198.51.100.7 65535", 9 },
	{ "IPv6", IS("PROXY TCP6 2001:db8::1 ::1 1 993\r\n"), PROXY_HEADER_DONE,
	    "2001:db8::1 1 ::1 993", 0 },
	{ "longest",
	    IS("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	    PROXY_HEADER_DONE,
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535",
	    0 },
	{ "UNKNOWN", IS("PROXY UNKNOWN\r\n"), PROXY_HEADER_DONE, "", 0 },
	{ "UNKNOWN with more",
	    IS("PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n*"),
	    PROXY_HEADER_DONE, "", 1 },
	{ "nothing yet", IS(""), PROXY_HEADER_MORE, NULL, 0 },
	{ "one octet", IS("P"), PROXY_HEADER_MORE, NULL, 0 },
	{ "without its end", IS("PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r"),
	    PROXY_HEADER_MORE, NULL, 0 },
	{ "bare LF", IS("PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n"),
	    PROXY_HEADER_BAD, "its line does not end in CRLF", 0 },
	{ "nothing but the word", IS("PROXY \r\n"), PROXY_HEADER_BAD,
	    "its line cannot be understood", 0 },
	{ "bare LF at once", IS("PROXY \n"), PROXY_HEADER_BAD,
	    "its line does not end in CRLF", 0 },
	{ "small letters", IS("proxy TCP4 "), PROXY_HEADER_BAD,
	    "it is no header of the PROXY protocol", 0 },
	{ "a command", IS("a LOGIN bob secret\r\n"), PROXY_HEADER_BAD,
	    "it is no header of the PROXY protocol", 0 },
	{ "TLS", IS("\x16\x03\x01"), PROXY_HEADER_BAD,
	    "it is no header of the PROXY protocol", 0 },
	{ "no family", IS("PROXY TCP5 192.0.2.1 198.51.100.7 1 2\r\n"),
	    PROXY_HEADER_BAD, "its line cannot be understood", 0 },
	{ "wrong family", IS("PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n"),
	    PROXY_HEADER_BAD, "its line cannot be understood", 0 },
	{ "short of a port", IS("PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n"),
	    PROXY_HEADER_BAD, "its line cannot be understood", 0 },
	{ "more words", IS("PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n"),
	    PROXY_HEADER_BAD, "its line cannot be understood", 0 },
	{ "two spaces", IS("PROXY TCP4  192.0.2.1 198.51.100.7 1 2\r\n"),
	    PROXY_HEADER_BAD, "its line cannot be understood", 0 },
	{ "port too large", IS("PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n"),
	    PROXY_HEADER_BAD, "its line cannot be understood", 0 },
	{ "port with a zero before it",
	    IS("PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n"), PROXY_HEADER_BAD,
	    "its line cannot be understood", 0 },
	{ "negative port", IS("PROXY TCP4 192.0.2.1 198.51.100.7 -1 2\r\n"),
	    PROXY_HEADER_BAD, "its line cannot be understood", 0 },
	{ "address with a zero before it",
	    IS("PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n"), PROXY_HEADER_BAD,
	    "its line cannot be understood", 0 },
	{ "NUL in an address",
	    IS("PROXY TCP4 192.0.2.1\0 198.51.100.7 1 2\r\n"), PROXY_HEADER_BAD,
	    "its line cannot be understood", 0 },
	{ "CR in it", IS("PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\r\n"),
	    PROXY_HEADER_BAD, "its line cannot be understood", 0 },
	{ "line of 107 octets without an end",
	    IS("PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r"),
	    PROXY_HEADER_BAD, "its line is too long", 0 },
	/* version 2 */
	{ "IPv4, 2", IS(SIGNATURE "\x21\x11\0\x0c" OF_TCP4), PROXY_HEADER_DONE,
	    "192.0.2.1 12345 198.51.100.7 143", 0 },
	{ "IPv6, 2, TLS behind",
	    IS(SIGNATURE "\x21\x21\0\x24" OF_TCP6 "\x16\x03"),
	    PROXY_HEADER_DONE, "2001:db8::1 12345 2001:db8::2 993", 2 },
	{ "TLVs: authority, SSL, none",
	    IS(SIGNATURE "\x21\x11\0\x22" OF_TCP4
			 "\2\0\6a.test\x20\0\7\1\0\0\0\0\1\2\4\0\0"),
	    PROXY_HEADER_DONE, "192.0.2.1 12345 198.51.100.7 143", 0 },
	{ "LOCAL", IS(SIGNATURE "\x20\0\0\0"), PROXY_HEADER_DONE, "", 0 },
	{ "LOCAL with addresses and rubbish",
	    IS(SIGNATURE "\x20\x11\0\x0f" OF_TCP4 "abc*"), PROXY_HEADER_DONE,
	    "", 1 },
	{ "UNSPEC", IS(SIGNATURE "\x21\0\0\3abc"), PROXY_HEADER_DONE, "", 0 },
	{ "half a signature", IS("\r\n\r\n\0\r"), PROXY_HEADER_MORE, NULL, 0 },
	{ "no length yet", IS(SIGNATURE "\x21\x11\0"), PROXY_HEADER_MORE, NULL,
	    0 },
	{ "truncated", IS(SIGNATURE "\x21\x11\0\x0c\xc0\0"), PROXY_HEADER_MORE,
	    NULL, 0 },
	{ "other signature", IS("\r\n\r\n\0\r\nQUIT\r"), PROXY_HEADER_BAD,
	    "it is no header of the PROXY protocol", 0 },
	{ "version 1 in octets", IS(SIGNATURE "\x11\x11\0\0"), PROXY_HEADER_BAD,
	    "its version or command is unknown", 0 },
	{ "version 3", IS(SIGNATURE "\x31\x11\0\0"), PROXY_HEADER_BAD,
	    "its version or command is unknown", 0 },
	{ "command 2", IS(SIGNATURE "\x22\x11\0\0"), PROXY_HEADER_BAD,
	    "its version or command is unknown", 0 },
	{ "too long", IS(SIGNATURE "\x21\x11\x0f\xf1"), PROXY_HEADER_BAD,
	    "it is too long", 0 },
	{ "as long as may be", IS(SIGNATURE "\x21\x11\x0f\xf0"),
	    PROXY_HEADER_MORE, NULL, 0 },
	{ "too short for IPv4", IS(SIGNATURE "\x21\x11\0\x0b" OF_TCP4),
	    PROXY_HEADER_BAD, "it is too short for its addresses", 0 },
	{ "too short for IPv6", IS(SIGNATURE "\x21\x21\0\x23" OF_TCP6),
	    PROXY_HEADER_BAD, "it is too short for its addresses", 0 },
	{ "too short for UNIX", IS(SIGNATURE "\x21\x31\0\4/a/b"),
	    PROXY_HEADER_BAD, "it is too short for its addresses", 0 },
	{ "datagrams", IS(SIGNATURE "\x21\x12\0\x0c" OF_TCP4), PROXY_HEADER_BAD,
	    "it is of no family of streams", 0 },
	{ "family 4", IS(SIGNATURE "\x21\x41\0\x0c" OF_TCP4), PROXY_HEADER_BAD,
	    "it is of no family of streams", 0 },
	{ "half a TLV", IS(SIGNATURE "\x21\x11\0\x0e" OF_TCP4 "\2\0"),
	    PROXY_HEADER_BAD, "its TLVs have wrong lengths", 0 },
	{ "TLV longer than the header",
	    IS(SIGNATURE "\x21\x11\0\x10" OF_TCP4 "\2\0\2a"), PROXY_HEADER_BAD,
	    "its TLVs have wrong lengths", 0 },
};

static void
describe(const struct proxy_header *header, char *text, size_t size)
{
	char client[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN];

	text[0] = '\0';
	if (!header->proxied)
		return;
	address_text(&header->client, client, sizeof(client));
	address_text(&header->local, local, sizeof(local));
	(void)snprintf(text, size, "%s %u %s %u", client,
	    address_port(&header->client), local, address_port(&header->local));
}

static void
check(const struct row *row, struct slice input)
{
	struct proxy_header header;
	size_t size = 0;
	const char *why = NULL;
	char text[128];
	enum proxy_header_result result =
	    proxy_header_parse(input, &header, &size, &why);

	print_message("%s, %zu octets\n", row->what, input.size);
	if (input.size < row->size - row->behind) {
		/* Of what is bad in the end, any part may already be. */
		assert_int_not_equal(result, PROXY_HEADER_DONE);
		assert_true(result == PROXY_HEADER_MORE ||
			    row->result == PROXY_HEADER_BAD);
		return;
	}
	assert_int_equal(result, row->result);
	if (result == PROXY_HEADER_BAD)
		assert_string_equal(why, row->client);
	if (result != PROXY_HEADER_DONE)
		return;
	assert_int_equal(size, row->size - row->behind);
	describe(&header, text, sizeof(text));
	assert_string_equal(text, row->client);
}

/* Every row, and every part of it that comes before the rest. */
static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t size = 0; size <= rows[i].size; size++)
			check(&rows[i], slice_of(rows[i].octets, size));
}

/* A client behind a socket of the balancer's own host. */
static void
test_unix(void **state)
{
	struct buf input = buf_bounded(512);
	struct proxy_header header;
	const char *why;
	size_t size;

	(void)state;
	buf_add(&input, SIGNATURE "\x21\x31\0\xd8", 16);
	for (int i = 0; i < 216; i++)
		buf_add_char(&input, 'x');
	assert_int_equal(
	    proxy_header_parse(buf_slice(&input), &header, &size, &why),
	    PROXY_HEADER_DONE);
	assert_int_equal(size, 232);
	assert_false(header.proxied);
	buf_free(&input);
}

/* What is written is read as the same. */
static void
test_round_trip(void **state)
{
	static const struct {
		const char *line, *text;
	} pairs[] = {
		{ "PROXY TCP4 192.0.2.1 198.51.100.7 12345 143\r\n",
		    "192.0.2.1 12345 198.51.100.7 143" },
		{ "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
		    "2001:db8::1 1 2001:db8::2 65535" },
	};
	struct proxy_header header, again;
	char text[128];
	const char *why;
	size_t size;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct buf out = buf_bounded(512);

		assert_int_equal(proxy_header_parse(slice_from(pairs[i].line),
				     &header, &size, &why),
		    PROXY_HEADER_DONE);
		proxy_header_add(&out, &header.client, &header.local);
		assert_int_equal(
		    proxy_header_parse(buf_slice(&out), &again, &size, &why),
		    PROXY_HEADER_DONE);
		assert_int_equal(size, out.size);
		describe(&again, text, sizeof(text));
		assert_string_equal(text, pairs[i].text);
		buf_free(&out);
	}
}

static void
test_written(void **state)
{
	union address client = { .in = { .sin_family = AF_INET,
				     .sin_port = htons(1),
				     .sin_addr = { htonl(0xc0000201) } } };
	union address local = { .in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(2),
				    .sin6_addr = IN6ADDR_LOOPBACK_INIT } };
	static const char mixed[] =
	    SIGNATURE "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"
		      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\2";
	struct buf out = buf_bounded(512);

	(void)state;
	proxy_header_add(&out, NULL, NULL);
	assert_int_equal(out.size, 16);
	assert_memory_equal(out.data, SIGNATURE "\x20\0\0\0", 16);
	buf_clear(&out);
	proxy_header_add(&out, &client, &local);
	assert_int_equal(out.size, sizeof(mixed) - 1);
	assert_memory_equal(out.data, mixed, out.size);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
