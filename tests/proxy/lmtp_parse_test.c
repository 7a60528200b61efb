#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/lmtp_parse.h"

#define NO_PATH NULL

/* What follows RCPT or MAIL, and what is made of it. */
static const struct {
	const char *text;
	const char *address;  /* NO_PATH: refused */
	const char *unquoted; /* NULL: no address to look up */
	const char *rest;
} paths[] = {
	{ "TO:<anna@cell.test>", "anna@cell.test", "anna@cell.test", "" },
	{ "to:<anna>", "anna", "anna", "" },
	{ "TO: <anna>", "anna", "anna", "" },
	{ "TO:<anna> NOTIFY=NEVER X", "anna", "anna", "NOTIFY=NEVER X" },
	{ "TO:<>", "", NULL, "" },
	{ "TO:<\"two words\"@d>", "\"two words\"@d", "two words@d", "" },
	{ "TO:<\"a>b\"@d> X", "\"a>b\"@d", "a>b@d", "X" },
	{ "TO:<\"a\\\"b\\\\c\"@d>", "\"a\\\"b\\\\c\"@d", "a\"b\\c@d", "" },
	{ "TO:<\"a@b\"@d>", "\"a@b\"@d", "a@b@d", "" },
	{ "TO:<\"alone\">", "\"alone\"", "alone", "" },
	{ "TO:<\"\"@d>", "\"\"@d", NULL, "" },
	{ "TO:<\"\">", "\"\"", NULL, "" },
	{ "TO:<\"a\"b@d>", "\"a\"b@d", NULL, "" },
	{ "TO:<@one,@two:anna@d>", "anna@d", "anna@d", "" },
	{ "TO:<@one:\"a b\"@d>", "\"a b\"@d", "a b@d", "" },
	{ "TO:<@one@two>", NO_PATH, NULL, NULL },
	{ "TO:<@one:>", "", NULL, "" },
	{ "TO:anna@d", NO_PATH, NULL, NULL },
	{ "TO:", NO_PATH, NULL, NULL },
	{ "TO", NO_PATH, NULL, NULL },
	{ "TO:<anna", NO_PATH, NULL, NULL },
	{ "TO:<anna>X", NO_PATH, NULL, NULL },
	{ "TO:<anna>>", NO_PATH, NULL, NULL },
	{ "TO:<\"anna>", NO_PATH, NULL, NULL },
	{ "TO:<\"anna\\\">", NO_PATH, NULL, NULL },
	{ "FROM:<anna>", NO_PATH, NULL, NULL },
	{ "", NO_PATH, NULL, NULL },
};

static void
assert_slice(struct slice text, const char *expected, const char *of)
{
	if (!slice_is(text, expected))
		fail_msg("%s: \"%.*s\" instead of \"%s\"", of, (int)text.size,
		    text.data ? text.data : "", expected);
}

static void
test_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct slice rest = slice_from(paths[i].text), path, address;
		struct buf unquoted = buf_bounded(100);
		int result;

		if (!lmtp_take_path(&rest, "TO:", &path, &address)) {
			if (paths[i].address)
				fail_msg("%s: is no path", paths[i].text);
			continue;
		}
		if (!paths[i].address)
			fail_msg("%s: is a path", paths[i].text);
		assert_slice(address, paths[i].address, paths[i].text);
		assert_slice(rest, paths[i].rest, paths[i].text);
		assert_true(
		    path.data[0] == '<' && path.data[path.size - 1] == '>');
		result = lmtp_unquote(&unquoted, address);
		if ((result == 0) != (paths[i].unquoted != NULL))
			fail_msg("%s: unquoted %d", paths[i].text, result);
		if (result == 0)
			assert_slice(buf_slice(&unquoted), paths[i].unquoted,
			    paths[i].text);
		buf_free(&unquoted);
	}
}

static const struct {
	const char *name, *detail, *path;
} written[] = {
	{ "anna", "", "<anna>" },
	{ "anna", "lists", "<anna+lists>" },
	{ "anna@d", "lists", "<anna+lists@d>" },
	{ "anna maria", "", "<\"anna maria\">" },
	{ "anna maria@d", "x", "<\"anna maria+x\"@d>" },
	{ "a\"b\\c", "", "<\"a\\\"b\\\\c\">" },
	{ "..dots.", "", "<\"..dots.\">" },
	{ "a.b", "", "<a.b>" },
	{ "<a>", "", "<\"<a>\">" },
	{ "a@b@d", "", "<\"a@b\"@d>" },
	{ "j\xc3\xb6rg", "", "<j\xc3\xb6rg>" },
	{ "anna", "a b", "<\"anna+a b\">" },
	{ "anna", "a>b", "<\"anna+a>b\">" },
};

