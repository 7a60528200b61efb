#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base64.h"
#include "proxy/tls_tickets.h"

/* The base64 of 80 times that letter. */
static void
add_key(struct buf *text, char letter, const char *ending)
{
	char octets[TLS_TICKETS_KEY_SIZE];

	memset(octets, letter, sizeof(octets));
	base64_encode(text, slice_of(octets, sizeof(octets)));
	buf_add_string(text, ending);
}

static void
test_lines(void **state)
{
	struct buf text = buf_bounded(4096), errors = buf_bounded(4096);
	struct tls_tickets tickets;

	(void)state;
	buf_add_string(&text, "# this week's\n");
	add_key(&text, 'b', "\r\n\n  \n");
	buf_add_string(&text, "  ");
	add_key(&text, 'a', " \t\n# end\n");
	add_key(&text, 'c', "");
	assert_int_equal(
	    tls_tickets_parse(&tickets, buf_slice(&text), "f", &errors), 0);
	assert_int_equal(errors.size, 0);
	assert_int_equal(tickets.count, 3);
	assert_memory_equal(tickets.keys[0].name, "bbbb", 4);
	assert_memory_equal(tickets.keys[1].encrypt, "aaaa", 4);
	assert_memory_equal(tickets.keys[2].authenticate, "cccc", 4);
	buf_free(&text);
	buf_free(&errors);
}

static void
test_octets(void **state)
{
	char octets[2 * TLS_TICKETS_KEY_SIZE];
	struct buf errors = buf_bounded(4096);
	struct tls_tickets tickets;

	(void)state;
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (char)i;
	assert_int_equal(tls_tickets_parse(&tickets,
			     slice_of(octets, sizeof(octets)), "f", &errors),
	    0);
	assert_int_equal(tickets.count, 2);
	assert_int_equal(tickets.keys[0].authenticate[0], 16);
	assert_int_equal(tickets.keys[0].encrypt[0], 48);
	assert_int_equal(tickets.keys[1].name[0], 80);
	assert_int_equal(
	    tls_tickets_parse(
		&tickets, slice_of(octets, sizeof(octets) - 1), "f", &errors),
	    -1);
	assert_string_equal(
	    buf_string(&errors), "f:1: not 80 octets for each key\n");
	buf_free(&errors);
}

/* `%` stands for a key of letter a, `&` for one of b. */
static const struct {
	const char *text, *why;
} faults[] = {
	{ "", "f:1: has no key\n" },
	{ "\n# nothing\n", "f:1: has no key\n" },
	{ "%\nnonsense!\n", "f:2: not the base64 of 80 octets\n" },
	{ "\n\nYWJj\n", "f:3: not the base64 of 80 octets\n" },
	{ "%%\n", "f:1: not the base64 of 80 octets\n" },
	{ "%\n&\n%\n", "f:3: has the same name as another key\n" },
};

static void
test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct buf text = buf_bounded(4096), errors = buf_bounded(4096);
		struct tls_tickets tickets;

		for (const char *c = faults[i].text; *c; c++) {
			if (*c == '%' || *c == '&')
				add_key(&text, *c == '%' ? 'a' : 'b', "");
			else
				buf_add_char(&text, *c);
		}
		assert_int_equal(
		    tls_tickets_parse(&tickets, buf_slice(&text), "f", &errors),
		    -1);
		assert_string_equal(buf_string(&errors), faults[i].why);
		buf_free(&text);
		buf_free(&errors);
	}
}

static void
test_too_many(void **state)
{
	struct buf text = buf_bounded(8192), errors = buf_bounded(4096);
	struct tls_tickets tickets;

	(void)state;
	for (int i = 0; i <= TLS_TICKETS_KEYS_MAX; i++)
		add_key(&text, (char)('a' + i), "\n");
	assert_int_equal(
	    tls_tickets_parse(&tickets, buf_slice(&text), "f", &errors), -1);
	assert_string_equal(buf_string(&errors), "f:17: more than 16 keys\n");
	buf_free(&text);
	buf_free(&errors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_octets),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
