/*
 * service: what a host offers, as the URL in postcellService says it.
 *
 *   imap://mbox1.example.org:143?tls=starttls
 *   imaps://mbox1.example.org           (implicit TLS, port 993)
 *   lmtp://[2001:db8::7]:24?tls=none
 *   pop3://mbox1.example.org?tls=none&proxy=v2
 *
 * Schemes: imap imaps pop3 pop3s submission submissions lmtp sieve smtp, and
 * for hosts that serve no mail kerberos kpasswd ldap ldaps dns. Without a port
 * the registered one; without `tls` what the scheme implies: implicit for the
 * schemes in -s, none for kerberos, kpasswd and dns, starttls for the rest.
 * `proxy=v2`: who connects says first for whom, by HAProxy's PROXY protocol.
 */
#ifndef LIB_SERVICE_H
#define LIB_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/slice.h"

enum service_kind {
	SERVICE_IMAP,
	SERVICE_POP3,
	SERVICE_SUBMISSION,
	SERVICE_LMTP,
	SERVICE_SIEVE,
	SERVICE_SMTP,
	SERVICE_KERBEROS,
	SERVICE_KPASSWD,
	SERVICE_LDAP,
	SERVICE_DNS,
	SERVICE_KIND_COUNT
};

enum service_tls {
	SERVICE_TLS_NONE,
	SERVICE_TLS_STARTTLS,
	SERVICE_TLS_IMPLICIT
};

struct service {
	enum service_kind kind;
	enum service_tls tls;
	struct slice
	    host; /* name or address, without brackets; borrowed from the URL */
	uint16_t port;
	bool proxy_header; /* begins with a header of the PROXY protocol */
};

/* 0; or -1 with *why (static text). */
int service_parse(struct slice url, struct service *service, const char **why);

/* "imap", "pop3", ...; static. */
const char *service_kind_text(enum service_kind kind);
/* 0, or -1 for a name that is none. */
int service_kind_parse(struct slice text, enum service_kind *kind);
/* "none", "starttls", "implicit"; static. */
const char *service_tls_text(enum service_tls tls);
int service_tls_parse(struct slice text, enum service_tls *tls);

#endif
