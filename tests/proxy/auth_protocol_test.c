#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/auth_protocol.h"

static const struct auth_request request = {
	.id = 0xfedcba98,
	.kind = AUTH_PASSWORD,
	.service = SERVICE_SIEVE,
	.kept = 0x01020304,
	.stamp = 0xfedcba9876543210,
	.name = { "bob", 3 },
	.dn = { "uid=bob,o=x", 11 },
	.principal = { "bob@X", 5 },
	.pool = { "main", 4 },
	.message = { "a\0b", 3 },
};

static const struct auth_answer answer = {
	.id = 1,
	.verdict = AUTH_CHALLENGE,
	.login = AUTH_LOGIN_MASTER,
	.name = { "proxy", 5 },
	.password = { "secret", 6 },
	.message = { "\0\xff", 2 },
	.why = { "", 0 },
};

static void
assert_text(struct slice found, struct slice wanted)
{
	assert_true(slice_equal(found, wanted));
}

static void
test_what_is_written_is_read(void **state)
{
	struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);
	struct auth_request asked;
	struct auth_answer said;

	(void)state;
	auth_request_write(&out, &request);
	assert_false(out.failed);
	assert_int_equal(auth_request_read(&asked, buf_slice(&out)), 0);
	assert_int_equal(asked.id, request.id);
	assert_int_equal(asked.kind, request.kind);
	assert_int_equal(asked.service, request.service);
	assert_int_equal(asked.kept, request.kept);
	assert_true(asked.stamp == request.stamp);
	assert_text(asked.name, request.name);
	assert_text(asked.dn, request.dn);
	assert_text(asked.principal, request.principal);
	assert_text(asked.authorise, request.authorise);
	assert_text(asked.pool, request.pool);
	assert_text(asked.host, request.host);
	assert_text(asked.message, request.message);
	buf_clear(&out);
	auth_answer_write(&out, &answer);
	assert_int_equal(auth_answer_read(&said, buf_slice(&out)), 0);
	assert_int_equal(said.id, answer.id);
	assert_int_equal(said.verdict, answer.verdict);
	assert_int_equal(said.login, answer.login);
	assert_text(said.name, answer.name);
	assert_text(said.authorise, answer.authorise);
	assert_text(said.password, answer.password);
	assert_text(said.message, answer.message);
	assert_text(said.why, answer.why);
	buf_free(&out);
}

/* Shorter or longer by anything, it is none. */
static void
test_only_the_whole_is_read(void **state)
{
	struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);
	struct auth_request asked;
	struct auth_answer said;

	(void)state;
	auth_request_write(&out, &request);
	for (size_t size = 0; size < out.size; size++)
		assert_int_equal(
		    auth_request_read(&asked, slice_of(out.data, size)), -1);
	buf_add_char(&out, 'x');
	assert_int_equal(auth_request_read(&asked, buf_slice(&out)), -1);
	buf_clear(&out);
	auth_answer_write(&out, &answer);
	for (size_t size = 0; size < out.size; size++)
		assert_int_equal(
		    auth_answer_read(&said, slice_of(out.data, size)), -1);
	buf_add_char(&out, 'x');
	assert_int_equal(auth_answer_read(&said, buf_slice(&out)), -1);
	buf_free(&out);
}

static void
test_unknown_words(void **state)
{
	struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);
	struct auth_request asked;
	struct auth_answer said;

	(void)state;
	auth_request_write(&out, &request);
	out.data[4] = AUTH_KIND_COUNT;
	assert_int_equal(auth_request_read(&asked, buf_slice(&out)), -1);
	out.data[4] = AUTH_CANCEL;
	assert_int_equal(auth_request_read(&asked, buf_slice(&out)), 0);
	out.data[5] = SERVICE_KIND_COUNT;
	assert_int_equal(auth_request_read(&asked, buf_slice(&out)), -1);
	buf_clear(&out);
	auth_answer_write(&out, &answer);
	out.data[5] = AUTH_LOGIN_COUNT;
	assert_int_equal(auth_answer_read(&said, buf_slice(&out)), -1);
	out.data[5] = AUTH_LOGIN_PASSWORD;
	out.data[4] = (char)0xff;
	assert_int_equal(auth_answer_read(&said, buf_slice(&out)), -1);
	buf_free(&out);
}

static void
test_what_does_not_fit_fails(void **state)
{
	static char text[UINT16_MAX + 1];
	struct buf out = buf_bounded((size_t)2 * AUTH_PROTOCOL_SIZE_MAX);
	struct auth_request large = { .message = { text, sizeof(text) } };

	(void)state;
	auth_request_write(&out, &large);
	assert_true(out.failed);
	buf_clear(&out);
	large.message.size--;
	auth_request_write(&out, &large);
	assert_false(out.failed);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_only_the_whole_is_read),
		cmocka_unit_test(test_unknown_words),
		cmocka_unit_test(test_what_does_not_fit_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
