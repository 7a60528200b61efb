#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/back.h"

#define TEXT(literal)                                                          \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

#define LINE_SIZE 256

/* Whose login is said to the back end. */
enum setup {
	BOB,      /* bob, secret; the connection is plain and shall be so */
	STARTTLS, /* the same, with TLS to come */
	IMPLICIT, /* the same, with TLS on */
	QUOTES,   /* q"\, s"\ : quoted strings with escapes */
	LITERALS, /* jörg, CR LF: literals */
	PASSWORD, /* bob, but the password needs a literal */
	MASTER    /* admin's password for bob's mailbox */
};

#define ID_LINE                                                                \
	"I ID (\"x-originating-ip\" \"192.0.2.1\" \"x-originating-port\" "     \
	"\"4000\" \"x-connected-ip\" \"192.0.2.2\" \"x-connected-port\" "      \
	"\"143\" \"x-session-id\" \"s1\" \"x-proxy-ttl\" \"4\")\r\n"
#define ASK       "C CAPABILITY\r\n"
#define PLAIN_IR  "L AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n"
#define PLAIN_ASK "L AUTHENTICATE PLAIN\r\n"
#define DOVECOT                                                                \
	"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE "   \
	"LITERAL+ AUTH=PLAIN] Dovecot (Debian) ready.\r\n"
#define SHORT "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n"

/*
 * What a back end sends, and all that it hears. In brackets stands what the
 * session is told: [ACCEPTED untagged|reply], [REFUSED reply], [DOWN why],
 * [BROKEN why] and [TLS], after which the input goes on inside TLS.
 */