static void
test_written_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(written); i++) {
		struct buf out = buf_bounded(100);

		assert_int_equal(
		    lmtp_add_path(&out, slice_from(written[i].name), '+',
			slice_from(written[i].detail)),
		    0);
		assert_slice(buf_slice(&out), written[i].path, written[i].name);
		buf_free(&out);
	}
}

/* Written and read again, every name is the same. */
static void
test_any_octet_comes_back(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		char name[] = { 'a', (char)c, 'b', '\0' };
		struct buf out = buf_bounded(100), again = buf_bounded(100);
		struct slice path, address, rest;

		if (c == '@')
			continue;
		buf_add_string(&out, "TO:");
		lmtp_add_path(&out, slice_from(name), '+', slice_from(""));
		rest = buf_slice(&out);
		if (!lmtp_take_path(&rest, "TO:", &path, &address))
			fail_msg("octet %d", c);
		assert_int_equal(lmtp_unquote(&again, address), 0);
		assert_slice(buf_slice(&again), name, buf_string(&out));
		buf_free(&out);
		buf_free(&again);
	}
}

#define REPLY_MAX 64

static const struct {
	const char *input;
	enum lmtp_reply_result result;
	unsigned code;
	const char *text, *left;
} replies[] = {
	{ "250 ok\r\n", LMTP_REPLY_DONE, 250, "250 ok", "" },
	{ "250\r\n", LMTP_REPLY_DONE, 250, "250", "" },
	{ "250 \r\n", LMTP_REPLY_DONE, 250, "250 ", "" },
	{ "250-one\r\n250-two\r\n250 three\r\n", LMTP_REPLY_DONE, 250,
	    "250-one\r\n250-two\r\n250 three", "" },
	{ "250 a\r\n550 b\r\n", LMTP_REPLY_DONE, 250, "250 a", "550 b\r\n" },
	{ "599 x\r\n", LMTP_REPLY_DONE, 599, "599 x", "" },
	{ "", LMTP_REPLY_MORE, 0, NULL, "" },
	{ "250", LMTP_REPLY_MORE, 0, NULL, "250" },
	{ "250 ok\r", LMTP_REPLY_MORE, 0, NULL, "250 ok\r" },
	{ "250-one\r\n", LMTP_REPLY_MORE, 0, NULL, "250-one\r\n" },
	{ "250 ok\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "250_ok\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "25 ok\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "25x ok\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "199 ok\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "600 ok\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "+50 ok\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "250-one\r\nx\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "250 a\rb\r\n", LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "250-0123456789012345678901234567890123456789\r\n"
	  "250-0123456789012345678901234567890123456789\r\n",
	    LMTP_REPLY_BAD, 0, NULL, NULL },
	{ "250 01234567890123456789012345678901234567890123456789012345678901",
	    LMTP_REPLY_BAD, 0, NULL, NULL },
};

static void
test_replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		struct slice input = slice_from(replies[i].input);
		struct lmtp_reply reply = { 0 };
		enum lmtp_reply_result result =
		    lmtp_take_reply(&input, REPLY_MAX, &reply);

		if (result != replies[i].result)
			fail_msg("%s: result %d", replies[i].input, result);
		if (result == LMTP_REPLY_BAD)
			continue;
		assert_slice(input, replies[i].left, replies[i].input);
		if (result == LMTP_REPLY_MORE)
			continue;
		assert_int_equal(reply.code, replies[i].code);
		assert_slice(reply.text, replies[i].text, replies[i].input);
	}
}

static void
test_offers(void **state)
{
	struct slice text = slice_from(
	    "250-mbox1\r\n250-8BITMIME\r\n250-STARTTLS\r\n250\r\n250 SIZE 10");

	(void)state;
	assert_true(lmtp_reply_offers(text, "starttls"));
	assert_true(lmtp_reply_offers(text, "SIZE"));
	assert_true(lmtp_reply_offers(text, "8BITMIME"));
	assert_false(lmtp_reply_offers(text, "START"));
	assert_false(lmtp_reply_offers(text, "STARTTLSX"));
	assert_false(lmtp_reply_offers(text, "10"));
	assert_false(lmtp_reply_offers(slice_from("250"), "STARTTLS"));
}

