#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine.h"

enum {
	BOB,
	START,
	MASTER,
	LEARN,
	SCRAM
};

static const struct back_login logins[] = {
	[BOB] = { .authorise = "", .user = "bob", .password = "secret" },
	[START] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .tls = SERVICE_TLS_STARTTLS },
	[MASTER] = { .authorise = "bob",
	    .user = "admin",
	    .password = "secret" },
	[SCRAM] = { .authorise = "",
	    .user = "bob",
	    .password = "",
	    .mechanism = SASL_SCRAM_SHA_1,
	    .message = "n,,n=bob,r=x" },
	[LEARN] = { .authorise = "",
	    .user = "",
	    .password = "",
	    .learns = true,
	    .tls = SERVICE_TLS_STARTTLS },
};

#define PLAIN   "\"SASL\" \"LOGIN PLAIN\"\r\n"
#define READY   "OK \"ready\"\r\n"
#define AUTH    "AUTHENTICATE \"PLAIN\" \"AGJvYgBzZWNyZXQ=\"\r\n"
#define XCLIENT "XCLIENT ADDR=192.0.2.1 PORT=4000 SESSION=s1 TTL=4\r\n"
#define DOVECOT                                                                \
	"\"IMPLEMENTATION\" \"Dovecot (Debian) Pigeonhole\"\r\n"               \
	"\"SIEVE\" \"fileinto reject\"\r\n" PLAIN "\"STARTTLS\"\r\n"           \
	"\"VERSION\" \"1.0\"\r\n\"XCLIENT\"\r\n" READY
#define IN "[ACCEPTED |OK \"Logged in.\"]"

static const struct back_row rows[] = {
	/* the login */
	{ BOB, TEXT(PLAIN READY), AUTH },
	{ BOB, TEXT(DOVECOT "OK \"Updated\"\r\nOK \"Logged in.\"\r\n"),
	    XCLIENT AUTH IN },
	{ BOB, TEXT(DOVECOT "NO \"not you\"\r\nOK \"Logged in.\"\r\n"),
	    XCLIENT AUTH IN },
	{ BOB, TEXT("{4}\r\nSASL {5}\r\nPLAIN\r\nok\r\nOK \"Logged in.\"\r\n"),
	    AUTH IN },
	{ MASTER, TEXT(PLAIN READY "OK\r\n"),
	    "AUTHENTICATE \"PLAIN\" \"Ym9iAGFkbWluAHNlY3JldA==\"\r\n"
	    "[ACCEPTED |OK]" },
	{ BOB, TEXT(PLAIN READY "OK (SASL \"eA==\") {2}\r\nhi\r\n"),
	    AUTH "[ACCEPTED |OK (SASL \"eA==\") {2}\r\nhi]" },

	/* refusals pass as they are */
	{ BOB, TEXT(PLAIN READY "NO (QUOTA) \"full\"\r\n"),
	    AUTH "[REFUSED NO (QUOTA) \"full\"]" },
	{ BOB, TEXT(PLAIN READY "NO {7}\r\nwr\r\nong\r\n"),
	    AUTH "[REFUSED NO {7}\r\nwr\r\nong]" },
	{ BOB, TEXT(PLAIN READY "BYE (TRYLATER) \"busy\"\r\n"),
	    AUTH "[DOWN back end said BYE before login]" },

	/* a relayed mechanism */
	{ SCRAM,
	    TEXT("\"SASL\" \"SCRAM-SHA-1\"\r\n" READY "\"Yw==\"\r\n"
		 "{4}\r\nZA==\r\nOK\r\n"),
	    "AUTHENTICATE \"SCRAM-SHA-1\" \"biwsbj1ib2Iscj14\"\r\n"
	    "[CHALLENGE c]\"YW5zd2Vy\"\r\n[CHALLENGE d]\"YW5zd2Vy\"\r\n"
	    "[ACCEPTED |OK]" },
	{ SCRAM, TEXT("\"SASL\" \"SCRAM-SHA-1\"\r\n" READY "\"Yw==\" x\r\n"),
	    "AUTHENTICATE \"SCRAM-SHA-1\" \"biwsbj1ib2Iscj14\"\r\n"
	    "[BROKEN back end's challenge is malformed]" },

	/* TLS: nothing that was said before it counts */
	{ START, TEXT(DOVECOT), "STARTTLS\r\n" },
	{ START, TEXT(DOVECOT "OK \"go\"\r\n"), "STARTTLS\r\n[TLS]" },
	{ START, TEXT(DOVECOT "OK \"go\"\r\n" PLAIN READY "OK\r\n"),
	    "STARTTLS\r\n[TLS]" AUTH "[ACCEPTED |OK]" },
	{ START, TEXT(DOVECOT "OK \"go\"\r\n" READY),
	    "STARTTLS\r\n[TLS]"
	    "[BROKEN back end does not offer the mechanism]" },
	{ START, TEXT(DOVECOT "NO \"no\"\r\n"),
	    "STARTTLS\r\n[BROKEN back end refuses STARTTLS]" },
	{ START, TEXT(PLAIN READY),
	    "[BROKEN back end does not offer STARTTLS]" },

	/* what is no ManageSieve, or makes no sense */
	{ BOB, TEXT(READY), "[BROKEN back end does not offer the mechanism]" },
	{ BOB, TEXT("BYE \"overloaded\"\r\n"),
	    "[DOWN back end said BYE before login]" },
	{ BOB, TEXT("NO \"no\"\r\n"),
	    "[BROKEN back end does not greet as ManageSieve]" },
	{ BOB, TEXT("+OK POP3\r\n"),
	    "[BROKEN back end's reply is not OK, NO or BYE]" },
	{ BOB, TEXT("* OK IMAP\r\n"),
	    "[BROKEN back end's reply is not OK, NO or BYE]" },
	{ BOB, TEXT("\"SASL\" x\r\n"),
	    "[BROKEN back end's capability is malformed]" },
	{ BOB, TEXT("\"SASL\" \"x\" \"y\"\r\n"),
	    "[BROKEN back end's capability is malformed]" },
	{ BOB, TEXT("OK\n"),
	    "[BROKEN back end's line has a NUL, a CR or an LF by itself]" },
	{ BOB, TEXT("\r\n"), "[BROKEN back end's reply is not OK, NO or BYE]" },
	{ BOB, TEXT(PLAIN READY "\"eA==\"\r\n"),
	    AUTH "[BROKEN back end asks for more than it was promised]" },
	{ BOB, TEXT("\"SASL\" {257}\r\n"),
	    "[BROKEN back end's line is too long]" },
	{ BOB, TEXT("\"SASL\" {18446744073709551616}\r\n"),
	    "[BROKEN back end's line is too long]" },

	/* asked what it can do, and nothing else */
	{ LEARN,
	    TEXT(DOVECOT
		"OK \"go\"\r\n\"SIEVE\" \"copy\"\r\n\"XCLIENT\"\r\n" READY),
	    "STARTTLS\r\n[TLS]LOGOUT\r\n[LEARNED SIEVE copy\nXCLIENT \n]" },
};

static void
test_dialogues(void **state)
{
	(void)state;
	machine_play_backs(SERVICE_SIEVE, logins, rows, ARRAY_SIZE(rows));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
