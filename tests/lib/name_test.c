#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/name.h"

struct row {
	const char *name, *form;
};

static void
check(enum name_kind kind, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buf buf = buf_bounded(1000);
		const char *why = NULL;
		int result =
		    name_normalise(&buf, kind, slice_from(rows[i].name), &why);

		if (rows[i].form) {
			assert_int_equal(result, 0);
			assert_string_equal(buf_string(&buf), rows[i].form);
		} else if (result == 0) {
			fail_msg("\"%s\" was taken", rows[i].name);
		} else {
			assert_non_null(why);
		}
		buf_free(&buf);
	}
}

static const struct row folded[] = {
	{ "anna", "anna" },
	{ "Anna", "anna" },
	{ "ANNA@Example.ORG", "anna@example.org" },
	{ "  anna  ", "anna" },
	{ "anna   maria", "anna maria" },
	{ "o'neil \"x\" (y) *\\", "o'neil \"x\" (y) *\\" },
	/* composed, decomposed, capital: one name */
	{ "j\u00f6rg", "j\u00f6rg" },
	{ "jo\u0308rg", "j\u00f6rg" },
	{ "J\u00d6RG", "j\u00f6rg" },
	{ "JO\u0308RG", "j\u00f6rg" },
	/* the dot of a Turkish capital is lost, a dotless i stays another */
	{ "\u0130stanbul", "istanbul" },
	{ "i\u0307stanbul", "i\u0307stanbul" },
	{ "\u0131stanbul", "\u0131stanbul" },
	/* sharp s is not ss */
	{ "stra\u00dfe", "stra\u00dfe" },
	{ "STRASSE", "strasse" },
	/* compatibility: width, ligatures, signs of units and letters */
	{ "\uff21\uff22\uff23", "abc" },
	{ "\ufb01sch", "fisch" },
	{ "\u212a", "k" },
	{ "\u212b", "\u00e5" },
	{ "\u2460", "1" },
	/* capitals that only decomposition brings forth stay */
	{ "\u2122", "TM" },
	{ "\u2167", "VIII" },
	/* Greek: the final sigma is a letter of its own */
	{ "\u03a3", "\u03c3" },
	{ "\u03c2", "\u03c2" },
	{ "\u1f48", "\u1f40" },
	/* titlecase digraph */
	{ "\u01c5", "d\u017e" },
	/* every space is one */
	{ "a\u00a0b", "a b" },
	{ "a\u3000 \u2003b", "a b" },
	{ "\u3000a\u00a0", "a" },
	/* what slapd does not drop, we do not drop */
	{ "a\u00adb", "a\u00adb" },
	{ "a\u200bb", "a\u200bb" },
	/* marks in either order */
	{ "a\u0300\u0327", "\u00e0\u0327" },
	{ "a\u0327\u0300", "\u00e0\u0327" },
	{ "\u1100\u1161\u11a8", "\uac01" },
	{ "\U00010400", "\U00010428" },
};

static const struct row refused[] = {
	{ "", NULL },
	{ " ", NULL },
	{ "   ", NULL },
	{ "\u3000", NULL },
	{ "a\nb", NULL },
	{ "a\r\nb", NULL },
	{ "a\tb", NULL },
	{ "a\x7f", NULL },
	{ "\x1b[0m", NULL },
	/* not UTF-8: Latin 1, cut off, overlong, surrogate, too large */
	{ "j\xf6rg", NULL },
	{ "j\xc3", NULL },
	{ "\xc0\xaf", NULL },
	{ "\xe0\x80\xaf", NULL },
	{ "\xed\xa0\x80", NULL },
	{ "\xf4\x90\x80\x80", NULL },
	{ "\xff", NULL },
	{ "\x80", NULL },
};

static void
test_uid(void **state)
{
	(void)state;
	check(NAME_UID, folded, ARRAY_SIZE(folded));
	check(NAME_UID, refused, ARRAY_SIZE(refused));
}

