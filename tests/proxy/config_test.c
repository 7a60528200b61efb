#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/config.h"

#define NAME  "host_name = mail.example.org\n"
#define TLS   "tls { certificate = a key = b }\n"
#define PLAIN "listen imap { tls = none plaintext = yes }\n"

static char path[64]; /* of the text that was read last */

static int
read_text(const char *text, struct config **config, struct buf *errors)
{
	int fd = memfd_create("config", 0), result;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	result = config_read(config, path, errors);
	close(fd);
	return result;
}

/* line 0: the fault belongs to no line. */
static const struct {
	const char *text;
	int line;
	const char *why;
} faults[] = {
	{ PLAIN, 0, "host_name must be set" },
	{ "host_name = \"a b\"\n" PLAIN, 0, "host_name must be set" },
	{ "host_name = \"\"\n" PLAIN, 0, "host_name must be set" },
	{ "host_name = \"a\r\"\n" PLAIN, 0, "host_name must be set" },
	{ NAME, 0, "there is neither a listen section nor" },
	{ NAME "listen imap { }\n", 2, "wants TLS, but" },
	{ NAME "listen imaps { }\n", 2, "wants TLS, but" },
	{ NAME PLAIN "tls { certificate = a }\n", 0, "go together" },
	{ NAME PLAIN "tls { key = a }\n", 0, "go together" },
	{ NAME TLS "listen imap { tls = none }\n", 3, "nobody could log in" },
	{ NAME "tls { certificates = a }\n" PLAIN, 0, "needs certificate" },
	{ NAME TLS "listen imap { client_certificate = ask }\n", 3,
	    "wants certificates of clients" },
	{ NAME TLS "listen imap { authentication = verify }\n", 0,
	    "needs directory { uris }" },
	{ NAME TLS "listen imap { mechanisms = { EXTERNAL } }\n", 3,
	    "\"EXTERNAL\" needs authentication = verify" },
	{ NAME TLS "listen imap { authentication = verify\n"
		   "mechanisms = { \"SCRAM-SHA-1\" } }\n"
		   "directory { uris = { \"ldap://a\" } }\n",
	    3, "\"SCRAM-SHA-1\" needs authentication = relay" },
	{ NAME TLS "listen imap { authentication = verify\n"
		   "mechanisms = { GSSAPI } }\n"
		   "directory { uris = { \"ldap://a\" } }\n",
	    3, "\"GSSAPI\" needs auth { keytab }" },
	{ NAME PLAIN "login x { as = gssapi user = y }\n", 3,
	    "by gssapi needs user and keytab" },
	{ NAME PLAIN "login x { as = ticket sources = { tgt } }\n", 3,
	    "no source \"tgt\"" },
	{ NAME PLAIN "login x { as = ticket sources = { password, password,"
		     " password, password, password } }\n",
	    3, "each once" },
	{ NAME PLAIN "login x { as = ticket sources = {} }\n", 3,
	    "by ticket needs sources" },
	{ NAME PLAIN "login x { as = ticket sources = { proxy } }\n", 3,
	    "source \"proxy\" needs user and keytab" },
	{ NAME PLAIN "login x { as = master }\n", 3,
	    "needs user and password_file" },
	{ NAME PLAIN "login x { services = { lmtp } }\n", 3,
	    "nobody logs in at a service \"lmtp\"" },
	{ NAME PLAIN "auth { master_separator = \"**\" }\n", 0,
	    "is one character" },
	{ NAME PLAIN "directory { bind_dn = x }\n", 0,
	    "directory { bind_dn, password_file } go together" },
	{ NAME PLAIN "directory { key = x }\n", 0,
	    "directory { certificate, key } go together" },
	{ NAME PLAIN "directory { bind = external bind_dn = x\n"
		     "password_file = y }\n",
	    0, "directory { bind_dn } is of bind = simple" },
	{ NAME TLS "tls { alt_key = x }\n" PLAIN, 0,
	    "tls { alt_certificate, alt_key } go together" },
	{ NAME "tls { alt_certificate = x alt_key = y }\n" PLAIN, 0,
	    "beside certificate and key" },
	{ NAME PLAIN "delivery { hops = 0 }\n", 3, "must be 1 to 10000" },
	{ NAME TLS "listen http { }\n", 3, "no such service" },
	{ NAME TLS "\nlisten mine {\n service = http }\n", 4,
	    "no such service" },
	{ NAME TLS "listen kerberos { }\n", 3, "no such service" },
	{ NAME TLS "listen smtp { }\n", 3, "needs hub_networks" },
	{ NAME TLS "listen lmtp { hub_networks = { \"10.0.0.1/8\" } }\n", 3,
	    "hub_networks: \"10.0.0.1/8\"" },
	{ NAME TLS "listen imap { hub_networks = { \"10.0.0.0/8\" } }\n", 3,
	    "are of smtp and lmtp" },
	{ NAME TLS "listen imap { addresses = { } }\n", 3, "has no addresses" },
	{ NAME TLS "listen imap { addresses = { \"localhost\" } }\n", 3,
	    "\"localhost\" is not an IP address" },
	{ NAME TLS "listen imap { addresses = { \"::1\", \"1.2.3\" } }\n", 3,
	    "\"1.2.3\" is not an IP address" },
	{ NAME TLS "listen imap { port = -1 }\n", 3, "must be 0 to 65535" },
	{ NAME TLS "listen imap { }\nlisten imap { }\n", 4, "duplicate" },
	{ NAME TLS "listen imap { tls = ssl }\n", 3,
	    "default, none, starttls, implicit" },
	{ NAME PLAIN "limits { sessions = 0 }\n", 3, "must be 1 to 1000000" },
	{ NAME PLAIN "backend { tls = no }\n", 3, "none, starttls, implicit" },
	{ NAME PLAIN "directory { uris = { \"http://x\" } }\n", 0,
	    "not an ldap, ldaps or ldapi URL" },
	{ NAME PLAIN "directory { uris = { \"ldap://x\" } }\n", 0,
	    "needs bind_dn, password_file and name" },
	{ NAME PLAIN "probe { user = x }\n", 0, "go together" },
};

