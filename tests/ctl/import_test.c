#include "ctl/import.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_SIZE 65536

/* What a list of servers becomes: "HOST:PORT@TAG" each; or the fault. */
static const struct server_row {
	const char *list, *hosts;
} server_rows[] = {
	{ "10.0.0.1", "10.0.0.1:0@" },
	{ "10.0.0.1 10.0.0.7", "10.0.0.1:0@ 10.0.0.7:0@" },
	{ "10.0.0.254-10.0.1.1",
	    "10.0.0.254:0@ 10.0.0.255:0@ 10.0.1.0:0@ 10.0.1.1:0@" },
	{ "10.0.0.3-10.0.0.3", "10.0.0.3:0@" },
	{ "mbox-1.example.org", "mbox-1.example.org:0@" },
	{ "mbox:1143 10.0.0.1:143", "mbox:1143@ 10.0.0.1:143@" },
	{ "[2001:db8::1]:143 2001:db8::2", "2001:db8::1:143@ 2001:db8::2:0@" },
	{ "2001:db8::fffe-2001:db8::1:0",
	    "2001:db8::fffe:0@ 2001:db8::ffff:0@ 2001:db8::1:0:0@" },
	{ "10.0.0.1@archive 10.0.0.2-10.0.0.3@x",
	    "10.0.0.1:0@archive 10.0.0.2:0@x 10.0.0.3:0@x" },
	{ "255.255.255.255-255.255.255.255", "255.255.255.255:0@" },
	{ "10.0.0.9-10.0.0.1", "not a range" },
	{ "10.0.0.1-2001:db8::1", "not a range" },
	{ "10.0.0.1-x", "not a range" },
	{ "0.0.0.0-255.255.255.255", "too many servers" },
	{ "10.0.0.1:70000", "neither a host" },
	{ "[10.0.0.1]x", "neither a host" },
	{ "[2001:db8::1", "neither a host" },
	{ "sp*ce", "neither a host" },
	{ "x@a=b,c", "its tag" },
	{ "", "this is no Director" },
};

static void
check_servers(const struct server_row *row)
{
	struct buf text = buf_bounded(TEXT_SIZE), got = buf_bounded(TEXT_SIZE);
	struct import import;

	(void)buf_printf(&text, "director_mail_servers = %s\n", row->list);
	if (import_read(&import, buf_slice(&text), &got) == 0)
		for (size_t i = 0; i < import.server_count; i++)
			(void)buf_printf(&got, "%s%s:%u@%s", i ? " " : "",
			    import.servers[i].host,
			    (unsigned)import.servers[i].port,
			    import.servers[i].tag);
	if (!strstr(buf_string(&got), row->hosts))
		fail_msg("%s: %s", row->list, buf_string(&got));
	import_free(&import);
	buf_free(&text);
	buf_free(&got);
}

static void
test_servers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(server_rows); i++)
		check_servers(&server_rows[i]);
}

/* Settings beside one server, and what LDIF, proxyd.conf or notes have then;
 * "!" for what they have not. */
static const struct text_row {
	const char *settings;
	const char *ldif, *proxyd, *notes;
} text_rows[] = {
	{ "protocols = imap\n", "postcellService: imap://10.0.0.1?tls=none\n",
	    "listen imap {", "!passdb" },
	{ "protocols = imap pop3\npassdb {\n"
	  "  args = proxy=y nopassword=y ssl=yes\n  driver = static\n}\n",
	    "imaps://10.0.0.1\npostcellService: pop3s://10.0.0.1\n", "",
	    "!passdb driver" },
	/* A port of all protocols is the first one's. */
	{ "protocols = imap pop3\npassdb {\n  args = proxy=y port=1143\n}\n",
	    "imap://10.0.0.1:1143?tls=none\n"
	    "postcellService: pop3://10.0.0.1?tls=none\n",
	    "", "" },
	{ "protocols = lmtp\nprotocol lmtp {\n  passdb {\n"
	  "    args = proxy=y starttls=any-cert port=1024\n  }\n}\n",
	    "lmtp://10.0.0.1:1024?tls=starttls\n", "verify = no", "any-cert" },
	{ "protocols = imap\nssl = no\n", "", "tls = none\n\tplaintext = yes",
	    "" },
	{ "protocols = imap\nssl_cert = </c.pem\nssl_key = </k.pem\n", "",
	    "certificate = \"/c.pem\"\n\tkey = \"/k.pem\"", "!ssl_key" },
	{ "protocols = imap\nssl_cert = </c.pem\nssl_key = # hidden\n", "",
	    "key = \"/etc/postcell/tls/key.pem\"", "ssl_key" },
	{ "protocols = imap\nssl_cert = </c.pem\nssl = required\n"
	  "disable_plaintext_auth = no\n",
	    "", "!plaintext", "" },
	{ "protocols = imap\nlisten = 127.0.0.1, ::1\n", "",
	    "{ \"127.0.0.1\", \"::1\" }", "" },
	{ "protocols = imap\nlisten = *, name\n", "", "{ \"0.0.0.0\" }",
	    "listen = \"name\"" },
	{ "protocols = imap\nservice imap-login {\n"
	  "  inet_listener imap {\n    port = 0\n  }\n}\n",
	    "", "!listen imap {", "" },
	{ "protocols = imap\npassdb {\n  driver = ldap\n}\n", "", "",
	    "passdb driver = \"ldap\"" },
	{ "protocols = imap\npassdb {\n"
	  "  args = proxy=y master=admin pass=x\n}\n",
	    "", "!admin", "passdb master" },
	{ "protocols = imap\ndirector_username_hash = %Ln\n", "", "",
	    "postcellGroup" },
	{ "# Hostname: front.example.org\nprotocols = imap\n", "",
	    "host_name = \"front.example.org\"", "host_name" },
	{ "hostname = mail.example.org\nprotocols = imap\n", "",
	    "host_name = \"mail.example.org\"", "" },
};

