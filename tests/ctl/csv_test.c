#include "ctl/csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_SIZE 65536

/* Rows as "LINE:[field][field]", faults as "LINE:!why". */
static const struct table_row {
	const char *text, *rows;
} table_rows[] = {
	{ "", "" },
	{ "\n\r\n\n", "" },
	{ "a", "1:[a]" },
	{ "a,b\n", "1:[a][b]" },
	{ "a,b\r\nc,d\r\n", "1:[a][b]2:[c][d]" },
	{ "a\n\n\nb\n", "1:[a]4:[b]" },
	{ "\xEF\xBB\xBF"
	  "a,b\n",
	    "1:[a][b]" },
	{ ",\n", "1:[][]" },
	{ "a,,b,\n", "1:[a][][b][]" },
	{ "\"\"\n", "1:[]" },
	{ " a , b \n", "1:[ a ][ b ]" },
	{ "\"a,b\",c\n", "1:[a,b][c]" },
	{ "\"say \"\"so\"\"\"\n", "1:[say \"so\"]" },
	{ "\"two\nlines\",x\ny,z\n", "1:[two\nlines][x]3:[y][z]" },
	{ "\"two\r\nlines\"\r\nz", "1:[two\r\nlines]3:[z]" },
	{ "J\xC3\xBCrgen,\"\xE6\x9D\x8E\"\n",
	    "1:[J\xC3\xBCrgen][\xE6\x9D\x8E]" },
	{ "a\"b\nc\n", "1:!a quote stands within a field without quotes2:[c]" },
	{ "\"a\"b\nc\n", "1:!something stands behind a closing quote2:[c]" },
	{ "\"a\nb\nc\n", "1:!a quote is never closed2:[b]3:[c]" },
	{ "a\rb\nc\n", "1:!a carriage return without line feed2:[c]" },
	{ "a\xFF\nc\n", "1:!is not UTF-82:[c]" },
	{ "\xC0\x80\nc\n", "1:!is not UTF-82:[c]" },
};

static void
add_row(struct buf *got, const struct csv *csv, enum csv_result result,
    const char *why)
{
	(void)buf_printf(got, "%zu:", csv->line);
	if (result == CSV_BAD)
		(void)buf_printf(got, "!%s", why);
	for (size_t i = 0; i < csv->count; i++)
		(void)buf_printf(got, "[%.*s]", SLICE_ARGS(csv->fields[i]));
}

static void
read_all(struct slice text, struct buf *got)
{
	struct csv csv;
	enum csv_result result;
	const char *why = NULL;

	csv_init(&csv, text);
	while ((result = csv_next(&csv, &why)) != CSV_END)
		add_row(got, &csv, result, why);
	csv_free(&csv);
}

static void
test_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table_rows); i++) {
		struct buf got = buf_bounded(TEXT_SIZE);

		read_all(slice_from(table_rows[i].text), &got);
		assert_string_equal(buf_string(&got), table_rows[i].rows);
		buf_free(&got);
	}
}

static void
test_nul(void **state)
{
	struct buf got = buf_bounded(TEXT_SIZE);

	(void)state;
	read_all(slice_of("a\0b\nc\n", 6), &got);
	assert_string_equal(buf_string(&got), "1:!has a NUL in it2:[c]");
	buf_free(&got);
}

/* As many fields and octets as may be, and one more. */
static void
test_bounds(void **state)
{
	struct buf text = buf_bounded((size_t)4 * CSV_ROW_MAX);
	struct buf got = buf_bounded((size_t)4 * CSV_ROW_MAX);

	(void)state;
	for (size_t i = 1; i < CSV_FIELDS_MAX; i++)
		(void)buf_add_char(&text, ',');
	(void)buf_add_string(&text, "\n,");
	for (size_t i = 1; i < CSV_FIELDS_MAX; i++)
		(void)buf_add_char(&text, ',');
	(void)buf_add_string(&text, "\n");
	read_all(buf_slice(&text), &got);
	assert_non_null(strstr(buf_string(&got), "1:[]"));
	assert_non_null(strstr(buf_string(&got), "2:!too many fields"));

	buf_clear(&text);
	buf_clear(&got);
	for (size_t i = 0; i < CSV_ROW_MAX; i++)
		(void)buf_add_char(&text, 'x');
	(void)buf_add_string(&text, "y\nz\n");
	read_all(buf_slice(&text), &got);
	assert_string_equal(buf_string(&got), "1:!too long2:[z]");
	buf_free(&text);
	buf_free(&got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
