#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine.h"

/* 150 octets that are three each as xtext. */
#define TEN      "++++++++++"
#define PLUSSES  TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define X        "+2B+2B+2B+2B+2B+2B+2B+2B+2B+2B"
#define XPLUSSES X X X X X X X X X X X X X X X

/* The 150 of them in base64. */
#define PLUS   "KysrKysrKysrKysrKysrKysrKysrKysrKysrKysr"
#define BASE64 PLUS PLUS PLUS PLUS PLUS

enum {
	BOB,
	START,
	IMPLICIT,
	MASTER,
	ODD,
	LONG,
	ENDLESS,
	LEARN,
	SCRAM,
	TOKEN
};

static const struct back_login logins[] = {
	[BOB] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .hello = "me.example.org" },
	[START] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .tls = SERVICE_TLS_STARTTLS },
	[IMPLICIT] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .tls = SERVICE_TLS_IMPLICIT },
	[MASTER] = { .authorise = "bob",
	    .user = "admin",
	    .password = "secret" },
	[ODD] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .hello = "a=b+c ADDR=192.0.2.9" },
	[LONG] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .hello = PLUSSES },
	[ENDLESS] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .hello = PLUSSES TEN TEN TEN },
	[SCRAM] = { .authorise = "",
	    .user = "bob",
	    .password = "",
	    .mechanism = SASL_SCRAM_SHA_1,
	    .message = "n,,n=bob,r=x" },
	[TOKEN] = { .authorise = "",
	    .user = "bob",
	    .password = "",
	    .mechanism = SASL_XOAUTH2,
	    .message = PLUSSES PLUSSES PLUSSES },
	[LEARN] = { .authorise = "",
	    .user = "",
	    .password = "",
	    .learns = true,
	    .tls = SERVICE_TLS_STARTTLS },
};

#define HI      "220 mbox ESMTP\r\n"
#define EHLO    "EHLO proxy.example.org\r\n"
#define EHLO_ME "EHLO me.example.org\r\n"
#define CAN     "250-mbox\r\n250-SIZE 10\r\n250 AUTH LOGIN PLAIN\r\n"
#define AUTH    "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"
#define X_ALL                                                                  \
	"250-mbox\r\n250-AUTH PLAIN\r\n"                                       \
	"250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN SESSION TTL X\r\n"
#define X_SHORT "250-mbox\r\n250-AUTH PLAIN\r\n250 XCLIENT ADDR HELO\r\n"
#define XCLIENT                                                                \
	"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=4000 PROTO=ESMTP "     \
	"HELO=me.example.org SESSION=s1 TTL=4\r\n"
#define IN      "[ACCEPTED |235 2.7.0 in]"
#define OK      "235 2.7.0 in\r\n"
#define TOKENS  "250-mbox\r\n250 AUTH XOAUTH2\r\n"
#define NO_AUTH "[BROKEN back end does not offer the mechanism]"

