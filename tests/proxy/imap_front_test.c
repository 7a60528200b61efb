#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/front.h"

#define TEXT(literal)                                                          \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

#define LINE_SIZE    256
#define LITERAL_SIZE 64

/* How the connection begins. */
enum setup {
	PLAIN,      /* credentials may come at once, no TLS */
	STARTTLS,   /* only after STARTTLS */
	EITHER,     /* STARTTLS is offered and not needed */
	TLS,        /* is on */
	ACCEPTS = 8 /* the first login is accepted; else all are refused */
};

#define CAPABILITY "CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID"
#define AUTH       " AUTH=PLAIN AUTH=LOGIN"
#define TOO_MANY   "* BYE Too many bad commands.\r\n[CLOSE]"
#define FLOOD      "* BYE Line or literal too long.\r\n[CLOSE]"
#define UNKNOWN    " BAD Unknown command, or not before login.\r\n"
#define BAD_LOGIN  " BAD LOGIN takes a user name and a password.\r\n"
#define BAD_OCTET  " BAD Commands have no NUL and no CR by itself.\r\n"
#define REFUSED    " NO refused\r\n"

/*
 * What a client sends, and all that it sees. In brackets stands what the
 * session is told: [LOGIN authzid|user|password], [STARTTLS], after which the
 * rest of the input is dropped as the session does, and [CLOSE].
 */