static void
test_address(void **state)
{
	(void)state;
	check(NAME_ADDRESS, folded, ARRAY_SIZE(folded));
	check(NAME_ADDRESS, refused, ARRAY_SIZE(refused));
}

static void
test_principal(void **state)
{
	static const struct row rows[] = {
		{ "Anna@EXAMPLE.ORG", "Anna@EXAMPLE.ORG" },
		{ " imap/mbox1@EXAMPLE.ORG ", "imap/mbox1@EXAMPLE.ORG" },
		{ "a  b", "a b" },
		{ "J\u00d6RG", "J\u00d6RG" },
		{ "j\xf6rg", "j\xf6rg" },
		{ "", NULL },
		{ "  ", NULL },
		{ "a\nb", NULL },
	};

	(void)state;
	check(NAME_PRINCIPAL, rows, ARRAY_SIZE(rows));
}

static void
test_nul(void **state)
{
	struct buf buf = buf_bounded(100);
	const char *why = NULL;

	(void)state;
	for (unsigned kind = 0; kind < NAME_KIND_COUNT; kind++)
		assert_int_equal(name_normalise(&buf, (enum name_kind)kind,
				     slice_of("a\0b", 3), &why),
		    -1);
	assert_string_equal(why, "name has a control character");
	buf_free(&buf);
}

/* Normalising what is normal changes nothing. */
static void
test_stable(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(folded); i++) {
		struct buf once = buf_bounded(1000), twice = buf_bounded(1000);
		const char *why;
		struct slice name = slice_from(folded[i].name);

		/* Those two gain a capital, which is folded the next time. */
		if (slice_is(name, "\u2122") || slice_is(name, "\u2167"))
			continue;
		name_normalise(&once, NAME_UID, name, &why);
		name_normalise(&twice, NAME_UID, buf_slice(&once), &why);
		assert_string_equal(buf_string(&once), buf_string(&twice));
		buf_free(&once);
		buf_free(&twice);
	}
}

static void
check_size(size_t count, const char *unit, int expected)
{
	struct buf name = buf_bounded(10000), out = buf_bounded(10000);
	const char *why = "";

	for (size_t i = 0; i < count; i++)
		buf_add_string(&name, unit);
	for (unsigned kind = NAME_UID; kind <= NAME_ADDRESS; kind++) {
		buf_clear(&out);
		assert_int_equal(name_normalise(&out, (enum name_kind)kind,
				     buf_slice(&name), &why),
		    expected);
		if (expected < 0)
			assert_string_equal(why, "name is too long");
	}
	buf_free(&name);
	buf_free(&out);
}

static void
test_sizes(void **state)
{
	(void)state;
	check_size(NAME_SIZE_MAX, "a", 0);
	check_size(NAME_SIZE_MAX + 1, "a", -1);
	check_size(9000, "a", -1);
	check_size(NAME_SIZE_MAX / 2, "\u00f6", 0);
	check_size(NAME_SIZE_MAX / 2 + 1, "\u00f6", -1);
	check_size(NAME_SIZE_MAX / 3, "\uff21", 0);
	/* One letter of three octets that becomes eighteen. */
	check_size(10, "\ufdfa", 0);
	check_size(NAME_SIZE_MAX / 3, "\ufdfa", -1);
	check_size(NAME_SIZE_MAX / 4, "\U0001d400", 0);
}

static void
test_no_room(void **state)
{
	struct buf buf = buf_bounded(3);
	const char *why = NULL;

	(void)state;
	assert_int_equal(
	    name_normalise(&buf, NAME_UID, slice_from("anna"), &why), -1);
	assert_non_null(why);
	buf_free(&buf);
}

static void
test_escape_filter(void **state)
{
	static const char octets[] = "a*(b)\\\0\n\x7f\xc3\xb6 =&|!<>~";
	struct buf buf = buf_bounded(200);

	(void)state;
	assert_int_equal(
	    name_escape_filter(&buf, slice_of(octets, sizeof(octets) - 1)), 0);
	assert_string_equal(
	    buf_string(&buf), "a\\2a\\28b\\29\\5c\\00\\0a\\7f\\c3\\b6 =&|!<>~");
	buf_free(&buf);
	buf = buf_bounded(2);
	assert_int_equal(name_escape_filter(&buf, slice_from("*")), -1);
	buf_free(&buf);
}

