#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine.h"

enum {
	BOB,
	STLS,
	MASTER,
	LONG,
	LINES,
	WITH_UTF8,
	LEARN,
	SCRAM
};

#define LONG_PASSWORD                                                          \
	"0123456789012345678901234567890123456789012345678901234567890123456"  \
	"789012345678901234567890123456789012345678901234567890123456789012"   \
	"34567890123456789012345678901234567890123456789"
#define LONG_BASE64                                                              \
	"AGJvYgAwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Nj" \
	"c4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5" \
	"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMT" \
	"IzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODk="

static const struct back_login logins[] = {
	[BOB] = { .authorise = "", .user = "bob", .password = "secret" },
	[STLS] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .tls = SERVICE_TLS_STARTTLS },
	[MASTER] = { .authorise = "bob",
	    .user = "admin",
	    .password = "secret" },
	[LONG] = { .authorise = "", .user = "bob", .password = LONG_PASSWORD },
	[LINES] = { .authorise = "", .user = "bob", .password = "a\r\nDELE 1" },
	[WITH_UTF8] = { .authorise = "",
	    .user = "bob",
	    .password = "secret",
	    .utf8 = true },
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

#define AUTH    "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"
#define XCLIENT "XCLIENT ADDR=192.0.2.1 PORT=4000 SESSION=s1 TTL=4\r\n"
#define IN      "[ACCEPTED |+OK in]"
#define NO_PLAIN                                                               \
	"[BROKEN back end does not offer the mechanism that these credentials need]"