static const struct {
	enum setup setup;
	struct slice input;
	const char *output;
} dialogues[] = {
	/* greetings as they are found */
	{ BOB, TEXT(""), "" },
	{ BOB, TEXT(DOVECOT), ID_LINE PLAIN_IR },
	{ BOB,
	    TEXT(DOVECOT "* ID (\"name\" \"Dovecot\")\r\nI OK ID\r\n"
			 "L OK [CAPABILITY IMAP4rev1 IDLE] Logged in\r\n"),
	    ID_LINE PLAIN_IR
	    "[ACCEPTED |OK [CAPABILITY IMAP4rev1 IDLE] Logged in]" },
	{ BOB, TEXT("* OK server1 Cyrus IMAP 3.6.1 server ready\r\n"), ASK },
	{ BOB,
	    TEXT("* OK Cyrus\r\n* CAPABILITY IMAP4rev1 ID AUTH=PLAIN "
		 "SASL-IR\r\nC OK Completed\r\n"),
	    ASK ID_LINE PLAIN_IR },
	{ BOB,
	    TEXT("* OK [CAPABILITY IMAP4rev1 UIDPLUS AUTH=CRAM-MD5 "
		 "STARTTLS] Courier-IMAP ready.\r\n"),
	    "L LOGIN \"bob\" \"secret\"\r\n" },
	{ BOB, TEXT("* ok [capability imap4rev1 auth=plain sasl-ir] hi\r\n"),
	    PLAIN_IR },
	{ BOB, TEXT("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"),
	    PLAIN_ASK },
	{ BOB,
	    TEXT("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n+ \r\n"
		 "L OK in\r\n"),
	    PLAIN_ASK "AGJvYgBzZWNyZXQ=\r\n[ACCEPTED |OK in]" },
	{ BOB, TEXT("* OK [ALERT] hi\r\n"), ASK },
	{ BOB, TEXT("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n"),
	    PLAIN_IR },
	{ BOB,
	    TEXT("* OK hi\n* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\n"
		 "C OK\n"),
	    ASK PLAIN_IR },

	/* greetings that are none */
	{ BOB, TEXT("* PREAUTH [CAPABILITY IMAP4rev1] welcome root\r\n"),
	    "[BROKEN back end greets with PREAUTH]" },
	{ BOB, TEXT("* BYE overloaded\r\n"),
	    "[DOWN back end greets with BYE]" },
	{ BOB, TEXT("* NO\r\n"), "[BROKEN back end does not greet as IMAP]" },
	{ BOB, TEXT("* OK\r\n"), "[BROKEN back end does not greet as IMAP]" },
	{ BOB, TEXT("\r\n"), "[BROKEN back end does not greet as IMAP]" },
	{ BOB, TEXT("+OK POP3 ready\r\n"),
	    "[BROKEN back end does not greet as IMAP]" },
	{ BOB, TEXT("220 mail ESMTP\r\n"),
	    "[BROKEN back end does not greet as IMAP]" },
	{ BOB, TEXT("HTTP/1.1 400 Bad Request\r\n"),
	    "[BROKEN back end does not greet as IMAP]" },
	{ BOB, TEXT("* OK hi\0\r\n"),
	    "[BROKEN back end's line has a NUL or a CR by itself]" },
	{ BOB, TEXT("* OK h\ri\r\n"),
	    "[BROKEN back end's line has a NUL or a CR by itself]" },

	/* capabilities */
	{ BOB, TEXT("* OK hi\r\nC OK\r\n"),
	    ASK "[BROKEN back end does not tell its capabilities]" },
	{ BOB, TEXT("* OK hi\r\nC NO\r\n"),
	    ASK "[BROKEN back end does not tell its capabilities]" },
	{ BOB,
	    TEXT("* OK hi\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"
		 "C BAD\r\n"),
	    ASK "[BROKEN back end does not tell its capabilities]" },
	{ BOB,
	    TEXT("* OK hi\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"
		 "C OKAY\r\n"),
	    ASK "[BROKEN back end does not tell its capabilities]" },
	{ BOB, TEXT("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n"),
	    "[BROKEN back end offers neither AUTH=PLAIN nor LOGIN]" },

	/* TLS: nothing that was said before it counts */
	{ STARTTLS,
	    TEXT("* OK [CAPABILITY IMAP4rev1 STARTTLS "
		 "LOGINDISABLED] hi\r\n"),
	    "S STARTTLS\r\n" },
	{ STARTTLS, TEXT("* OK [CAPABILITY STARTTLS] hi\r\nS OK\r\n"),
	    "S STARTTLS\r\n[TLS]" ASK },
	{ STARTTLS,
	    TEXT("* OK [CAPABILITY STARTTLS ID AUTH=PLAIN] hi\r\n"
		 "S OK\r\n* CAPABILITY IMAP4rev1\r\nC OK\r\n"),
	    "S STARTTLS\r\n[TLS]" ASK "L LOGIN \"bob\" \"secret\"\r\n" },
	{ STARTTLS,
	    TEXT("* OK [CAPABILITY STARTTLS ID AUTH=PLAIN] hi\r\n"
		 "S OK\r\nC OK\r\n"),
	    "S STARTTLS\r\n[TLS]" ASK
	    "[BROKEN back end does not tell its capabilities]" },
	{ STARTTLS, TEXT(SHORT), "[BROKEN back end does not offer STARTTLS]" },
	{ STARTTLS, TEXT("* OK [CAPABILITY STARTTLS] hi\r\nS NO\r\n"),
	    "S STARTTLS\r\n[BROKEN back end refuses STARTTLS]" },
	{ STARTTLS, TEXT("* OK [CAPABILITY STARTTLS] hi\r\nS\r\n"),
	    "S STARTTLS\r\n[BROKEN back end refuses STARTTLS]" },
	{ STARTTLS, TEXT("* OK [CAPABILITY STARTTLS] hi\r\nL OK\r\n"),
	    "S STARTTLS\r\n[BROKEN back end answers what was not asked]" },
	{ STARTTLS, TEXT("* OK [CAPABILITY STARTTLS] hi\r\n* BYE\r\n"),
	    "S STARTTLS\r\n[DOWN back end said BYE before login]" },
	{ STARTTLS, TEXT("* PREAUTH hi\r\n"),
	    "[BROKEN back end greets with PREAUTH]" },
	{ IMPLICIT, TEXT(SHORT), PLAIN_IR },

	/* names and passwords that need more than quotes */
	{ QUOTES, TEXT("* OK [CAPABILITY X] hi\r\n"),
	    "L LOGIN \"q\\\"\\\\\" \"s\\\"\\\\\"\r\n" },
	{ LITERALS, TEXT("* OK [CAPABILITY X] hi\r\n"), "L LOGIN {5}\r\n" },
	{ LITERALS, TEXT("* OK [CAPABILITY X] hi\r\n+ go\r\n"),
	    "L LOGIN {5}\r\nj\xc3\xb6rg {2}\r\n" },
	{ LITERALS, TEXT("* OK [CAPABILITY X] hi\r\n+ go\r\n+ go\r\nL OK\r\n"),
	    "L LOGIN {5}\r\nj\xc3\xb6rg {2}\r\n\r\n\r\n[ACCEPTED |OK]" },
	{ LITERALS, TEXT("* OK [CAPABILITY X] hi\r\nL NO no\r\n"),
	    "L LOGIN {5}\r\n[REFUSED NO no]" },
	{ LITERALS, TEXT("* OK [CAPABILITY X] hi\r\n+\r\nL OK\r\n"),
	    "L LOGIN {5}\r\nj\xc3\xb6rg {2}\r\n"
	    "[BROKEN back end accepts before it has the password]" },
	{ PASSWORD, TEXT("* OK [CAPABILITY X] hi\r\n+ go\r\nL OK\r\n"),
	    "L LOGIN \"bob\" {2}\r\n\r\n\r\n[ACCEPTED |OK]" },
	{ MASTER, TEXT(SHORT),
	    "L AUTHENTICATE PLAIN Ym9iAGFkbWluAHNlY3JldA==\r\n" },
	{ MASTER, TEXT("* OK [CAPABILITY X] hi\r\n"),
	    "[BROKEN back end offers no AUTH=PLAIN, which an authzid needs]" },

	/* what it says of the login */
	{ BOB, TEXT(SHORT "L NO [AUTHENTICATIONFAILED] no\r\n"),
	    PLAIN_IR "[REFUSED NO [AUTHENTICATIONFAILED] no]" },
	{ BOB, TEXT(SHORT "L NO [UNAVAILABLE] later\r\n"),
	    PLAIN_IR "[REFUSED NO [UNAVAILABLE] later]" },
	{ BOB, TEXT(SHORT "L BAD what\r\n"), PLAIN_IR "[REFUSED BAD what]" },
	{ BOB, TEXT(SHORT "L no\r\n"), PLAIN_IR "[REFUSED no]" },
	{ BOB, TEXT(SHORT "L NOTHING\r\n"),
	    PLAIN_IR "[BROKEN back end's reply is not OK, NO or BAD]" },
	{ BOB, TEXT(SHORT "L OKAY\r\n"),
	    PLAIN_IR "[BROKEN back end's reply is not OK, NO or BAD]" },
	{ BOB, TEXT(SHORT "L\r\n"),
	    PLAIN_IR "[BROKEN back end's reply is not OK, NO or BAD]" },
	{ BOB,
	    TEXT(SHORT "* CAPABILITY IMAP4rev1 IDLE\r\n* OK x\r\n"
		       "L OK in\r\n* 3 EXISTS\r\n"),
	    PLAIN_IR "[ACCEPTED * CAPABILITY IMAP4rev1 IDLE\r\n* OK x\r\n|OK "
		     "in]" },
	{ BOB, TEXT(SHORT "* BYE bad\r\n"),
	    PLAIN_IR "[DOWN back end said BYE before login]" },
	{ BOB, TEXT(SHORT "+ \r\n"),
	    PLAIN_IR "[BROKEN back end asks for more than it was promised]" },
	{ BOB, TEXT(SHORT "X OK\r\n"),
	    PLAIN_IR "[BROKEN back end answers what was not asked]" },
	{ BOB, TEXT(SHORT "C OK\r\n"),
	    PLAIN_IR "[BROKEN back end answers what was not asked]" },
	{ BOB, TEXT(SHORT "\r\n"),
	    PLAIN_IR "[BROKEN back end answers what was not asked]" },
	{ BOB, TEXT("* OK [CAPABILITY AUTH=PLAIN] hi\r\nL OK\r\n"),
	    PLAIN_ASK "[BROKEN back end accepts before it has the password]" },
	{ BOB, TEXT("* OK hi\r\nL OK\r\n"),
	    ASK "[BROKEN back end answers what was not asked]" },
	{ BOB, TEXT("* OK hi\r\n+ \r\n"),
	    ASK "[BROKEN back end asks for more than it was promised]" },
};

