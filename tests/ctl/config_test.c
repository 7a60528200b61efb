/* Options, manual page and example say the same. */
#include "ctl/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT_SIZE 65536

static struct buf
read_file(const char *path)
{
	struct buf text = buf_bounded(TEXT_SIZE);
	FILE *file = fopen(path, "re");
	char *room = buf_reserve(&text, TEXT_SIZE);

	assert_non_null(file);
	assert_non_null(room);
	buf_grow(&text, fread(room, 1, TEXT_SIZE, file));
	assert_int_equal(fclose(file), 0);
	return text;
}

/* Is there ".It Cm NAME" in the part of the page that is about the file? */
static bool
is_described(const struct buf *page, struct slice name)
{
	struct buf line = buf_bounded(TEXT_SIZE);
	const char *part = strstr(buf_string(page), ".Sh CONFIGURATION");
	bool found;

	assert_non_null(part);
	assert_int_equal(
	    buf_printf(&line, ".It Cm %.*s\n", SLICE_ARGS(name)), 0);
	found = strstr(part, buf_string(&line)) != NULL;
	buf_free(&line);
	return found;
}

static bool
is_exemplified(const struct buf *example, struct slice name)
{
	struct slice rest = buf_slice(example), line, word;

	while (slice_next_word(&rest, '\n', &line)) {
		line = slice_trim(line);
		if (slice_next_word(&line, ' ', &word) &&
		    slice_equal(word, name))
			return true;
	}
	return false;
}

static void
test_page_and_example_have_every_option(void **state)
{
	struct buf rows = buf_bounded(TEXT_SIZE);
	struct buf page = read_file("man/postcellctl.8");
	struct buf example = read_file("examples/postcellctl.conf");
	struct slice rest, line, name;
	size_t count = 0;

	(void)state;
	config_describe(&rows);
	rest = buf_slice(&rows);
	while (slice_next_word(&rest, '\n', &line)) {
		size_t dot;

		assert_true(slice_next_word(&line, ' ', &name));
		dot = slice_find(name, '.');
		name = slice_from_offset(name, dot == SIZE_MAX ? 0 : dot + 1);
		if (!is_described(&page, name) ||
		    !is_exemplified(&example, name))
			fail_msg("%.*s is missing", SLICE_ARGS(name));
		count++;
	}
	assert_int_equal(count, 10);
	buf_free(&rows);
	buf_free(&page);
	buf_free(&example);
}

static void
test_example_is_taken(void **state)
{
	struct buf errors = buf_bounded(TEXT_SIZE);
	struct config *config = NULL;

	(void)state;
	assert_int_equal(
	    config_read(&config, "examples/postcellctl.conf", &errors), 0);
	assert_int_equal(config->directory.uris.count, 2);
	assert_int_equal(config->directory.bind, CONFIG_BIND_SIMPLE);
	assert_int_equal(config->directory.tls, CONFIG_TLS_STARTTLS);
	config_free(&config);
	buf_free(&errors);
}

static void
test_no_default_file_is_no_fault(void **state)
{
	struct buf errors = buf_bounded(TEXT_SIZE);
	struct config *config = NULL;

	(void)state;
	assert_int_equal(config_read(&config, NULL, &errors), 0);
	assert_non_null(config->replica);
	config_free(&config);
	assert_int_equal(config_read(&config, "/nonexistent", &errors), -1);
	assert_non_null(strstr(buf_string(&errors), "/nonexistent"));
	buf_free(&errors);
}

static const struct fault_row {
	const char *text, *says;
} fault_rows[] = {
	{ "directory { uris = { \"http://x\" } suffix = \"dc=x\" }",
	    "\"http://x\" is no ldap" },
	{ "directory { uris = { \"ldap://x\" } }", "suffix must be set" },
	{ "directory { bind_dn = \"cn=x\" }", "go together" },
	{ "directory { password_file = \"x\" }", "go together" },
	{ "directory { bind = external\n bind_dn = \"cn=x\"\n"
	  "password_file = \"x\" }",
	    "takes no bind_dn" },
	{ "directory { tls = maybe }", ":1: tls is \"maybe\"" },
	{ "host_name = \"x\"", "host_name" },
};

static void
test_faults_are_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fault_rows); i++) {
		char path[] = "/tmp/postcell-ctl-config-XXXXXX";
		struct buf errors = buf_bounded(TEXT_SIZE);
		struct config *config = NULL;
		int fd = mkstemp(path);

		assert_true(fd >= 0);
		assert_true(dprintf(fd, "%s\n", fault_rows[i].text) > 0);
		assert_int_equal(close(fd), 0);
		assert_int_equal(config_read(&config, path, &errors), -1);
		if (!strstr(buf_string(&errors), fault_rows[i].says) ||
		    !strstr(buf_string(&errors), path))
			fail_msg(
			    "%s: %s", fault_rows[i].text, buf_string(&errors));
		buf_free(&errors);
		(void)unlink(path);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_and_example_have_every_option),
		cmocka_unit_test(test_example_is_taken),
		cmocka_unit_test(test_no_default_file_is_no_fault),
		cmocka_unit_test(test_faults_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
