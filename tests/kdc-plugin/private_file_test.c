#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kdc-plugin/private_file.h"

#define TEXT "what is remembered\n"

static char folder[] = "/tmp/postcell-private-XXXXXX";

static const char *
path(const char *name)
{
	static char text[200];

	(void)snprintf(text, sizeof(text), "%s/%s", folder, name);
	return text;
}

/* Empty where it is not read. */
static void
assert_read(const char *where, const char *expected)
{
	struct buf text = buf_bounded(1000);
	int code = private_file_read(where, "memory", &text);

	assert_int_equal(code, expected ? 0 : -1);
	assert_string_equal(buf_string(&text), expected ? expected : "");
	buf_free(&text);
}

static int
start(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int
end(void **state)
{
	(void)state;
	(void)unlink(path("memory"));
	(void)unlink(path("other"));
	return rmdir(folder);
}

static int
clear(void **state)
{
	(void)state;
	(void)unlink(path("memory"));
	(void)unlink(path("other"));
	return chmod(folder, 0700);
}

static void
test_there_and_back(void **state)
{
	char pattern[100];

	(void)state;
	assert_read(folder, NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    private_file_write(folder, "memory", slice_from(TEXT)), 0);
		assert_read(folder, TEXT);
	}
	(void)snprintf(pattern, sizeof(pattern), "/proc/%%u%s", folder);
	assert_read(pattern, NULL);
	assert_read("tmp", NULL);
	assert_read("", NULL);
}

/* Nothing that others could have put there. */
static void
test_foreign(void **state)
{
	(void)state;
	assert_int_equal(
	    private_file_write(folder, "memory", slice_from(TEXT)), 0);
	assert_int_equal(chmod(folder, 0770), 0);
	assert_read(folder, NULL);
	assert_int_equal(
	    private_file_write(folder, "memory", slice_from(TEXT)), -1);
	assert_int_equal(chmod(folder, 0700), 0);
	assert_int_equal(chmod(path("memory"), 0622), 0);
	assert_read(folder, NULL);
	assert_int_equal(chmod(path("memory"), 0600), 0);
	assert_read(folder, TEXT);
	{
		char other[200];

		(void)snprintf(other, sizeof(other), "%s", path("other"));
		assert_int_equal(link(path("memory"), other), 0);
	}
	assert_read(folder, NULL);
	assert_int_equal(unlink(path("other")), 0);
	assert_read(folder, TEXT);
}

static void
test_links(void **state)
{
	char target[200];

	(void)state;
	(void)snprintf(target, sizeof(target), "%s", path("other"));
	assert_int_equal(symlink(target, path("memory")), 0);
	assert_int_equal(close(open(target, O_CREAT | O_WRONLY, 0600)), 0);
	assert_read(folder, NULL);
	/* It is replaced, not followed. */
	assert_int_equal(
	    private_file_write(folder, "memory", slice_from(TEXT)), 0);
	assert_read(folder, TEXT);
	(void)snprintf(target, sizeof(target), "%s.link", folder);
	assert_int_equal(symlink(folder, target), 0);
	assert_read(target, NULL);
	assert_int_equal(unlink(target), 0);
}

/* Reading from it must not wait. */
static void
test_pipe(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(path("memory"), 0600), 0);
	assert_read(folder, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_there_and_back, clear),
		cmocka_unit_test_teardown(test_foreign, clear),
		cmocka_unit_test_teardown(test_links, clear),
		cmocka_unit_test_teardown(test_pipe, clear),
	};

	return cmocka_run_group_tests(tests, start, end);
}
