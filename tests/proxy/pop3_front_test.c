#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine.h"

static const struct front_play pop3 = {
	.service = SERVICE_POP3,
	.learned = "TOP\nUIDL\nSASL PLAIN\nX-NONSENSE\nUTF8 USER\n",
	.refusal = "-ERR [IN-USE] refused",
	.reply = "+OK welcome",
	.untagged = "",
};

#define CAPA     "+OK Capabilities:\r\n"
#define CODES    "RESP-CODES\r\nAUTH-RESP-CODE\r\n"
#define USER     "USER\r\nSASL PLAIN LOGIN\r\n"
#define END      "IMPLEMENTATION Postcell\r\n.\r\n"
#define UNKNOWN  "-ERR Unknown command, or not before login.\r\n"
#define TOO_MANY "-ERR Too many bad commands.\r\n[CLOSE]"
#define REFUSED  "-ERR [IN-USE] refused\r\n"
#define BARE     "-ERR This command takes no argument.\r\n"
#define PRIVACY  "-ERR [AUTH] Credentials only after STLS.\r\n"
#define BASE64   "-ERR Response is not base64.\r\n"
#define NULS     "-ERR [AUTH] PLAIN needs two NULs.\r\n"
#define QUIT     "+OK Logging out.\r\n[CLOSE]"

