#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/hops.h"

static const struct {
	const char *message;
	unsigned count;
} messages[] = {
	{ "", 0 },
	{ "\r\n", 0 },
	{ "Received: from a\r\n\r\n", 1 },
	{ "RECEIVED: from a\r\nreceived:b\r\n\r\n", 2 },
	{ "Received:\r\n by b\r\n\t for c\r\nSubject: x\r\n\r\n", 1 },
	{ "Subject: x\r\nReceived: from a\r\n", 1 },
	/* Other fields, and what only looks like one. */
	{ "X-Received: from a\r\nReceived-SPF: b\r\nReceive: c\r\n\r\n", 0 },
	{ "Subject: Received: from a\r\n Received: b\r\n\r\n", 0 },
	{ "Rec\reived: a\r\n\rReceived: b\r\n\r\n", 0 },
	/* The body begins at the first empty line. */
	{ "Subject: x\r\n\r\nReceived: from a\r\n", 0 },
	{ "\r\nReceived: from a\r\n", 0 },
	{ "Received: a\r\n\r\nReceived: b\r\n\r\nReceived: c\r\n", 1 },
	/* Where a LF may stand by itself. */
	{ "Received: a\nReceived: b\n\nReceived: c\n", 2 },
	{ "Received: a\nSubject: x\n\r\nReceived: c\n", 1 },
};

/* All at once, and octet by octet. */
static void
test_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		struct slice message = slice_from(messages[i].message);
		struct hops whole = { 0 }, pieces = { 0 };

		hops_watch(&whole, message);
		for (size_t k = 0; k < message.size; k++)
			hops_watch(&pieces, slice_of(message.data + k, 1));
		if (whole.count != messages[i].count ||
		    pieces.count != messages[i].count)
			fail_msg(
			    "row %zu: %u and %u", i, whole.count, pieces.count);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
