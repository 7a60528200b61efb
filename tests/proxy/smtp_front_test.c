#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine.h"

static const struct front_play smtp = {
	.service = SERVICE_SUBMISSION,
	.learned =
	    "SIZE 1000\nPIPELINING\nAUTH GSSAPI\nSTARTTLS\nXCLIENT ADDR\n",
	.refusal = "534-5.7.9 refused\r\n534 5.7.9 really",
	.reply = "235 2.7.0 welcome",
	.untagged = "",
};

#define HOST     "mail.example.org"
#define ALONE    "250 " HOST "\r\n"
#define FIRST    "250-" HOST "\r\n"
#define AUTH     "250 AUTH PLAIN LOGIN\r\n"
#define HI       FIRST AUTH
#define UNKNOWN  "500 5.5.1 Unknown command, or not before login.\r\n"
#define TOO_MANY "421 4.7.0 Too many bad commands.\r\n[CLOSE]"
#define REFUSED  "534-5.7.9 refused\r\n534 5.7.9 really\r\n"
#define NEEDED   "530 5.7.0 Authentication required.\r\n"
#define BYE      "221 2.0.0 Goodbye.\r\n[CLOSE]"
#define BASE64   "501 5.5.2 Response is not base64.\r\n"
#define OK       "250 2.0.0 Nothing happened.\r\n"
#define ENDING   "500 5.5.2 Lines end in CRLF.\r\n"
#define OCTET    "500 5.5.2 Commands have no NUL and no CR by itself.\r\n"

