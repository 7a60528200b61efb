#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/service.h"

static void
test_good(void **state)
{
	static const struct {
		const char *url;
		enum service_kind kind;
		enum service_tls tls;
		const char *host;
		uint16_t port;
	} rows[] = {
		{ "imap://a.example.org", SERVICE_IMAP, SERVICE_TLS_STARTTLS,
		    "a.example.org", 143 },
		{ "IMAP://A.Example.Org:1143/", SERVICE_IMAP,
		    SERVICE_TLS_STARTTLS, "A.Example.Org", 1143 },
		{ "imaps://a", SERVICE_IMAP, SERVICE_TLS_IMPLICIT, "a", 993 },
		{ "pop3://a", SERVICE_POP3, SERVICE_TLS_STARTTLS, "a", 110 },
		{ "pop3s://a", SERVICE_POP3, SERVICE_TLS_IMPLICIT, "a", 995 },
		{ "submission://a", SERVICE_SUBMISSION, SERVICE_TLS_STARTTLS,
		    "a", 587 },
		{ "submissions://a", SERVICE_SUBMISSION, SERVICE_TLS_IMPLICIT,
		    "a", 465 },
		{ "lmtp://a", SERVICE_LMTP, SERVICE_TLS_STARTTLS, "a", 24 },
		{ "sieve://a", SERVICE_SIEVE, SERVICE_TLS_STARTTLS, "a", 4190 },
		{ "smtp://a", SERVICE_SMTP, SERVICE_TLS_STARTTLS, "a", 25 },
		{ "kerberos://a", SERVICE_KERBEROS, SERVICE_TLS_NONE, "a", 88 },
		{ "kpasswd://a", SERVICE_KPASSWD, SERVICE_TLS_NONE, "a", 464 },
		{ "ldap://a", SERVICE_LDAP, SERVICE_TLS_STARTTLS, "a", 389 },
		{ "ldaps://a", SERVICE_LDAP, SERVICE_TLS_IMPLICIT, "a", 636 },
		{ "dns://127.0.0.1:5353", SERVICE_DNS, SERVICE_TLS_NONE,
		    "127.0.0.1", 5353 },
		{ "imap://a?tls=none", SERVICE_IMAP, SERVICE_TLS_NONE, "a",
		    143 },
		{ "imap://a:1/?TLS=Implicit", SERVICE_IMAP,
		    SERVICE_TLS_IMPLICIT, "a", 1 },
		{ "lmtp://[2001:db8::7]:24?tls=none", SERVICE_LMTP,
		    SERVICE_TLS_NONE, "2001:db8::7", 24 },
		{ "lmtp://[::ffff:192.0.2.1]", SERVICE_LMTP,
		    SERVICE_TLS_STARTTLS, "::ffff:192.0.2.1", 24 },
		{ "imap://a:65535", SERVICE_IMAP, SERVICE_TLS_STARTTLS, "a",
		    65535 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct service service;
		const char *why = NULL;

		if (service_parse(slice_from(rows[i].url), &service, &why) < 0)
			fail_msg("%s: %s", rows[i].url, why);
		assert_int_equal(service.kind, rows[i].kind);
		assert_int_equal(service.tls, rows[i].tls);
		assert_true(slice_is(service.host, rows[i].host));
		assert_int_equal(service.port, rows[i].port);
	}
}

static void
test_proxy_header(void **state)
{
	static const struct {
		const char *url;
		enum service_tls tls;
		bool proxy_header;
	} rows[] = {
		{ "imap://a?tls=none", SERVICE_TLS_NONE, false },
		{ "imap://a?tls=none&proxy=v2", SERVICE_TLS_NONE, true },
		{ "imap://a?proxy=v2&tls=implicit", SERVICE_TLS_IMPLICIT,
		    true },
		{ "imaps://a:1/?PROXY=V2", SERVICE_TLS_IMPLICIT, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct service service;
		const char *why;

		assert_int_equal(
		    service_parse(slice_from(rows[i].url), &service, &why), 0);
		assert_int_equal(service.tls, rows[i].tls);
		assert_int_equal(service.proxy_header, rows[i].proxy_header);
		assert_true(slice_is(service.host, "a"));
	}
}

static void
test_bad(void **state)
{
	static const char *const urls[] = { "", "imap", "imap:", "imap:/",
		"imap://", "imap:///", "imap://:143", "imap:a", "://a",
		"http://a", "imapx://a", " imap://a", "imap://a ",
		"imap://a:", "imap://a:0", "imap://a:65536", "imap://a:-1",
		"imap://a:+1", "imap://a:1a", "imap://a:1:2", "imap://a b",
		"imap://a/b", "imap://u@a", "imap://a//", "imap://a?",
		"imap://a?tls", "imap://a?tls=", "imap://a?tls=yes",
		"imap://a?proxy=v1", "imap://a?proxy=", "imap://a?proxy=v2&",
		"imap://a?proxy=v2&proxy=v2", "imap://a?tls=none&tls=none",
		"imap://a?&proxy=v2", "imap://a?proxy=v2;tls=none",
		"imap://a?ssl=none", "imap://a?tls=none&x=y", "imap://[::1",
		"imap://[::1]x", "imap://[]", "imap://[a]", "imap://[1.2.3.4]",
		"imap://::1", "imap://[::1]:", "imap://-a", "imap://a-",
		"imap://a..b", "imap://.", "imap://a\r\nb", "imap://\xc3\xa4" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct service service;
		const char *why = NULL;

		if (service_parse(slice_from(urls[i]), &service, &why) == 0)
			fail_msg("\"%s\" was taken", urls[i]);
		assert_non_null(why);
	}
}

static void
test_texts(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		const char *text = service_kind_text((enum service_kind)i);
		enum service_kind kind;

		assert_int_equal(
		    service_kind_parse(slice_from(text), &kind), 0);
		assert_int_equal(kind, i);
	}
	for (unsigned i = 0; i <= SERVICE_TLS_IMPLICIT; i++) {
		const char *text = service_tls_text((enum service_tls)i);
		enum service_tls tls;

		assert_int_equal(service_tls_parse(slice_from(text), &tls), 0);
		assert_int_equal(tls, i);
	}
	assert_int_equal(
	    service_kind_parse(slice_from("imaps"), &(enum service_kind){ 0 }),
	    -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_proxy_header),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
