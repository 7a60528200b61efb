#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/sasl.h"

#define TEXT(literal)                                                          \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

/* PLAIN, RFC 4616: what a message gives; user NULL: refused. */
static const struct {
	struct slice message;
	const char *authorise, *user, *password, *owner;
} plains[] = {
	{ TEXT("\0bob\0secret"), "", "bob", "secret", "bob" },
	{ TEXT("bob\0bob\0secret"), "", "bob", "secret", "bob" },
	{ TEXT("alice\0bob\0secret"), "alice", "bob", "secret", "alice" },
	{ TEXT("\0b\r\n\0 "), "", "b\r\n", " ", "b\r\n" },
	{ TEXT("\0\xc3\xa4\0\xff"), "", "\xc3\xa4", "\xff", "\xc3\xa4" },
	{ TEXT(""), NULL, NULL, NULL, NULL },
	{ TEXT("bob"), NULL, NULL, NULL, NULL },
	{ TEXT("\0bob"), NULL, NULL, NULL, NULL },
	{ TEXT("\0bob\0"), NULL, NULL, NULL, NULL },
	{ TEXT("\0\0secret"), NULL, NULL, NULL, NULL },
	{ TEXT("alice\0\0secret"), NULL, NULL, NULL, NULL },
	{ TEXT("\0\0"), NULL, NULL, NULL, NULL },
	{ TEXT("\0bob\0secret\0"), NULL, NULL, NULL, NULL },
	{ TEXT("\0bob\0sec\0ret"), NULL, NULL, NULL, NULL },
};

static void
test_plain(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(plains); i++) {
		struct buf challenge = buf_bounded(64);
		struct credentials credentials;
		enum sasl_result result;
		const char *why = NULL;
		struct sasl sasl;

		credentials_init(&credentials);
		assert_int_equal(
		    sasl_start(&sasl, SASL_PLAIN, &challenge), SASL_CHALLENGE);
		assert_int_equal(challenge.size, 0);
		result = sasl_respond(
		    &sasl, plains[i].message, &credentials, &challenge, &why);
		if (!plains[i].user) {
			assert_int_equal(result, SASL_FAILED);
			assert_non_null(why);
		} else {
			assert_int_equal(result, SASL_COMPLETE);
			assert_string_equal(buf_string(&credentials.authorise),
			    plains[i].authorise);
			assert_string_equal(
			    buf_string(&credentials.user), plains[i].user);
			assert_string_equal(buf_string(&credentials.password),
			    plains[i].password);
			assert_true(slice_is(
			    credentials_owner(&credentials), plains[i].owner));
		}
		credentials_wipe(&credentials);
		buf_free(&challenge);
	}
}

static void
test_plain_bounds(void **state)
{
	struct buf message = buf_bounded(65536), challenge = buf_bounded(64);
	struct credentials credentials;
	const char *why = NULL;
	struct sasl sasl;

	(void)state;
	credentials_init(&credentials);
	for (size_t more = 0; more < 4; more++) {
		buf_clear(&message);
		for (size_t i = 0; i < SASL_NAME_SIZE_MAX + (more == 1); i++)
			buf_add_char(&message, 'a');
		buf_add_char(&message, '\0');
		for (size_t i = 0; i < SASL_NAME_SIZE_MAX + (more == 2); i++)
			buf_add_char(&message, 'b');
		buf_add_char(&message, '\0');
		for (size_t i = 0; i < SASL_PASSWORD_SIZE_MAX + (more == 3);
		     i++)
			buf_add_char(&message, 'c');
		sasl_start(&sasl, SASL_PLAIN, &challenge);
		assert_int_equal(sasl_respond(&sasl, buf_slice(&message),
				     &credentials, &challenge, &why),
		    more == 0 ? SASL_COMPLETE : SASL_FAILED);
	}
	credentials_wipe(&credentials);
	buf_free(&message);
	buf_free(&challenge);
}

static void
test_login(void **state)
{
	struct buf challenge = buf_bounded(64);
	struct credentials credentials;
	const char *why = NULL;
	struct sasl sasl;

	(void)state;
	credentials_init(&credentials);
	buf_add_string(&credentials.authorise, "of an earlier try");
	assert_int_equal(
	    sasl_start(&sasl, SASL_LOGIN, &challenge), SASL_CHALLENGE);
	assert_string_equal(buf_string(&challenge), "Username:");
	assert_int_equal(sasl_respond(&sasl, slice_from("bob"), &credentials,
			     &challenge, &why),
	    SASL_CHALLENGE);
	assert_string_equal(buf_string(&challenge), "Password:");
	assert_int_equal(sasl_respond(&sasl, slice_from("secret"), &credentials,
			     &challenge, &why),
	    SASL_COMPLETE);
	assert_int_equal(credentials.authorise.size, 0);
	assert_string_equal(buf_string(&credentials.user), "bob");
	assert_string_equal(buf_string(&credentials.password), "secret");

	sasl_start(&sasl, SASL_LOGIN, &challenge);
	assert_int_equal(
	    sasl_respond(&sasl, slice_from(""), &credentials, &challenge, &why),
	    SASL_FAILED);
	assert_non_null(why);
	sasl_start(&sasl, SASL_LOGIN, &challenge);
	sasl_respond(&sasl, slice_from("bob"), &credentials, &challenge, &why);
	assert_int_equal(sasl_respond(&sasl, slice_of("a\0b", 3), &credentials,
			     &challenge, &why),
	    SASL_FAILED);
	credentials_wipe(&credentials);
	buf_free(&challenge);
}