static const struct front_row rows[] = {
	/* what is offered */
	{ PLAIN, TEXT("EHLO me\r\n"), HI },
	{ STARTTLS, TEXT("ehlo me\r\n"), FIRST "250 STARTTLS\r\n" },
	{ EITHER, TEXT("EHLO me\r\n"), FIRST "250-STARTTLS\r\n" AUTH },
	{ TLS, TEXT("EHLO [127.0.0.1]\r\n"), HI },
	{ TLS | LEARNED, TEXT("EHLO me\r\n"),
	    FIRST "250-SIZE 1000\r\n250-PIPELINING\r\n" AUTH },
	{ TLS | LEARNED, TEXT("HELO me\r\n"), ALONE },
	{ TLS, TEXT("EHLO\r\nEHLO \r\n"),
	    "501 5.5.4 EHLO takes a host name.\r\n"
	    "501 5.5.4 EHLO takes a host name.\r\n" },
	{ TLS, TEXT("EHLO a\x01z\r\nHELO a b\r\n"),
	    "501 5.5.4 EHLO takes a host name.\r\n"
	    "501 5.5.4 HELO takes a host name.\r\n" },
	{ TLS, TEXT("EHLO m\xc3\xbcller\r\n"), HI },
	{ PLAIN, TEXT("NOOP x\r\nRSET\r\nQUIT\r\nNOOP\r\n"), OK OK BYE },
	{ PLAIN, TEXT("QU"), "" },

	/* mail only after a login */
	{ TLS, TEXT("EHLO me\r\nMAIL FROM:<a@b>\r\n"), HI NEEDED },
	{ STARTTLS, TEXT("MAIL FROM:<a@b>\r\n"),
	    "530 5.7.0 Say STARTTLS first.\r\n" },
	{ TLS, TEXT("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nQUIT\r\n"),
	    NEEDED NEEDED NEEDED TOO_MANY },
	{ TLS, TEXT("VRFY root\r\n"), NEEDED },
	/* the octets of BDAT are no commands */
	{ TLS, TEXT("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"), NEEDED OK },
	{ TLS, TEXT("BDAT 0\r\nNOOP\r\n"), NEEDED OK },
	{ TLS, TEXT("BDAT 18446744073709551615\r\nQUIT\r\nQUIT\r\n"), NEEDED },
	{ TLS, TEXT("BDAT x LAST\r\nQUIT\r\n"),
	    "421 4.7.0 BDAT takes a size.\r\n[CLOSE]" },
	{ TLS, TEXT("BDAT\r\n"), "421 4.7.0 BDAT takes a size.\r\n[CLOSE]" },
	{ TLS, TEXT("BDAT 18446744073709551616\r\n"),
	    "421 4.7.0 BDAT takes a size.\r\n[CLOSE]" },

	/* unknown, or not for strangers */
	{ PLAIN, TEXT("XCLIENT ADDR=192.0.2.9\r\n"), UNKNOWN },
	{ PLAIN, TEXT("LHLO me\r\n"), UNKNOWN },
	{ PLAIN, TEXT("\r\n\r\nGET / HTTP/1.0\r\nQUIT\r\n"),
	    UNKNOWN UNKNOWN UNKNOWN TOO_MANY },
	{ PLAIN, TEXT("EHLO me\nNOOP\r\n"), ENDING OK },
	{ PLAIN, TEXT("NO\rOP\r\nNOOP\r\n"), OCTET OK },
	{ PLAIN, TEXT("NOOP\0\r\nNOOP\r\n"), OCTET OK },

	/* STARTTLS: nothing that came with it survives */
	{ STARTTLS, TEXT("STARTTLS\r\nEHLO x\r\nAUTH PLAIN AGIAcw==\r\n"),
	    "220 2.0.0 Begin TLS negotiation now.\r\n[STARTTLS]" },
	{ STARTTLS, TEXT("STARTTLS x\r\n"),
	    "501 5.5.4 This command takes no argument.\r\n" },
	{ PLAIN, TEXT("STARTTLS\r\n"),
	    "502 5.5.1 TLS is not offered here.\r\n" },
	{ TLS, TEXT("STARTTLS\r\n"), "503 5.5.1 TLS is on already.\r\n" },

	/* AUTH at its time */
	{ TLS, TEXT("AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"),
	    "503 5.5.1 EHLO comes first.\r\n" },
	{ TLS, TEXT("HELO me\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"),
	    ALONE "503 5.5.1 EHLO comes first.\r\n" },
	{ STARTTLS, TEXT("EHLO me\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"),
	    FIRST "250 STARTTLS\r\n"
		  "538 5.7.11 Credentials only after STARTTLS.\r\n" },

	/* AUTH, with and without an initial response */
	{ TLS, TEXT("EHLO me\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\nNOOP\r\n"),
	    HI "[LOGIN |bob|secret]" REFUSED OK },
	{ TLS, TEXT("EHLO me\r\nauth plain\r\nAGJvYgBzZWNyZXQ=\r\nNOOP\r\n"),
	    HI "334 \r\n[LOGIN |bob|secret]" REFUSED OK },
	{ TLS, TEXT("EHLO me\r\nAUTH LOGIN\r\nYm9i\r\nc2VjcmV0\r\n"),
	    HI "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n"
	       "[LOGIN |bob|secret]" REFUSED },
	{ TLS, TEXT("EHLO me\r\nAUTH PLAIN YWxpY2UAYm9iAHNlY3JldA==\r\n"),
	    HI "[LOGIN alice|bob|secret]" REFUSED },
	{ TLS | ACCEPTS,
	    TEXT("EHLO me\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\nMAIL FROM:<>\r\n"),
	    HI "[LOGIN |bob|secret]235 2.7.0 welcome\r\n"
	       "[RELAY MAIL FROM:<>\r\n]" },
	{ TLS, TEXT("EHLO me\r\nAUTH PLAIN\r\n*\r\nNOOP\r\n"),
	    HI "334 \r\n501 5.7.0 Authentication cancelled.\r\n" OK },
	{ TLS, TEXT("EHLO me\r\nAUTH PLAIN =\r\n"),
	    HI "535 5.7.8 PLAIN needs two NULs.\r\n" },
	{ TLS, TEXT("EHLO me\r\nAUTH PLAIN AAAA\r\n"),
	    HI "535 5.7.8 PLAIN has an empty or too long name or password, or "
	       "a third NUL.\r\n" },
	{ TLS, TEXT("EHLO me\r\nAUTH PLAIN ?\r\nAUTH PLAIN\r\n?\r\n"),
	    HI BASE64 "334 \r\n" BASE64 },
	{ TLS, TEXT("EHLO me\r\nAUTH PLAIN\r\nAGJv\nNOOP\r\n"),
	    HI "334 \r\n" ENDING OK },
	/* relayed mechanisms */
	{ TLS | RELAYS,
	    TEXT(
		"EHLO me\r\nAUTH SCRAM-SHA-256 biwsbj1ib2Iscj14\r\nYz1iaXdz\r\n\r\n"
		"*\r\nNOOP\r\n"),
	    FIRST "250 AUTH PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256 OAUTHBEARER "
		  "XOAUTH2\r\n"
		  "[LOGIN |bob|SCRAM-SHA-256 n,,n=bob,r=x]334 Yw==\r\n"
		  "[RESPONSE c=biws]334 Yw==\r\n[RESPONSE ]334 Yw==\r\n"
		  "501 5.7.0 Authentication cancelled.\r\n" OK },
	{ TLS | TOKENS,
	    TEXT(
		"EHLO me\r\nAUTH XOAUTH2\r\ndXNlcj1ib2IBYXV0aD1CZWFyZXIgdAEB\r\nNOOP\nNOOP\r\n"),
	    FIRST
	    "250 AUTH XOAUTH2\r\n334 \r\n"
	    "[LOGIN |bob|XOAUTH2 user=bob\1auth=Bearer t\1\1]334 Yw==\r\n" ENDING
		OK },

	{ TLS, TEXT("EHLO me\r\nAUTH\r\nAUTH GSSAPI\r\n"),
	    HI "504 5.5.4 This mechanism is not spoken here.\r\n"
	       "504 5.5.4 This mechanism is not spoken here.\r\n" },
};

