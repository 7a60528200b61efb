#include "lib/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_who_is_asked(void **state)
{
	(void)state;
	assert_int_equal(query_text(SERVICE_IMAP).size, 0);
	assert_int_equal(query_text(SERVICE_LMTP).size, 0);
	assert_true(query_text(SERVICE_DNS).size > 0);
	assert_true(query_text(SERVICE_LDAP).size > 0);
	assert_true(query_text(SERVICE_KERBEROS).size > 0);
	assert_int_equal(query_text(SERVICE_KPASSWD).size, 0);
}

/* Where a message tells its length, it tells the truth. */
static void
test_lengths(void **state)
{
	struct slice kdc = query_text(SERVICE_KERBEROS);
	struct slice dns = query_text(SERVICE_DNS);
	struct slice ldap = query_text(SERVICE_LDAP);

	(void)state;
	assert_int_equal((uint8_t)kdc.data[3], kdc.size - 4);
	assert_int_equal((uint8_t)kdc.data[5], kdc.size - 6);
	assert_int_equal((uint8_t)dns.data[1], dns.size - 2);
	assert_int_equal((uint8_t)ldap.data[1], ldap.size - 2);
}

static void
test_answers(void **state)
{
	static const struct {
		enum service_kind kind;
		struct slice answer;
		enum query_result result;
	} rows[] = {
		{ SERVICE_DNS, { "\0\x20P", 3 }, QUERY_MORE },
		{ SERVICE_DNS, { "\0\x20PC\x81", 5 }, QUERY_GOOD },
		{ SERVICE_DNS, { "\0\x20PX\x81", 5 }, QUERY_BAD },
		{ SERVICE_LDAP, { "", 0 }, QUERY_MORE },
		{ SERVICE_LDAP, { "0\x0c", 2 }, QUERY_GOOD },
		{ SERVICE_LDAP, { "220 ", 4 }, QUERY_BAD },
		{ SERVICE_KERBEROS, { "\0\0\0\x50", 4 }, QUERY_MORE },
		{ SERVICE_KERBEROS, { "\0\0\0\x50\x7e\x4e", 6 }, QUERY_GOOD },
		{ SERVICE_KERBEROS, { "\0\0\0\x50\x6b\x4e", 6 }, QUERY_GOOD },
		{ SERVICE_KERBEROS, { "* OK hello", 10 }, QUERY_BAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
		    query_check(rows[i].kind, rows[i].answer), rows[i].result);
}

static void
test_datagrams(void **state)
{
	struct slice kdc = query_datagram(SERVICE_KERBEROS);
	struct slice kpasswd = query_datagram(SERVICE_KPASSWD);

	static const struct {
		enum service_kind kind;
		struct slice answer;
		bool is;
	} rows[] = {
		{ SERVICE_KERBEROS, { "\x7e\x4e", 2 }, true },
		{ SERVICE_KERBEROS, { "\x6b\x4e", 2 }, true },
		{ SERVICE_KERBEROS, { "\0\0\0\x50\x7e", 5 }, false },
		{ SERVICE_KERBEROS, { "", 0 }, false },
		{ SERVICE_KPASSWD, { "\0\7\0\1\0\0\x7e", 7 }, true },
		{ SERVICE_KPASSWD, { "\0\x08\0\1\0\0\x7e", 7 }, false },
		{ SERVICE_KPASSWD, { "\0\6\0\1\0\0", 6 }, false },
	};

	(void)state;
	assert_int_equal((uint8_t)kdc.data[0], 0x6a);
	assert_int_equal((uint8_t)kdc.data[1], kdc.size - 2);
	assert_int_equal((uint8_t)kpasswd.data[1], kpasswd.size);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(
		    query_is_answer(rows[i].kind, rows[i].answer), rows[i].is);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_asked),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_datagrams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
