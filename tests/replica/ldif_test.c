#include "replica/ldif.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What was read, as `dn{attribute=value,...}`; an error as `!LINE`. */
static void
read_all(struct slice text, struct buf *out)
{
	enum ldif_result result;
	struct entry entry;
	const char *why = NULL;
	struct ldif ldif;

	buf_clear(out);
	ldif_init(&ldif, text);
	while ((result = ldif_next(&ldif, &entry, &why)) == LDIF_ENTRY) {
		(void)buf_add_slice(out, entry.dn);
		(void)buf_add_char(out, '{');
		for (size_t i = 0; i < entry.value_count; i++) {
			(void)buf_add_slice(out, entry.values[i].attribute);
			(void)buf_add_char(out, '=');
			(void)buf_add_slice(out, entry.values[i].value);
			(void)buf_add_char(out, ',');
		}
		(void)buf_add_char(out, '}');
	}
	if (result == LDIF_BAD) {
		assert_non_null(why);
		(void)buf_printf(out, "!%zu", ldif.line);
	}
	ldif_free(&ldif);
}

static void
test_texts(void **state)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{ "", "" },
		{ "\n\n", "" },
		{ "version: 1\n", "" },
		{ "dn: o=x\no: x\n", "o=x{o=x,}" },
		{ "dn: o=x\no: x", "o=x{o=x,}" },
		{ "version: 1\n\ndn: o=x\no: x\n\n\ndn: o=y\n",
		    "o=x{o=x,}o=y{}" },
		{ "dn: o=x\r\no: x\r\n\r\ndn: o=y\r\n", "o=x{o=x,}o=y{}" },
		/* Folded, even within the name of the attribute. */
		{ "dn: o=\n x\nde\n scription: a\n  b\n",
		    "o=x{description=a b,}" },
		{ "# one\n# two\n  more\ndn: o=x\n# three\no: x\n",
		    "o=x{o=x,}" },
		{ "dn:: bz14\no:: eA==\n", "o=x{o=x,}" },
		{ "dn: o=x\no::  eA==\no::\n", "o=x{o=x,o=,}" },
		{ "dn: o=x\no:x\no:   x\no:\n", "o=x{o=x,o=x,o=,}" },
		{ "dn: o=x\nchangetype: add\no: x\n",
		    "o=x{changetype=add,o=x,}" },
		{ "dn: o=x\ndescription: \xc3\xb6\n",
		    "o=x{description=\xc3\xb6,}" },
		/* Faults, and where. */
		{ "version: 2\n", "!1" },
		{ "o: x\n", "!1" },
		{ "dn:\n", "!1" },
		{ " dn: o=x\n", "!1" },
		{ "\n\ndn: o=x\no\n", "!4" },
		{ "dn: o=x\n: x\n", "!2" },
		{ "dn: o=x\no: x\ndn: o=y\n", "!3" },
		{ "dn: o=x\no:: e\n A=\n", "!2" },
		{ "dn: o=x\no:: e*==\n", "!2" },
		{ "dn: o=x\no:< file:///dev/null\n", "!2" },
		{ "dn: o=x\nchangetype: delete\n", "!2" },
		{ "dn: o=x\n\ndn: o=y\ncontrol: 1.2.3\n", "o=x{}!4" },
		{ "dn: o=x\no: x\n\nversion: 1\n", "o=x{o=x,}!4" },
	};
	struct buf out = buf_bounded(65536);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		read_all(slice_from(rows[i].text), &out);
		assert_string_equal(buf_string(&out), rows[i].expected);
	}
	buf_free(&out);
}

static void
test_nul(void **state)
{
	static const char plain[] = "dn: o=x\no: a\0b\n";
	static const char encoded[] = "dn: o=x\no:: YQBi\n";
	struct buf out = buf_bounded(65536);

	(void)state;
	read_all(slice_of(plain, sizeof(plain) - 1), &out);
	assert_string_equal(buf_string(&out), "!2");
	read_all(slice_of(encoded, sizeof(encoded) - 1), &out);
	assert_int_equal(out.size, strlen("o=x{o=a?b,}"));
	buf_free(&out);
}

/* Every text that begins a good one ends, and reads no octet beyond it. */
static void
test_cut_anywhere(void **state)
{
	static const char text[] =
	    "version: 1\n# c\n d\n\ndn:: bz14\r\no: x\n y\n"
	    "m:: eA==\n\ndn: o=y\nmail: a@x\n";
	struct buf out = buf_bounded(65536);

	(void)state;
	for (size_t size = 0; size < sizeof(text); size++) {
		char *copy = malloc(size == 0 ? 1 : size);

		assert_non_null(copy);
		memcpy(copy, text, size);
		read_all(slice_of(copy, size), &out);
		assert_false(out.failed);
		free(copy);
	}
	buf_free(&out);
}

/* Values stay where they are while a long entry is put together. */
static void
test_long_entry(void **state)
{
	struct buf text = buf_bounded((size_t)1 << 20),
		   out = buf_bounded((size_t)1 << 20);

	(void)state;
	(void)buf_add_string(&text, "dn: o=x\n");
	for (int i = 0; i < 5000; i++)
		(void)buf_printf(
		    &text, "mail: user%d@\n x.test\nm:: eA==\n", i);
	read_all(buf_slice(&text), &out);
	assert_non_null(strstr(buf_string(&out), "{mail=user0@x.test,m=x,"));
	assert_non_null(
	    strstr(buf_string(&out), ",mail=user4999@x.test,m=x,}"));
	buf_free(&text);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_long_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
