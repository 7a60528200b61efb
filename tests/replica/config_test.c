#include "replica/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/replica/scratch.h"

#define TEXT_SIZE 65536

static int
load(const char *text, struct buf *errors)
{
	char *folder = scratch_new();
	struct buf path = buf_bounded(4096);
	struct config config;
	FILE *file;
	int result;

	(void)buf_printf(&path, "%s/conf", folder);
	file = fopen(buf_string(&path), "we");
	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
	assert_int_equal(fclose(file), 0);
	buf_clear(errors);
	result = config_load(&config, buf_string(&path), errors);
	config_free(&config);
	buf_free(&path);
	scratch_free(folder);
	return result;
}

static void
test_faults(void **state)
{
#define GOOD                                                                   \
	"replica = \"/r\"\nsuffix = \"o=x\"\nproviders = { \"ldap://x\" }\n"

	static const struct {
		const char *text;
		const char *fault; /* NULL: none */
	} rows[] = {
		{ GOOD, NULL },
		{ "source = ldif\nldif_file = \"/x\"\n", NULL },
		{ "source = ldif\n", "ldif_file" },
		{ "suffix = \"o=x\"\n", "no providers" },
		{ "providers = { \"ldap://x\" }\n", "no suffix" },
		{ GOOD "providers = { \"http://x\" }\n", "not an ldap" },
		{ GOOD "replica = \"r\"\n", "absolute" },
		{ GOOD "bind_dn = \"cn=a\"\n", "password_file" },
		{ GOOD "bind_dn = \"cn=a\"\npassword_file = \"/nowhere\"\n",
		    "/nowhere: " },
		{ GOOD "key = \"/k\"\n", "go together" },
		{ GOOD "account_filter = \"uid=*\"\n", "not an LDAP filter" },
		{ GOOD "account_filter = \"(uid=*\"\n", "not an LDAP filter" },
		{ GOOD "account_filter = \"(a=*)(b=*)\"\n",
		    "not an LDAP filter" },
		{ GOOD "account_filter = \"(|(uid=*)(mail=*))\"\n", NULL },
		{ GOOD "map_size_max = 0\n", ":4: " },
		{ GOOD "timeout = 61\n", ":4: " },
		{ GOOD "stale_after = -1\n", ":4: " },
		{ GOOD "tls = maybe\n", ":4: " },
		{ GOOD "bind = gssapi\n", ":4: " },
		{ GOOD "log = paper\n", ":4: " },
		{ GOOD "log_level = loud\n", ":4: " },
		{ GOOD "nonsense = 1\n", ":4: " },
	};
	struct buf errors = buf_bounded(TEXT_SIZE);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int result = load(rows[i].text, &errors);

		assert_int_equal(result, rows[i].fault ? -1 : 0);
		if (rows[i].fault &&
		    !strstr(buf_string(&errors), rows[i].fault))
			fail_msg("%s: %s", rows[i].text, buf_string(&errors));
	}
	buf_free(&errors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
