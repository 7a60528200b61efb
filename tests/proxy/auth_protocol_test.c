#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/auth_protocol.h"

/* A datagram of either kind, as it is said and as it is heard. */
union message {
	struct auth_request request;
	struct auth_answer answer;
};

static const union message samples[] = {
	{ .request = { .id = 0xfedcba98,
	      .kind = AUTH_PASSWORD,
	      .service = SERVICE_SIEVE,
	      .kept = 0x01020304,
	      .stamp = 0xfedcba9876543210,
	      .name = { "bob", 3 },
	      .dn = { "uid=bob,o=x", 11 },
	      .principal = { "bob@X", 5 },
	      .pool = { "main", 4 },
	      .message = { "a\0b", 3 } } },
	{ .answer = { .id = 1,
	      .verdict = AUTH_CHALLENGE,
	      .login = AUTH_LOGIN_MASTER,
	      .name = { "proxy", 5 },
	      .password = { "secret", 6 },
	      .message = { "\0\xff", 2 } } },
};

enum kind {
	REQUEST,
	ANSWER,
	KIND_COUNT
};

static void
write_message(struct buf *out, enum kind kind, const union message *message)
{
	if (kind == REQUEST)
		auth_request_write(out, &message->request);
	else
		auth_answer_write(out, &message->answer);
}

static int
read_message(union message *message, enum kind kind, struct slice datagram)
{
	return kind == REQUEST ? auth_request_read(&message->request, datagram)
			       : auth_answer_read(&message->answer, datagram);
}

#define REQUEST_AT(field) offsetof(union message, request.field)
#define ANSWER_AT(field)  offsetof(union message, answer.field)

static const struct {
	enum kind kind;
	size_t offset;
	size_t size; /* of a number or an enum; 0: text */
} fields[] = {
	{ REQUEST, REQUEST_AT(id), sizeof(uint32_t) },
	{ REQUEST, REQUEST_AT(kind), sizeof(uint32_t) },
	{ REQUEST, REQUEST_AT(service), sizeof(uint32_t) },
	{ REQUEST, REQUEST_AT(kept), sizeof(uint32_t) },
	{ REQUEST, REQUEST_AT(stamp), sizeof(uint64_t) },
	{ REQUEST, REQUEST_AT(name), 0 },
	{ REQUEST, REQUEST_AT(dn), 0 },
	{ REQUEST, REQUEST_AT(principal), 0 },
	{ REQUEST, REQUEST_AT(authorise), 0 },
	{ REQUEST, REQUEST_AT(pool), 0 },
	{ REQUEST, REQUEST_AT(host), 0 },
	{ REQUEST, REQUEST_AT(message), 0 },
	{ ANSWER, ANSWER_AT(id), sizeof(uint32_t) },
	{ ANSWER, ANSWER_AT(verdict), sizeof(uint32_t) },
	{ ANSWER, ANSWER_AT(login), sizeof(uint32_t) },
	{ ANSWER, ANSWER_AT(name), 0 },
	{ ANSWER, ANSWER_AT(authorise), 0 },
	{ ANSWER, ANSWER_AT(password), 0 },
	{ ANSWER, ANSWER_AT(message), 0 },
	{ ANSWER, ANSWER_AT(why), 0 },
};

static void
compare(size_t row, const union message *found, const union message *wanted)
{
	const char *a = (const char *)found + fields[row].offset;
	const char *b = (const char *)wanted + fields[row].offset;
	struct slice texts[2];

	if (fields[row].size == 0) {
		memcpy(&texts[0], a, sizeof(texts[0]));
		memcpy(&texts[1], b, sizeof(texts[1]));
		if (!slice_equal(texts[0], texts[1]))
			fail_msg("field %zu", row);
	} else if (memcmp(a, b, fields[row].size) != 0) {
		fail_msg("field %zu", row);
	}
}

static void
test_what_is_written_is_read(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);
		union message found;

		write_message(&out, kind, &samples[kind]);
		assert_false(out.failed);
		assert_int_equal(
		    read_message(&found, kind, buf_slice(&out)), 0);
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
			if (fields[i].kind == kind)
				compare(i, &found, &samples[kind]);
		buf_free(&out);
	}
}

/* Shorter or longer by anything, it is none. */
static void
test_only_the_whole_is_read(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);
		union message found;

		write_message(&out, kind, &samples[kind]);
		for (size_t size = 0; size < out.size; size++)
			assert_int_equal(read_message(&found, kind,
					     slice_of(out.data, size)),
			    -1);
		buf_add_char(&out, 'x');
		assert_int_equal(
		    read_message(&found, kind, buf_slice(&out)), -1);
		buf_free(&out);
	}
}

/* The octets behind the id, when they are others. */
static const struct {
	enum kind kind;
	unsigned char words[2];
	int result;
} words[] = {
	{ REQUEST, { AUTH_CANCEL, SERVICE_SIEVE }, 0 },
	{ REQUEST, { AUTH_KIND_COUNT, SERVICE_SIEVE }, -1 },
	{ REQUEST, { AUTH_CANCEL, SERVICE_KIND_COUNT }, -1 },
	{ REQUEST, { 0xff, SERVICE_SIEVE }, -1 },
	{ ANSWER, { AUTH_CHALLENGE, AUTH_LOGIN_PASSWORD }, 0 },
	{ ANSWER, { AUTH_VERDICT_COUNT, AUTH_LOGIN_PASSWORD }, -1 },
	{ ANSWER, { AUTH_CHALLENGE, AUTH_LOGIN_COUNT }, -1 },
	{ ANSWER, { 0xff, AUTH_LOGIN_PASSWORD }, -1 },
};

static void
test_unknown_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);
		union message found;

		write_message(&out, words[i].kind, &samples[words[i].kind]);
		memcpy(out.data + sizeof(uint32_t), words[i].words,
		    sizeof(words[i].words));
		if (read_message(&found, words[i].kind, buf_slice(&out)) !=
		    words[i].result)
			fail_msg("row %zu", i);
		buf_free(&out);
	}
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