static const struct {
	unsigned setup;
	struct slice input;
	const char *output;
} dialogues[] = {
	/* commands in any state */
	{ PLAIN, TEXT("a CAPABILITY\r\n"),
	    "* " CAPABILITY AUTH "\r\n"
	    "a OK Pre-login capabilities listed, post-login ones are the server's.\r\n" },
	{ STARTTLS, TEXT("a capability\r\n"),
	    "* " CAPABILITY " STARTTLS LOGINDISABLED\r\n"
	    "a OK Pre-login capabilities listed, post-login ones are the server's.\r\n" },
	{ EITHER, TEXT("a capability\r\n"),
	    "* " CAPABILITY " STARTTLS" AUTH "\r\n"
	    "a OK Pre-login capabilities listed, post-login ones are the server's.\r\n" },
	{ TLS, TEXT("a capability\r\n"),
	    "* " CAPABILITY AUTH "\r\n"
	    "a OK Pre-login capabilities listed, post-login ones are the server's.\r\n" },
	{ PLAIN, TEXT("a noop\r\nb nOOp\r\n"),
	    "a OK Nothing happened.\r\nb OK Nothing happened.\r\n" },
	{ PLAIN, TEXT("a id NIL\r\n"),
	    "* ID (\"name\" \"Postcell\")\r\na OK ID completed.\r\n" },
	{ PLAIN, TEXT("a id (\"name\" {3+}\r\nx)y \"os\" NIL)\r\n"),
	    "* ID (\"name\" \"Postcell\")\r\na OK ID completed.\r\n" },
	{ PLAIN, TEXT("a logout\r\nb noop\r\n"),
	    "* BYE Logging out.\r\na OK Logout completed.\r\n[CLOSE]" },
	{ PLAIN, TEXT("a no"), "" },

	/* commands that are none: three, then BYE */
	{ PLAIN, TEXT("a select inbox\r\n"), "a" UNKNOWN },
	{ PLAIN, TEXT("a foo\r\nb bar\r\nc baz\r\nd noop\r\n"),
	    "a" UNKNOWN "b" UNKNOWN "c" UNKNOWN TOO_MANY },
	{ PLAIN, TEXT("a foo\r\nb bar\r\nc noop\r\nd baz\r\n"),
	    "a" UNKNOWN "b" UNKNOWN
	    "c OK Nothing happened.\r\nd" UNKNOWN TOO_MANY },
	{ PLAIN, TEXT("\r\n"), "* BAD A command begins with a tag.\r\n" },
	{ PLAIN, TEXT(" noop\r\n"), "* BAD A command begins with a tag.\r\n" },
	{ PLAIN, TEXT("+ noop\r\n"), "* BAD A command begins with a tag.\r\n" },
	{ PLAIN, TEXT("* noop\r\n"), "* BAD A command begins with a tag.\r\n" },
	{ PLAIN, TEXT("a\r\n"),
	    "a BAD There is no command after the tag.\r\n" },
	{ PLAIN, TEXT("a  noop\r\n"),
	    "a BAD There is no command after the tag.\r\n" },
	{ PLAIN, TEXT("a noop \r\n"),
	    "a BAD This command takes no argument.\r\n" },
	{ PLAIN, TEXT("a capability x\r\n"),
	    "a BAD This command takes no argument.\r\n" },
	{ PLAIN, TEXT("a logout x\r\n"),
	    "a BAD This command takes no argument.\r\n" },
	{ PLAIN, TEXT("a id\r\n"),
	    "a BAD ID takes NIL or a list of strings.\r\n" },
	{ PLAIN, TEXT("a id (\"x\" \"y\") z\r\n"),
	    "a BAD ID takes NIL or a list of strings.\r\n" },
	{ PLAIN, TEXT("GET / HTTP/1.0\r\n"), "GET" UNKNOWN },

	/* octets that are none of IMAP's; the tag is answered all the same */
	{ PLAIN, TEXT("a noop\nb noop\r\n"),
	    "a BAD Lines end in CRLF.\r\nb OK Nothing happened.\r\n" },
	{ PLAIN, TEXT("a no\rop\r\nb noop\r\n"),
	    "a" BAD_OCTET "b OK Nothing happened.\r\n" },
	{ PLAIN, TEXT("a no\0op\r\n"), "a" BAD_OCTET },
	{ PLAIN, TEXT("a\0b noop\r\n"), "*" BAD_OCTET },
	{ PLAIN, TEXT("\0\0\0\0\r\n\0\r\n\0\r\n"),
	    "*" BAD_OCTET "*" BAD_OCTET "*" BAD_OCTET TOO_MANY },
	{ PLAIN, TEXT("a login bob \"x\0\"\r\n"), "a" BAD_OCTET },

	/* STARTTLS: nothing that came with it survives */
	{ STARTTLS, TEXT("a starttls\r\nb login bob secret\r\n"),
	    "a OK Begin TLS negotiation now.\r\n[STARTTLS]" },
	{ STARTTLS, TEXT("a starttls x\r\n"),
	    "a BAD This command takes no argument.\r\n" },
	{ PLAIN, TEXT("a starttls\r\n"), "a BAD TLS is not offered here.\r\n" },
	{ TLS, TEXT("a starttls\r\n"), "a BAD TLS is on already.\r\n" },

	/* credentials only where they may be said */
	{ STARTTLS, TEXT("a login bob secret\r\n"),
	    "a NO [PRIVACYREQUIRED] Credentials only after STARTTLS.\r\n" },
	{ STARTTLS, TEXT("a authenticate plain AGJvYgBzZWNyZXQ=\r\n"),
	    "a NO [PRIVACYREQUIRED] Credentials only after STARTTLS.\r\n" },
	{ EITHER, TEXT("a login bob secret\r\n"),
	    "[LOGIN |bob|secret]a" REFUSED },

	/* LOGIN in all its spellings */
	{ TLS, TEXT("a login bob secret\r\n"), "[LOGIN |bob|secret]a" REFUSED },
	{ TLS, TEXT("a LOGIN \"b \\\"o\\\\b\" \"s e\"\r\n"),
	    "[LOGIN |b \"o\\b|s e]a" REFUSED },
	{ TLS, TEXT("a login {3}\r\nbob {6}\r\nsecret\r\n"),
	    "+ OK\r\n+ OK\r\n[LOGIN |bob|secret]a" REFUSED },
	{ TLS, TEXT("a login {3+}\r\nbob {6+}\r\nsecret\r\nb noop\r\n"),
	    "[LOGIN |bob|secret]a" REFUSED "b OK Nothing happened.\r\n" },
	{ TLS, TEXT("a login {3+}\r\nbob secret\r\n"),
	    "[LOGIN |bob|secret]a" REFUSED },
	{ TLS, TEXT("a login bob {8+}\r\nse\r\ncret\r\n"),
	    "[LOGIN |bob|se\r\ncret]a" REFUSED },
	{ TLS, TEXT("a login j\xc3\xb6rg x\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login \"j\xc3\xb6rg\" \"\xff\"\r\n"),
	    "[LOGIN |j\xc3\xb6rg|\xff]a" REFUSED },
	{ TLS, TEXT("a login \"*()\\\\%\" x\r\n"),
	    "[LOGIN |*()\\%|x]a" REFUSED },
	{ TLS, TEXT("a login bob \"\"\r\n"),
	    "a NO [AUTHENTICATIONFAILED] Empty user name or password.\r\n" },
	{ TLS, TEXT("a login {0+}\r\n x\r\n"),
	    "a NO [AUTHENTICATIONFAILED] Empty user name or password.\r\n" },
	{ TLS, TEXT("a login\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login bob\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login bob \r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login bob secret x\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login bob  secret\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login b*b secret\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login \"bob secret\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login {-1}\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login {3+}\r\nb\0b x\r\n"), "a" BAD_LOGIN },
	{ TLS, TEXT("a login b x\r\nb login c y\r\n"),
	    "[LOGIN |b|x]a" REFUSED "[LOGIN |c|y]b" REFUSED },
	{ TLS | ACCEPTS, TEXT("a login bob secret\r\nb select inbox\r\n"),
	    "[LOGIN |bob|secret]* CAPABILITY X\r\na OK welcome\r\n"
	    "[RELAY b select inbox\r\n]" },

	/* literals beyond the bound */
	{ TLS, TEXT("a login {65}\r\nb noop\r\n"),
	    "a BAD [TOOBIG] Literal too large before login.\r\n"
	    "b OK Nothing happened.\r\n" },
	{ TLS, TEXT("a login {4294967295}\r\n"),
	    "a BAD [TOOBIG] Literal too large before login.\r\n" },
	{ TLS, TEXT("a login {18446744073709551616}\r\n"),
	    "a BAD [TOOBIG] Literal too large before login.\r\n" },
	{ TLS, TEXT("a login {65+}\r\nb noop\r\n"), FLOOD },
	{ TLS, TEXT("a login {18446744073709551616+}\r\n"), FLOOD },

	/* AUTHENTICATE, with and without an initial response */
	{ TLS, TEXT("a authenticate plain AGJvYgBzZWNyZXQ=\r\n"),
	    "[LOGIN |bob|secret]a" REFUSED },
	{ TLS, TEXT("a AUTHENTICATE PLAIN\r\nAGJvYgBzZWNyZXQ=\r\nb noop\r\n"),
	    "+ \r\n[LOGIN |bob|secret]a" REFUSED "b OK Nothing happened.\r\n" },
	{ TLS, TEXT("a authenticate plain YWxpY2UAYm9iAHNlY3JldA==\r\n"),
	    "[LOGIN alice|bob|secret]a" REFUSED },
	{ TLS, TEXT("a authenticate plain Ym9iAGJvYgBzZWNyZXQ=\r\n"),
	    "[LOGIN |bob|secret]a" REFUSED },
	{ TLS, TEXT("a authenticate login\r\nYm9i\r\nc2VjcmV0\r\n"),
	    "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n[LOGIN |bob|secret]a" REFUSED },
	{ TLS, TEXT("a authenticate login Ym9i\r\nc2VjcmV0\r\n"),
	    "+ UGFzc3dvcmQ6\r\n[LOGIN |bob|secret]a" REFUSED },
	{ TLS, TEXT("a authenticate plain\r\n*\r\nb noop\r\n"),
	    "+ \r\na BAD Authentication cancelled.\r\n"
	    "b OK Nothing happened.\r\n" },
	{ TLS, TEXT("a authenticate plain ?\r\n"),
	    "a BAD Response is not base64.\r\n" },
	{ TLS, TEXT("a authenticate plain\r\nAGJvYgBzZWNyZXQ\r\n"),
	    "+ \r\na BAD Response is not base64.\r\n" },
	{ TLS, TEXT("a authenticate plain\r\n AGJvYgBzZWNyZXQ=\r\n"),
	    "+ \r\na BAD Response is not base64.\r\n" },
	{ TLS,
	    TEXT("a authenticate plain A\r\nb authenticate plain B\r\n"
		 "c authenticate plain C\r\n"),
	    "a BAD Response is not base64.\r\nb BAD Response is not "
	    "base64.\r\nc BAD Response is not base64.\r\n" TOO_MANY },
	{ TLS, TEXT("a authenticate plain =\r\n"),
	    "a NO [AUTHENTICATIONFAILED] PLAIN needs two NULs.\r\n" },
	{ TLS, TEXT("a authenticate plain Ym9i\r\nb noop\r\n"),
	    "a NO [AUTHENTICATIONFAILED] PLAIN needs two NULs.\r\n"
	    "b OK Nothing happened.\r\n" },
	{ TLS, TEXT("a authenticate\r\n"),
	    "a BAD AUTHENTICATE takes a mechanism.\r\n" },
	{ TLS, TEXT("a authenticate gssapi\r\n"),
	    "a NO [CANNOT] This mechanism is not spoken here.\r\n" },
	{ TLS, TEXT("a authenticate plain \r\n"),
	    "a BAD AUTHENTICATE takes one initial response.\r\n" },
	{ TLS, TEXT("a authenticate plain\r\nb noop\r\n"),
	    "+ \r\na BAD Response is not base64.\r\n" },
	/* A faulty line in place of a response ends the exchange. */
	{ TLS, TEXT("a authenticate plain\r\nAGJvYgBzZWNyZXQ=\nb noop\r\n"),
	    "+ \r\na BAD Lines end in CRLF.\r\nb OK Nothing happened.\r\n" },
	{ TLS, TEXT("a authenticate plain\r\nAGJv\0\r\nb noop\r\n"),
	    "+ \r\na" BAD_OCTET "b OK Nothing happened.\r\n" },
	{ TLS, TEXT("a authenticate plain\r\n{65}\r\nb noop\r\n"),
	    "+ \r\na BAD [TOOBIG] Literal too large before login.\r\n"
	    "b OK Nothing happened.\r\n" },
};