static void
test_mechanisms(void **state)
{
	enum sasl_mechanism mechanism;

	(void)state;
	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		const char *text = sasl_mechanism_text((enum sasl_mechanism)i);

		assert_int_equal(
		    sasl_mechanism_parse(slice_from(text), &mechanism), 0);
		assert_int_equal(mechanism, i);
	}
	assert_int_equal(
	    sasl_mechanism_parse(slice_from("plain"), &mechanism), 0);
	assert_int_equal(
	    sasl_mechanism_parse(slice_from("PLAIN2"), &mechanism), -1);
	assert_int_equal(sasl_mechanism_parse(slice_from(""), &mechanism), -1);
}

/* First messages, and whom they name; NULL: none. */
static const struct {
	enum sasl_mechanism mechanism;
	struct slice message;
	const char *user, *authorise;
} firsts[] = {
	/* RFC 5802 section 5, RFC 7677 section 3 */
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"),
	    "user", "" },
	{ SASL_SCRAM_SHA_256, TEXT("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), "user",
	    "" },
	{ SASL_SCRAM_SHA_1, TEXT("y,,n=user,r=x"), "user", "" },
	{ SASL_SCRAM_SHA_1, TEXT("n,a=bob,n=admin,r=x"), "admin", "bob" },
	{ SASL_SCRAM_SHA_1, TEXT("n,a=bob,n=bob,r=x"), "bob", "" },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=a=2Cb=3dc,r=x,ext=1"), "a,b=c", "" },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=j\xc3\xb6rg,r=x"), "j\xc3\xb6rg", "" },
	{ SASL_SCRAM_SHA_1, TEXT("p=tls-unique,,n=user,r=x"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,,m=ext,n=user,r=x"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=,r=x"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,a=,n=user,r=x"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=us=er,r=x"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=user="), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=user=,r=x"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=user"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=us\0er,r=x"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,,n=user,r=x\0"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT("n,"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT(",,n=user,r=x"), NULL, NULL },
	{ SASL_SCRAM_SHA_1, TEXT(""), NULL, NULL },

	/* RFC 7628 section 4.1 */
	{ SASL_OAUTHBEARER,
	    TEXT("n,a=user@example.com,\1host=server.example.com\1port=143\1"
		 "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"),
	    "user@example.com", "" },
	{ SASL_OAUTHBEARER, TEXT("n,,\1auth=Bearer x\1\1"), NULL, NULL },
	{ SASL_OAUTHBEARER, TEXT("n,a=user,auth=Bearer x\1\1"), NULL, NULL },
	{ SASL_OAUTHBEARER, TEXT("n,a=user,"), NULL, NULL },
	{ SASL_OAUTHBEARER, TEXT("\1"), NULL, NULL },

	{ SASL_XOAUTH2, TEXT("user=someone@example.com\1auth=Bearer x\1\1"),
	    "someone@example.com", "" },
	{ SASL_XOAUTH2, TEXT("user=\1auth=Bearer x\1\1"), NULL, NULL },
	{ SASL_XOAUTH2, TEXT("user=someone"), NULL, NULL },
	{ SASL_XOAUTH2, TEXT("auth=Bearer x\1\1"), NULL, NULL },
};

static void
test_firsts(void **state)
{
	struct credentials credentials;
	struct buf challenge = buf_bounded(64);

	(void)state;
	credentials_init(&credentials);
	for (size_t i = 0; i < ARRAY_SIZE(firsts); i++) {
		enum sasl_result result;
		const char *why = NULL;
		struct sasl sasl;

		assert_true(sasl_is_relayed(firsts[i].mechanism));
		sasl_start(&sasl, firsts[i].mechanism, &challenge);
		assert_int_equal(challenge.size, 0);
		result = sasl_respond(
		    &sasl, firsts[i].message, &credentials, &challenge, &why);
		if (!firsts[i].user) {
			if (result != SASL_FAILED || !why)
				fail_msg("row %zu was taken", i);
			continue;
		}
		if (result != SASL_COMPLETE)
			fail_msg("row %zu was not taken", i);
		assert_string_equal(
		    buf_string(&credentials.user), firsts[i].user);
		assert_string_equal(
		    buf_string(&credentials.authorise), firsts[i].authorise);
		assert_true(slice_equal(
		    buf_slice(&credentials.message), firsts[i].message));
		assert_int_equal(
		    sasl_back_mechanism(&credentials), firsts[i].mechanism);
	}
	credentials_wipe(&credentials);
	buf_free(&challenge);
}

/* What follows is for the server, whatever it is, within bounds. */
static void
test_relay(void **state)
{
	struct slice first = slice_from("n,,n=user,r=x");
	static char large[SASL_MESSAGE_SIZE_MAX + 1];
	struct credentials credentials;
	struct buf challenge = buf_bounded(64);
	struct buf initial = buf_bounded(256);
	const char *why = NULL;
	struct sasl sasl;

	(void)state;
	credentials_init(&credentials);
	sasl_start(&sasl, SASL_SCRAM_SHA_1, &challenge);
	assert_int_equal(
	    sasl_respond(&sasl, first, &credentials, &challenge, &why),
	    SASL_COMPLETE);
	sasl_add_initial(&initial, &credentials, slice_from("other"));
	assert_string_equal(buf_string(&initial), "biwsbj11c2VyLHI9eA==");
	assert_int_equal(sasl_respond(&sasl, slice_from("c=biws,r=y,p=z"),
			     &credentials, &challenge, &why),
	    SASL_RELAY);
	assert_string_equal(buf_string(&credentials.message), "c=biws,r=y,p=z");
	assert_int_equal(
	    sasl_respond(&sasl, slice_from(""), &credentials, &challenge, &why),
	    SASL_RELAY);
	assert_int_equal(credentials.message.size, 0);
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = 'x';
	assert_int_equal(sasl_respond(&sasl, slice_of(large, sizeof(large)),
			     &credentials, &challenge, &why),
	    SASL_FAILED);
	assert_int_equal(sasl_respond(&sasl, slice_of("a\0b", 3), &credentials,
			     &challenge, &why),
	    SASL_FAILED);
	credentials_wipe(&credentials);
	buf_free(&challenge);
	buf_free(&initial);
}

/* name, authzid, separator -> whose mailbox, whose password */
static const struct {
	const char *name, *authorise;
	char separator;
	const char *owner, *user;
} masters[] = {
	{ "bob*alice", "", '*', "bob", "alice" },
	{ "b*b*alice", "", '*', "b*b", "alice" },
	{ "bob*alice", "", '\0', "bob*alice", "bob*alice" },
	{ "bob*alice", "", '%', "bob*alice", "bob*alice" },
	{ "bob", "", '*', "bob", "bob" },
	{ "*alice", "", '*', "*alice", "*alice" },
	{ "bob*", "", '*', "bob*", "bob*" },
	{ "*", "", '*', "*", "*" },
	{ "x*y", "carol", '*', "carol", "x*y" },
};

static void
test_split_master(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(masters); i++) {
		struct credentials credentials;

		credentials_init(&credentials);
		buf_add_string(&credentials.user, masters[i].name);
		buf_add_string(&credentials.authorise, masters[i].authorise);
		credentials_split_master(&credentials, masters[i].separator);
		assert_true(slice_is(
		    credentials_owner(&credentials), masters[i].owner));
		assert_string_equal(
		    buf_string(&credentials.user), masters[i].user);
		credentials_wipe(&credentials);
	}
}