/* B: a CR or LF by itself; L: what may be taken for an end and is none. */
static const struct {
	const char *content;
	const char *after; /* what follows the end; NULL: there is none */
	const char *marks;
} contents[] = {
	{ ".\r\n", "", "" },
	{ ".\r\nQUIT\r\n", "QUIT\r\n", "" },
	{ "a\r\n.\r\n", "", "" },
	{ "a\r\n..\r\n.\r\n", "", "" },
	{ "a\r\n.b\r\n.\r\n.\r\n", ".\r\n", "" },
	{ "\r\n\r\n.\r\n", "", "" },
	{ "a.\r\n", NULL, "" },
	{ "a", NULL, "" },
	{ "a\r\n.", NULL, "" },
	{ "a\r\n.\r", NULL, "" },
	{ "a\nb\r\n.\r\n", "", "B" },
	{ "a\rb\r\n.\r\n", "", "B" },
	{ "a\r\r\n.\r\n", "", "B" },
	{ "a\n\r\n.\r\n", "", "B" },
	{ "a\n.b\r\n.\r\n", "", "B" },
	{ "a\n.\n", NULL, "BL" },
	{ "a\n.\r\n", NULL, "BL" },
	{ "a\n.\r", NULL, "BL" },
	{ "a\r\n.\n", NULL, "BL" },
	{ "a\r\n.\rb", NULL, "BL" },
	{ "a\r\n.\r\r\n", NULL, "BL" },
	{ "a\r.\r", NULL, "BL" },
	{ "a\r.\r\n", NULL, "BL" },
	{ "a\r.\n", NULL, "BL" },
	{ "a\r\r\n.\r\r\n", NULL, "BL" },
	{ ".\n", NULL, "BL" },
	{ ".\rb", NULL, "BL" },
	{ "a\n.\r\nMAIL FROM:<x>\r\n.\r\n", "", "BL" },
	{ "a\n..\r\n.\r\n", "", "B" },
};

/* Fed in pieces that end before each octet of `cuts` that is set. */
static void
check_content(size_t row, uint64_t cuts)
{
	struct slice content = slice_from(contents[row].content);
	struct lmtp_end end = { 0 };
	bool done = false;
	size_t used = 0, from = 0;

	while (from < content.size && !done) {
		size_t to = from + 1;

		while (to < content.size && !(cuts & (UINT64_C(1) << to)))
			to++;
		used =
		    from + lmtp_find_end(&end,
			       slice_of(content.data + from, to - from), &done);
		from = to;
	}
	if (done != (contents[row].after != NULL))
		fail_msg("row %zu, cuts %lx: done %d", row, (unsigned long)cuts,
		    done);
	if (done)
		assert_slice(slice_from_offset(content, used),
		    contents[row].after, contents[row].content);
	if (end.bare != (strchr(contents[row].marks, 'B') != NULL) ||
	    end.loose != (strchr(contents[row].marks, 'L') != NULL))
		fail_msg("row %zu, cuts %lx: bare %d, loose %d", row,
		    (unsigned long)cuts, end.bare, end.loose);
}

/* Every way to split what is short, each single split of what is longer. */
static void
test_ends_in_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
		size_t size = strlen(contents[i].content);

		if (size <= 14) {
			for (uint64_t cuts = 0; cuts < UINT64_C(1) << size;
			     cuts++)
				check_content(i, cuts);
			continue;
		}
		check_content(i, UINT64_MAX);
		for (size_t at = 0; at < size; at++)
			check_content(i, UINT64_C(1) << at);
	}
}

static const struct {
	const char *arguments;
	bool good;
	uint64_t size;
	bool last;
} chunks[] = {
	{ "0", true, 0, false },
	{ "0 LAST", true, 0, true },
	{ "86", true, 86, false },
	{ "86 last", true, 86, true },
	{ "86  Last", true, 86, true },
	{ "86 ", true, 86, false },
	{ "00000000000000000000000000000086", true, 86, false },
	{ "9223372036854775807 LAST", true, INT64_MAX, true },
	{ "9223372036854775808", false, 0, false },
	{ "18446744073709551615", false, 0, false },
	{ "18446744073709551616 LAST", false, 0, false },
	{ "99999999999999999999999999", false, 0, false },
	{ "-1", false, 0, false },
	{ "+1", false, 0, false },
	{ "0x10", false, 0, false },
	{ "1.5", false, 0, false },
	{ "1e3", false, 0, false },
	{ "LAST", false, 0, false },
	{ "5LAST", false, 0, false },
	{ "5 LAST LAST", false, 0, false },
	{ "5 6", false, 0, false },
	{ "5 LASTX", false, 0, false },
	{ "5\tLAST", false, 0, false },
	{ "", false, 0, false },
};