struct talk {
	struct credentials credentials;
	struct back_client client;
	struct back back;
};

static void
set_up(struct talk *talk, enum setup setup)
{
	static const struct {
		const char *authorise, *user, *password;
		enum service_tls tls;
	} rows[] = {
		[BOB] = { "", "bob", "secret", SERVICE_TLS_NONE },
		[STARTTLS] = { "", "bob", "secret", SERVICE_TLS_STARTTLS },
		[IMPLICIT] = { "", "bob", "secret", SERVICE_TLS_IMPLICIT },
		[QUOTES] = { "", "q\"\\", "s\"\\", SERVICE_TLS_NONE },
		[LITERALS] = { "", "j\xc3\xb6rg", "\r\n", SERVICE_TLS_NONE },
		[PASSWORD] = { "", "bob", "\r\n", SERVICE_TLS_NONE },
		[MASTER] = { "bob", "admin", "secret", SERVICE_TLS_NONE },
	};
	struct credentials *credentials = &talk->credentials;

	credentials_init(credentials);
	buf_add_string(&credentials->authorise, rows[setup].authorise);
	buf_add_string(&credentials->user, rows[setup].user);
	buf_add_string(&credentials->password, rows[setup].password);
	talk->client = (struct back_client){ "192.0.2.1", 4000, "192.0.2.2",
		143, "s1", "mail.cell.test", "", false };
	back_open(&talk->back, back_protocol(SERVICE_IMAP), &talk->client,
	    credentials, credentials_owner(credentials), rows[setup].tls,
	    LINE_SIZE);
}

