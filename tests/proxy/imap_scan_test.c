#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/imap_scan.h"

#define LINE_MAX    64
#define LITERAL_MAX 16

/* Text with its size, so that it may hold NULs. */
#define TEXT(literal)                                                          \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

/*
 * What the scanner says of an input, one letter a result:
 *   +  asks for a literal       !  a literal too large to be asked for
 *   c  a command                l  a command that ends in a bare LF
 *   o  one with a bad octet     F  flood: nothing after it counts
 *   .  more input is wanted
 */
static const struct {
	struct slice input;
	const char *results;
} scans[] = {
	/* commands and lines */
	{ TEXT(""), "." },
	{ TEXT("a"), "." },
	{ TEXT("a noop\r"), "." },
	{ TEXT("a noop\r\n"), "c." },
	{ TEXT("a noop\r\nb noop\r\nc"), "cc." },
	{ TEXT("\r\n"), "c." },
	{ TEXT("\n"), "l." },
	{ TEXT("a noop\n"), "l." },
	{ TEXT("a noop\nb noop\r\n"), "lc." },
	{ TEXT("a\rb\r\n"), "o." },
	{ TEXT("a\r\r\n"), "o." },
	{ TEXT("a\0b\r\n"), "o." },
	{ TEXT("\0\r\nb noop\r\n"), "oc." },
	{ TEXT("a\0b\n"), "l." },

	/* synchronising literals */
	{ TEXT("a login {3}\r\n"), "+." },
	{ TEXT("a login {3}\r\nb"), "+." },
	{ TEXT("a login {3}\r\nbob"), "+." },
	{ TEXT("a login {3}\r\nbob secret\r\n"), "+c." },
	{ TEXT("a login {3}\r\nbob {6}\r\nsecret\r\nb noop\r\n"), "++cc." },
	{ TEXT("a login {0}\r\n x\r\n"), "+c." },
	{ TEXT("a login {00003}\r\nbob x\r\n"), "+c." },
	{ TEXT("{3}\r\nbob\r\n"), "+c." },

	/* literals without waiting */
	{ TEXT("a login {3+}\r\nbob x\r\n"), "c." },
	{ TEXT("a login {0+}\r\n x\r\n"), "c." },
	{ TEXT("a login {3+}\r\nbob {6}\r\nsecret\r\n"), "+c." },
	{ TEXT("a login {3+}\r\nb\r\n x\r\n"), "c." },
	{ TEXT("a login {3+}\r\n\r\n\n x\r\n"), "c." },
	{ TEXT("a login {3+}\r\nb\0b x\r\n"), "c." },
	{ TEXT("a login {5+}\r\n{9}\r\n"), "." },
	{ TEXT("a\0b {3+}\r\nbob\r\n"), "o." },

	/* the bound is on all literals of a command */
	{ TEXT("a {16}\r\n0123456789abcdef x\r\n"), "+c." },
	{ TEXT("a {17}\r\nb noop\r\n"), "!c." },
	{ TEXT("a {17+}\r\n"), "F" },
	{ TEXT("a {8+}\r\n01234567 {8}\r\n01234567\r\n"), "+c." },
	{ TEXT("a {8+}\r\n01234567 {9}\r\n"), "!." },
	{ TEXT("a {8+}\r\n01234567 {9+}\r\n"), "F" },
	{ TEXT("a {4294967295}\r\n"), "!." },
	{ TEXT("a {4294967296}\r\n"), "!." },
	{ TEXT("a {4294967295+}\r\n"), "F" },
	{ TEXT("a {18446744073709551615}\r\n"), "!." },
	{ TEXT("a {18446744073709551616}\r\n"), "!." },
	{ TEXT("a {18446744073709551617+}\r\n"), "F" },
	{ TEXT("a {99999999999999999999999999999}\r\n"), "!." },

	/* these announce nothing */
	{ TEXT("a {-1}\r\n"), "c." },
	{ TEXT("a {}\r\n"), "c." },
	{ TEXT("a {+}\r\n"), "c." },
	{ TEXT("a {1-}\r\n"), "c." },
	{ TEXT("a {1++}\r\n"), "c." },
	{ TEXT("a { 1}\r\n"), "c." },
	{ TEXT("a {1 }\r\n"), "c." },
	{ TEXT("a {0x1}\r\n"), "c." },
	{ TEXT("a {1} \r\n"), "c." },
	{ TEXT("a 1}\r\n"), "c." },
	{ TEXT("a }\r\n"), "c." },
	{ TEXT("a {1}\n"), "l." },
	{ TEXT("a {1}\r\r\nx\r\n"), "oc." },

	/* the bound on lines, literals aside */
	{ TEXT("0123456789012345678901234567890123456789"
	       "0123456789012345678901\r\n"),
	    "c." },
	{ TEXT("0123456789012345678901234567890123456789"
	       "01234567890123456789012\r\n"),
	    "F" },
	{ TEXT("0123456789012345678901234567890123456789"
	       "0123456789012345678901234"),
	    "F" },
	{ TEXT("012345678901234567890123456 {16+}\r\n0123456789abcdef"
	       "012345678901234567890123456\r\n"),
	    "c." },
	{ TEXT("012345678901234567890123456 {16+}\r\n0123456789abcdef"
	       "0123456789012345678901234567\r\n"),
	    "F" },
};