static const struct back_row rows[] = {
	/* the login in one round trip */
	{ BOB, TEXT("+OK hi\r\n"), AUTH },
	{ BOB, TEXT("+OK hi\r\n+OK in\r\n"), AUTH IN },
	{ BOB, TEXT("+OK\r\n+OK in\r\n"), AUTH IN },
	{ BOB, TEXT("+OK [XCLIENT] hi\r\n+OK Updated\r\n+OK in\r\n"),
	    XCLIENT AUTH IN },
	{ BOB, TEXT("+OK [XCLIENT] hi\r\n-ERR not you\r\n+OK in\r\n"),
	    XCLIENT AUTH IN },
	{ WITH_UTF8, TEXT("+OK hi\r\n+OK\r\n+OK in\r\n"), "UTF8\r\n" AUTH IN },
	{ WITH_UTF8, TEXT("+OK [XCLIENT] hi\r\n+OK\r\n+OK\r\n+OK in\r\n"),
	    XCLIENT "UTF8\r\n" AUTH IN },
	{ WITH_UTF8, TEXT("+OK hi\r\n-ERR what\r\n"),
	    "UTF8\r\n" AUTH
	    "[BROKEN back end refuses UTF8, which was offered]" },
	{ MASTER, TEXT("+OK hi\r\n+OK in\r\n"),
	    "AUTH PLAIN Ym9iAGFkbWluAHNlY3JldA==\r\n" IN },

	/* TLS first */
	{ STLS, TEXT("+OK [XCLIENT] hi\r\n"), "STLS\r\n" },
	{ STLS, TEXT("+OK hi\r\n+OK go\r\n+OK in\r\n"),
	    "STLS\r\n[TLS]" AUTH IN },
	{ STLS, TEXT("+OK hi\r\n-ERR no\r\n"),
	    "STLS\r\n[BROKEN back end refuses STLS]" },

	/* too long for a line of AUTH */
	{ LONG, TEXT("+OK hi\r\n+ \r\n+OK in\r\n"),
	    "AUTH PLAIN\r\n" LONG_BASE64 "\r\n" IN },
	{ LONG, TEXT("+OK hi\r\n+OK in\r\n"),
	    "AUTH PLAIN\r\n"
	    "[BROKEN back end accepts before it has the password]" },

	/* a server that ignores the initial response */
	{ BOB, TEXT("+OK hi\r\n+ \r\n+OK in\r\n"),
	    AUTH "AGJvYgBzZWNyZXQ=\r\n" IN },
	{ BOB, TEXT("+OK hi\r\n+ \r\n+ \r\n"),
	    AUTH "AGJvYgBzZWNyZXQ=\r\n"
		 "[BROKEN back end asks for more than it was promised]" },

	/* refusals, passed as they are when they say why */
	{ BOB, TEXT("+OK hi\r\n-ERR [AUTH] wrong\r\n"),
	    AUTH "[REFUSED -ERR [AUTH] wrong]" },
	{ BOB, TEXT("+OK hi\r\n-ERR [SYS/TEMP] later\r\n"),
	    AUTH "[REFUSED -ERR [SYS/TEMP] later]" },
	{ BOB, TEXT("+OK hi\r\n-ERR [IN-USE] locked\r\n"),
	    AUTH "[REFUSED -ERR [IN-USE] locked]" },
	{ BOB,
	    TEXT("+OK hi\r\n-ERR wrong\r\n+OK\r\nTOP\r\nSASL LOGIN "
		 "PLAIN\r\n.\r\n"),
	    AUTH "CAPA\r\n[REFUSED -ERR wrong]" },

	/* a server without SASL PLAIN */
	{ BOB,
	    TEXT("+OK hi\r\n-ERR what\r\n+OK\r\nUSER\r\n.\r\n+OK\r\n"
		 "+OK in\r\n"),
	    AUTH "CAPA\r\nUSER bob\r\nPASS secret\r\n" IN },
	{ BOB, TEXT("+OK hi\r\n-ERR what\r\n-ERR what\r\n+OK\r\n-ERR no\r\n"),
	    AUTH "CAPA\r\nUSER bob\r\nPASS secret\r\n[REFUSED -ERR no]" },
	{ BOB, TEXT("+OK hi\r\n-ERR what\r\n-ERR what\r\n-ERR who\r\n"),
	    AUTH "CAPA\r\nUSER bob\r\n[REFUSED -ERR who]" },
	{ MASTER, TEXT("+OK hi\r\n-ERR what\r\n-ERR what\r\n"),
	    "AUTH PLAIN Ym9iAGFkbWluAHNlY3JldA==\r\nCAPA\r\n" NO_PLAIN },
	{ LINES, TEXT("+OK hi\r\n-ERR what\r\n-ERR what\r\n"),
	    "AUTH PLAIN AGJvYgBhDQpERUxFIDE=\r\nCAPA\r\n"
	    "[BROKEN back end offers no SASL PLAIN, and PASS cannot say this "
	    "password]" },

	/* a relayed mechanism */
	{ SCRAM, TEXT("+OK hi\r\n+ Yw==\r\n+ ZA==\r\n+OK in\r\n"),
	    "AUTH SCRAM-SHA-1 biwsbj1ib2Iscj14\r\n[CHALLENGE c]YW5zd2Vy\r\n"
	    "[CHALLENGE d]YW5zd2Vy\r\n" IN },
	{ SCRAM, TEXT("+OK hi\r\n+ \r\n+ Yw==\r\n-ERR no\r\n"),
	    "AUTH SCRAM-SHA-1 biwsbj1ib2Iscj14\r\nbiwsbj1ib2Iscj14\r\n[CHALLENGE c]YW5zd2Vy\r\n"
	    "[REFUSED -ERR no]" },
	{ SCRAM, TEXT("+OK hi\r\n+ what?\r\n"),
	    "AUTH SCRAM-SHA-1 biwsbj1ib2Iscj14\r\n"
	    "[BROKEN back end's challenge is not base64]" },
	{ SCRAM, TEXT("+OK hi\r\n-ERR what\r\n+OK\r\nSASL PLAIN\r\n.\r\n"),
	    "AUTH SCRAM-SHA-1 biwsbj1ib2Iscj14\r\nCAPA\r\n" NO_PLAIN },

	/* what is no POP3 */
	{ BOB, TEXT("-ERR [SYS/TEMP] overloaded\r\n"),
	    "[DOWN back end greets with -ERR]" },
	{ BOB, TEXT("* OK IMAP\r\n"),
	    "[BROKEN back end does not greet as POP3]" },
	{ BOB, TEXT("+OKAY\r\n"), "[BROKEN back end does not greet as POP3]" },
	{ BOB, TEXT("+OK hi\n"), "[BROKEN a line ends in LF without CR]" },
	{ BOB, TEXT("+OK h\0i\r\n"),
	    "[BROKEN a line has a NUL or a CR by itself]" },
	{ BOB, TEXT("+OK hi\r\nOK\r\n"),
	    AUTH "[BROKEN back end's reply is not +OK or -ERR]" },
	{ BOB, TEXT("+OK hi\r\n-ERR x\r\n* what\r\n"),
	    AUTH "CAPA\r\n[BROKEN back end's reply is not +OK or -ERR]" },

	/* asked what it can do, and nothing else */
	{ LEARN,
	    TEXT("+OK [XCLIENT] hi\r\n+OK\r\n+OK\r\nTOP\r\nUTF8 USER\r\n"
		 ".\r\n"),
	    "STLS\r\n[TLS]CAPA\r\nQUIT\r\n[LEARNED TOP\nUTF8 USER\n]" },
	{ LEARN, TEXT("+OK hi\r\n+OK\r\n-ERR\r\n"),
	    "STLS\r\n[TLS]CAPA\r\nQUIT\r\n[LEARNED ]" },
};

static void
test_dialogues(void **state)
{
	(void)state;
	machine_play_backs(SERVICE_POP3, logins, rows, ARRAY_SIZE(rows));
}

static void
test_flood(void **state)
{
	static const char *const beginnings[] = { "", "+OK ", "+OK hi\r\n+OK ",
		"+OK hi\r\n-ERR ", "+OK hi\r\n+ ",
		"+OK hi\r\n-ERR x\r\n+OK\r\n" };

	(void)state;
	machine_flood_back(
	    SERVICE_POP3, logins, beginnings, ARRAY_SIZE(beginnings));
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