static void
test_external(void **state)
{
	static const struct {
		struct slice message;
		bool good;
	} messages[] = {
		{ TEXT(""), true },
		{ TEXT("bob"), true },
		{ TEXT("b\0b"), false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		struct buf challenge = buf_bounded(64);
		struct credentials credentials;
		const char *why = NULL;
		struct sasl sasl;

		credentials_init(&credentials);
		buf_add_string(&credentials.user, "left over");
		sasl_start(&sasl, SASL_EXTERNAL, &challenge);
		assert_int_equal(challenge.size, 0);
		assert_int_equal(sasl_respond(&sasl, messages[i].message,
				     &credentials, &challenge, &why),
		    messages[i].good ? SASL_COMPLETE : SASL_FAILED);
		assert_int_equal(credentials.user.size, 0);
		if (messages[i].good)
			assert_true(
			    slice_equal(buf_slice(&credentials.authorise),
				messages[i].message));
		credentials_wipe(&credentials);
	}
}

/* Tokens are octets; the first one is the client's and is something. */
static void
test_gssapi(void **state)
{
	static const struct slice first = TEXT("a\0\xff"), empty = TEXT("");
	struct buf challenge = buf_bounded(64);
	struct credentials credentials;
	const char *why = NULL;
	struct sasl sasl;

	(void)state;
	credentials_init(&credentials);
	sasl_start(&sasl, SASL_GSSAPI, &challenge);
	assert_int_equal(challenge.size, 0);
	assert_int_equal(
	    sasl_respond(&sasl, empty, &credentials, &challenge, &why),
	    SASL_FAILED);
	sasl_start(&sasl, SASL_GSSAPI, &challenge);
	assert_int_equal(
	    sasl_respond(&sasl, first, &credentials, &challenge, &why),
	    SASL_COMPLETE);
	assert_true(slice_equal(buf_slice(&credentials.message), first));
	assert_int_equal(
	    sasl_respond(&sasl, empty, &credentials, &challenge, &why),
	    SASL_RELAY);
	assert_int_equal(credentials.message.size, 0);
	credentials_wipe(&credentials);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_master),
		cmocka_unit_test(test_external),
		cmocka_unit_test(test_gssapi),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_plain_bounds),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_mechanisms),
		cmocka_unit_test(test_firsts),
		cmocka_unit_test(test_relay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