static const struct front_settings settings = {
	.host_name = "mail.example.org",
	.line_size = LINE_SIZE,
	.literal_size = LITERAL_SIZE,
	.bad_commands = 3,
};

static void
set_up(struct front *front, unsigned setup)
{
	assert_int_equal(
	    front_open(front, front_protocol(SERVICE_IMAP), &settings), 0);
	front->tls = (setup & 7) == TLS;
	front->tls_offered = (setup & 7) == STARTTLS || (setup & 7) == EITHER;
	front->plaintext = (setup & 7) == PLAIN || (setup & 7) == EITHER;
}

static void
add_login(struct front *front, struct buf *out)
{
	const struct credentials *credentials = &front->credentials;

	buf_printf(out, "[LOGIN %s|%s|%s]", buf_string(&credentials->authorise),
	    buf_string(&credentials->user), buf_string(&credentials->password));
}

/* Does what the session would do; false when the dialogue is over. */
static bool
act(struct front *front, unsigned setup, enum front_action action,
    struct slice rest, struct buf *out)
{
	struct refusal refusal = { REFUSAL_BACK, slice_from("NO refused") };

	switch (action) {
	case FRONT_MORE:
		return true;
	case FRONT_STARTTLS:
		buf_add_string(out, "[STARTTLS]");
		return false;
	case FRONT_CLOSE:
		assert_non_null(front->closed_why);
		buf_add_string(out, "[CLOSE]");
		return false;
	case FRONT_RESPONSE:
		buf_add_string(out, "[RESPONSE]");
		return false;
	case FRONT_LOGIN:
		break;
	}
	add_login(front, out);
	if (!(setup & ACCEPTS)) {
		front_refuse(front, &refusal, out);
		return true;
	}
	front_accept(front, slice_from("OK welcome"),
	    slice_from("* CAPABILITY X\r\n"), out);
	buf_add_string(out, "[RELAY ");
	buf_add_slice(out, rest);
	buf_add_string(out, "]");
	return false;
}