static const char letters[] = {
	[IMAP_SCAN_MORE] = '.',
	[IMAP_SCAN_CONTINUE] = '+',
	[IMAP_SCAN_COMMAND] = 'c',
	[IMAP_SCAN_LINE_ENDING] = 'l',
	[IMAP_SCAN_OCTET] = 'o',
	[IMAP_SCAN_LITERAL_TOO_LARGE] = '!',
	[IMAP_SCAN_FLOOD] = 'F',
};

/* Shows the input in pieces of `step` octets, as a session would. */
static void
scan_in_steps(struct slice input, size_t step, char *results, size_t *ends)
{
	struct imap_scanner scanner = { .line_max = LINE_MAX,
		.literal_max = LITERAL_MAX };
	size_t start = 0, count = 0, size = 0;
	enum imap_scan result = IMAP_SCAN_MORE;

	for (size_t seen = step < input.size ? step : input.size;;
	     seen = seen + step < input.size ? seen + step : input.size) {
		do {
			result = imap_scan(&scanner,
			    slice_from_offset(slice_first(input, seen), start),
			    &size);
			if (result == IMAP_SCAN_MORE)
				break;
			assert_in_range(count, 0, 30);
			ends[count] = start + size;
			results[count++] = letters[result];
			if (result == IMAP_SCAN_FLOOD)
				break;
			if (result == IMAP_SCAN_CONTINUE)
				continue;
			start += size;
			imap_scanner_reset(&scanner);
		} while (start < seen);
		if (result == IMAP_SCAN_FLOOD || seen == input.size)
			break;
	}
	if (result != IMAP_SCAN_FLOOD)
		results[count++] = '.';
	results[count] = '\0';
}

static void
test_scan(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scans); i++) {
		char results[40];
		size_t ends[40] = { 0 };

		scan_in_steps(scans[i].input, SIZE_MAX / 2, results, ends);
		if (strcmp(results, scans[i].results) != 0)
			fail_msg("row %zu: \"%s\", not \"%s\"", i, results,
			    scans[i].results);
	}
}

static void
test_scan_in_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scans); i++) {
		char whole[40], pieces[40];
		size_t whole_ends[40] = { 0 }, piece_ends[40] = { 0 };

		scan_in_steps(scans[i].input, SIZE_MAX / 2, whole, whole_ends);
		for (size_t step = 1; step < 9; step++) {
			scan_in_steps(scans[i].input, step, pieces, piece_ends);
			assert_string_equal(pieces, whole);
			for (size_t k = 0; whole[k + 1]; k++)
				assert_int_equal(piece_ends[k], whole_ends[k]);
		}
	}
}

