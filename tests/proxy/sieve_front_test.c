#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine.h"

static const struct front_play sieve = {
	.service = SERVICE_SIEVE,
	.learned = "SIEVE fileinto vacation\nNOTIFY mailto\nSTARTTLS \n",
	.refusal = "NO (QUOTA) {7}\r\nrefused",
	.reply = "OK (SASL \"eA==\") \"welcome\"",
	.untagged = "",
};

#define WHO      "\"IMPLEMENTATION\" \"Postcell\"\r\n"
#define EMPTY    "\"SIEVE\" \"\"\r\n"
#define KNOWN    "\"SIEVE\" \"fileinto vacation\"\r\n\"NOTIFY\" \"mailto\"\r\n"
#define SASL     "\"SASL\" \"PLAIN LOGIN\"\r\n"
#define NO_SASL  "\"SASL\" \"\"\r\n"
#define START    "\"STARTTLS\"\r\n"
#define VERSION  "\"VERSION\" \"1.0\"\r\n"
#define LISTED   VERSION "OK \"These are the capabilities.\"\r\n"
#define UNKNOWN  "NO \"Unknown command, or not before login.\"\r\n"
#define TOO_MANY "BYE \"Too many bad commands.\"\r\n[CLOSE]"
#define REFUSED  "NO (QUOTA) {7}\r\nrefused\r\n"
#define BARE     "NO \"This command takes no argument.\"\r\n"
#define BASE64   "NO \"Response is not base64.\"\r\n"
#define SYNTAX                                                                 \
	"NO \"AUTHENTICATE takes a mechanism and at most one response.\"\r\n"
#define BYE   "OK \"Logging out.\"\r\n[CLOSE]"
#define FLOOD "BYE \"Line or literal too long.\"\r\n[CLOSE]"
#define OCTET "NO \"Commands have no NUL and no CR by itself.\"\r\n"