static const struct front_row rows[] = {
	/* what is offered */
	{ PLAIN, TEXT("CAPA\r\n"), CAPA CODES USER END },
	{ STARTTLS, TEXT("capa\r\n"), CAPA CODES "STLS\r\n" END },
	{ EITHER, TEXT("CAPA\r\n"), CAPA CODES "STLS\r\n" USER END },
	{ TLS, TEXT("CAPA\r\n"), CAPA CODES USER END },
	{ TLS | LEARNED, TEXT("CAPA\r\n"),
	    CAPA "TOP\r\nUIDL\r\nUTF8 USER\r\n" CODES USER END },
	{ PLAIN, TEXT("CAPA x\r\n"), BARE },
	{ PLAIN, TEXT("CAPA \r\n"), CAPA CODES USER END },
	{ PLAIN, TEXT("AUTH\r\n"), "+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n" },
	{ PLAIN, TEXT("QUIT\r\nCAPA\r\n"), QUIT },
	{ PLAIN, TEXT("CA"), "" },
	{ PLAIN, TEXT(""), "" },

	/* not before login, or never */
	{ PLAIN, TEXT("STAT\r\n"), UNKNOWN },
	{ PLAIN, TEXT("NOOP\r\n"), UNKNOWN },
	{ PLAIN, TEXT("APOP bob c4c9334bac560ecc979e58001b3e22fb\r\n"),
	    UNKNOWN },
	{ PLAIN, TEXT("\r\n"), UNKNOWN },
	{ PLAIN, TEXT(" CAPA\r\n"), UNKNOWN },
	{ PLAIN, TEXT("GET / HTTP/1.0\r\nHost: x\r\n\r\nCAPA\r\n"),
	    UNKNOWN UNKNOWN UNKNOWN TOO_MANY },
	{ PLAIN, TEXT("XCLIENT ADDR=192.0.2.9\r\n"), UNKNOWN },

	/* octets that are none of a line's */
	{ PLAIN, TEXT("CAPA\nQUIT\r\n"), "-ERR Lines end in CRLF.\r\n" QUIT },
	{ PLAIN, TEXT("CA\rPA\r\nQUIT\r\n"),
	    "-ERR Commands have no NUL and no CR by itself.\r\n" QUIT },
	{ PLAIN, TEXT("QUIT\0\r\n\0\r\n\r\r\n"),
	    "-ERR Commands have no NUL and no CR by itself.\r\n"
	    "-ERR Commands have no NUL and no CR by itself.\r\n"
	    "-ERR Commands have no NUL and no CR by itself.\r\n" TOO_MANY },

	/* STLS: nothing that came with it survives */
	{ STARTTLS, TEXT("STLS\r\nUSER bob\r\nPASS secret\r\n"),
	    "+OK Begin TLS negotiation now.\r\n[STARTTLS]" },
	{ STARTTLS, TEXT("STLS x\r\n"), BARE },
	{ PLAIN, TEXT("STLS\r\n"), "-ERR TLS is not offered here.\r\n" },
	{ TLS, TEXT("STLS\r\n"), "-ERR TLS is on already.\r\n" },

	/* credentials only where they may be said */
	{ STARTTLS, TEXT("USER bob\r\n"), PRIVACY },
	{ STARTTLS, TEXT("PASS secret\r\n"), PRIVACY },
	{ STARTTLS, TEXT("AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"), PRIVACY },
	{ STARTTLS, TEXT("AUTH\r\n"), PRIVACY },

	/* USER and PASS; both take the rest of the line as it is */
	{ TLS, TEXT("USER bob\r\nPASS secret\r\n"),
	    "+OK\r\n[LOGIN |bob|secret]" REFUSED },
	{ TLS, TEXT("user anna maria\r\npass  two  words \r\n"),
	    "+OK\r\n[LOGIN |anna maria| two  words ]" REFUSED },
	{ TLS, TEXT("USER j\xc3\xb6rg\r\nPASS \xff\r\n"),
	    "+OK\r\n[LOGIN |j\xc3\xb6rg|\xff]" REFUSED },
	{ TLS, TEXT("USER\r\n"), "-ERR USER takes a user name.\r\n" },
	{ TLS, TEXT("USER \r\n"), "-ERR USER takes a user name.\r\n" },
	{ TLS, TEXT("PASS secret\r\n"), "-ERR USER comes before PASS.\r\n" },
	{ TLS, TEXT("USER bob\r\nPASS\r\nPASS secret\r\n"),
	    "+OK\r\n-ERR PASS takes a password.\r\n"
	    "-ERR USER comes before PASS.\r\n" },
	{ TLS, TEXT("USER bob\r\nPASS x\r\nPASS y\r\n"),
	    "+OK\r\n[LOGIN |bob|x]" REFUSED
	    "-ERR USER comes before PASS.\r\n" },
	{ TLS, TEXT("USER bob\r\nUSER eve\r\nPASS x\r\n"),
	    "+OK\r\n+OK\r\n[LOGIN |eve|x]" REFUSED },
	{ TLS, TEXT("USER bob\r\nUSER\r\nPASS x\r\n"),
	    "+OK\r\n-ERR USER takes a user name.\r\n"
	    "-ERR USER comes before PASS.\r\n" },
	{ TLS, TEXT("USER bob\r\nAUTH PLAIN\r\n*\r\nPASS x\r\n"),
	    "+OK\r\n+ \r\n-ERR Authentication cancelled.\r\n"
	    "-ERR USER comes before PASS.\r\n" },
	{ TLS | ACCEPTS, TEXT("USER bob\r\nPASS secret\r\nSTAT\r\n"),
	    "+OK\r\n[LOGIN |bob|secret]+OK welcome\r\n[RELAY STAT\r\n]" },

	/* AUTH, with and without an initial response */
	{ TLS, TEXT("AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"),
	    "[LOGIN |bob|secret]" REFUSED },
	{ TLS, TEXT("auth plain\r\nAGJvYgBzZWNyZXQ=\r\nQUIT\r\n"),
	    "+ \r\n[LOGIN |bob|secret]" REFUSED QUIT },
	{ TLS, TEXT("AUTH PLAIN YWxpY2UAYm9iAHNlY3JldA==\r\n"),
	    "[LOGIN alice|bob|secret]" REFUSED },
	{ TLS, TEXT("AUTH LOGIN\r\nYm9i\r\nc2VjcmV0\r\n"),
	    "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n[LOGIN |bob|secret]" REFUSED },
	{ TLS, TEXT("AUTH LOGIN Ym9i\r\nc2VjcmV0\r\n"),
	    "+ UGFzc3dvcmQ6\r\n[LOGIN |bob|secret]" REFUSED },
	{ TLS, TEXT("AUTH PLAIN\r\n*\r\nQUIT\r\n"),
	    "+ \r\n-ERR Authentication cancelled.\r\n" QUIT },
	{ TLS, TEXT("AUTH PLAIN =\r\n"), NULS },
	{ TLS, TEXT("AUTH PLAIN Ym9i\r\nQUIT\r\n"), NULS QUIT },
	{ TLS, TEXT("AUTH PLAIN AAAA\r\n"),
	    "-ERR [AUTH] PLAIN has an empty or too long name or password, or a "
	    "third NUL.\r\n" },
	{ TLS, TEXT("AUTH PLAIN \r\nQUIT\r\n"), NULS QUIT },
	{ TLS, TEXT("AUTH PLAIN ?\r\n"), BASE64 },
	{ TLS, TEXT("AUTH PLAIN AGJvYgBzZWNyZXQ= \r\n"), BASE64 },
	{ TLS, TEXT("AUTH PLAIN\r\n AGJvYgBzZWNyZXQ=\r\n"), "+ \r\n" BASE64 },
	{ TLS, TEXT("AUTH PLAIN\r\nQUIT\r\nQUIT\r\n"), "+ \r\n" NULS QUIT },
	{ TLS, TEXT("AUTH PLAIN\r\nAGJvYgBzZWNyZXQ=\nQUIT\r\n"),
	    "+ \r\n-ERR Lines end in CRLF.\r\n" QUIT },
	{ TLS, TEXT("AUTH GSSAPI\r\n"),
	    "-ERR This mechanism is not spoken here.\r\n" },
	{ TLS, TEXT("AUTH CRAM-MD5\r\n"),
	    "-ERR This mechanism is not spoken here.\r\n" },

	/* relayed mechanisms */
	{ TLS | RELAYS, TEXT("CAPA\r\n"),
	    CAPA CODES
	    "USER\r\nSASL PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256 OAUTHBEARER "
	    "XOAUTH2\r\n" END },
	{ TLS | TOKENS, TEXT("CAPA\r\nUSER bob\r\n"),
	    CAPA CODES "SASL XOAUTH2\r\n" END
		       "-ERR Passwords are not taken here.\r\n" },
	{ TLS | RELAYS,
	    TEXT("AUTH SCRAM-SHA-1 biwsbj1ib2Iscj14\r\nYz1iaXdz\r\n\r\n"
		 "*\r\nQUIT\r\n"),
	    "[LOGIN |bob|SCRAM-SHA-1 n,,n=bob,r=x]+ Yw==\r\n"
	    "[RESPONSE c=biws]+ Yw==\r\n[RESPONSE ]+ Yw==\r\n"
	    "-ERR Authentication cancelled.\r\n" QUIT },
	{ TLS | RELAYS,
	    TEXT(
		"AUTH XOAUTH2\r\ndXNlcj1ib2IBYXV0aD1CZWFyZXIgdAEB\r\n?\r\nQUIT\r\n"),
	    "+ \r\n[LOGIN |bob|XOAUTH2 user=bob\1auth=Bearer t\1\1]+ Yw==\r\n" BASE64
		QUIT },
	{ TLS | RELAYS, TEXT("AUTH SCRAM-SHA-256 biwsbj1ib2I=\r\nQUIT\r\n"),
	    "-ERR [AUTH] the first message is malformed or names no user.\r\n" QUIT },
	{ TLS, TEXT("AUTH SCRAM-SHA-1 biwsbj1ib2Iscj14\r\n"),
	    "-ERR This mechanism is not spoken here.\r\n" },

	/* UTF8 and LANG */
	{ TLS, TEXT("UTF8\r\n"), "-ERR UTF8 is not offered here.\r\n" },
	{ TLS | LEARNED, TEXT("UTF8\r\nUSER bob\r\nPASS x\r\n"),
	    "+OK UTF8 is on.\r\n+OK\r\n[LOGIN |bob|x|UTF8]" REFUSED },
	{ TLS, TEXT("LANG\r\n"),
	    "+OK Languages:\r\nen English\r\ni-default Default\r\n.\r\n" },
	{ TLS, TEXT("LANG *\r\nLANG EN\r\nLANG de\r\n"),
	    "+OK en English it is.\r\n+OK en English it is.\r\n"
	    "-ERR This language is not spoken here.\r\n" },
};