/* Ten thousand lines at once are looked at once each. */
static void
test_scan_many(void **state)
{
	struct imap_scanner scanner = { .line_max = LINE_MAX,
		.literal_max = LITERAL_MAX };
	struct buf text = buf_bounded(1 << 20);
	struct slice rest;
	size_t size, count = 0;

	(void)state;
	for (int i = 0; i < 10000; i++)
		buf_add_string(&text, "a noop\r\n");
	rest = buf_slice(&text);
	while (imap_scan(&scanner, rest, &size) == IMAP_SCAN_COMMAND) {
		assert_int_equal(size, 8);
		imap_scanner_reset(&scanner);
		rest = slice_from_offset(rest, size);
		count++;
	}
	assert_int_equal(count, 10000);
	buf_free(&text);
}

/* value NULL: refused. rest: what is left when it was taken. */
static const struct {
	struct slice text;
	const char *value, *rest;
} astrings[] = {
	{ TEXT("bob secret"), "bob", " secret" },
	{ TEXT("bob\r\n"), "bob", "\r\n" },
	{ TEXT("]\r\n"), "]", "\r\n" },
	{ TEXT("a+b@c.d!#$&'-/:;<=>?[^_`|}~ x"), "a+b@c.d!#$&'-/:;<=>?[^_`|}~",
	    " x" },
	{ TEXT("a(b"), "a", "(b" },
	{ TEXT("a*b"), "a", "*b" },
	{ TEXT("a%b"), "a", "%b" },
	{ TEXT("a\\b"), "a", "\\b" },
	{ TEXT("a\"b"), "a", "\"b" },
	{ TEXT("a\x7f"), "a", "\x7f" },
	{ TEXT("a\xc3\xa4"), "a", "\xc3\xa4" },
	{ TEXT(""), NULL, NULL },
	{ TEXT(" bob"), NULL, NULL },
	{ TEXT("(bob"), NULL, NULL },
	{ TEXT("\0bob"), NULL, NULL },

	{ TEXT("\"\" x"), "", " x" },
	{ TEXT("\"bob smith\" x"), "bob smith", " x" },
	{ TEXT("\"b\\\"o\\\\b\" x"), "b\"o\\b", " x" },
	{ TEXT("\"*()%{5}\"\r\n"), "*()%{5}", "\r\n" },
	{ TEXT("\"j\xc3\xb6rg\"\r\n"), "j\xc3\xb6rg", "\r\n" },
	{ TEXT("\"bob"), NULL, NULL },
	{ TEXT("\"bob\\\""), NULL, NULL },
	{ TEXT("\"bob\\"), NULL, NULL },
	{ TEXT("\"bo\\b\""), NULL, NULL },
	{ TEXT("\"bob\r\n\""), NULL, NULL },
	{ TEXT("\"b\0b\""), NULL, NULL },
	{ TEXT("\"b\\\0b\""), NULL, NULL },

	{ TEXT("{3}\r\nbob x"), "bob", " x" },
	{ TEXT("{3+}\r\nbob x"), "bob", " x" },
	{ TEXT("{0}\r\n x"), "", " x" },
	{ TEXT("{5}\r\nb\r\n\"b x"), "b\r\n\"b", " x" },
	{ TEXT("{4}\r\nbob"), NULL, NULL },
	{ TEXT("{3}\r\nb\0b x"), NULL, NULL },
	{ TEXT("{3}bob"), NULL, NULL },
	{ TEXT("{-1}\r\nbob"), NULL, NULL },
	{ TEXT("{18446744073709551615}\r\nbob"), NULL, NULL },
	{ TEXT("{\n"), NULL, NULL },
	{ TEXT("\n"), NULL, NULL },
};

static void
test_astring(void **state)
{
	struct buf value = buf_bounded(1024);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(astrings); i++) {
		struct slice rest = astrings[i].text;
		bool taken = imap_take_astring(&rest, &value);

		if (taken != (astrings[i].value != NULL))
			fail_msg("row %zu: taken: %d", i, taken);
		if (taken && (!slice_is(buf_slice(&value), astrings[i].value) ||
				 !slice_is(rest, astrings[i].rest)))
			fail_msg("row %zu: \"%s\", rest \"%.*s\"", i,
			    buf_string(&value), SLICE_ARGS(rest));
	}
	buf_free(&value);
}