static void
tear_down(struct talk *talk)
{
	back_close(&talk->back);
	credentials_wipe(&talk->credentials);
}

/* Notes what the session is told; false when the dialogue is over. */
static bool
act(struct talk *talk, enum back_action action, struct buf *out)
{
	struct back *back = &talk->back;

	switch (action) {
	case BACK_MORE:
		return true;
	case BACK_STARTTLS:
		buf_add_string(out, "[TLS]");
		assert_int_equal(back->protocol->secured(back, out), BACK_MORE);
		return true;
	case BACK_ACCEPTED:
		buf_printf(out, "[ACCEPTED %s|%s]", buf_string(&back->untagged),
		    buf_string(&back->reply));
		return false;
	case BACK_CHALLENGE:
		buf_printf(out, "[CHALLENGE %s]", buf_string(&back->challenge));
		return true;
	case BACK_REFUSED:
		buf_printf(out, "[REFUSED %s]", buf_string(&back->reply));
		return false;
	case BACK_UNAVAILABLE:
		buf_printf(out, "[DOWN %s]", back->why);
		return false;
	case BACK_BROKEN:
		buf_printf(out, "[BROKEN %s]", back->why);
		return false;
	}
	return false;
}

static void
play(enum setup setup, struct slice input, size_t step, struct buf *out)
{
	struct talk talk;
	size_t start = 0, seen = 0;
	bool open = true;

	set_up(&talk, setup);
	while (open && seen < input.size) {
		enum back_action action;
		struct slice rest;

		seen = step < input.size - seen ? seen + step : input.size;
		do {
			rest =
			    slice_from_offset(slice_first(input, seen), start);
			action =
			    talk.back.protocol->input(&talk.back, &rest, out);
			start = seen - rest.size;
			open = act(&talk, action, out);
		} while (open && action == BACK_STARTTLS);
	}
	tear_down(&talk);
}

