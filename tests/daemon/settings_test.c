#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "daemon/settings.h"

struct item {
	const char *title;
	long line;
	long port;
	struct setting_list addresses;
};

struct target {
	const char *name, *other;
	long count;
	bool on;
	int choice;
	struct setting_list list;

	struct {
		long depth;
	} inner;
	struct setting_items items;
};

static const char *const words[] = { "red", "green", "blue", NULL };

#define AT(field) offsetof(struct target, field)
static const struct setting top_rows[] = {
	{ "name", SETTING_TEXT, AT(name), NULL, 0, 0, NULL },
	{ "other", SETTING_TEXT, AT(other), "a default", 0, 0, NULL },
	{ "count", SETTING_NUMBER, AT(count), "7", 1, 10, NULL },
	{ "on", SETTING_SWITCH, AT(on), "yes", 0, 0, NULL },
	{ "choice", SETTING_CHOICE, AT(choice), "green", 0, 0, words },
	{ "list", SETTING_LIST, AT(list), "{\"a\", \"b\"}", 0, 0, NULL },
};
static const struct setting inner_rows[] = {
	{ "depth", SETTING_NUMBER, 0, "-3", -5, 5, NULL },
};
static const struct setting item_rows[] = {
	{ "port", SETTING_NUMBER, offsetof(struct item, port), "0", 0, 65535,
	    NULL },
	{ "addresses", SETTING_LIST, offsetof(struct item, addresses), "{}", 0,
	    0, NULL },
};
static const struct setting_section sections[] = {
	{ NULL, top_rows, ARRAY_SIZE(top_rows), 0, 0, 0, 0 },
	{ "inner", inner_rows, ARRAY_SIZE(inner_rows), AT(inner), 0, 0, 0 },
	{ "item", item_rows, ARRAY_SIZE(item_rows), AT(items),
	    sizeof(struct item), offsetof(struct item, title),
	    offsetof(struct item, line) },
};

static char path[] = "/tmp/postcell-settings-XXXXXX";

static int
read_text(const char *text, struct settings **settings, struct target *target,
    struct buf *errors)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	memset(target, 0, sizeof(*target));
	return settings_read(
	    settings, path, sections, ARRAY_SIZE(sections), target, errors);
}

static void
test_defaults(void **state)
{
	struct buf errors = buf_bounded(4096);
	struct settings *settings;
	struct target target;

	(void)state;
	assert_int_equal(read_text("", &settings, &target, &errors), 0);
	assert_int_equal(errors.size, 0);
	assert_null(target.name);
	assert_string_equal(target.other, "a default");
	assert_int_equal(target.count, 7);
	assert_true(target.on);
	assert_int_equal(target.choice, 1);
	assert_int_equal(target.list.count, 2);
	assert_string_equal(target.list.items[1], "b");
	assert_int_equal(target.inner.depth, -3);
	assert_int_equal(target.items.count, 0);
	settings_free(&settings);
	assert_null(settings);
	buf_free(&errors);
}

static void
test_values(void **state)
{
	static const char text[] = "# a remark\n"
				   "name = \"a b\"\n"
				   "other = plain\n"
				   "count = 10\n"
				   "on = no\n"
				   "choice = blue\n"
				   "list = { \"x\" }\n"
				   "inner { depth = -5 }\n"
				   "item one {\n"
				   "	port = 65535\n"
				   "	addresses = { \"a\", \"b\", \"c\" }\n"
				   "}\n"
				   "item \"two\" { }\n"
				   "item three # a remark { } item four\n"
				   "{ } item four { }\n";
	struct buf errors = buf_bounded(4096);
	struct settings *settings;
	struct target target;
	const struct item *items;

	(void)state;
	assert_int_equal(read_text(text, &settings, &target, &errors), 0);
	assert_string_equal(target.name, "a b");
	assert_string_equal(target.other, "plain");
	assert_int_equal(target.count, 10);
	assert_false(target.on);
	assert_int_equal(target.choice, 2);
	assert_int_equal(target.list.count, 1);
	assert_string_equal(target.list.items[0], "x");
	assert_int_equal(target.inner.depth, -5);
	assert_int_equal(target.items.count, 4);
	items = target.items.items;
	assert_string_equal(items[0].title, "one");
	assert_int_equal(items[0].port, 65535);
	assert_int_equal(items[0].addresses.count, 3);
	assert_string_equal(items[0].addresses.items[2], "c");
	assert_string_equal(items[1].title, "two");
	assert_int_equal(items[1].port, 0);
	assert_int_equal(items[1].addresses.count, 0);
	assert_int_equal(items[0].line, 9);
	assert_int_equal(items[1].line, 13);
	assert_int_equal(items[2].line, 14);
	assert_string_equal(items[3].title, "four");
	assert_int_equal(items[3].line, 15);
	settings_free(&settings);
	buf_free(&errors);
}

