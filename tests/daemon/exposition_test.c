#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/exposition.h"

static void
test_metric(void **state)
{
	struct buf out = buf_bounded(4096);
	struct exposition_label labels[] = {
		{ "kind", slice_from("server") },
		{ "name", slice_from("a\"b\\c\nd") },
	};

	(void)state;
	exposition_head(&out, "x_seconds", "gauge", "What it is.");
	exposition_seconds(&out, "x_seconds", "", NULL, 0, 1500);
	exposition_seconds(&out, "x_seconds", "", NULL, 0, -12000001);
	exposition_value(&out, "y", "_bucket", labels, 2, 7);
	exposition_gauge(&out, "z", "Another.", -3);
	assert_string_equal(buf_string(&out),
	    "# HELP x_seconds What it is.\n"
	    "# TYPE x_seconds gauge\n"
	    "x_seconds 0.001500\n"
	    "x_seconds -12.000001\n"
	    "y_bucket{kind=\"server\",name=\"a\\\"b\\\\c\\nd\"} 7\n"
	    "# HELP z Another.\n"
	    "# TYPE z gauge\n"
	    "z -3\n");
	buf_free(&out);
}

/* Whatever a name has in it, a line is a line of UTF-8. */
static void
test_octets(void **state)
{
	static const struct {
		const char *value, *shown;
		size_t size;
	} rows[] = {
		{ "", "", 0 },
		{ "J\xc3\xb6rg \xe2\x82\xac \xf0\x9f\x93\xa8",
		    "J\xc3\xb6rg \xe2\x82\xac \xf0\x9f\x93\xa8", 14 },
		{ "\0\r\x1b\x7f", "????", 4 },
		{ "\xff\xc3", "??", 2 },
		{ "\xc0\xaf", "??", 2 },
		{ "\xe0\x80\xaf", "???", 3 },
		{ "\xed\xa0\x80", "???", 3 },
		{ "\xf4\x90\x80\x80", "????", 4 },
		{ "\xe2\x82", "??", 2 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct exposition_label label = { "v",
			slice_of(rows[i].value, rows[i].size) };
		struct buf out = buf_bounded(256), expected = buf_bounded(256);

		exposition_value(&out, "x", "", &label, 1, 0);
		buf_printf(&expected, "x{v=\"%s\"} 0\n", rows[i].shown);
		assert_string_equal(buf_string(&out), buf_string(&expected));
		buf_free(&out);
		buf_free(&expected);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metric),
		cmocka_unit_test(test_octets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