static const struct front_row rows[] = {
	/* what is offered */
	{ PLAIN, TEXT("CAPABILITY\r\n"), WHO EMPTY SASL LISTED },
	{ STARTTLS, TEXT("capability\r\n"), WHO EMPTY NO_SASL START LISTED },
	{ EITHER, TEXT("CAPABILITY\r\n"), WHO EMPTY SASL START LISTED },
	{ TLS | LEARNED, TEXT("CAPABILITY\r\n"), WHO KNOWN SASL LISTED },
	{ PLAIN, TEXT("CAPABILITY \"x\"\r\n"), BARE },
	{ PLAIN, TEXT("NOOP\r\n"), "OK \"Done.\"\r\n" },
	{ PLAIN, TEXT("NOOP \"a \\\"b\\\"\"\r\n"),
	    "OK (TAG \"a \\\"b\\\"\") \"Done.\"\r\n" },
	{ PLAIN, TEXT("NOOP {4+}\r\na\r\nb\r\n"),
	    "OK (TAG {4}\r\na\r\nb) \"Done.\"\r\n" },
	{ PLAIN, TEXT("NOOP x\r\n"),
	    "NO \"NOOP takes at most one string.\"\r\n" },
	{ PLAIN, TEXT("NOOP \"x\" \"y\"\r\n"),
	    "NO \"NOOP takes at most one string.\"\r\n" },
	{ PLAIN, TEXT("LOGOUT\r\nNOOP\r\n"), BYE },
	{ PLAIN, TEXT("LOG"), "" },

	/* not before login, or never */
	{ PLAIN, TEXT("LISTSCRIPTS\r\n"), UNKNOWN },
	{ PLAIN, TEXT("UNAUTHENTICATE\r\n"), UNKNOWN },
	{ PLAIN, TEXT("PUTSCRIPT \"x\" {6+}\r\nLOGOUT\r\nNOOP\r\n"),
	    UNKNOWN "OK \"Done.\"\r\n" },
	{ PLAIN, TEXT("PUTSCRIPT \"x\" {65+}\r\nLOGOUT\r\n"), FLOOD },
	{ PLAIN, TEXT("XCLIENT ADDR=192.0.2.9\r\n"), UNKNOWN },
	{ PLAIN, TEXT("\r\n\r\n\r\nNOOP\r\n"),
	    UNKNOWN UNKNOWN UNKNOWN TOO_MANY },

	/* lines and literals */
	{ PLAIN, TEXT("NOOP\nLOGOUT\r\n"),
	    "NO \"Lines end in CRLF.\"\r\n" BYE },
	{ PLAIN, TEXT("NO\rOP\r\nLOGOUT\r\n"), OCTET BYE },
	{ PLAIN, TEXT("NOOP\0\r\n"), OCTET },
	{ PLAIN, TEXT("NOOP {3}\r\n"),
	    "BYE \"A client's literal is {N+}.\"\r\n[CLOSE]" },
	{ PLAIN, TEXT("NOOP {18446744073709551616+}\r\n"), FLOOD },
	{ PLAIN, TEXT("NOOP {65}\r\nLOGOUT\r\n"),
	    "NO \"Literal too large before login.\"\r\n" BYE },
	{ PLAIN, TEXT("NOOP {3+}\r\na\0b\r\n"),
	    "NO \"NOOP takes at most one string.\"\r\n" },

	/* STARTTLS: nothing that came with it survives */
	{ STARTTLS,
	    TEXT("STARTTLS\r\nAUTHENTICATE \"PLAIN\" "
		 "\"AGJvYgBzZWNyZXQ=\"\r\n"),
	    "OK \"Begin TLS negotiation now.\"\r\n[STARTTLS]" },
	{ STARTTLS, TEXT("STARTTLS \"x\"\r\n"), BARE },
	{ PLAIN, TEXT("STARTTLS\r\n"), "NO \"TLS is not offered here.\"\r\n" },
	{ TLS, TEXT("STARTTLS\r\n"), "NO \"TLS is on already.\"\r\n" },
	{ STARTTLS, TEXT("AUTHENTICATE \"PLAIN\" \"AGJvYgBzZWNyZXQ=\"\r\n"),
	    "NO (ENCRYPT-NEEDED) \"Credentials only after STARTTLS.\"\r\n" },

	/* AUTHENTICATE, with and without an initial response */
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\" \"AGJvYgBzZWNyZXQ=\"\r\n"),
	    "[LOGIN |bob|secret]" REFUSED },
	{ TLS,
	    TEXT("Authenticate \"plain\" {16+}\r\nAGJvYgBzZWNyZXQ=\r\n"
		 "LOGOUT\r\n"),
	    "[LOGIN |bob|secret]" REFUSED BYE },
	{ TLS, TEXT("AUTHENTICATE {5+}\r\nPLAIN\r\n\"AGJvYgBzZWNyZXQ=\"\r\n"),
	    "\"\"\r\n[LOGIN |bob|secret]" REFUSED },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\"\r\n{16+}\r\nAGJvYgBzZWNyZXQ=\r\n"),
	    "\"\"\r\n[LOGIN |bob|secret]" REFUSED },
	{ TLS, TEXT("AUTHENTICATE \"LOGIN\"\r\n\"Ym9i\"\r\n\"c2VjcmV0\"\r\n"),
	    "\"VXNlcm5hbWU6\"\r\n\"UGFzc3dvcmQ6\"\r\n"
	    "[LOGIN |bob|secret]" REFUSED },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\" \"YWxpY2UAYm9iAHNlY3JldA==\"\r\n"),
	    "[LOGIN alice|bob|secret]" REFUSED },
	{ TLS | ACCEPTS,
	    TEXT("AUTHENTICATE \"PLAIN\" \"AGJvYgBzZWNyZXQ=\"\r\n"
		 "LISTSCRIPTS\r\n"),
	    "[LOGIN |bob|secret]OK (SASL \"eA==\") \"welcome\"\r\n"
	    "[RELAY LISTSCRIPTS\r\n]" },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\"\r\n\"*\"\r\nLOGOUT\r\n"),
	    "\"\"\r\nNO \"Authentication cancelled.\"\r\n" BYE },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\"\r\n*\r\nLOGOUT\r\n"),
	    "\"\"\r\nNO \"A response is one string.\"\r\n" BYE },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\"\r\n\"eA==\" \"x\"\r\nLOGOUT\r\n"),
	    "\"\"\r\nNO \"A response is one string.\"\r\n" BYE },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\"\r\n\"AGJv\"\nLOGOUT\r\n"),
	    "\"\"\r\nNO \"Lines end in CRLF.\"\r\n" BYE },
	/* relayed mechanisms */
	{ TLS | RELAYS,
	    TEXT("AUTHENTICATE \"SCRAM-SHA-1\" \"biwsbj1ib2Iscj14\"\r\n"
		 "{8+}\r\nYz1iaXdz\r\n\"\"\r\n\"*\"\r\nLOGOUT\r\n"),
	    "[LOGIN |bob|SCRAM-SHA-1 n,,n=bob,r=x]\"Yw==\"\r\n"
	    "[RESPONSE c=biws]\"Yw==\"\r\n[RESPONSE ]\"Yw==\"\r\n"
	    "NO \"Authentication cancelled.\"\r\n" BYE },

	{ TLS, TEXT("AUTHENTICATE \"PLAIN\" \"?\"\r\n"), BASE64 },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\" \"\"\r\n"),
	    "NO \"PLAIN needs two NULs.\"\r\n" },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\" \"=\"\r\n"),
	    "NO \"PLAIN needs two NULs.\"\r\n" },
	{ TLS, TEXT("AUTHENTICATE PLAIN\r\n"), SYNTAX },
	{ TLS, TEXT("AUTHENTICATE\r\n"), SYNTAX },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\" x\r\n"), SYNTAX },
	{ TLS, TEXT("AUTHENTICATE \"PLAIN\" \"eA==\" \"x\"\r\n"), SYNTAX },
	{ TLS, TEXT("AUTHENTICATE \"GSSAPI\"\r\n"),
	    "NO \"This mechanism is not spoken here.\"\r\n" },
	{ TLS, TEXT("AUTHENTICATE \"\"\r\n"),
	    "NO \"This mechanism is not spoken here.\"\r\n" },
};

