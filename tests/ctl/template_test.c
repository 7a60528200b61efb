#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/template.h"

#define TEXT_MAX 200

struct row {
	const char *text, *result; /* result: NULL: why it is none */
	const char *why;
};

static const struct row rows[] = {
	{ "", "", NULL },
	{ "no names", "no names", NULL },
	{ "$name", "ldap1", NULL },
	{ "cn=$name,$suffix", "cn=ldap1,dc=a,dc=b", NULL },
	{ "${name}2", "ldap12", NULL },
	{ "$name.$name", "ldap1.ldap1", NULL },
	{ "^cn=x,$suffix$$", "^cn=x,dc=a,dc=b$", NULL },
	{ "$$1 $$name", "$1 $name", NULL },
	{ "$empty|", "|", NULL },
	{ "$name2", NULL, "nothing is known for the name \"name2\"" },
	{ "${name", NULL, "nothing is known for the name \"\"" },
	{ "${na me}", NULL, "nothing is known for the name \"\"" },
	{ "a $ b", NULL, "nothing is known for the name \"\"" },
	{ "a $", NULL, "nothing is known for the name \"\"" },
	{ "$number", NULL, "nothing is known for the name \"number\"" },
	{ "$long$long$long", NULL, "the text becomes too long" },
};

static void
test_fill(void **state)
{
	json_t *values = json_pack("{s:s, s:s, s:s, s:i, s:s}", "name", "ldap1",
	    "suffix", "dc=a,dc=b", "empty", "", "number", 1, "long",
	    "0123456789012345678901234567890123456789"
	    "0123456789012345678901234567890123456789");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf out = buf_bounded(TEXT_MAX);
		struct buf why = buf_bounded(TEXT_MAX);
		int result =
		    template_fill(&out, slice_from(rows[i].text), values, &why);

		assert_int_equal(result, rows[i].result ? 0 : -1);
		assert_string_equal(buf_string(rows[i].result ? &out : &why),
		    rows[i].result ? rows[i].result : rows[i].why);
		buf_free(&out);
		buf_free(&why);
	}
	json_decref(values);
}

static void
test_move(void **state)
{
	static const struct {
		const char *text, *from, *to, *result;
	} moves[] = {
		{ "", "a", "b", "" },
		{ "a/etc b/etc", "/etc", "/root/etc", "a/root/etc b/root/etc" },
		{ "aaa", "a", "aa", "aaaaaa" },
		{ "aaa", "aa", "", "a" },
		{ "same", "same", "same", "same" },
		{ "none", "other", "x", "none" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		struct buf text = buf_bounded(TEXT_MAX);

		(void)buf_add_string(&text, moves[i].text);
		template_move(&text, moves[i].from, moves[i].to);
		assert_string_equal(buf_string(&text), moves[i].result);
		buf_free(&text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill),
		cmocka_unit_test(test_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