static void
test_chunks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
		bool last = false;
		uint64_t size = 0;

		if (lmtp_take_chunk(slice_from(chunks[i].arguments), &size,
			&last) != chunks[i].good)
			fail_msg("BDAT %s: %d", chunks[i].arguments,
			    !chunks[i].good);
		if (!chunks[i].good)
			continue;
		assert_int_equal(size, chunks[i].size);
		assert_int_equal(last, chunks[i].last);
	}
}

static void
test_parameters(void **state)
{
	struct slice rest =
	    slice_from("SIZED=1 size=20  BODY=8BITMIME SMTPUTF8 X= SIZE=30");
	struct slice value;

	(void)state;
	assert_true(lmtp_find_parameter(rest, "SIZE", &value));
	assert_slice(value, "20", "SIZE");
	assert_true(lmtp_find_parameter(rest, "body", &value));
	assert_slice(value, "8BITMIME", "BODY");
	assert_true(lmtp_find_parameter(rest, "SMTPUTF8", &value));
	assert_slice(value, "", "SMTPUTF8");
	assert_true(lmtp_find_parameter(rest, "X", &value));
	assert_slice(value, "", "X");
	assert_false(lmtp_find_parameter(rest, "8BITMIME", &value));
	assert_false(lmtp_find_parameter(slice_from(""), "SIZE", &value));
}

/* What is counted becomes what ends by a dot; marks as above. */
static const struct {
	const char *octets, *lines, *marks;
} stuffed[] = {
	{ "", ".\r\n", "" },
	{ "a", "a\r\n.\r\n", "" },
	{ "a\r\n", "a\r\n.\r\n", "" },
	{ ".", "..\r\n.\r\n", "" },
	{ ".\r\n", "..\r\n.\r\n", "" },
	{ "..\r\n", "...\r\n.\r\n", "" },
	{ "a\r\n.\r\nQUIT\r\n", "a\r\n..\r\nQUIT\r\n.\r\n", "" },
	{ "\r\n.\r\n.\r\n.", "\r\n..\r\n..\r\n..\r\n.\r\n", "" },
	{ "a.b\r\n.c", "a.b\r\n..c\r\n.\r\n", "" },
	{ "a\n.b\r\n", "a\n.b\r\n.\r\n", "B" },
	{ "a\r.b\r\n", "a\r.b\r\n.\r\n", "B" },
	{ "a\r", "a\r\r\n.\r\n", "B" },
	{ "a\n", "a\n\r\n.\r\n", "B" },
	{ "a\n.", "a\n.\r\n.\r\n", "BL" },
	{ "a\n.\r\n", "a\n.\r\n.\r\n", "BL" },
	{ "a\n.\n", "a\n.\n\r\n.\r\n", "BL" },
	{ "a\r.\r", "a\r.\r\r\n.\r\n", "BL" },
	{ "a\r\n.\n", "a\r\n..\n\r\n.\r\n", "BL" },
	{ "a\r\n.\rb", "a\r\n..\rb\r\n.\r\n", "BL" },
};

static void
stuff_in_pieces(size_t row, size_t step, struct buf *out, struct lmtp_end *end)
{
	struct slice octets = slice_from(stuffed[row].octets);
	struct lmtp_stuffing stuffing = { 0 };

	for (size_t at = 0; at < octets.size; at += step) {
		struct slice piece =
		    slice_first(slice_from_offset(octets, at), step);

		lmtp_watch(end, piece);
		lmtp_stuff(&stuffing, piece, out);
	}
	if (octets.size > 0 && end->last != '\n')
		lmtp_watch(end, slice_from("\r\n"));
	lmtp_end_stuffing(&stuffing, out);
}

static void
test_stuffing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stuffed); i++) {
		for (size_t step = 1; step < 5; step++) {
			struct buf out = buf_bounded(100);
			struct lmtp_end end = { 0 };
			char marks[3] = "";
			size_t marked = 0;

			stuff_in_pieces(i, step, &out, &end);
			assert_slice(buf_slice(&out), stuffed[i].lines,
			    stuffed[i].octets);
			if (end.bare)
				marks[marked++] = 'B';
			if (end.loose)
				marks[marked++] = 'L';
			if (strcmp(marks, stuffed[i].marks) != 0)
				fail_msg("row %zu, %zu a time: marks \"%s\"", i,
				    step, marks);
			buf_free(&out);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_written_paths),
		cmocka_unit_test(test_any_octet_comes_back),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_ends_in_every_split),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_stuffing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