/* Plays an input in pieces of `step` octets. */
static void
play(unsigned setup, struct slice input, size_t step, struct buf *out)
{
	struct front front;
	size_t start = 0, seen = 0;
	bool open = true;

	set_up(&front, setup);
	while (open && seen < input.size) {
		enum front_action action;
		struct slice rest;

		seen = step < input.size - seen ? seen + step : input.size;
		do {
			rest =
			    slice_from_offset(slice_first(input, seen), start);
			action = front_input(&front, &rest, out);
			start = seen - rest.size;
			open = act(&front, setup, action,
			    slice_from_offset(input, start), out);
		} while (open && action == FRONT_LOGIN);
	}
	front_close(&front);
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

/* However long a tag, a name or a line is: it ends in BYE, and no later than
 * the bound. */
static void
test_flood(void **state)
{
	static const char *const beginnings[] = { "", "a ", "a login ",
		"a login \"", "a login {64+}\r\n", "a authenticate plain ",
		"a authenticate plain\r\n", "a id (" };
	struct buf out = buf_bounded(65536);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
		struct buf in = buf_bounded(1 << 20);
		struct front front;
		struct slice rest;
		enum front_action action;

		set_up(&front, TLS);
		buf_add_string(&in, beginnings[i]);
		rest = buf_slice(&in);
		action = front_input(&front, &rest, &out);
		assert_int_equal(action, FRONT_MORE);
		buf_consume(&in, in.size - rest.size);
		while (action == FRONT_MORE) {
			buf_add_char(&in, 'x');
			rest = buf_slice(&in);
			buf_clear(&out);
			action = front_input(&front, &rest, &out);
			assert_true(in.size <= LINE_SIZE + LITERAL_SIZE + 1);
		}
		assert_int_equal(action, FRONT_CLOSE);
		assert_string_equal(
		    buf_string(&out), "* BYE Line or literal too long.\r\n");
		buf_free(&in);
		front_close(&front);
	}
	buf_free(&out);
}