static void
test_dialogues(void **state)
{
	(void)state;
	machine_play_fronts(&smtp, rows, ARRAY_SIZE(rows));
}

static void
test_flood(void **state)
{
	static const char *const beginnings[] = { "", "EHLO ",
		"EHLO me\r\nAUTH PLAIN ", "EHLO me\r\nAUTH PLAIN\r\n",
		"MAIL FROM:<" };

	(void)state;
	machine_flood_front(&smtp, beginnings, ARRAY_SIZE(beginnings),
	    MACHINE_LINE_SIZE + MACHINE_LITERAL_SIZE);
}

static void
test_by_itself(void **state)
{
	(void)state;
	machine_check_greeting(&smtp, TLS, "220 " HOST " ESMTP ready.\r\n");
	machine_check_goodbye(&smtp, "421 4.3.2 Too slow.\r\n");
	machine_check_refusal(&smtp, REFUSAL_CREDENTIALS, "",
	    "535 5.7.8 Authentication failed.\r\n");
	/* A server's own words would tell that there is such an account. */
	machine_check_refusal(&smtp, REFUSAL_BACK,
	    "535-5.7.8 Error: authentication failed:\r\n535 5.7.8 UGFzc3dvcmQ6",
	    "535 5.7.8 Authentication failed.\r\n");
	machine_check_refusal(&smtp, REFUSAL_NOLOGIN, "Moved.\r\n235 ok",
	    "525 5.7.13 This account may not log in now. Moved.??235 ok\r\n");
	machine_check_refusal(
	    &smtp, REFUSAL_UNAVAILABLE, "Later.", "454 4.7.0 Later.\r\n");
}

/* The client's own name, for XCLIENT: only what can be told as it is. */
static void
test_hello(void **state)
{
	static const struct {
		const char *input, *hello;
	} names[] = {
		{ "EHLO me.example.org\r\n", "me.example.org" },
		{ "EHLO [IPv6:2001:db8::1]\r\n", "[IPv6:2001:db8::1]" },
		{ "HELO a=b+c\r\n", "a=b+c" },
		{ "EHLO m\xc3\xbcller\r\n", "" },
		{ "EHLO one\r\nEHLO a\x7f\r\n", "one" },
		{ "EHLO one\r\nSTARTTLS\r\n", "" },
	};
	struct offers offers;
	struct front_settings settings = { "x", 256, 64, 3, &offers };
	struct buf out = buf_bounded(4096);

	(void)state;
	offers_init(&offers);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct slice input = slice_from(names[i].input);
		struct front front;

		assert_int_equal(
		    front_open(
			&front, front_protocol(SERVICE_SUBMISSION), &settings),
		    0);
		front.tls_offered = true;
		front_input(&front, &input, &out);
		assert_string_equal(front.hello, names[i].hello);
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
		cmocka_unit_test(test_by_itself),
		cmocka_unit_test(test_hello),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