static void
test_dialogues(void **state)
{
	(void)state;
	machine_play_fronts(&pop3, rows, ARRAY_SIZE(rows));
}

static void
test_flood(void **state)
{
	static const char *const beginnings[] = { "", "USER ", "PASS ",
		"USER bob\r\nPASS ", "AUTH PLAIN ", "AUTH ", "LANG " };
	static const char *const responses[] = { "AUTH PLAIN\r\n",
		"AUTH LOGIN\r\nYm9i\r\n" };

	(void)state;
	machine_flood_front(
	    &pop3, beginnings, ARRAY_SIZE(beginnings), MACHINE_LINE_SIZE);
	machine_flood_front(&pop3, responses, ARRAY_SIZE(responses),
	    MACHINE_LINE_SIZE + MACHINE_LITERAL_SIZE);
}

static void
test_by_itself(void **state)
{
	(void)state;
	machine_check_greeting(
	    &pop3, STARTTLS, "+OK mail.example.org ready.\r\n");
	machine_check_goodbye(&pop3, "-ERR [SYS/TEMP] Too slow.\r\n");
	machine_check_refusal(
	    &pop3, REFUSAL_BACK, "-ERR [AUTH] no", "-ERR [AUTH] no\r\n");
	machine_check_refusal(&pop3, REFUSAL_CREDENTIALS, "",
	    "-ERR [AUTH] Authentication failed.\r\n");
	machine_check_refusal(&pop3, REFUSAL_NOLOGIN, "Moved.\r\n+OK",
	    "-ERR [SYS/PERM] This account may not log in now. "
	    "Moved.??+OK\r\n");
	machine_check_refusal(
	    &pop3, REFUSAL_UNAVAILABLE, "Later.", "-ERR [SYS/TEMP] Later.\r\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
