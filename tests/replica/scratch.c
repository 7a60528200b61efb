#include "tests/replica/scratch.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/account.h"
#include "lib/record.h"

char *
scratch_new(void)
{
	char *path = strdup("/tmp/postcell-test-XXXXXX");

	assert_non_null(path);
	assert_non_null(mkdtemp(path));
	return path;
}

void
scratch_free(char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	assert_non_null(folder);
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(folder), entry->d_name, 0);
	}
	(void)closedir(folder);
	assert_int_equal(rmdir(path), 0);
	free(path);
}

struct slice
scratch_id(uint8_t id[LAYOUT_ID_SIZE], uint8_t octet)
{
	memset(id, octet, LAYOUT_ID_SIZE);
	return slice_of(id, LAYOUT_ID_SIZE);
}

void
scratch_account(
    struct buf *out, uint8_t octet, const char *names, const char *csn)
{
	uint8_t id[LAYOUT_ID_SIZE];
	struct slice rest = slice_from(names), word;

	buf_clear(out);
	(void)record_add(out, ACCOUNT_ID, scratch_id(id, octet));
	(void)record_add(out, ACCOUNT_DN, slice_from("uid=a,o=x"));
	if (csn)
		(void)record_add(out, ACCOUNT_CSN, slice_from(csn));
	while (slice_next_word(&rest, ' ', &word)) {
		uint8_t tag = word.data[0] == 'u'   ? ACCOUNT_UID
			      : word.data[0] == 'a' ? ACCOUNT_ADDRESS
						    : ACCOUNT_PRINCIPAL;

		(void)record_add(out, tag, slice_from_offset(word, 2));
	}
	assert_false(out->failed);
}