static void
test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct buf errors = buf_bounded(4096);
		struct config *config;
		char where[256];

		if (read_text(faults[i].text, &config, &errors) == 0)
			fail_msg("row %zu was taken", i);
		if (faults[i].line)
			(void)snprintf(where, sizeof(where), "%s:%d: ", path,
			    faults[i].line);
		else
			(void)snprintf(where, sizeof(where), "%s: ", path);
		assert_null(config);
		if (!strstr(buf_string(&errors), where) ||
		    !strstr(buf_string(&errors), faults[i].why))
			fail_msg("row %zu: %s", i, buf_string(&errors));
		buf_free(&errors);
	}
}

/* All that is wrong is said at once. */
static void
test_all_faults(void **state)
{
	struct buf errors = buf_bounded(4096);
	struct config *config;
	size_t lines = 0;

	(void)state;
	assert_int_equal(read_text("listen imap {\n addresses = { a, b }\n}\n"
				   "listen http { }\n",
			     &config, &errors),
	    -1);
	for (size_t i = 0; i < errors.size; i++)
		lines += errors.data[i] == '\n';
	assert_true(lines >= 5);
	buf_free(&errors);
}

/* What a listener leaves out follows from its scheme. */
static const struct {
	const char *text;
	enum service_kind service;
	enum service_tls tls;
	long port;
} listeners[] = {
	{ "listen imap { }", SERVICE_IMAP, SERVICE_TLS_STARTTLS, 143 },
	{ "listen imaps { }", SERVICE_IMAP, SERVICE_TLS_IMPLICIT, 993 },
	{ "listen x { service = imaps }", SERVICE_IMAP, SERVICE_TLS_IMPLICIT,
	    993 },
	{ "listen imaps { port = 1993 }", SERVICE_IMAP, SERVICE_TLS_IMPLICIT,
	    1993 },
	{ "listen imap { tls = implicit }", SERVICE_IMAP, SERVICE_TLS_IMPLICIT,
	    143 },
	{ "listen imap { tls = none plaintext = yes }", SERVICE_IMAP,
	    SERVICE_TLS_NONE, 143 },
	{ "listen imaps { tls = starttls }", SERVICE_IMAP, SERVICE_TLS_STARTTLS,
	    993 },
};

static void
test_listeners(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		struct buf errors = buf_bounded(4096);
		const struct config_listener *listener;
		struct config *config;
		char text[512];
		size_t count;

		(void)snprintf(
		    text, sizeof(text), NAME TLS "%s\n", listeners[i].text);
		if (read_text(text, &config, &errors) < 0)
			fail_msg("row %zu: %s", i, buf_string(&errors));
		listener = config_listeners(config, &count);
		assert_int_equal(count, 1);
		assert_int_equal(listener->service, listeners[i].service);
		assert_int_equal(listener->tls, listeners[i].tls);
		assert_int_equal(listener->port, listeners[i].port);
		assert_int_equal(listener->addresses.count, 2);
		assert_true(config->relays >= 1);
		config_free(&config);
		buf_free(&errors);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_all_faults),
		cmocka_unit_test(test_listeners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