/* A value that does not fit is refused, and does not spoil the next one. */
static void
test_astring_bound(void **state)
{
	static const char *const texts[] = { "abcde", "\"abcde\"",
		"{5}\r\nabcde", "\"ab\\\\cd\"" };
	struct buf value = buf_bounded(4);
	struct slice rest;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		rest = slice_from(texts[i]);
		assert_false(imap_take_astring(&rest, &value));
		rest = slice_from("abcd");
		assert_true(imap_take_astring(&rest, &value));
		assert_true(slice_is(buf_slice(&value), "abcd"));
	}
	buf_free(&value);
}

static void
test_tag(void **state)
{
	struct slice rest = slice_from("A1.] x"), tag;

	(void)state;
	assert_true(imap_take_tag(&rest, &tag));
	assert_true(slice_is(tag, "A1.]"));
	assert_true(slice_is(rest, " x"));
	/* "+" would look like a continuation, RFC 9051 section 9, tag */
	rest = slice_from("a+1 x");
	assert_true(imap_take_tag(&rest, &tag));
	assert_true(slice_is(tag, "a"));
	assert_true(slice_is(rest, "+1 x"));
	rest = slice_from("+ x");
	assert_false(imap_take_tag(&rest, &tag));
	rest = slice_from("* x");
	assert_false(imap_take_tag(&rest, &tag));
	rest = slice_from("");
	assert_false(imap_take_tag(&rest, &tag));
}

static const struct {
	const char *text;
	bool taken;
	const char *rest;
} id_lists[] = {
	{ "NIL\r\n", true, "\r\n" },
	{ "nil\r\n", true, "\r\n" },
	{ "()\r\n", true, "\r\n" },
	{ "(\"name\" \"x\")\r\n", true, "\r\n" },
	{ "(\"name\" NIL)\r\n", true, "\r\n" },
	{ "(\"name\" \"a)b\" \"os\" {3}\r\na)b)\r\n", true, "\r\n" },
	{ "NILS\r\n", false, NULL },
	{ "(\r\n", false, NULL },
	{ "(\"name\" \"x\"\r\n", false, NULL },
	{ "(\"name\" (\"x\"))\r\n", false, NULL },
	{ "(\"name\r\n", false, NULL },
	{ "", false, NULL },
	{ "\r\n", false, NULL },
};

static void
test_id_list(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(id_lists); i++) {
		struct slice rest = slice_from(id_lists[i].text);
		bool taken = imap_take_id_list(&rest);

		if (taken != id_lists[i].taken ||
		    (taken && !slice_is(rest, id_lists[i].rest)))
			fail_msg("row %zu: taken: %d, rest \"%.*s\"", i, taken,
			    SLICE_ARGS(rest));
	}
}

static void
test_quoted(void **state)
{
	struct buf out = buf_bounded(64);

	(void)state;
	assert_true(imap_add_quoted(&out, slice_from("a\"b\\c d")));
	assert_true(slice_is(buf_slice(&out), "\"a\\\"b\\\\c d\""));
	buf_clear(&out);
	assert_true(imap_add_quoted(&out, slice_from("")));
	assert_true(slice_is(buf_slice(&out), "\"\""));
	buf_clear(&out);
	assert_false(imap_add_quoted(&out, slice_from("a\r\nb")));
	assert_false(imap_add_quoted(&out, slice_from("\xc3\xa4")));
	assert_false(imap_add_quoted(&out, slice_of("a\0b", 3)));
	assert_int_equal(out.size, 0);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_scan_in_pieces),
		cmocka_unit_test(test_scan_many),
		cmocka_unit_test(test_astring),
		cmocka_unit_test(test_astring_bound),
		cmocka_unit_test(test_tag),
		cmocka_unit_test(test_id_list),
		cmocka_unit_test(test_quoted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