static void
test_dialogues(void **state)
{
	(void)state;
	machine_play_fronts(&sieve, rows, ARRAY_SIZE(rows));
}

static void
test_flood(void **state)
{
	static const char *const beginnings[] = { "", "NOOP \"",
		"NOOP {64+}\r\n", "AUTHENTICATE \"PLAIN\" \"",
		"AUTHENTICATE \"PLAIN\" {64+}\r\n",
		"AUTHENTICATE \"PLAIN\"\r\n\"" };

	(void)state;
	machine_flood_front(&sieve, beginnings, ARRAY_SIZE(beginnings),
	    MACHINE_LINE_SIZE + MACHINE_LITERAL_SIZE + 1);
}

static void
test_by_itself(void **state)
{
	struct front front;
	struct buf out = buf_bounded(1024);
	struct offers offers;
	struct front_settings settings = { "mail.example.org",
		MACHINE_LINE_SIZE, MACHINE_LITERAL_SIZE, 3, &offers };

	(void)state;
	machine_check_greeting(&sieve, STARTTLS,
	    WHO EMPTY NO_SASL START VERSION "OK \"mail.example.org "
					    "ready.\"\r\n");
	machine_check_goodbye(&sieve, "BYE (TRYLATER) \"Too slow.\"\r\n");
	machine_check_refusal(&sieve, REFUSAL_CREDENTIALS, "",
	    "NO \"Authentication failed.\"\r\n");
	machine_check_refusal(&sieve, REFUSAL_NOLOGIN, "Say \"hi\"\r\nOK",
	    "NO \"This account may not log in now. Say \\\"hi\\\"??OK\"\r\n");
	machine_check_refusal(&sieve, REFUSAL_UNAVAILABLE, "Later.",
	    "NO (TRYLATER) \"Later.\"\r\n");

	/* After STARTTLS the capabilities are said again. */
	offers_init(&offers);
	assert_int_equal(
	    front_open(&front, front_protocol(SERVICE_SIEVE), &settings), 0);
	front.tls = front.tls_offered = true;
	front_secured(&front, &out);
	assert_string_equal(
	    buf_string(&out), WHO EMPTY SASL VERSION "OK \"TLS is on.\"\r\n");
	front_close(&front);
	buf_free(&out);
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