static void
test_dialogues(void **state)
{
	struct buf out = buf_bounded(65536);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(dialogues); i++) {
		for (size_t step = 512; step > 0; step /= 8) {
			buf_clear(&out);
			play(
			    dialogues[i].setup, dialogues[i].input, step, &out);
			if (!slice_is(buf_slice(&out), dialogues[i].output))
				fail_msg("row %zu, %zu octets a time: \"%s\", "
					 "not \"%s\"",
				    i, step, buf_string(&out),
				    dialogues[i].output);
		}
	}
	buf_free(&out);
}

/* A line without end, at any point of the talk, ends it at the bound. */
static void
test_endless_line(void **state)
{
	static const char *const beginnings[] = { "", "* OK ",
		"* OK hi\r\n* CAPABILITY ", SHORT "* ", SHORT "L OK " };
	struct buf out = buf_bounded(65536);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
		struct buf in = buf_bounded(65536);
		enum back_action action = BACK_MORE;
		struct slice rest;
		struct talk talk;

		set_up(&talk, BOB);
		buf_add_string(&in, beginnings[i]);
		while (action == BACK_MORE) {
			rest = buf_slice(&in);
			action =
			    talk.back.protocol->input(&talk.back, &rest, &out);
			buf_consume(&in, in.size - rest.size);
			assert_true(in.size <= LINE_SIZE + 1);
			buf_add_char(&in, 'x');
		}
		assert_int_equal(action, BACK_BROKEN);
		assert_string_equal(
		    talk.back.why, "back end's line is too long");
		buf_free(&in);
		tear_down(&talk);
	}
	buf_free(&out);
}

/* Lines without end: before the login they are not kept, after it bounded. */
static void
test_endless_lines(void **state)
{
	struct slice line = slice_from("* OK still busy\r\n");
	struct buf out = buf_bounded(65536);
	enum back_action action = BACK_MORE;
	struct slice rest = slice_from("* OK hi\r\n");
	struct talk talk;

	(void)state;
	set_up(&talk, BOB);
	talk.back.protocol->input(&talk.back, &rest, &out);
	for (int i = 0; i < 10000; i++) {
		rest = line;
		assert_int_equal(
		    talk.back.protocol->input(&talk.back, &rest, &out),
		    BACK_MORE);
	}
	assert_int_equal(talk.back.untagged.size, 0);
	rest = slice_from("* CAPABILITY AUTH=PLAIN SASL-IR\r\nC OK\r\n");
	talk.back.protocol->input(&talk.back, &rest, &out);
	for (int i = 0; action == BACK_MORE; i++) {
		assert_in_range(i, 0, LINE_SIZE);
		rest = line;
		action = talk.back.protocol->input(&talk.back, &rest, &out);
	}
	assert_int_equal(action, BACK_BROKEN);
	assert_string_equal(
	    talk.back.why, "back end says too much before its reply");
	tear_down(&talk);
	buf_free(&out);
}

/* Nor do they keep a session for ever. */
static void
test_lines_without_end(void **state)
{
	struct buf out = buf_bounded(65536);
	enum back_action action = BACK_MORE;
	struct talk talk;

	(void)state;
	set_up(&talk, BOB);
	for (int i = 0; action == BACK_MORE; i++) {
		struct slice rest = slice_from("* OK still busy\r\n");

		assert_in_range(i, 0, BACK_HEARD_MAX);
		action = talk.back.protocol->input(&talk.back, &rest, &out);
	}
	assert_int_equal(action, BACK_BROKEN);
	assert_string_equal(talk.back.why, BACK_HEARD_WHY);
	tear_down(&talk);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_endless_line),
		cmocka_unit_test(test_endless_lines),
		cmocka_unit_test(test_lines_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