static void
check_text(const char *settings, const struct buf *got, const char *wanted)
{
	bool unwanted = wanted[0] == '!';

	if (unwanted == (strstr(buf_string(got), wanted + unwanted) != NULL))
		fail_msg("%s: %s is %s in:\n%s", settings, wanted,
		    unwanted ? "there" : "missing", buf_string(got));
}

static void
test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(text_rows); i++) {
		const struct text_row *row = &text_rows[i];
		struct buf text = buf_bounded(TEXT_SIZE);
		struct buf ldif = buf_bounded(TEXT_SIZE);
		struct buf proxyd = buf_bounded(TEXT_SIZE);
		struct buf errors = buf_bounded(TEXT_SIZE);
		struct import import;

		(void)buf_printf(&text, "%sdirector_mail_servers = 10.0.0.1\n",
		    row->settings);
		assert_int_equal(
		    import_read(&import, buf_slice(&text), &errors), 0);
		import_ldif(&import, slice_from("dc=x"), &ldif);
		import_proxyd(&import, &proxyd);
		check_text(row->settings, &ldif, row->ldif);
		check_text(row->settings, &proxyd, row->proxyd);
		check_text(row->settings, &import.notes, row->notes);
		import_free(&import);
		buf_free(&text);
		buf_free(&ldif);
		buf_free(&proxyd);
		buf_free(&errors);
	}
}

static const struct fault_row {
	const char *text, *why;
} fault_rows[] = {
	{ "}\n", "line 1: a block ends" },
	{ "a {\n", "line 2: the last block" },
	{ "\nnonsense\n", "line 2: neither" },
	{ "= x\n", "line 1: neither" },
	{ "a {\nb {\nc {\nd {\ne {\nf {\ng {\nh {\ni {\n", "nested too deep" },
};

static void
test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fault_rows); i++) {
		struct buf errors = buf_bounded(TEXT_SIZE);
		struct import import;

		assert_int_equal(import_read(&import,
				     slice_from(fault_rows[i].text), &errors),
		    -1);
		if (!strstr(buf_string(&errors), fault_rows[i].why))
			fail_msg(
			    "%s: %s", fault_rows[i].text, buf_string(&errors));
		import_free(&import);
		buf_free(&errors);
	}
}

static void
test_blocks(void **state)
{
	static const char text[] = "top = \"a b\"\r\n"
				   "service x {\n  y = 1\n  z {\n    y = 2\n"
				   "  }\n  y = 3\n}\npassdb {\n  d = 1\n}\n"
				   "passdb {\n  d = 2\n}\n";
	struct dovecot dovecot;
	const char *why;
	size_t line;

	(void)state;
	assert_int_equal(
	    dovecot_read(&dovecot, slice_from(text), &line, &why), 0);
	assert_int_equal(dovecot.count, 6);
	assert_true(slice_is(dovecot_value(&dovecot, "", "top"), "\"a b\""));
	assert_true(slice_is(dovecot_value(&dovecot, "service x", "y"), "3"));
	assert_true(slice_is(dovecot_value(&dovecot, "service x/z", "y"), "2"));
	assert_true(dovecot.settings[4].block != dovecot.settings[5].block);
	assert_int_equal(dovecot_value(&dovecot, "", "none").size, 0);
	dovecot_free(&dovecot);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
