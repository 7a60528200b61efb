#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/zones/fixture.h"
#include "zones/autoconfig.h"

#define SERVERS                                                                \
	"_imap._tcp.cell.test. 60 IN SRV 20 100 143 far.h.cell.test.\n"        \
	"_imap._tcp.cell.test. 60 IN SRV 10 100 1143 near.h.cell.test.\n"      \
	"_imaps._tcp.cell.test. 60 IN SRV 0 0 0 .\n"                           \
	"_submission._tcp.cell.test. 60 IN SRV 10 100 587 near.h.cell.test.\n" \
	"_sieve._tcp.cell.test. 60 IN SRV 10 100 4190 near.h.cell.test.\n"
#define DOMAIN(more) "domain \"cell.test\" { srv = { \"imap\" }\n" more " }\n"

/* The document without what all have; the caller's to free. "": none. */
static char *
document(const char *more, const char *records)
{
	struct config *config = fixture_config(more);
	struct rrsets set = fixture_set(records);
	struct buf text = buf_bounded(65536);
	char *copy = NULL;

	if (autoconfig_document(&text, config,
		(const struct config_domain *)config->domains.items, &set) == 0)
		copy = strdup(buf_string(&text));
	else
		copy = strdup("");
	assert_non_null(copy);
	rrsets_free(&set);
	config_free(&config);
	buf_free(&text);
	return copy;
}

static size_t
count(const char *text, const char *word)
{
	size_t found = 0;

	for (; (text = strstr(text, word)); text++)
		found++;
	return found;
}

#define SERVER(element, type, host, port, socket, user)                        \
	"    <" element " type=\"" type "\">\n      <hostname>" host           \
	"</hostname>\n      <port>" port "</port>\n      <socketType>" socket  \
	"</socketType>\n      <authentication>password-cleartext"              \
	"</authentication>\n      <username>" user                             \
	"</username>\n    </" element ">\n"

static void
test_targets(void **state)
{
	char *text = document(DOMAIN(""), SERVERS);

	(void)state;
	/* The nearer one first, and what is off not at all. */
	assert_non_null(strstr(text,
	    SERVER("incomingServer", "imap", "near.h.cell.test", "1143",
		"STARTTLS", "%EMAILADDRESS%") SERVER("incomingServer", "imap",
		"far.h.cell.test", "143", "STARTTLS", "%EMAILADDRESS%")
		SERVER("outgoingServer", "smtp", "near.h.cell.test", "587",
		    "STARTTLS", "%EMAILADDRESS%") "  </emailProvider>"));
	assert_int_equal(count(text, "<hostname>"), 3);
	free(text);
}

static void
test_generic_name(void **state)
{
	char *text = document("name \"sieve.cell.test\" { services = { "
			      "\"sieve\" } }\n"
			      "name \"mail.cell.test\" { services = { "
			      "\"imap\" } }\n" DOMAIN("login = local_part"),
	    SERVERS);

	(void)state;
	assert_non_null(
	    strstr(text, SERVER("incomingServer", "imap", "mail.cell.test",
			     "1143", "STARTTLS", "%EMAILLOCALPART%")));
	/* Submission is not covered by that name. */
	assert_non_null(
	    strstr(text, SERVER("outgoingServer", "smtp", "near.h.cell.test",
			     "587", "STARTTLS", "%EMAILLOCALPART%")));
	assert_int_equal(count(text, "<hostname>"), 2);
	free(text);
}

static void
test_nothing_to_read(void **state)
{
	static const char *const records[] = { "",
		"_imap._tcp.cell.test. 60 IN SRV 0 0 0 .\n",
		"_submission._tcp.cell.test. 60 IN SRV 1 1 5 a.cell.test.\n",
		"_imap._tcp.other.test. 60 IN SRV 1 1 5 a.cell.test.\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		char *text = document(DOMAIN(""), records[i]);

		assert_string_equal(text, "");
		free(text);
	}
}

static void
test_many_targets(void **state)
{
	struct buf records = buf_bounded(65536);
	char *text;

	(void)state;
	for (int i = 9; i > 0; i--)
		buf_printf(&records,
		    "_pop3s._tcp.cell.test. 60 IN SRV %d 1 995 p%d.cell.test.\n",
		    i, i);
	text = document(DOMAIN(""), buf_string(&records));
	assert_int_equal(count(text, "<hostname>"), 4);
	for (int i = 1; i <= 4; i++) {
		char host[64];

		(void)snprintf(
		    host, sizeof(host), "<hostname>p%d.cell.test<", i);
		assert_non_null(strstr(text, host));
	}
	assert_int_equal(count(text, "<socketType>SSL<"), 4);
	free(text);
	buf_free(&records);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_generic_name),
		cmocka_unit_test(test_nothing_to_read),
		cmocka_unit_test(test_many_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