/* Every fault has its file and line. */
static const struct {
	const char *text;
	int line;
	const char *why;
} faults[] = {
	{ "count = 0\n", 1, "count is 0, but must be 1 to 10" },
	{ "\n\ncount = 11\n", 3, "count is 11, but must be 1 to 10" },
	{ "count = 99999999999999999999\n", 1, "integer" },
	{ "count = ten\n", 1, "invalid integer value" },
	{ "count = 5x\n", 1, "invalid integer value" },
	{ "count =\n", 2, "" },
	{ "count 5\n", 1, "" },
	{ "on = maybe\n", 1, "invalid boolean value" },
	{ "choice = pink\n", 1,
	    "choice is \"pink\", but may be: red, green, blue" },
	{ "choice = \"\"\n", 1, "choice is \"\"" },
	{ "colour = red\n", 1, "no such option 'colour'" },
	{ "name = a\ndepth = 1\n", 2, "no such option 'depth'" },
	{ "inner {\n depth = 6 }\n", 2, "depth is 6, but must be -5 to 5" },
	{ "inner {\n count = 6 }\n", 2, "no such option 'count'" },
	{ "item one {\n port = 65536\n}\n", 2,
	    "port is 65536, but must be 0 to 65535" },
	{ "item one { }\nitem one { }\n", 2, "found duplicate title 'one'" },
	{ "item { }\n", 1, "" },
	{ "item one {\n", 2, "" },
	{ "name = \"no end\n", 2, "" },
	{ "list = { \"a\"\n", 2, "" },
	{ "name = { \"a\" }\n", 1, "" },
	{ "}\n", 1, "" },
	/* remarks of all kinds count as one line each */
	{ "# one\n# two\n\n# three\ncount = 0\n", 5, "count is 0" },
	{ "// one\n//\ncount = 0\n", 3, "count is 0" },
	{ "/* one\n two */ count = 0 # three\n", 2, "count is 0" },
	{ "on = yes # one\nname = \"# no\" # two\ncount = 0\n", 3,
	    "count is 0" },
	{ "name = 'a\\'# no' other = a//b\ncount = 0\n", 2, "count is 0" },
	{ "name = \"/* no\"\ncount = 0 /*\n*/\n", 2, "count is 0" },
	{ "/* no end\ncount = 0\n", 3, "" },
};

static void
test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct buf errors = buf_bounded(4096);
		struct settings *settings;
		struct target target;
		char where[256];

		(void)snprintf(
		    where, sizeof(where), "%s:%d: ", path, faults[i].line);
		if (read_text(faults[i].text, &settings, &target, &errors) == 0)
			fail_msg("row %zu was taken", i);
		assert_null(settings);
		if (strncmp(buf_string(&errors), where, strlen(where)) != 0 ||
		    !strstr(buf_string(&errors), faults[i].why))
			fail_msg("row %zu: %s", i, buf_string(&errors));
		assert_int_equal(errors.data[errors.size - 1], '\n');
		buf_free(&errors);
	}
}

static void
test_no_file(void **state)
{
	struct buf errors = buf_bounded(4096);
	struct settings *settings;
	struct target target;

	(void)state;
	assert_int_equal(settings_read(&settings, "/nowhere/x.conf", sections,
			     ARRAY_SIZE(sections), &target, &errors),
	    -1);
	assert_string_equal(buf_string(&errors),
	    "/nowhere/x.conf: No such file or directory\n");
	buf_clear(&errors);
	assert_int_equal(settings_read(&settings, "/", sections,
			     ARRAY_SIZE(sections), &target, &errors),
	    -1);
	assert_string_equal(buf_string(&errors), "/: Is a directory\n");
	buf_clear(&errors);
	/* What stands behind a NUL would be passed over. */
	assert_true(truncate(path, 0) == 0 && truncate(path, 5) == 0);
	assert_int_equal(settings_read(&settings, path, sections,
			     ARRAY_SIZE(sections), &target, &errors),
	    -1);
	assert_non_null(strstr(buf_string(&errors), "has a NUL"));
	buf_clear(&errors);
	assert_true(truncate(path, 10 << 20) == 0);
	assert_int_equal(settings_read(&settings, path, sections,
			     ARRAY_SIZE(sections), &target, &errors),
	    -1);
	assert_non_null(strstr(buf_string(&errors), "too long"));
	buf_free(&errors);
}

static void
test_describe(void **state)
{
	struct buf out = buf_bounded(4096);

	(void)state;
	settings_describe(sections, ARRAY_SIZE(sections), &out);
	assert_string_equal(buf_string(&out), "name text -\n"
					      "other text a default\n"
					      "count number 7 1..10\n"
					      "on switch yes\n"
					      "choice choice green\n"
					      "list list {\"a\", \"b\"}\n"
					      "inner.depth number -3 -5..5\n"
					      "item.port number 0 0..65535\n"
					      "item.addresses list {}\n");
	buf_free(&out);
}

static int
make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

static int
remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_describe),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
