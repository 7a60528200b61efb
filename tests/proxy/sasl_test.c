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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_plain_bounds),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_mechanisms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