static const struct back_row rows[] = {
	/* the login */
	{ BOB, TEXT(HI), EHLO },
	{ BOB, TEXT(HI CAN), EHLO AUTH },
	{ BOB, TEXT(HI CAN OK), EHLO AUTH IN },
	{ BOB, TEXT("220-mbox\r\n220-is\r\n220 here\r\n" CAN OK),
	    EHLO AUTH IN },
	{ BOB, TEXT(HI CAN "235\r\n"), EHLO AUTH "[ACCEPTED |235]" },
	{ IMPLICIT, TEXT(HI CAN OK), EHLO AUTH IN },
	{ MASTER, TEXT(HI CAN OK),
	    EHLO "AUTH PLAIN Ym9iAGFkbWluAHNlY3JldA==\r\n" IN },

	/* TLS: nothing that was said before it counts */
	{ START, TEXT(HI "250-mbox\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"),
	    EHLO "STARTTLS\r\n" },
	{ START, TEXT(HI "250-mbox\r\n250 STARTTLS\r\n220 go\r\n" CAN OK),
	    EHLO "STARTTLS\r\n[TLS]" EHLO AUTH IN },
	{ START,
	    TEXT(HI "250-mbox\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"
		    "220 go\r\n250 mbox\r\n"),
	    EHLO "STARTTLS\r\n[TLS]" EHLO NO_AUTH },
	{ START, TEXT(HI CAN),
	    EHLO "[BROKEN back end does not offer STARTTLS]" },
	{ START, TEXT(HI "250-mbox\r\n250 STARTTLS\r\n454 no\r\n"),
	    EHLO "STARTTLS\r\n[BROKEN back end refuses STARTTLS]" },

	/* who the client is */
	{ BOB, TEXT(HI X_ALL), EHLO XCLIENT },
	{ BOB, TEXT(HI X_ALL HI CAN OK), EHLO XCLIENT EHLO_ME AUTH IN },
	{ BOB, TEXT(HI X_ALL HI X_ALL OK), EHLO XCLIENT EHLO_ME AUTH IN },
	{ BOB, TEXT(HI X_ALL "550 not you\r\n" OK), EHLO XCLIENT AUTH IN },
	{ BOB, TEXT(HI X_ALL "421 no\r\n"),
	    EHLO XCLIENT "[DOWN back end said 421 before login]" },
	{ BOB, TEXT(HI X_ALL "250 what\r\n"),
	    EHLO XCLIENT "[BROKEN back end's reply to XCLIENT is not 220]" },
	{ START,
	    TEXT(HI "250-mbox\r\n250-XCLIENT ADDR\r\n250 STARTTLS\r\n"
		    "220 go\r\n" X_SHORT),
	    EHLO "STARTTLS\r\n[TLS]" EHLO
		 "XCLIENT ADDR=192.0.2.1 HELO=[UNAVAILABLE]\r\n" },
	{ ODD, TEXT(HI X_SHORT),
	    EHLO
	    "XCLIENT ADDR=192.0.2.1 HELO=a+3Db+2Bc+20ADDR+3D192.0.2.9\r\n" },
	{ LONG, TEXT(HI X_ALL),
	    EHLO "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=4000 "
		 "PROTO=ESMTP SESSION=s1 TTL=4\r\n" },
	{ LONG, TEXT(HI X_ALL HI HI CAN),
	    EHLO "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=4000 "
		 "PROTO=ESMTP SESSION=s1 TTL=4\r\n"
		 "XCLIENT HELO=" XPLUSSES "\r\nEHLO " PLUSSES "\r\n" AUTH },
	{ ENDLESS, TEXT(HI X_SHORT HI CAN),
	    EHLO "XCLIENT ADDR=192.0.2.1\r\nEHLO " PLUSSES TEN TEN TEN
		 "\r\n" AUTH },

	/* refusals pass as they are, but for what no line may hold */
	{ BOB, TEXT(HI CAN "535 5.7.8 wrong\r\n"),
	    EHLO AUTH "[REFUSED 535 5.7.8 wrong]" },
	{ BOB, TEXT(HI CAN "535-5.7.8 wrong\r\n535-5.7.8 as\r\n535 ever\r\n"),
	    EHLO AUTH "[REFUSED 535-5.7.8 wrong\r\n535-5.7.8 as\r\n535 ever]" },
	{ BOB, TEXT(HI CAN "454 4.7.0 later\x1b[2J\r\n"),
	    EHLO AUTH "[REFUSED 454 4.7.0 later?[2J]" },
	{ BOB, TEXT(HI CAN "421 4.3.2 closing\r\n"),
	    EHLO AUTH "[DOWN back end said 421 before login]" },
	{ BOB, TEXT(HI CAN "334 \r\n"),
	    EHLO AUTH "[BROKEN back end asks for more than it was promised]" },
	{ BOB, TEXT(HI CAN "250 ok\r\n"),
	    EHLO AUTH "[BROKEN back end answers AUTH with what is no answer]" },

	/* a relayed mechanism */
	{ SCRAM,
	    TEXT(HI "250-mbox\r\n250 AUTH SCRAM-SHA-1\r\n334 Yw==\r\n"
		    "334 ZA==\r\n" OK),
	    EHLO
	    "AUTH SCRAM-SHA-1 biwsbj1ib2Iscj14\r\n[CHALLENGE c]YW5zd2Vy\r\n"
	    "[CHALLENGE d]YW5zd2Vy\r\n" IN },
	{ SCRAM,
	    TEXT(HI "250-mbox\r\n250 AUTH SCRAM-SHA-1\r\n334 Yw==\r\n"
		    "535 no\r\n"),
	    EHLO
	    "AUTH SCRAM-SHA-1 biwsbj1ib2Iscj14\r\n[CHALLENGE c]YW5zd2Vy\r\n"
	    "[REFUSED 535 no]" },
	{ SCRAM, TEXT(HI CAN), EHLO NO_AUTH },
	/* What is too long for a command follows it, RFC 4954 section 4. */
	{ TOKEN, TEXT(HI TOKENS "334 \r\n" OK),
	    EHLO "AUTH XOAUTH2\r\n" BASE64 BASE64 BASE64 "\r\n" IN },
	{ TOKEN, TEXT(HI TOKENS "334 \r\n334 Yw==\r\n235 in\r\n"),
	    EHLO "AUTH XOAUTH2\r\n" BASE64 BASE64 BASE64
		 "\r\n[CHALLENGE c]YW5zd2Vy\r\n[ACCEPTED |235 in]" },
	{ TOKEN, TEXT(HI TOKENS "535 no\r\n"),
	    EHLO "AUTH XOAUTH2\r\n[REFUSED 535 no]" },
	{ TOKEN, TEXT(HI TOKENS OK),
	    EHLO "AUTH XOAUTH2\r\n[BROKEN back end accepts before it has the "
		 "password]" },

	/* what is no SMTP, or makes no sense */
	{ BOB, TEXT("554 go away\r\n"),
	    "[DOWN back end does not greet with 220]" },
	{ BOB, TEXT("421 busy\r\n"), "[DOWN back end said 421 before login]" },
	{ BOB, TEXT("250 hi\r\n"),
	    "[BROKEN back end does not greet with 220]" },
	{ BOB, TEXT("+OK POP3\r\n"),
	    "[BROKEN back end does not answer as SMTP]" },
	{ BOB, TEXT("\r\n"), "[BROKEN back end does not answer as SMTP]" },
	{ BOB, TEXT("22\r\n"), "[BROKEN back end does not answer as SMTP]" },
	{ BOB, TEXT("220x\r\n"), "[BROKEN back end does not answer as SMTP]" },
	{ BOB, TEXT("220 hi\n"), "[BROKEN a line ends in LF without CR]" },
	{ BOB, TEXT("220 h\0i\r\n"),
	    "[BROKEN a line has a NUL or a CR by itself]" },
	{ BOB, TEXT(HI "500 what\r\n"), EHLO "[BROKEN back end refuses EHLO]" },
	{ BOB, TEXT(HI "250 AUTH PLAIN\r\n"), EHLO NO_AUTH },
	{ BOB, TEXT(HI "250-mbox\r\n250 AUTH=PLAIN\r\n"), EHLO NO_AUTH },
	{ BOB, TEXT(HI "250-\r\n250-\r\n250 \r\n"), EHLO NO_AUTH },

	/* asked what it can do, and nothing else */
	{ LEARN,
	    TEXT(HI "250-mbox\r\n250-DSN\r\n250 STARTTLS\r\n220 go\r\n" CAN),
	    EHLO "STARTTLS\r\n[TLS]" EHLO
		 "QUIT\r\n[LEARNED SIZE 10\nAUTH LOGIN PLAIN\n]" },
};

static void
test_dialogues(void **state)
{
	(void)state;
	machine_play_backs(SERVICE_SUBMISSION, logins, rows, ARRAY_SIZE(rows));
}

static void
test_flood(void **state)
{
	static const char *const beginnings[] = { "", "220 ", "220-", HI "250-",
		HI CAN "535 " };

	(void)state;
	machine_flood_back(
	    SERVICE_SUBMISSION, logins, beginnings, ARRAY_SIZE(beginnings));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