static void
test_greeting(void **state)
{
	struct buf out = buf_bounded(1024);
	struct front front;

	(void)state;
	set_up(&front, STARTTLS);
	front_greet(&front, &out);
	assert_string_equal(buf_string(&out),
	    "* OK [" CAPABILITY
	    " STARTTLS LOGINDISABLED] mail.example.org ready.\r\n");
	buf_clear(&out);
	front.tls = true;
	front_greet(&front, &out);
	assert_string_equal(buf_string(&out),
	    "* OK [" CAPABILITY AUTH "] mail.example.org ready.\r\n");
	buf_clear(&out);
	front_goodbye(&front, "Too slow.", &out);
	assert_string_equal(buf_string(&out), "* BYE Too slow.\r\n");
	buf_free(&out);
	front_close(&front);
}

static void
test_refusals(void **state)
{
	static const struct {
		enum refusal_kind kind;
		const char *text, *output;
	} rows[] = {
		{ REFUSAL_BACK, "NO [EXPIRED] Go away.",
		    "a NO [EXPIRED] Go away.\r\n" },
		{ REFUSAL_BACK, "BAD", "a BAD\r\n" },
		{ REFUSAL_CREDENTIALS, "",
		    "a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n" },
		{ REFUSAL_NOLOGIN, "Ask J\xc3\xb6rg.",
		    "a NO [CONTACTADMIN] This account may not log in now. Ask "
		    "J\xc3\xb6rg.\r\n" },
		{ REFUSAL_NOLOGIN, "moved\r\n* BYE\x7f",
		    "a NO [CONTACTADMIN] This account may not log in now. "
		    "moved??* BYE?\r\n" },
		{ REFUSAL_UNAVAILABLE, "Try again later.",
		    "a NO [UNAVAILABLE] Try again later.\r\n" },
	};
	struct buf out = buf_bounded(1024);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct refusal refusal = { rows[i].kind,
			slice_from(rows[i].text) };
		struct slice input = slice_from("a login b c\r\n");
		struct front front;

		set_up(&front, TLS);
		assert_int_equal(
		    front_input(&front, &input, &out), FRONT_LOGIN);
		front_refuse(&front, &refusal, &out);
		assert_string_equal(buf_string(&out), rows[i].output);
		buf_clear(&out);
		front_close(&front);
	}
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
