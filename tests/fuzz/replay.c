/* In place of libFuzzer: runs every file of a target's corpus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_SIZE_MAX (1 << 20)

static void
run_file(const char *path)
{
	char *data = malloc(INPUT_SIZE_MAX), *exact;
	FILE *file = fopen(path, "r");
	size_t size;

	assert_non_null(data);
	assert_non_null(file);
	size = fread(data, 1, INPUT_SIZE_MAX, file);
	assert_int_equal(fclose(file), 0);
	/* Of its very size, so that sanitizers see who looks behind it. */
	exact = realloc(data, size ? size : 1);
	assert_non_null(exact);
	assert_int_equal(
	    LLVMFuzzerTestOneInput((const uint8_t *)exact, size), 0);
	free(exact);
}

static void
test_corpus(void **state)
{
	char folder[256], path[1024];
	struct dirent *entry;
	unsigned count = 0;
	DIR *files;

	(void)state;
	(void)snprintf(
	    folder, sizeof(folder), "tests/fuzz/corpus/%s", fuzz_name);
	files = opendir(folder);
	assert_non_null(files);
	while ((entry = readdir(files))) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(
		    path, sizeof(path), "%s/%s", folder, entry->d_name);
		run_file(path);
		count++;
	}
	closedir(files);
	assert_true(count > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_corpus) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
