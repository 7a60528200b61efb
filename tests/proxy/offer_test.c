#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/offer.h"
#include "proxy/sasl.h"

/* What each of three servers says, and what they have in common. */
static const struct {
	enum service_kind service;
	const char *servers[3]; /* NULL: there are no more */
	const char *common;
} rows[] = {
	{ SERVICE_POP3, { "TOP\nUIDL\n" }, "TOP\nUIDL\n" },
	{ SERVICE_POP3, { "top 5\nSTLS\nSASL PLAIN\n" }, "TOP\n" },
	{ SERVICE_POP3, { "TOP\nUIDL\n", "uidl\nTOP\n", "UIDL\n" }, "UIDL\n" },
	{ SERVICE_POP3, { "TOP\n", "" }, "" },
	{ SERVICE_POP3, { "", "TOP\n" }, "" },
	{ SERVICE_POP3, { "UTF8 USER\n", "UTF8\n" }, "UTF8\n" },
	{ SERVICE_POP3, { "UTF8 USER\n", "UTF8 USER X\n" }, "UTF8 USER\n" },

	{ SERVICE_SUBMISSION,
	    { "SIZE 1000\n8BITMIME\nAUTH PLAIN\nXCLIENT A\n" },
	    "SIZE 1000\n8BITMIME\n" },
	{ SERVICE_SUBMISSION, { "SIZE 1000\n", "SIZE 500\n", "SIZE 700\n" },
	    "SIZE 500\n" },
	{ SERVICE_SUBMISSION, { "SIZE 1000\n", "SIZE\n" }, "SIZE 1000\n" },
	{ SERVICE_SUBMISSION, { "SIZE\n", "SIZE 0\n" }, "SIZE\n" },
	{ SERVICE_SUBMISSION, { "SIZE -1\n", "SIZE 99999999999999999999\n" },
	    "SIZE\n" },
	{ SERVICE_SUBMISSION, { "SIZE 10\nDSN\n", "DSN\n" }, "DSN\n" },
	{ SERVICE_SUBMISSION, { "STARTTLS\nAUTH=PLAIN\nHELP\n" }, "" },

	{ SERVICE_SIEVE,
	    { "SIEVE fileinto vacation\n", "SIEVE vacation copy\n" },
	    "SIEVE vacation\n" },
	{ SERVICE_SIEVE, { "SIEVE fileinto\n", "SIEVE copy\n" }, "" },
	{ SERVICE_SIEVE, { "MAXREDIRECTS 4\n", "MAXREDIRECTS 2\n" },
	    "MAXREDIRECTS 2\n" },
	{ SERVICE_SIEVE, { "LANGUAGE de\n", "LANGUAGE en\n" }, "" },
	{ SERVICE_SIEVE, { "LANGUAGE de\n", "LANGUAGE de\n" },
	    "LANGUAGE de\n" },

	/* nothing but printable text is passed on */
	{ SERVICE_SIEVE, { "SIEVE a\tb\nNOTIFY mailto\n" }, "NOTIFY mailto\n" },
	{ SERVICE_SIEVE, { "SIEVE \xff\n" }, "" },
	{ SERVICE_IMAP, { "TOP\nSIZE\nSIEVE x\n" }, "" },
};

static void
test_join(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf common = buf_bounded(OFFER_SIZE_MAX);

		for (size_t k = 0; k < 3 && rows[i].servers[k]; k++)
			assert_int_equal(
			    offer_join(rows[i].service, &common,
				slice_from(rows[i].servers[k]), k == 0),
			    0);
		if (!slice_is(buf_slice(&common), rows[i].common))
			fail_msg("row %zu: \"%s\"", i, buf_string(&common));
		buf_free(&common);
	}
}

static void
test_bound(void **state)
{
	struct buf common = buf_bounded(8);

	(void)state;
	assert_int_equal(
	    offer_join(SERVICE_POP3, &common, slice_from("TOP\n"), true), 0);
	assert_int_equal(
	    offer_join(SERVICE_POP3, &common, slice_from("TOP\nUIDL\n"), true),
	    -1);
	assert_string_equal(buf_string(&common), "TOP\n");
	buf_free(&common);
}

static void
test_used(void **state)
{
	(void)state;
	assert_true(offer_is_used(SERVICE_POP3));
	assert_true(offer_is_used(SERVICE_SUBMISSION));
	assert_true(offer_is_used(SERVICE_SIEVE));
	assert_false(offer_is_used(SERVICE_IMAP));
	assert_false(offer_is_used(SERVICE_LMTP));
}

static void
test_mechanisms(void **state)
{
	static const struct {
		const char *lines;
		unsigned mechanisms;
	} servers[] = {
		{ "", 0 },
		{ "AUTH\n", 0 },
		{ "AUTH PLAIN LOGIN\n", 1U << SASL_PLAIN | 1U << SASL_LOGIN },
		{ "SIZE 1\nsasl plain X-OWN scram-sha-256\nTOP\n",
		    1U << SASL_PLAIN | 1U << SASL_SCRAM_SHA_256 },
		{ "AUTH=PLAIN\nUSER PLAIN\n", 0 },
		{ "AUTH XOAUTH2\nAUTH OAUTHBEARER\n",
		    1U << SASL_XOAUTH2 | 1U << SASL_OAUTHBEARER },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++)
		assert_int_equal(offer_mechanisms(slice_from(servers[i].lines)),
		    servers[i].mechanisms);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mechanisms),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