static void
test_escape_dn(void **state)
{
	static const struct row rows[] = {
		{ "", "" },
		{ "anna", "anna" },
		{ "a,b+c\"d\\e<f>g;h=i",
		    "a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h\\=i" },
		{ " a b ", "\\ a b\\ " },
		{ " ", "\\ " },
		{ "  ", "\\ \\ " },
		{ "#a#", "\\#a#" },
		{ "a\nb\x7f", "a\\0ab\\7f" },
		{ "j\u00f6rg", "j\u00f6rg" },
		{ "*()", "*()" },
	};
	struct buf buf = buf_bounded(200);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		buf_clear(&buf);
		assert_int_equal(
		    name_escape_dn(&buf, slice_from(rows[i].name)), 0);
		assert_string_equal(buf_string(&buf), rows[i].form);
	}
	buf_clear(&buf);
	assert_int_equal(name_escape_dn(&buf, slice_of("a\0b", 3)), 0);
	assert_string_equal(buf_string(&buf), "a\\00b");
	buf_free(&buf);
}

static void
test_host(void **state)
{
	static const struct {
		const char *name;
		bool is_host;
	} rows[] = {
		{ "a", true },
		{ "mail.example.org", true },
		{ "MBOX-1.example.org", true },
		{ "127.0.0.1", true },
		{ "_imap._tcp.example.org", true },
		{ "1and1.example", true },
		{ "", false },
		{ ".", false },
		{ "a.", false },
		{ ".a", false },
		{ "a..b", false },
		{ "-a", false },
		{ "a-", false },
		{ "a.-b", false },
		{ "a b", false },
		{ "a:1", false },
		{ "a/b", false },
		{ "::1", false },
		{ "j\u00f6rg.example.org", false },
		{ "a\nb", false },
	};

	char label[254];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(
		    name_is_host(slice_from(rows[i].name)), rows[i].is_host);
	memset(label, 'a', sizeof(label));
	assert_true(name_is_host(slice_of(label, 63)));
	assert_false(name_is_host(slice_of(label, 64)));
	for (size_t i = 50; i < sizeof(label); i += 51)
		label[i] = '.';
	assert_true(name_is_host(slice_of(label, 253)));
	assert_false(name_is_host(slice_of(label, 254)));
	assert_false(name_is_host(slice_of("a\0b", 3)));
}

static void
test_split_address(void **state)
{
	static const struct {
		const char *address, *local, *domain;
	} rows[] = {
		{ "anna@example.org", "anna", "example.org" },
		{ "\"a@b\"@example.org", "\"a@b\"", "example.org" },
		{ "a@b@c", "a@b", "c" },
		{ "@@a", "@", "a" },
		{ "anna", NULL, NULL },
		{ "", NULL, NULL },
		{ "@", NULL, NULL },
		{ "@a", NULL, NULL },
		{ "a@", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct slice local, domain;
		bool is_address = name_split_address(
		    slice_from(rows[i].address), &local, &domain);

		assert_int_equal(is_address, rows[i].local != NULL);
		if (!is_address)
			continue;
		assert_true(slice_is(local, rows[i].local));
		assert_true(slice_is(domain, rows[i].domain));
	}
}

static void
test_kind_texts(void **state)
{
	(void)state;
	assert_string_equal(name_kind_text(NAME_UID), "uid");
	assert_string_equal(name_kind_text(NAME_ADDRESS), "address");
	assert_string_equal(name_kind_text(NAME_PRINCIPAL), "principal");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uid),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_principal),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_stable),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_escape_filter),
		cmocka_unit_test(test_escape_dn),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_split_address),
		cmocka_unit_test(test_kind_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
